"""docs/errors.md: every kind of error, and the sentences that the code says with it, each with its hint."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine import errors
from engine.errors import StudioError
from engine.reference.table import table

_ENGINE = Path(__file__).resolve().parents[1]
# Where the sentence stands among the arguments. A setting is judged by pydantic, which calls what it refuses by these names.
_SETTING = {"FieldProblem": 1, "PydanticCustomError": 1, "ValueError": 0}
_VALIDATORS = {"field_validator", "model_validator"}
_OPENING = """# Errors

Whatever goes wrong says three things: what happened, why, and what to do now. On the page it stands where it belongs, on the
command line on standard error (with `--json` also as an object with `error`, `hint` and `settings`), in a run's status as
`reason` and `hint`. In Python every error is a `StudioError` with `message` and `hint`:

```python
from engine import LLMTrainingParams, StudioError

try:
    LLMTrainingParams(trainer="sft", data_path="sample:neighbours", lr=3)
except StudioError as error:
    print(error.message)  # lr must be more than 0 and less than 1, got 3 (--lr). Size of a step. …
    print(error.hint)
```

"…" in a sentence stands for what it is about. A run that failed tells its reason in the same words; the end of its
`worker.log` has the rest.
"""
_WRONG_SETTING = """A setting that is out of range, of the wrong type or unknown is told by its name, its range and its flag, as
in the example above; those sentences follow from its declaration ([settings.md](settings.md)).
"""


def page() -> str:
    """The whole page."""
    said = sentences()
    parts = [_OPENING, f"```text\n{_tree()}\n```\n"]
    for kind in kinds():
        parts.append(f"## {kind.__name__}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n{_further(kind)}")
        rows = sorted(said[kind.__name__])
        if rows:
            parts.append(table(("what it says", "what to do"), rows))
    return "\n".join(parts)


def _further(kind: type[StudioError]) -> str:
    return f"\n{_WRONG_SETTING}" if kind is errors.ParamError else ""


def kinds(base: type[StudioError] = StudioError) -> list[type[StudioError]]:
    """Every kind of error that engine/errors.py declares, parents first."""
    return [base, *(kind for child in base.__subclasses__() if child.__module__ == errors.__name__ for kind in kinds(child))]


def sentences() -> dict[str, set[tuple[str, str]]]:
    """What the code says with each kind of error: (sentence, hint). Read off the sources, which need not be imported."""
    names = {kind.__name__: 0 for kind in kinds()} | {"FieldProblem": 1}
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in sorted(_ENGINE.rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        shared = _held(module.body)
        for scope in ast.walk(module):
            if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for name, sentence, hint in _said(scope, _SETTING if _judges(scope) else names, shared):
                    found[errors.ParamError.__name__ if name in _SETTING else name].add((sentence, hint))
    return found


def _judges(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it says no to a setting."""
    calls = (mark.func for mark in function.decorator_list if isinstance(mark, ast.Call))
    return any(isinstance(call, ast.Name) and call.id in _VALIDATORS for call in calls)


def _said(scope: ast.AST, names: dict[str, int], shared: dict[str, ast.expr]) -> Iterator[tuple[str, str, str]]:
    """The errors that are made in a function; a sentence may have been put in a variable just before."""
    held = {**shared, **_held(ast.walk(scope))}
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            place = names[node.func.id]
            if len(node.args) > place:
                sentence = _words(node.args[place], held)
                hint = next((_words(keyword.value, held) for keyword in node.keywords if keyword.arg == "hint"), "")
                if len(re.findall(r"\w+", re.sub(r"\(.*?\)", "", sentence))) > 1:  # else the words come from elsewhere
                    yield node.func.id, sentence, hint


def _held(nodes: Iterable[ast.AST]) -> dict[str, ast.expr]:
    """What names stand for."""
    plain = (node for node in nodes if isinstance(node, ast.Assign))
    return {target.id: node.value for node in plain for target in node.targets if isinstance(target, ast.Name)}


def _words(node: ast.expr, held: dict[str, ast.expr]) -> str:
    """A text in the source, with … for what is put in when it is said."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _words(node.left, held) + _words(node.right, held)
    if isinstance(node, ast.Name) and node.id in held:
        return _words(held[node.id], {name: value for name, value in held.items() if name != node.id})
    return "…"


def _tree() -> str:
    """The tree of errors as the module draws it."""
    return "StudioError" + (errors.__doc__ or "").split("StudioError", 1)[1].rstrip()
