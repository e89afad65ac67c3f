"""Parts of a data set: `name:split` and `name:config:split`, for a folder as for a data set of the Hub.

What parts there are is read off the data set's card (the `configs` of its README) or, without one, off the names of files
and folders. Works on names alone; nothing is opened or fetched here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

import yaml

from engine.errors import DataError

# Words for the usual splits, as file and folder names spell them.
SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "eval": "valid",
    "evaluation": "valid",
    "test": "test",
    "testing": "test",
}
_PART = re.compile(r"^(?P<source>[^:]+):(?:(?P<config>[\w.\-]+):)?(?P<split>[\w.\-]+)$")
_CARD = re.compile(r"^---\s*\n(.*?)\n---\s*(\n|$)", re.DOTALL)
# What stands between the words of a name, and the number of a part of a file: `-2`, `-00000-of-00003`.
_BETWEEN = re.compile(r"[\s._\-]+")
_NUMBER = re.compile(r"(?:-\d+)?(?:-of-\d+(?:-[0-9a-f]{16})?)?$")
# A folder of this name says nothing about its files.
_PLAIN_FOLDERS = ("data", "")
_DEFAULT = "default"

Configs = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Part:
    """A reference to a part; `config` is "" where only one word is given, which may be a split or a configuration."""

    source: str
    config: str
    split: str


def part_of(reference: str) -> Part | None:
    """The part that a reference names; None when it names no part."""
    found = _PART.match(reference)
    return Part(found["source"], found["config"] or "", found["split"]) if found else None


def without_part(reference: str) -> str:
    """The reference without the part that it names."""
    part = part_of(reference)
    return part.source if part else reference


def split_of(name: str) -> str:
    """The split that a file is of because it, else one of its folders, is called so: "train", "valid", "test", or ""."""
    return next((SPLITS[word] for word in _called(name) if word in SPLITS), "")


def split_within(name: str) -> str:
    """The split of which a file's name, else one of its folders', has a word: `faq-test.csv`; "" where it has several."""
    for part in _called(name):
        found = {SPLITS[word] for word in map(_plain, _BETWEEN.split(part)) if word in SPLITS}
        if found:
            return found.pop() if len(found) == 1 else ""
    return ""


def named_split(name: str) -> str:
    """A file's name without ending and number: `train_sft` of `data/train_sft-00000-of-00003.parquet`."""
    return _NUMBER.sub("", PurePosixPath(name).name.split(".")[0])


def _called(name: str) -> list[str]:
    """What a file and its folders are called, the nearest first, without endings and numbers, in small letters."""
    path = PurePosixPath(name.lower().removesuffix(".gz"))
    words = [path.stem, *(folder.removesuffix(".zip") for folder in reversed(path.parent.parts))]
    return [_plain(_NUMBER.sub("", word)) for word in words]


def _plain(word: str) -> str:
    return word.rstrip("0123456789").rstrip("_-. ")


def chosen(names: list[str], card: str, part: Part) -> dict[str, str]:
    """The files among `names` that make up a part, given the data set's card; each with its split where the card names it.

    Raises:
        DataError: there is no such part; says which there are.
    """
    configs, said = _configs(names, card)
    default = _default(configs)
    if part.config:
        found = _split(configs.get(part.config, {}), part.split)
    else:
        within = _split(configs[default], part.split) if default is not None else {}
        found = within or configs.get(part.split, {})
    if not found:
        raise DataError(f"{part.source} has no part {_spelled(part)!r}.", hint=f"There are: {_listed(configs)}.")
    return _files_of(found, said)


def usual(names: list[str], card: str, source: str) -> dict[str, str]:
    """The files that a data set means when no part of it is named; each with its split where the card names it.

    Raises:
        DataError: it has several configurations, and none of them is its usual one.
    """
    configs, said = _configs(names, card)
    default = _default(configs)
    if default is None:
        raise DataError(
            f"{source} holds several data sets: {', '.join(configs)}.",
            hint=f"Say which one, as in {source}:{next(iter(configs))}, or with a split. There are: {_listed(configs)}.",
        )
    return _files_of(configs[default], said)


def has_configs(names: list[str], card: str) -> bool:
    """Whether the card says which of these files belong together."""
    return _configs(names, card)[1]


def _files_of(splits: dict[str, list[str]], said: bool) -> dict[str, str]:
    return {name: split if said else "" for split, files in splits.items() for name in files}


def _configs(names: list[str], card: str) -> tuple[Configs, bool]:
    """Configuration → split → files, as the card says, else as the names say; and whether it was the card."""
    described = {config: splits for config, splits in _described(names, card) if any(splits.values())}
    if described:
        return described, True
    configs: Configs = {}
    for name in names:
        top = PurePosixPath(name).parts[0] if "/" in name else ""
        config = _DEFAULT if top in _PLAIN_FOLDERS or top.lower() in SPLITS else top
        configs.setdefault(config, {}).setdefault(_split_word(name), []).append(name)
    return configs, False


def _described(names: list[str], card: str) -> list[tuple[str, dict[str, list[str]]]]:
    found = _CARD.match(card)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return []
    listed = head.get("configs") if isinstance(head, dict) else None
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    usual_first = sorted(entries, key=lambda entry: not entry.get("default"))
    return [(str(entry.get("config_name") or _DEFAULT), _files(names, entry)) for entry in usual_first]


def _files(names: list[str], entry: dict[str, Any]) -> dict[str, list[str]]:
    folder = str(entry.get("data_dir") or "").strip("/")
    below = [name for name in names if not folder or name.startswith(folder + "/")]
    given, splits = entry.get("data_files"), dict[str, list[str]]()
    if given is None:
        for name in below:
            splits.setdefault(_split_word(name), []).append(name)
        return splits
    rules = given if isinstance(given, list) else [given]
    for rule in rules:
        split, patterns = (rule.get("split"), rule.get("path")) if isinstance(rule, dict) else (None, rule)
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            whole = f"{folder}/{pattern}" if folder else str(pattern)
            for name in (name for name in names if fnmatchcase(name, whole)):
                splits.setdefault(str(split or _split_word(name)), []).append(name)
    return splits


def _split_word(name: str) -> str:
    """The split's name as the file spells it: `train_sft` of `data/train_sft-00000-of-00003.parquet`."""
    word = named_split(name)
    known = split_of(name)
    return word if word.lower() in SPLITS or not known else known


def _split(splits: dict[str, list[str]], wanted: str) -> dict[str, list[str]]:
    """The split of that name, or those that have another word for the same; one whose name only holds it, if there is one."""
    if wanted in splits:
        return {wanted: splits[wanted]}
    same = SPLITS.get(wanted.lower(), "")
    called = {split: files for split, files in splits.items() if same and SPLITS.get(split.lower()) == same}
    within = {split: files for split, files in splits.items() if same and split_within(split) == same}
    return called or (within if len(within) == 1 else {})


def _default(configs: Configs) -> str | None:
    """The configuration that is meant when none is named: the only one, or the one of that name."""
    return next(iter(configs)) if len(configs) == 1 else _DEFAULT if _DEFAULT in configs else None


def _spelled(part: Part) -> str:
    return f"{part.config}:{part.split}" if part.config else part.split


def _listed(configs: Configs) -> str:
    several = len(configs) > 1
    words = [f"{config}:{split}" if several else split for config, splits in configs.items() for split in splits]
    return ", ".join(words[:12]) or "none"
