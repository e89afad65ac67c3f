"""`aitraining sweep …` and `aitraining sweeps`: what a person types, and what they are shown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import FieldProblem, ParamError
from engine.flags import add_flags, given_values, known_trainer

if TYPE_CHECKING:
    from engine.sweeps.group import Progress
    from engine.sweeps.sweep import Sweep

AddCommand = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]

_ABOUT = """Train one thing with several values of some settings, each combination as a run of its own, and compare them.

  aitraining sweep --trainer sft --data-path a.csv --sweep lr=1e-4,3e-4 --sweep batch_size=4,8
  aitraining sweep --trainer sft --data-path a.csv --sweep lr=1e-5..1e-3 --random 10
  aitraining sweep my-sweep.yaml                         what a file describes
  aitraining sweep sweep-1 --resume                      go on after a stop or a kill

Every flag of `aitraining llm` is taken as well: it holds for all runs."""


def add_commands(command: AddCommand, words: Sequence[str]) -> None:
    """Add the commands about sweeps; `command` adds one, given its name, a sentence and what handles it."""
    one = command("sweep", "Try several values of some settings, and see which is best.", _sweep)
    if words[:1] == ["sweep"]:  # their flags are those of `llm`, and are listed there
        add_flags(one, known_trainer(words))
    one.usage = (
        "%(prog)s --trainer TRAINER --data-path DATA --sweep SETTING=VALUES [SETTINGS]\n"
        "       %(prog)s FILE [--name NAME]\n       %(prog)s NAME --resume | --stop"
    )
    one.formatter_class = argparse.RawDescriptionHelpFormatter
    one.description = _ABOUT
    about = "A sweep file, or, with --resume or --stop, a sweep's name."
    one.add_argument("_what", metavar="WHAT", nargs="?", help=about)
    about = "A setting and its values: --sweep lr=1e-4,3e-4, or a range: --sweep lr=1e-5..1e-3. Can be given several times."
    one.add_argument("--sweep", dest="_sweep", metavar="SETTING=VALUES", action="append", default=[], help=about)
    about = "Draw so many combinations at random, by --seed, instead of trying all."
    one.add_argument("--random", dest="_random", type=int, metavar="N", help=about)
    about = "Try so many, each chosen by what came of those before it."
    one.add_argument("--adaptive", dest="_adaptive", type=int, metavar="N", help=about)
    one.add_argument(
        "--name", dest="_name", metavar="NAME", help="What the sweep is to be called; its runs are named after it."
    )
    one.add_argument("--resume", action="store_true", help="Go on: what was stopped or cut off is queued again.")
    one.add_argument(
        "--stop", action="store_true", help="End it: what waits is taken out of the queue, the run that trains saves."
    )
    about = "Wait and show how each run ends; --no-follow queues them and returns. [default: on]"
    one.add_argument("--follow", action=argparse.BooleanOptionalAction, default=True, help=about)
    about = "Check every combination, print the plan, and queue nothing."
    one.add_argument("--dry-run", "--dry_run", action="store_true", help=about)
    one.add_argument("--yaml", action="store_true", help="Print the sweep as a file to edit; queue nothing.")
    about = "Print one JSON object on standard output; everything else goes to standard error."
    one.add_argument("--json", action="store_true", help=about)

    several = command("sweeps", "List the sweeps, or the runs of one, best first.", _sweeps)
    several.add_argument("name", nargs="?", help="A sweep's name.")
    several.add_argument("--json", action="store_true", help="Print JSON instead.")


def _sweep(args: argparse.Namespace) -> int:
    from engine.sweeps import detached
    from engine.sweeps.group import Group

    if args.resume or args.stop:
        return _existing(args)
    sweep = _asked(args)
    if args.yaml:
        print(sweep.to_yaml(), end="")
        return 0
    if args.dry_run:
        _print_plan(sweep, as_json=args.json)
        return 0
    detached.start(sweep)
    out = sys.stderr if args.json else sys.stdout
    print(f"Sweep {sweep.name}: {Group.open(sweep.name).progress().wanted} runs", file=out, flush=True)
    return _left(sweep.name, args)


def _existing(args: argparse.Namespace) -> int:
    from engine.sweeps import detached
    from engine.sweeps.group import Group

    if not args._what:
        raise _wrong(f"Which sweep? Name it: aitraining sweep NAME --{'stop' if args.stop else 'resume'}.")
    if args.stop:
        detached.stop(args._what)
        _print_progress(Group.open(args._what).progress(), as_json=args.json)
        return 0
    detached.go_on(args._what)
    return _left(args._what, args)


def _asked(args: argparse.Namespace) -> Sweep:
    """The sweep that the words describe."""
    from engine.sweeps.python_api import read_file
    from engine.sweeps.sweep import built, from_yaml

    if args._what:
        if args._sweep or args._random or args._adaptive or "trainer" in vars(args):
            raise _wrong("A sweep file says all of it. Change the file, or leave the file out and give flags.")
        return from_yaml(read_file(Path(args._what)), args._name)
    given = given_values(args)
    for line in given.lines:  # what became of names that older tools have
        print(line, file=sys.stderr)
    axes = dict(_split(words) for words in args._sweep)
    how = {"name": args._name, "random": args._random, "adaptive": args._adaptive}
    return given.judged(lambda values: built(values, axes, **how))


def _split(words: str) -> tuple[str, str]:
    name, sign, values = words.partition("=")
    if not sign or not name.strip():
        raise _wrong(f"--sweep {words} cannot be read. Write --sweep lr=1e-4,3e-4.")
    return name.strip().lstrip("-"), values.strip()


def _left(name: str, args: argparse.Namespace) -> int:
    """The runs are queued; wait for them if that is wanted."""
    from engine.errors import TrainingError
    from engine.sweeps.group import Group
    from engine.sweeps.python_api import SweepRuns

    if not args.follow:
        if args.json:
            _print_progress(Group.open(name).progress(), as_json=True)
        else:
            print(f"{name}: `aitraining sweeps {name}` shows how far it is.")
        return 0
    code = 0
    try:
        SweepRuns(name).wait()
    except KeyboardInterrupt:
        words = f"The runs go on. `aitraining sweeps {name}` shows them, `aitraining sweep {name} --stop` ends them."
        print(f"\n{words}", file=sys.stderr)
        return 130
    except TrainingError as error:
        print(error, file=sys.stderr)
        code = 1 if error.cause == "failed" else 3
    _print_progress(Group.open(name).progress(), as_json=args.json)
    return code


def _print_plan(sweep: Sweep, *, as_json: bool) -> None:
    from engine.sweeps.outlook import outlook
    from engine.sweeps.space import written
    from engine.sweeps.tries import planned

    made, seen = planned(sweep), outlook(sweep)
    if as_json:
        told = {"runs": seen.runs, "seconds": seen.seconds, "disk_bytes": seen.disk, "unfit": seen.unfit}
        print(
            json.dumps(
                {**told, "sweep": sweep.to_mapping(), "tries": [one.values for one in made]}, indent=1, ensure_ascii=False
            )
        )
        return
    print(f"Sweep {sweep.name}: {seen.runs} runs, about {max(1, round(seen.seconds))} s and {seen.disk / 1e6:.0f} MB in all")
    for number, one in enumerate(made, 1):
        print(f"  {sweep.name}-{number}  " + "  ".join(f"{name} {written(value)}" for name, value in one.values.items()))
    if not made:
        print("  each is chosen by what came of those before it: " + "; ".join(f"{n} {axis}" for n, axis in sweep.axes.items()))
    for words in seen.unfit:
        print(f"  probably does not fit into memory: {words}")


def _sweeps(args: argparse.Namespace) -> int:
    from engine.runs.directory import runs_root
    from engine.sweeps.group import Group, progress_of_all

    if args.name:
        _print_progress(Group.open(args.name).progress(), as_json=args.json)
        return 0
    found = progress_of_all()
    if args.json:
        print(json.dumps([progress.to_dict() for progress in found], indent=1, ensure_ascii=False))
    for progress in [] if args.json else found:
        ended = sum(not one.at_work for one in progress.tries)
        best = f"; best: {progress.best.run}, {progress.metric} {progress.best.value:.4g}" if progress.best else ""
        print(f"{progress.name}: {progress.state}, {ended} of {progress.wanted} runs have ended{best}")
    if not found and not args.json:
        print(f"No sweeps in {runs_root()} yet.")
    return 0


def _print_progress(progress: Progress, *, as_json: bool) -> None:
    """The runs as a table, best first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from engine.sweeps.group import Group
    from engine.sweeps.space import written
    from engine.sweeps.told import told

    if as_json:
        print(json.dumps(progress.to_dict(), indent=1, ensure_ascii=False))
        return
    names = list(Group.open(progress.name).sweep().axes)
    table = Table("", "run", "state", *names, progress.metric, box=None)
    for one in progress.tries:
        values = ["" if name not in one.values else written(one.values[name]) for name in names]
        value = "" if one.value is None else f"{one.value:.4f}"
        cells: list[Any] = [one.rank or "", one.run, one.state, *values, value]
        table.add_row(*(Text(str(cell)) for cell in cells))
    Console().print(table)
    print(" ".join(told(progress)).strip())


def _wrong(message: str) -> ParamError:
    return ParamError([FieldProblem("", message)])
