"""Data sets of the Hugging Face Hub: the files that are needed are fetched once into the Hub's own cache."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from engine.data.parts import Part, chosen, usual, without_part
from engine.errors import DataError
from engine.hub import account
from engine.hub.fetch import Tell, fetch
from engine.paths import expanded

_ID = re.compile(r"^[A-Za-z0-9][\w.\-]{0,95}/[\w.\-]{1,96}$")
_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv", "*.txt", "*.gz", "*.zip"]
# Descriptions of the repository, which are no rows.
_NOT_ROWS = ["*config*.json", "dataset_info*.json", "*metadata.json", ".*"]
_CARD = "README.md"
_SHARD = re.compile(r"-\d+-of-(\d+)\.")


def looks_like_id(text: str) -> bool:
    """Whether `text` could be a Hub id: two words with one slash between, and no data file's name."""
    return bool(_ID.match(text)) and Path(text).suffix.lower() not in {pattern[1:] for pattern in _FILES}


def on_hub(path: str) -> bool:
    """Whether a data path means a data set of the Hub, or a part of one, and nothing that is here."""
    source = without_part(path)
    return not expanded(path).exists() and not expanded(source).exists() and looks_like_id(source)


def fetched(reference: str, part: Part | None = None, tell: Tell = lambda done, total: None) -> tuple[Path, dict[str, str]]:
    """The folder of a Hub data set, and its data files or those of one part, downloaded when they are not in the cache; each
    with its split where the card names it.

    `tell` is called with the bytes that are here and the bytes in all while large files are downloaded.

    Raises:
        DataError: there is none by that id, it is gated, it has no such part, or the Hub cannot be reached.
    """
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError

    try:
        return _fetched(reference, part, tell)
    except GatedRepoError:
        raise DataError(
            f"The data set {reference} is gated: its owner gives it only to those who have accepted its terms.",
            hint=account.how_to_be_let_in(reference, "dataset"),
        ) from None
    except RepositoryNotFoundError:
        raise DataError(
            f"There is no file or folder {reference!r} here, and no data set of that id on the Hub that you may see.",
            hint=account.how_to_find("data set"),
        ) from None
    except (HTTPError, OSError) as error:  # an answer that says no, or no answer at all
        raise DataError(
            f"There is no file or folder {reference!r} here, and the Hugging Face Hub cannot be reached "
            f"({type(error).__name__}).",
            hint="Check the path, or the network.",
        ) from None


def _fetched(reference: str, part: Part | None, tell: Tell) -> tuple[Path, dict[str, str]]:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HTTPError, IncompleteSnapshotError, RepositoryNotFoundError

    try:
        names = HfApi().list_repo_files(reference, repo_type="dataset")
        card = hf_hub_download(reference, _CARD, repo_type="dataset") if _CARD in names else None
    except RepositoryNotFoundError:
        raise
    except (HTTPError, OSError):  # what was fetched before can be used without a network
        try:
            folder = Path(snapshot_download(reference, repo_type="dataset", local_files_only=True))
        except IncompleteSnapshotError as error:  # other parts are missing, which may not be wanted
            folder = Path(error.snapshot_path)
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        wanted = _wanted(names, folder / _CARD, reference, part)
        _refuse_lost_shards(list(wanted), reference)
        return folder, wanted
    wanted = _wanted(names, Path(card) if card else None, reference, part)
    return fetch(reference, list(wanted), kind="dataset", tell=tell), wanted


def _refuse_lost_shards(names: list[str], reference: str) -> None:
    """Files of the Hub say in their names how many belong together; some of them alone are not the data set."""
    shards: dict[str, tuple[int, int]] = {}
    for name in names:
        if found := _SHARD.search(name):
            stem = name[: found.start()]
            shards[stem] = (shards.get(stem, (0, 0))[0] + 1, int(found[1]))
    if lost := [stem for stem, (there, of) in shards.items() if there < of]:
        message = f"Only some of the files of {lost[0]} of {reference} are on this machine, and the Hub cannot be reached."
        raise DataError(message, hint="Try again with a network.")


def _wanted(names: list[str], card: Path | None, reference: str, part: Part | None) -> dict[str, str]:
    rows = [name for name in sorted(names) if _holds_rows(name)]
    if not rows:
        raise DataError(
            f"The data set {reference} has no data files that can be read.", hint=f"It has: {', '.join(names[:8])}."
        )
    text = card.read_text(encoding="utf-8", errors="replace") if card and card.is_file() else ""
    return chosen(rows, text, part) if part else usual(rows, text, reference)


def _holds_rows(name: str) -> bool:
    about = any(fnmatch(name, pattern) for pattern in _NOT_ROWS) or Path(name).name.startswith(".")
    return any(fnmatch(name.lower(), pattern) for pattern in _FILES) and not about
