"""Command-line flags, read off a trainer's parameter model: names, types and groups come from the fields.

argparse only splits the words here; ranges and choices are judged by the model, so that the command line, the page and
Python say the same sentences. How the help looks is in flag_help.py.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from engine.compatibility import Translation, is_older, trainer_of, translated
from engine.config_file import read_mapping
from engine.errors import FieldProblem, ParamError
from engine.field_words import plain_type
from engine.flag_help import FlagHelp, about, grouped, metavar
from engine.params import LLMTrainingParams, flag
from engine.paths import expanded
from engine.registry import parse, spec_for, specs

_FALLBACK_TRAINER = "sft"
_UNSET = argparse.SUPPRESS  # a flag that was not given leaves no attribute, so the field's own default counts


class Switch(argparse.Action):
    """A setting that is on or off: `--x`, `--no-x`, and `--x true` as older tools write it."""

    def __init__(self, option_strings: Sequence[str], dest: str, **about: Any) -> None:
        names = [*option_strings, *(f"--no-{name[2:]}" for name in option_strings)]
        super().__init__(names, dest, nargs="?", **about)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        off = bool(option_string and option_string.startswith("--no-"))
        if off and values is not None:
            parser.error(f"{option_string} takes no value, and {values!r} stands behind it.")
        setattr(namespace, self.dest, not off if values is None else values)


def known_trainer(words: Sequence[str]) -> str | None:
    """The trainer that the words name (flag or settings file), read before the real parsing; None when they name none.

    `--preview-trainer` shows another trainer's flags in the help and changes nothing else.
    """
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    peek.add_argument("--trainer", nargs="?")
    peek.add_argument("--preview-trainer", "--preview_trainer", nargs="?")
    peek.add_argument("--config", nargs="?")
    found, _ = peek.parse_known_args(list(words))
    if found.preview_trainer and {"-h", "--help"} & set(words):
        return spec_for(found.preview_trainer).id
    named = trainer_of({"trainer": found.trainer} if found.trainer else _config(found.config) if found.config else {})
    return spec_for(named).id if named else None


def add_flags(parser: argparse.ArgumentParser, trainer: str | None) -> None:
    """Add every flag that `trainer` reads, in the groups of its form, in --kebab-case and --snake_case.

    Without a trainer the flags of plain SFT stand for those of all.
    """
    parser.formatter_class = FlagHelp
    parser.usage = "%(prog)s --trainer TRAINER --data-path DATA [SETTINGS]\n       %(prog)s --config FILE [SETTINGS]"
    parser.set_defaults(_config_file=None, _trainer=trainer)
    cls = spec_for(trainer or _FALLBACK_TRAINER).params
    general = parser.add_argument_group("Settings file")
    general.add_argument("--config", dest="_config_file", metavar="FILE", help="YAML settings; flags given here win.")
    general.add_argument(
        "--preview-trainer",
        "--preview_trainer",
        dest="_preview_trainer",
        metavar="TRAINER",
        help="With --help: show this trainer's settings. Changes nothing about the run.",
    )
    for title, names in grouped(cls, named=trainer is not None):
        group = parser.add_argument_group(title)
        for name in names:
            spellings = dict.fromkeys((flag(name), "--" + name))
            kind: dict[str, Any] = {"dest": name, "default": _UNSET, "help": about(cls, name)}
            if plain_type(cls.model_fields[name].annotation) is bool:
                group.add_argument(*spellings, action=Switch, **kind)
            else:
                group.add_argument(*spellings, metavar=metavar(cls, name), **kind)


def take_older(args: argparse.Namespace, unknown: Sequence[str]) -> None:
    """Take the words that argparse did not know: flags of older tools, or an error that names the nearest right flag.

    Raises:
        ParamError: a word is no flag of any kind.
    """
    args._older = {}
    words, strange = list(unknown), list[FieldProblem]()
    while words:
        word, sign, value = words.pop(0).partition("=")
        name = word.lstrip("-").replace("-", "_")
        behind = value if sign else words.pop(0) if words and not words[0].startswith("--") else True
        if word.startswith("--") and is_older(name):
            args._older[name] = behind
        else:
            strange.append(FieldProblem(name, _unknown(word, args._trainer)))
    if strange:
        trainer = f" --trainer {args._trainer}" if args._trainer else ""
        raise ParamError([*strange, *_also_wrong(args)], hint=f"`aitraining llm{trainer} --help` lists the flags.")


def _also_wrong(args: argparse.Namespace) -> list[FieldProblem]:
    """What is wrong besides with the settings of a run, so that a command line is corrected once. Those of a sweep are judged
    with each of its combinations.
    """
    if args.command != "llm":
        return []
    try:
        given_values(args).judged(parse)
    except ParamError as error:
        return error.problems
    return []


def given_values(args: argparse.Namespace) -> Translation:
    """What the person gave: the settings file, and the flags over it. Objects and lists are JSON, a list may be its lines.

    Its `problems` name JSON that is wrong and names of older tools that have no counterpart.

    Raises:
        ParamError: no trainer is named, or the file cannot be read.
    """
    file = translated(_config(args._config_file)) if args._config_file else Translation({})
    given = {name: value for name, value in vars(args).items() if not name.startswith("_")}
    trainer = str(given.get("trainer") or file.values.get("trainer") or "")
    if not trainer:
        message = f"Which trainer? Give --trainer, one of: {', '.join(specs())}."
        raise ParamError([FieldProblem("trainer", message)])
    read, wrong = _read_all(spec_for(trainer_of({"trainer": trainer})).params, given)
    flags = translated({**read, **getattr(args, "_older", {}), "trainer": trainer}, over=file.values)
    problems = [*file.problems, *wrong, *flags.problems]
    return Translation({**file.values, **flags.values}, [*file.lines, *flags.lines], problems)


def _read_all(cls: type[LLMTrainingParams], given: dict[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """The values of those words that are settings, and what is wrong with those that cannot be read."""
    read, wrong = dict[str, Any](), list[FieldProblem]()
    for name in (name for name in given if name in cls.model_fields):
        try:
            read[name] = read_value(cls, name, given[name])
        except ParamError as error:
            wrong += error.problems
    return read, wrong


def read_value(cls: type[LLMTrainingParams], name: str, words: Any) -> Any:
    """The value of the setting `name` that its words on a command line stand for; the model judges it.

    Raises:
        ParamError: JSON was needed and is not there.
    """
    return _read(name, words, plain_type(cls.model_fields[name].annotation)) if name in cls.model_fields else words


def _config(path: str) -> dict[str, Any]:
    try:
        return read_mapping(expanded(path).read_text(encoding="utf-8"))
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
    text = value if kind is list or value.lstrip().startswith("{") else _written(name, value)
    try:
        return json.loads(text)
    except ValueError as error:
        example = '\'{"prompt": "Question"}\'' if kind is dict else "'[\"Hello!\"]'"
        problem = FieldProblem(name, f"{flag(name)} takes JSON such as {example}: {error}.")
        raise ParamError([problem]) from None


def _written(name: str, path: str) -> str:
    """What stands in the file that was named in place of JSON."""
    try:
        return expanded(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        sentence = f"{flag(name)} takes JSON or a file of it, and {path} cannot be read: {why}."
        raise ParamError([FieldProblem(name, sentence)]) from None


def _unknown(word: str, trainer: str | None) -> str:
    """A sentence about a word that is no flag of this trainer, with the nearest one that is."""
    if not word.startswith("-"):
        return f"{word!r} belongs to no flag; a value stands behind its flag, with quotes around it where it has spaces."
    name = word.lstrip("-").replace("-", "_")
    cls = spec_for(trainer or _FALLBACK_TRAINER).params
    owners = " and ".join(s.id for s in specs().values() if name in s.params.model_fields)
    # a flag that there is, for another trainer, is less likely to be a slip of the keyboard
    near = difflib.get_close_matches(flag(name), [flag(n) for n in cls.model_fields], n=1, cutoff=0.75 if owners else 0.6)
    guess = f" Did you mean {near[0]}?" if near else ""
    if not owners:
        return f"There is no flag {word}.{guess}"
    if trainer is None:
        return f"{word} belongs to the trainer {owners}: name it with --trainer."
    return f"{word} belongs to the trainer {owners}; {trainer} does not use it.{guess}"


class PlainErrors(argparse.ArgumentParser):
    """argparse whose complaints are errors like all others: one sentence, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line as a ParamError."""
        sentence = message[:1].upper() + message[1:].rstrip(".") + "."
        raise ParamError([FieldProblem("", sentence)], hint=f"`{self.prog} --help` shows how it is used.")
