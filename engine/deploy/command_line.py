"""`aitraining deploy …`: what a person types, and what they are told."""

from __future__ import annotations

import argparse
import json
import os
import re
from argparse import BooleanOptionalAction
from collections.abc import Callable

from engine.deploy.files import checkout, files_of
from engine.deploy.space import Wish, deploy
from engine.errors import FieldProblem, ParamError

AddCommand = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]

_ABOUT = "Put the studio on a Hugging Face Space of yours, or bring the one that is there up to date."
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


def add_command(command: AddCommand) -> None:
    """Add the command; `command` adds one, given its name, a sentence and what handles it."""
    one = command("deploy", _ABOUT, _deploy)
    one.add_argument("--space", required=True, metavar="ID", help="`owner/name`, or `name` for one of your own.")
    private = "Nobody else sees a new Space; one that exists stays as it is. [default: on]"
    one.add_argument("--private", action=BooleanOptionalAction, default=True, help=private)
    hardware = "Such as cpu-basic, t4-small, l4x1 or a10g-large; all but the first are paid for. [default: as it is]"
    one.add_argument("--hardware", metavar="FLAVOR", help=hardware)
    one.add_argument("--sleep", type=int, metavar="SECONDS", help="Paid hardware sleeps after so long without a visitor.")
    storage = "Make a private bucket and mount it at /data, so that runs outlive a sleep; it may cost."
    one.add_argument("--storage", action="store_true", help=storage)
    variable = "A variable of the Space, which everybody may read. May be given several times."
    one.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE", help=variable)
    secret = "A secret of the Space; its value is taken from the variable of that name here. May be given several times."
    one.add_argument("--secret", action="append", default=[], metavar="NAME", help=secret)
    one.add_argument("--dry-run", action="store_true", help="List the files that would be sent, and send nothing.")
    one.add_argument("--json", action="store_true", help="Print one JSON object on standard output.")


def _deploy(args: argparse.Namespace) -> int:
    wish = Wish(
        space=args.space,
        private=args.private,
        hardware=args.hardware,
        sleep_s=args.sleep,
        storage=args.storage,
        variables=dict(_variable(text) for text in args.variable),
        secrets={name: _secret(name) for name in args.secret},
    )
    root = checkout()
    files = files_of(root)
    if args.dry_run:
        size = sum((root / name).stat().st_size for name in files)
        told = f"{len(files)} files, {size / 1e6:.1f} MB, would be sent to {wish.space}. Nothing was."
        print(json.dumps({"space": wish.space, "files": files, "bytes": size}) if args.json else "\n".join([*files, told]))
        return 0
    made = deploy(wish, root, files)
    if args.json:
        print(json.dumps({"space": made.space, "address": made.address, "created": made.created, "files": made.files}))
    else:
        print(f"The Space is at {made.address}\nIt builds now, which takes some minutes; its page shows how far it is.")
    return 0


def _variable(text: str) -> tuple[str, str]:
    name, is_, value = text.partition("=")
    if not is_ or not re.fullmatch(_NAME, name):
        raise ParamError([FieldProblem("variable", f"--variable takes NAME=VALUE, not {text!r}.")])
    return name, value


def _secret(name: str) -> str:
    """The value of a secret, from the environment: what stands on a command line is seen by others and kept in histories."""
    if not re.fullmatch(_NAME, name):
        raise ParamError([FieldProblem("secret", "--secret takes the name of a variable here, and no value.")])
    if not os.environ.get(name):
        hint = f"Set it first, for example: read -rs {name}; export {name}"
        raise ParamError([FieldProblem("secret", f"The variable {name}, which --secret names, is not set here.")], hint=hint)
    return os.environ[name]
