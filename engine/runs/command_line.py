"""`aitraining stop …` and `aitraining queue …`: what a person types, and what they are told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from engine.errors import FieldProblem, ParamError, RunError
from engine.runs import discard, door, launcher, line, queue
from engine.runs.directory import RunDirectory, runs_root
from engine.runs.report import run_report

AddCommand = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]

_JSON = "Print one JSON object on standard output; everything else goes to standard error."
_CONTINUE = "`aitraining queue continue` lets it go on."


def add_commands(command: AddCommand) -> None:
    """Add the commands; `command` adds one, given its name, a sentence and what handles it."""
    stop = command("stop", "Finish the step, save, and end a run.", _stop)
    stop.add_argument("name", help="The run's name.")
    how = stop.add_mutually_exclusive_group()
    how.add_argument("--force", action="store_true", help="End the process at once, without saving.")
    how.add_argument("--discard", action="store_true", help="End the process at once and delete the run with all it wrote.")
    stop.add_argument("--json", action="store_true", help=_JSON)

    one = command("queue", "Show the runs that wait, and change their order.", _queue)
    about = (
        "list (what is done without one); pause: start nothing, also after a restart, while what is at work goes on; continue; "
        "move NAME up, down, first, last, or to a place from 1; cancel NAME: take it out of the queue."
    )
    one.add_argument("action", nargs="?", choices=tuple(_ACTIONS), default="list", help=about)
    one.add_argument("name", nargs="?", help="The run to move or to take out.")
    one.add_argument("to", nargs="?", help="Where to move it.")
    one.add_argument("--json", action="store_true", help=_JSON)


def tell_pause(root: Path) -> None:
    """Say on standard error that the queue is paused, if it is."""
    if line.is_paused(root):
        print(f"The queue is paused: nothing new is started. {_CONTINUE}", file=sys.stderr)


# ---- stop ------------------------------------------------------------------------------------------------------------


def _stop(args: argparse.Namespace) -> int:
    run = RunDirectory.open(args.name)
    if args.discard:
        return _discard(run, as_json=args.json)
    before = run.status()
    if before.ended_state:
        raise RunError(f"The run {args.name!r} has ended already: it is {before.state.value}.", hint="Nothing was stopped.")
    try:
        queue.stop(run, force=args.force)
        status = launcher.wait_until_stopped(args.name)
    except KeyboardInterrupt:
        if not run.stop_requested:
            raise
        asked = "is being ended" if args.force else "was asked to stop: it finishes its step, saves and ends"
        print(f"\nInterrupted. {args.name} {asked}. `aitraining runs` shows when it has.", file=sys.stderr)
        return 130
    if args.json:
        print(json.dumps(run_report(args.name), indent=1, ensure_ascii=False))
    else:
        print(f"{args.name}: {status.state.value}")
    return 0 if status.ended_state else 1


def _discard(run: RunDirectory, *, as_json: bool) -> int:
    deleted = discard.discard(run)
    words = "deleted" if deleted else "its process does not end; the run is deleted as soon as it does, while the app is open"
    print(json.dumps({"name": run.name, "deleted": deleted}) if as_json else f"{run.name}: {words}")
    return 0 if deleted else 1


# ---- queue -----------------------------------------------------------------------------------------------------------


def _queue(args: argparse.Namespace) -> int:
    root = runs_root()
    _ACTIONS[args.action](args, root)
    now = door.now()
    if args.json:
        print(json.dumps(now.to_dict(), indent=1, ensure_ascii=False))
        return 0
    for name in now.working:
        print(f"at work  {name}")
    for place, name in enumerate(now.waiting, start=1):
        print(f"{place:>7}  {name}")
    if not now.waiting:
        print("No run waits.")
    if now.paused:
        print(f"The queue is paused: nothing new is started. {_CONTINUE}")
    return 0


def _list(args: argparse.Namespace, root: Path) -> None:
    _no_more_than(args, 0)


def _pause(args: argparse.Namespace, root: Path) -> None:
    _no_more_than(args, 0)
    door.pause()


def _continue(args: argparse.Namespace, root: Path) -> None:
    _no_more_than(args, 0)
    door.go_on()


def _cancel(args: argparse.Namespace, root: Path) -> None:
    _no_more_than(args, 1)
    queue.cancel(_named(args))


def _move(args: argparse.Namespace, root: Path) -> None:
    run = _named(args)
    if not args.to:
        raise _wrong("Say where to move it.", f"aitraining queue move {args.name} up")
    queue.move(run, int(args.to) if args.to.lstrip("-").isdecimal() else args.to)


_ACTIONS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "list": _list,
    "pause": _pause,
    "continue": _continue,
    "move": _move,
    "cancel": _cancel,
}


def _named(args: argparse.Namespace) -> RunDirectory:
    if not args.name:
        raise _wrong(f"Say which run to {args.action}.", f"aitraining queue {args.action} NAME")
    return RunDirectory.open(args.name)


def _no_more_than(args: argparse.Namespace, words: int) -> None:
    given = [word for word in (args.name, args.to) if word is not None]
    if len(given) > words:
        raise _wrong(f"`aitraining queue {args.action}` knows nothing of {given[words]}.", "aitraining queue --help")


def _wrong(message: str, example: str) -> ParamError:
    return ParamError([FieldProblem("", message)], hint=f"For example: {example}")
