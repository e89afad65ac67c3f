"""Command-line flags, read off a trainer's parameter model: names, types, groups and help come from the fields.

argparse only splits the words here; ranges and choices are judged by the model, so that the command line, the page and
Python say the same sentences.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from engine.config_file import read_mapping
from engine.errors import FieldProblem, ParamError
from engine.explain import range_of
from engine.params import LLMTrainingParams, flag, form_of
from engine.registry import spec_for, specs

_FALLBACK_TRAINER = "sft"
_UNSET = argparse.SUPPRESS  # a flag that was not given leaves no attribute, so the field's own default counts


def known_trainer(words: Sequence[str]) -> str:
    """The trainer that the words name (flag or config file), read before the real parsing; else plain SFT.

    `--preview-trainer` shows another trainer's flags in the help and changes nothing else.
    """
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--trainer")
    peek.add_argument("--preview-trainer", "--preview_trainer")
    peek.add_argument("--config")
    found, _ = peek.parse_known_args(list(words))
    if found.preview_trainer and {"-h", "--help"} & set(words):
        return spec_for(found.preview_trainer).id
    named = found.trainer or (_config(found.config).get("trainer") if found.config else None)
    return named if named in specs() else _FALLBACK_TRAINER


def add_flags(parser: argparse.ArgumentParser, trainer: str) -> None:
    """Add every flag that `trainer` reads, in the groups of its form, in --kebab-case and --snake_case."""
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.set_defaults(_config_file=None)
    cls = spec_for(trainer).params
    groups: dict[str, Any] = {}
    general = parser.add_argument_group("Settings file")
    general.add_argument("--config", dest="_config_file", metavar="FILE", help="YAML settings; flags given here win.")
    general.add_argument(
        "--preview-trainer",
        "--preview_trainer",
        dest="_preview_trainer",
        metavar="TRAINER",
        help="With --help: show this trainer's settings. Changes nothing about the run.",
    )
    for name, field in cls.model_fields.items():
        title = form_of(cls, name).group.replace("Trainer", f"The {trainer} trainer's own")
        group = groups.get(title) or groups.setdefault(title, parser.add_argument_group(title))
        names = dict.fromkeys((flag(name), "--" + name))
        about = _help(cls, name)
        if _plain_type(field.annotation) is bool:
            group.add_argument(*names, dest=name, action=argparse.BooleanOptionalAction, default=_UNSET, help=about)
        else:
            group.add_argument(*names, dest=name, default=_UNSET, metavar=_metavar(field.annotation), help=about)
    parser.error = _explained(parser, cls)  # type: ignore[method-assign]


def given_values(args: argparse.Namespace) -> dict[str, Any]:
    """What the person gave: the settings file, and the flags over it. Objects and lists are JSON, a list may be its lines."""
    values = _config(args._config_file) if args._config_file else {}
    trainer = str(getattr(args, "trainer", values.get("trainer", "")) or "")
    if not trainer:
        message = f"Which trainer? Give --trainer, one of: {', '.join(specs())}."
        raise ParamError([FieldProblem("trainer", message)])
    cls = spec_for(trainer).params
    for name, value in vars(args).items():
        if name in cls.model_fields:
            values[name] = read_value(cls, name, value)
    return {**values, "trainer": trainer}


def read_value(cls: type[LLMTrainingParams], name: str, words: Any) -> Any:
    """The value of the setting `name` that its words on a command line stand for; the model judges it.

    Raises:
        ParamError: JSON was needed and is not there.
    """
    return _read(name, words, _plain_type(cls.model_fields[name].annotation)) if name in cls.model_fields else words


def _config(path: str) -> dict[str, Any]:
    try:
        return read_mapping(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        message = f"The settings file {path} cannot be read: {error.strerror} (--config)."
        raise ParamError([FieldProblem("config", message)]) from None
    except UnicodeDecodeError:
        raise ParamError([FieldProblem("config", f"The settings file {path} is not UTF-8 text (--config).")]) from None


def _read(name: str, value: Any, kind: Any) -> Any:
    if kind not in (dict, list) or not isinstance(value, str):
        return value
    if kind is list and not value.lstrip().startswith("["):  # one a line, as on the page
        return [line.strip() for line in value.splitlines() if line.strip()]
    try:
        return json.loads(value)
    except ValueError as error:
        example = '\'{"prompt": "Question"}\'' if kind is dict else "'[\"Hello!\"]'"
        problem = FieldProblem(name, f"{flag(name)} takes JSON such as {example}: {error}.")
        raise ParamError([problem]) from None


def _help(cls: type[LLMTrainingParams], name: str) -> str:
    field, form = cls.model_fields[name], form_of(cls, name)
    default = field.get_default(call_default_factory=True)
    notes = [range_of(field)]
    if get_origin(_without_none(field.annotation)) is Literal and name != "trainer":
        notes.append("one of " + ", ".join(map(str, get_args(_without_none(field.annotation)))))
    if not field.is_required() and name != "trainer" and default not in ("", {}, []):
        notes.append("default: chosen for you" if default is None and form.auto else f"default: {_shown(default)}")
    detail = "; ".join(n for n in notes if n)
    return f"{field.description} [{detail}]".replace("%", "%%") if detail else str(field.description).replace("%", "%%")


def _shown(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {None: "none", True: "on", False: "off"}[default]
    return f"{default:g}" if isinstance(default, float) else str(default)


def _plain_type(annotation: Any) -> Any:
    inner = _without_none(annotation)
    return get_origin(inner) or inner


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(a for a in get_args(annotation) if a is not type(None))
    return annotation


def _metavar(annotation: Any) -> str:
    kind = _plain_type(annotation)
    return {int: "N", float: "X", dict: "JSON", list: "JSON"}.get(kind, "VALUE")


def _explained(parser: argparse.ArgumentParser, cls: type[LLMTrainingParams]) -> Any:
    """argparse's `error`, with a sentence about flags of other trainers and the nearest right flag."""

    def error(message: str) -> NoReturn:
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            flags = [_unknown_flag(word, cls) for word in message[len(prefix) :].split() if word.startswith("-")]
            message = " ".join(flags) or message
        print(f"{parser.prog}: {message}", file=sys.stderr)
        print(f"`{parser.prog} --trainer {cls.model_fields['trainer'].default} --help` lists every flag.", file=sys.stderr)
        raise SystemExit(2)

    return error


def _unknown_flag(word: str, cls: type[LLMTrainingParams]) -> str:
    given = word.split("=")[0]
    name = given.lstrip("-").replace("-", "_")
    owners = [s.id for s in specs().values() if name in s.params.model_fields]
    if owners:
        trainer = cls.model_fields["trainer"].default
        return f"{given} belongs to the trainer {' and '.join(owners)}; {trainer} does not use it."
    near = difflib.get_close_matches(given, [flag(n) for n in cls.model_fields], n=1)
    return f"There is no flag {given}." + (f" Did you mean {near[0]}?" if near else "")
