"""`aitraining prune …` and `aitraining delete …`: what a person types, and what they are told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from rich.filesize import decimal

from engine import retention
from engine.errors import FieldProblem, ParamError

AddCommand = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]

_PRUNE = "Remove checkpoints of ended runs; their models stay. Without names: what each run takes on disk."


def add_commands(command: AddCommand) -> None:
    """Add both; `command` adds one, given its name, a sentence and what handles it."""
    prune = command("prune", _PRUNE, _prune)
    prune.add_argument("names", nargs="*", metavar="NAME", help="Runs that have ended. They cannot be resumed afterwards.")
    prune.add_argument("--all", action="store_true", help="Every run that is done.")
    prune.add_argument("--json", action="store_true", help="Print JSON instead of lines.")
    delete = command("delete", "Delete runs and all that they wrote, their models too. Asks nothing.", _delete)
    delete.add_argument("names", nargs="+", metavar="NAME", help="Runs that have ended.")


def _prune(args: argparse.Namespace) -> int:
    if args.names and args.all:
        raise ParamError([FieldProblem("", "Give names or --all, not both.")])
    if not args.names and not args.all:
        _tell_space(as_json=args.json)
        return 0
    made = retention.prune(args.names or [one.name for one in retention.removable()])
    if args.json:
        print(json.dumps([one.to_dict() for one in made], indent=1))
    for one in made:
        if one.error:
            print(f"{one.name}: {one.error} {one.hint}".rstrip(), file=sys.stderr)
        elif not args.json:
            print(f"{one.name}: {decimal(one.freed)} freed" if one.freed else f"{one.name}: it has no checkpoints")
    if not args.json:
        print(f"{decimal(sum(one.freed for one in made))} freed in all.")
    return 1 if any(one.error for one in made) else 0


def _tell_space(*, as_json: bool) -> None:
    found = retention.space()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for one in found["runs"]:
        kept = f", of which checkpoints {decimal(one['checkpoints'])}" if one["checkpoints"] else ""
        print(f"{one['name']} ({one['state']}): {decimal(one['total'])}{kept}")
    print(
        f"{decimal(found['total'])} in {found['root']}, of which checkpoints {decimal(found['checkpoints'])}; "
        f"{decimal(found['free'])} are free. `aitraining prune --all` removes the checkpoints of runs that are done."
    )


def _delete(args: argparse.Namespace) -> int:
    for name in args.names:
        retention.delete(name)
        print(f"{name}: deleted")
    return 0
