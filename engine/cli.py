"""`aitraining …`: the same engine from a terminal. Flags are read off the parameter models; nothing is declared here.

Exit codes: 0 the thing that was asked for is done; 1 it failed; 2 the command line is wrong; 3 the run was stopped or
interrupted; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import runpy
import sys
from argparse import BooleanOptionalAction
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine import api, hosting
from engine.deploy.command_line import add_command as add_deploy_command
from engine.dry_run import dry_run, told
from engine.errors import FieldProblem, ParamError, StudioError
from engine.export.command_line import add_command as add_export_command
from engine.flag_help import FlagHelp
from engine.flags import PlainErrors, add_flags, given_values, known_trainer, take_older
from engine.idle import idle
from engine.pipelines.command_line import add_commands as add_pipeline_commands
from engine.prune_command import add_commands as add_room_commands
from engine.runs.command_line import add_commands as add_queue_commands
from engine.runs.command_line import tell_pause
from engine.runs.status import ENDED, State, Status
from engine.sweeps.command_line import add_commands as add_sweep_commands
from engine.terminal_wizard import asked_words
from engine.watch import watch

_JSON = "Print one JSON object on standard output; everything else goes to standard error."
_ABOUT = "Fine-tune language models. Alone, on a terminal, it asks what you want to train and writes the command for you."
_OTHER_SPELLINGS = (
    "Every flag is also taken with underscores: --data_path for --data-path.\n\n"
    "Flags and settings files of AutoTrain are understood; what each became is printed before the run starts.\n\n"
    "Exit codes: 0 done, 1 failed, 2 a wrong command line or setting, 3 stopped or interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # it was closed, and what is meant for it would be printed among the answers
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as we live
    hosting.settle()  # a terminal in a Space sees the runs of its page
    args, code = argparse.Namespace(), 1
    try:
        if not words and sys.stdin.isatty():
            words = asked_words()
        args = _read(words)
        code = args.handle(args)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that has gone is known for what it is
        return code
    except KeyboardInterrupt:
        print(f"\n{_interrupted(args)}", file=sys.stderr)
        return 130
    except StudioError as error:
        if "--json" in words:
            print(json.dumps(_told(error), ensure_ascii=False))
        print(f"aitraining: {error.message}", *filter(None, [error.hint]), sep="\n", file=sys.stderr)
        return 2 if isinstance(error, ParamError) else 1
    except BrokenPipeError:
        _print_no_more()
        return code
    except OSError as error:  # a full disk, a folder that may not be read: nothing that a list of our own lines explains
        if error.errno is None:  # our own words, for a lock that was waited for in vain
            print(f"aitraining: {api.retention.unusable(error)}", file=sys.stderr)
        else:
            print(f"aitraining: {error.filename or 'A file'}: {error.strerror or error}.", file=sys.stderr)
        return 1


def _interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C has come to, where the command itself has not said it."""
    if getattr(args, "dry_run", False):
        return "Interrupted. Nothing was started."
    started = getattr(args, "command", "") in ("llm", "resume")
    return "Interrupted. `aitraining runs` shows whether anything was started." if started else "Interrupted."


