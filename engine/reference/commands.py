"""docs/cli.md: every command with its flags, read off the very parsers that read a person's words."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from engine import cli
from engine.reference.table import table
from engine.registry import specs

_OPENING = """# Command line

`aitraining` is installed with the app (`.venv/bin/aitraining` in a checkout; `source .venv/bin/activate` puts it on the
path). Without a command, on a terminal, it asks the questions of the first page. `aitraining COMMAND --help` says what
stands here.

## Exit codes

| code | |
|---|---|
| 0 | what was asked for is done |
| 1 | it failed; the sentence on standard error says why and what to do |
| 2 | the command line or a setting is wrong; every wrong setting is named |
| 3 | the run was stopped or interrupted |
| 130 | Ctrl-C; a run that was watched goes on, and one that was asked to stop still stops |

## Environment
"""
_ENVIRONMENT = (
    ("`AITRAINING_HOME`", "where runs live; without it, `./runs`"),
    ("`PORT`", "the port of the page; without it `GRADIO_SERVER_PORT`, else 7860"),
    (
        "`GRADIO_TEMP_DIR`",
        "where files land that are sent to the page, until they are in the store; without it a folder beside the runs, in "
        "which what is older than a day is deleted at the start. In a folder that this names nothing is deleted",
    ),
    (
        "`AITRAINING_HOST`",
        "the address that the page is served on; `127.0.0.1` without it. `0.0.0.0` serves it to others: then it asks for a "
        "password, and reads nothing but uploads, samples and runs ([sharing.md](sharing.md))",
    ),
    ("`AITRAINING_PASSWORD`", "the password that it asks for; without it one is made up and printed at the start"),
    ("`AITRAINING_SESSION_HOURS`", "how long one stays signed in; 24 without it"),
    ("`AITRAINING_RUNS_EACH`", "how many runs of one person may wait or work at once on a page for others; 50 without it"),
    (
        "`AITRAINING_UPLOAD_MB`",
        "how many megabytes a file may have that is sent to the page; without it 2000 on a page for others, and as many as "
        "the disk has on one's own",
    ),
    ("`AITRAINING_ADMINS`", "names, with commas between them, of those who see, stop and delete everybody's runs on a Space"),
    (
        "`AITRAINING_PERSON`",
        "whose runs a command works on, on a machine that people sign in to: the name of their folder, or `local`",
    ),
    ("`AITRAINING_LOGINS`", "set by a page with logins for the processes that it starts: they then work for one person only"),
    ("`AITRAINING_SHARED_TOKEN`", "`1` reads the Hub with the server's own `HF_TOKEN` for everybody who signs in"),
    (
        "`AITRAINING_HOSTS`",
        "further names, with commas between them, under which a page that is served to this machine alone answers: those of a "
        "proxy in front of it",
    ),
    ("`AITRAINING_CONTAINER`", "`1` says that all processes end with the page, so that runs at work save when it does"),
    ("`AITRAINING_STORAGE`", "on a Space, where its storage is mounted; `/data` without it"),
    ("`AITRAINING_TORCH`", "which PyTorch an image was built with, `cpu` or `cuda`; set by the image"),
    ("`AITRAINING_ALLOW_PYTHON_REWARDS`", "`1` lets whoever opens the page name a Python file that scores answers"),
    ("`AITRAINING_TEACHER_KEY`", "the key of a teacher's server, for prompt distillation; written nowhere"),
    ("`OPENAI_API_KEY`", "the same where the teacher is at https://api.openai.com; no other server is sent it"),
    (
        "`AITRAINING_PLACES`",
        "how many runs are at work at once; without it one a GPU, and one on a processor, whose cores several would share",
    ),
    ("`AITRAINING_ALL_GPUS`", "set by the queue for its workers, each of which sees its own GPU alone: which there are"),
    ("`AITRAINING_STANDBY`", "`0` keeps no process warm; runs then start some seconds later"),
    (
        "`HF_TOKEN`, `HF_HOME`, `HF_HUB_OFFLINE`",
        "the Hugging Face Hub's own: login (`HUGGING_FACE_HUB_TOKEN` is its older name), where downloads are kept, no network",
    ),
)
_SETTINGS_NOTE = """Every setting is a flag, written with dashes or with underscores; a switch has a `--no-` form. Lists and
mappings are JSON, a list may also be its lines. The same as one table: [settings.md](settings.md); which ones matter, and why:
the [guides](README.md#trainers).
"""


@dataclass(frozen=True)
class Option:
    """One flag or argument of a command, in its group, with its help."""

    group: str
    words: str
    about: str


def page() -> str:
    """The whole page."""
    by_trainer = {name: commands(name) for name in specs()}
    first = next(iter(by_trainer.values()))
    parts = [_OPENING, table(("variable", ""), _ENVIRONMENT)]
    for name, (about, _) in first.items():
        each = {trainer: made[name][1] for trainer, made in by_trainer.items()}
        parts.append(f"\n## aitraining {name}\n\n{about}\n")
        parts.append(_tables(each))
    return "\n".join(parts)


def commands(trainer: str) -> dict[str, tuple[str, list[Option]]]:
    """Every command by its name: what it is for, and its options when `--trainer` names this trainer."""
    parser = cli._parser(["llm", "--trainer", trainer])
    (choice,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: (_about(sub), list(_options(sub))) for name, sub in choice.choices.items()}


def _about(parser: argparse.ArgumentParser) -> str:
    """What a command is for; what its help sets in is kept as it is."""
    paragraphs = (parser.description or "").strip().split("\n\n")
    return "\n\n".join(f"```text\n{part}\n```" if part.startswith("  ") else part for part in paragraphs)


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for group in parser._action_groups:
        for action in group._group_actions:
            if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
                yield Option(str(group.title), _words(action), (action.help or "").replace("%%", "%"))


def _words(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    # --snake_case is said once for all
    named = [flag for flag in action.option_strings if flag.startswith("--") and "_" not in flag] or action.option_strings
    value = "" if action.nargs in (0, "?") else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{flag}{value}`" for flag in named)


def _tables(each: dict[str, list[Option]]) -> str:
    """The options of all trainers in their groups, then those that only some have."""
    known = list(each.values())
    shared = [option for option in known[0] if all(option in options for options in known)]
    varies = any(len(options) > len(shared) for options in known)
    parts = [_SETTINGS_NOTE] if varies else []
    parts += _grouped(shared, titled=varies)
    for trainer, options in each.items():
        own = [option for option in options if option not in shared]
        if own:
            parts.append(f"### Only `--trainer {trainer}`\n")
            parts.append(table(("flag", ""), ((option.words, option.about) for option in own)))
    return "\n".join(parts) if parts else "It takes no arguments.\n"


def _grouped(options: list[Option], *, titled: bool) -> Iterator[str]:
    for group in dict.fromkeys(option.group for option in options):
        rows = [(option.words, option.about) for option in options if option.group == group]
        if titled:
            yield f"### {group[:1].upper()}{group[1:]}\n"
            yield table(("flag", ""), rows)
    if not titled and options:
        yield table(("argument", ""), [(option.words, option.about) for option in options])
