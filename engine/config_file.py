"""Settings as YAML: one flat, commented mapping that the page, the command line and people can all read and write."""

from __future__ import annotations

import re
from typing import Any

import yaml

from engine.compatibility import translated
from engine.errors import FieldProblem, ParamError
from engine.params import LLMTrainingParams, form_of
from engine.registry import parse, specs

# Far above any real settings file; keeps a pasted gigabyte or a thousand brackets from costing anything.
_LARGEST = 64_000
_DEEPEST = 50
_SHAPE = "A settings file holds lines like `trainer: sft`, one setting a line."
_LINE_ENDS = ("\x85", "\u2028", "\u2029")


def to_yaml(params: LLMTrainingParams) -> str:
    """Every setting that differs from its default, grouped and commented; `trainer`, `model` and data always."""
    lines, group = [f"# {specs()[params.trainer].title}"], ""
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if value == field.get_default(call_default_factory=True) and name not in ("trainer", "model"):
            continue
        if form_of(type(params), name).group != group:
            group = form_of(type(params), name).group
            lines.append(f"\n# {group}")
        lines.append(yaml_entry(name, value))
    return "\n".join(lines) + "\n"


def from_yaml(text: str) -> LLMTrainingParams:
    """Settings from YAML.

    Raises:
        ParamError: it is not a mapping of settings, or a setting is wrong.
    """
    return parse(read_mapping(text))


def read_settings(text: str) -> tuple[LLMTrainingParams, list[str]]:
    """Settings from YAML, and a line for each that the file names as an older tool does.

    Raises:
        ParamError: as for `from_yaml`.
    """
    found = translated(read_mapping(text))
    return found.judged(parse), found.lines


def read_mapping(text: str, shape: str = _SHAPE) -> dict[str, Any]:
    """The mapping in a YAML text, not validated yet; `shape` tells what was expected of a text that holds none.

    Raises:
        ParamError: it is no YAML, too long, or no mapping.
    """
    if len(text) > _LARGEST:
        message = f"This is {len(text):,} characters long; a settings file has a few dozen lines."
        raise ParamError([FieldProblem("", message)])
    try:
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader that also reads 1e-4
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last: a date or a number that there is not
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        problem = getattr(error, "problem", None) or _problem(error)
        raise ParamError([FieldProblem("", f"This is not YAML{line}: {problem}.")]) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ParamError([FieldProblem("", shape)])
    return values


def _problem(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number or a date in it cannot be read"


def yaml_entry(name: str, value: Any) -> str:
    """One key of a mapping with its value, as YAML that `read_mapping` reads back as it was."""
    readable = _dumped(name, value, allow_unicode=True)
    if any(mark in readable for mark in _LINE_ENDS):  # YAML would read these as ends of lines; escaped they stay
        readable = _dumped(name, value, allow_unicode=False)
    return readable.rstrip("\n")


def _dumped(name: str, value: Any, *, allow_unicode: bool) -> str:
    return yaml.dump({name: value}, Dumper=_Dumper, allow_unicode=allow_unicode, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper; puts words in quotes that `_Loader` would read as numbers."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader; reads 2e-5 as a number, as YAML 1.2 does, and no aliases, which can grow without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not used in settings files", problem_mark=mark)
        self._depth = getattr(self, "_depth", 0) + 1  # all that is open around it: told here, it costs no reading further
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        if value.bit_length() > 1024:  # more than any float; one of many thousand digits cannot even be shown
            raise yaml.MarkedYAMLError(problem="the number is too large", problem_mark=node.start_mark)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[tuple[str, str]] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:  # YAML forbids it; PyYAML alone would silently keep the last one
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands there twice", problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _side in (_Loader, _Dumper):
    _side.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))