def _print_no_more() -> None:
    """Whoever read standard output has gone: what is printed from now on goes nowhere, and is no mistake."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read(words: Sequence[str]) -> argparse.Namespace:
    """The words as a command with its settings.

    Raises:
        ParamError: there is no such command or flag; names the nearest right one.
    """
    parser = _parser(words)
    args, unknown = parser.parse_known_args(words)
    if args.command in ("llm", "sweep"):
        take_older(args, unknown)
    elif unknown:
        message = f"`aitraining {args.command}` knows nothing of {' '.join(unknown)}."
        raise ParamError([FieldProblem("", message)], hint=f"`aitraining {args.command} --help` shows what it takes.")
    return args


def _told(error: StudioError) -> dict[str, Any]:
    wrong = {problem.field: problem.message for problem in error.problems} if isinstance(error, ParamError) else {}
    return {"error": error.message, "hint": error.hint, "settings": wrong}


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = PlainErrors(prog="aitraining", description=_ABOUT, allow_abbrev=False, formatter_class=FlagHelp)
    parser.add_argument("--version", action="version", version=f"aitraining {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def command(name: str, about: str, handle: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about, allow_abbrev=False, formatter_class=FlagHelp)
        sub.set_defaults(handle=handle)
        return sub

    app = command("app", "Serve the page on http://127.0.0.1:7860 (PORT chooses another port).", _app)
    app.add_argument("--port", type=_port, default=None, metavar="PORT", help="Port to serve on; overrides PORT.")

    llm = command("llm", "Train a language model and wait until it is done.", _llm)
    _add_following(llm)
    about = "Check data and settings, print the plan, and start nothing."
    llm.add_argument("--dry-run", "--dry_run", action="store_true", help=about)
    llm.epilog = _OTHER_SPELLINGS
    add_flags(llm, known_trainer(words) if words[:1] == ["llm"] else None)

    runs = command("runs", "List the runs.", _runs)
    runs.add_argument("--json", action="store_true", help="Print a JSON list instead of a table.")

    add_queue_commands(command)

    resume = command("resume", "Go on from the last checkpoint of a stopped or interrupted run.", _resume)
    resume.add_argument("name", help="The run's name.")
    _add_following(resume)

    follow = command("follow", "Show the progress of a run until it has ended.", lambda args: _followed(args.name, args))
    follow.add_argument("name", help="The run's name.")
    follow.add_argument("--json", action="store_true", help=_JSON)

    add_export_command(command)
    push = command("push", "Upload the finished model of a run to the Hugging Face Hub.", _push)
    push.add_argument("name", help="The run's name.")
    push.add_argument(
        "--hub-model-id", "--hub_model_id", metavar="ID", help="`name` or `owner/name`. [default: the run's name]"
    )
    private = "Nobody else sees a new model there. [default: as the run's settings say, which is on unless it was turned off]"
    push.add_argument("--hub-private", "--hub_private", action=BooleanOptionalAction, default=None, help=private)
    push.add_argument("--adapter", action="store_true", help="Send the LoRA adapter alone, not the complete model.")
    push.add_argument("--json", action="store_true", help=_JSON)

    add_pipeline_commands(command)
    add_sweep_commands(command, words)
    add_deploy_command(command)
    add_room_commands(command)
    if words and not words[0].startswith("-") and words[0] not in commands.choices:
        near = difflib.get_close_matches(words[0], commands.choices, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        message = f"There is no command {words[0]!r}.{guess} Commands: {', '.join(commands.choices)}."
        raise ParamError([FieldProblem("", message)])
    return parser


def _version() -> str:
    try:
        return version("aitraining-studio")
    except PackageNotFoundError:
        return "(not installed)"


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port. Give a number from 1 to 65535")
    return int(text)


def _add_following(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=_JSON)
    about = "Wait and show the progress; --no-follow starts the run and returns. [default: on]"
    parser.add_argument("--follow", action=BooleanOptionalAction, default=True, help=about)


def _app(args: argparse.Namespace) -> int:
    if args.port is not None:
        os.environ["PORT"] = str(args.port)
    runpy.run_module("ui", run_name="__main__")  # by name, since the engine never imports the page
    return 0


def _llm(args: argparse.Namespace) -> int:
    given = given_values(args)
    for line in given.lines:  # what became of names that older tools have
        print(line, file=sys.stderr)
    params = given.judged(api.validate)
    for line in idle(params, given.values):
        print(f"warning: {line}", file=sys.stderr)
    if args.dry_run:
        made = dry_run(params)
        print(json.dumps(made, indent=1, ensure_ascii=False) if args.json else "\n".join(told(made)))
        return 0
    name = api.start(params)
    print(f"Run {name} in {api.runs_root() / name}", file=sys.stderr if args.json else sys.stdout)
    return _followed(name, args) if args.follow else _left_alone(name, args)


def _resume(args: argparse.Namespace) -> int:
    api.resume(args.name)
    return _followed(args.name, args) if args.follow else _left_alone(args.name, args)


def _push(args: argparse.Namespace) -> int:
    def tell(done: int, total: int, file: str) -> None:
        print(f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB sent. {file}".rstrip(), file=sys.stderr, flush=True)

    address = api.hub.push(args.name, args.hub_model_id, private=args.hub_private, adapter=args.adapter, tell=tell)
    print(json.dumps({"name": args.name, "address": address}) if args.json else f"The model is at {address}")
    return 0


def _followed(name: str, args: argparse.Namespace) -> int:
    """Watch a run to its end; returns the exit code that tells how it ended."""
    try:
        status = watch(name)
    except KeyboardInterrupt:
        message = f"\nThe run goes on. `aitraining follow {name}` shows it again, `aitraining stop {name}` ends it."
        print(message, file=sys.stderr)
        return 130
    code = {State.DONE: 0, State.FAILED: 1}.get(status.state, 3)
    try:
        _tell_end(name, status, as_json=args.json)
    except BrokenPipeError:  # what the run came to is true whether somebody reads it or not
        _print_no_more()
    if code:
        print(f"{status.state.value}: {status.reason} {status.hint}".strip(), file=sys.stderr)
    _tell_findings(name)
    return code


def _tell_end(name: str, status: Status, *, as_json: bool) -> None:
    """What became of a run, on standard output."""
    if as_json:
        print(json.dumps(api.run_report(name), indent=1, ensure_ascii=False))
    elif status.state is State.DONE:
        print(f"Done. {status.reason} The model is in {api.runs_root() / name / 'model'}".replace("  ", " "))


def _tell_findings(name: str) -> None:
    """What was wrong with a run, and the command that helps."""
    for found in api.told_findings(name):
        changes = "; ".join(one["words"] for one in found["change"])
        said = (f"{name}: {found['what']}", found["why"], f"{found['advice']} ({changes})" if changes else found["advice"])
        print(" ".join(said), f"  {found['command']}", sep="\n", file=sys.stderr)


def _left_alone(name: str, args: argparse.Namespace) -> int:
    """The run is in the queue or has begun, and needs nobody to go on, unless the queue is paused."""
    tell_pause(api.runs_root())
    if args.json:
        print(json.dumps(api.run_report(name), indent=1, ensure_ascii=False))
    else:
        print(f"{name}: {api.run_status(name).state.value}. `aitraining follow {name}` shows its progress.")
    return 0


def _runs(args: argparse.Namespace) -> int:
    rows = [summary.to_dict() for summary in api.runs()]
    tell_pause(api.runs_root())
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_table(rows)
        if rows and rows[0]["state"] in ENDED:  # the newest, which is what somebody who looks now wants to know about
            _tell_findings(rows[0]["name"])
    return 0


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print(f"No runs in {api.runs_root()} yet.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "state", "trainer", "model", "step", "best held-out", box=None)
    for row in rows:
        best = row["best_value"]
        cells = (row["name"], row["state"], row["trainer"], row["model"], f"{row['step']}/{row['total_steps']}")
        table.add_row(*(Text(str(cell)) for cell in cells), "" if best is None else f"{best:.4f}")
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
