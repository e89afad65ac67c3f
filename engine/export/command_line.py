"""`aitraining export …`: what a person types, and what they are told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from engine.errors import RunError
from engine.export.bundle import SETTINGS, Export, export, folder_for
from engine.runs.directory import RunDirectory

AddCommand = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]

_ABOUT = "Write a run as a Python program of plain TRL, transformers and peft that reproduces it, or as YAML."
_STDOUT = "-"


def add_command(command: AddCommand) -> None:
    """Add the command; `command` adds one, given its name, a sentence and what handles it."""
    one = command("export", _ABOUT, _export)
    one.add_argument("name", help="The run's name.")
    form = one.add_mutually_exclusive_group()
    form.add_argument("--script", action="store_true", help="The program, with rows and settings beside it. [default]")
    form.add_argument("--yaml", action="store_true", help="The settings alone, those that were chosen for you included.")
    about = "Folder to write into, - for standard output. [default: ./NAME-export; the settings alone: -]"
    one.add_argument("--out", metavar="FOLDER", help=about)


def _export(args: argparse.Namespace) -> int:
    out = args.out or (_STDOUT if args.yaml else str(folder_for(args.name)))
    made = export(RunDirectory.open(args.name), beside=out != _STDOUT)
    if out == _STDOUT:
        sys.stdout.write(made.yaml if args.yaml else made.script)
    elif args.yaml:
        print(_settings(made, Path(out)))
    else:
        program = made.write(Path(out))
        print(f"{program}\nTo run it: what to install is said at its head, then `python {program.name}` in its folder.")
    return 0


def _settings(made: Export, folder: Path) -> Path:
    """Write the settings alone.

    Raises:
        RunError: there are some already, or the folder cannot be written.
    """
    target = folder / SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(made.yaml)
    except FileExistsError:
        raise RunError(f"{target} exists, and may have been changed since.", hint="Name another folder.") from None
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror}.", hint="Name another folder.") from error
    return target
