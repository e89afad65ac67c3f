"""What older tools say with several names at once: a batch that fits, the parts of a data set, the columns of its rows, the
owner of an upload.

Each function takes its names out of `older` and returns settings of ours and the lines that say what became of them.
`given` are all settings that are known, ours and older ones.
"""

from __future__ import annotations

from typing import Any

from engine.compatibility.meanings import NoCounterpart, Settings, is_off, truth
from engine.spec import RowKind

# The role that the main column of the older tools plays in the rows of each kind of trainer.
_MAIN_COLUMN: dict[RowKind, str] = {
    "text": "text",
    "chat": "text",
    "preference": "chosen",
    "prompts": "prompt",
    "feedback": "completion",
}
_COLUMNS = {
    "prompt_text_column": "prompt",
    "rejected_text_column": "rejected",
    "user_col": "prompt",
    "assistant_col": "completion",
    "system_col": "system",
    "instruction_col": "instruction",
    "input_col": "input",
    "output_col": "output",
}
NAMES = (
    "username",
    "auto_find_batch_size",
    "train_split",
    "valid_split",
    "text_column",
    "prompt_text_column",
    "rejected_text_column",
)

Found = tuple[Settings, list[str]]


def batch(older: Settings, given: Settings) -> Found:
    """`auto_find_batch_size`: a batch that fits is chosen, whatever number stands beside it."""
    wished = older.pop("auto_find_batch_size", None)
    if is_off(truth(wished)):
        return {}, [] if wished is None else ["auto_find_batch_size: off"]
    number = given.get("batch_size")
    beside = f", and {number} is left aside" if number not in (None, "") else ""
    return {"batch_size": None}, [f"auto_find_batch_size: batch_size is chosen so that it fits{beside}"]


def parts(older: Settings, given: Settings) -> Found:
    """`train_split` and `valid_split`: parts of the data, written behind its name as `name:split` or `name:config:split`."""
    train, valid = (older.pop(name, None) for name in ("train_split", "valid_split"))
    source, made, lines = given.get("data_path"), Settings(), list[str]()
    for name, part in (("train_split", train), ("valid_split", valid)):
        if is_off(part):
            continue
        if not source:
            raise NoCounterpart(f"{name} is a part of the data, so data_path must be given as well")
        if name == "train_split" and part == "train":
            lines.append("train_split train: training rows are found by themselves")
            continue
        if name == "valid_split" and ":" in str(train or "") and ":" not in str(part):
            part = f"{str(train).partition(':')[0]}:{part}"  # of the same configuration
        ours = "data_path" if name == "train_split" else "valid_path"
        made[ours] = f"{source}:{part}"
        lines.append(f"{name} {part} → {ours} {made[ours]}")
    return made, lines


def columns(older: Settings, given: Settings, kind: RowKind) -> Found:
    """Names of columns, by themselves or inside column_mapping, as the roles that they play here."""
    mapping = given.get("column_mapping") or {}
    named = {name: older.pop(name) for name in ("text_column", *_COLUMNS) if name in older}
    inside = mapping if isinstance(mapping, dict) else {}
    old = {**{name: column for name, column in inside.items() if name == "text_column" or name in _COLUMNS}, **named}
    if not old:
        return {}, []
    made = {role: column for role, column in inside.items() if role not in old}
    lines = []
    for name, column in old.items():
        if is_off(column):
            continue
        role = _COLUMNS.get(name) or _main(kind, old)
        made[role] = str(column)
        lines.append(f"{name} {column} → column_mapping {role}: {column}")
    return {"column_mapping": made}, lines


def _main(kind: RowKind, old: Settings) -> str:
    if kind == "chat" and not is_off(old.get("prompt_text_column")):
        return "completion"
    return _MAIN_COLUMN[kind]


def owner(older: Settings, given: Settings) -> Found:
    """`username`: the owner of the uploaded model, in front of the project's name."""
    name, project = older.pop("username", None), given.get("project_name")
    if is_off(name):
        return {}, []
    if is_off(truth(given.get("push_to_hub"))):
        return {}, ["username: needed for an upload alone"]
    if given.get("hub_model_id"):
        return {}, [f"username: hub_model_id {given['hub_model_id']} says where it goes"]
    if str(name).startswith("${"):
        return {}, ["username: the upload goes to the account that is logged in"]
    if not project:
        raise NoCounterpart("username is the owner of the upload, so project_name (or hub_model_id) must be given as well")
    return {"hub_model_id": f"{name}/{project}"}, [f"username {name} → hub_model_id {name}/{project}"]


def names_a_column(name: str) -> bool:
    return name == "text_column" or name in _COLUMNS


def without_secrets(values: dict[str, Any]) -> dict[str, Any]:
    """`values` as they may be shown."""
    return {name: value for name, value in values.items() if "token" not in name.split("_")}
