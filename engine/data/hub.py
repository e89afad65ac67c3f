"""Data sets of the Hugging Face Hub: their data files are fetched once into the Hub's own cache and read like a folder."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import DataError

_ID = re.compile(r"^[A-Za-z0-9][\w.\-]{0,95}/[\w.\-]{1,96}$")
_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv", "*.txt", "*.gz", "*.zip"]
# Descriptions of the repository, which are no rows.
_NOT_ROWS = ["*config*.json", "dataset_info*.json", "*metadata.json", ".*"]


def looks_like_id(text: str) -> bool:
    """Whether `text` could be a Hub id: two words with one slash between, and no data file's name."""
    return bool(_ID.match(text)) and Path(text).suffix.lower() not in {pattern[1:] for pattern in _FILES}


def fetched(reference: str) -> Path:
    """The folder with the data files of a Hub data set; downloaded when it is not in the cache.

    Raises:
        DataError: there is none by that id, it is gated, or the Hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(reference, repo_type="dataset", allow_patterns=_FILES, ignore_patterns=_NOT_ROWS))
    except GatedRepoError:
        raise DataError(
            f"The data set {reference} is gated: its owner asks you to accept terms first.",
            hint=f"Open https://huggingface.co/datasets/{reference}, accept, and set HF_TOKEN.",
        ) from None
    except RepositoryNotFoundError:
        raise DataError(
            f"There is no file or folder {reference!r} here, and no data set of that id on the Hugging Face Hub.",
            hint="Check the spelling; a private data set needs HF_TOKEN.",
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"There is no file or folder {reference!r} here, and the Hugging Face Hub cannot be reached "
            f"({type(error).__name__}).",
            hint="Check the path, or the network.",
        ) from None
