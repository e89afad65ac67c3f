"""A finished model, uploaded to the Hugging Face Hub under the account of whoever is logged in.

The token is read by the Hub's own client, from HF_TOKEN or the stored login; it passes through no setting, file or log here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import ModelError, RunError
from engine.runs.directory import RunDirectory

HOW_TO_LOG_IN = "Put a token with the right to write into the environment variable HF_TOKEN, or log in with `hf auth login`."
# (bytes that are sent, bytes in all, the file that is next)
Tell = Callable[[int, int, str], None]


def upload(
    run: RunDirectory,
    model_id: str | None = None,
    *,
    private: bool = True,
    adapter: bool = False,
    tell: Tell = lambda done, total, file: None,
) -> str:
    """Put the run's finished model into a repository of the Hub and return its address.

    `model_id` is `name` or `owner/name`; without it the run's name is taken, without an owner the account's own. A new
    repository is private unless `private` is off; one that exists stays as it is. `adapter` sends the adapter alone. Files
    are sent one after the other, and show in the repository all at once when the last one is there.

    Raises:
        RunError: the run has no finished model, or no adapter.
        ModelError: nobody is logged in, the account may not write there, or the Hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = sent_folder(run, adapter=adapter)
    hub, wanted = HfApi(), model_id or run.name
    name = wanted if "/" in wanted else f"{_asked(wanted, hub.whoami)['name']}/{wanted}"
    made = _asked(name, hub.create_repo, name, private=private, exist_ok=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path: path.stat().st_size for path in paths}
    sent, files = 0, []
    for path in paths:
        tell(sent, sum(sizes.values()), path.name)
        one = CommitOperationAdd(path.relative_to(folder).as_posix(), path)
        _asked(name, hub.preupload_lfs_files, made.repo_id, [one])  # small files go with the commit
        files.append(one)
        sent += sizes[path]
    message = f"{run.name}, trained with AITraining Studio"
    _asked(name, hub.create_commit, made.repo_id, files, commit_message=message)
    tell(sent, sum(sizes.values()), "")
    return str(made)


def sent_folder(run: RunDirectory, *, adapter: bool) -> Path:
    """The folder that is uploaded.

    Raises:
        RunError: it is not there.
    """
    if not run.model_dir.is_dir():
        raise RunError(f"The run {run.name!r} has no finished model yet.", hint="A model is there once its run is done.")
    if adapter and not run.adapter_dir.is_dir():
        hint = "It trained all weights, or its adapter alone says not all; upload the model."
        raise RunError(f"The run {run.name!r} has no adapter beside its model.", hint=hint)
    return run.adapter_dir if adapter else run.model_dir


def _asked(name: str, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """What the Hub answers, or what kept it from answering in words."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError

    try:
        return call(*values, **named)
    except LocalTokenNotFoundError:
        raise ModelError("Nobody is logged in to the Hugging Face Hub.", hint=HOW_TO_LOG_IN) from None
    except HFValidationError as error:
        raise ModelError(f"{name!r} cannot be the name of a model on the Hub: {error}.") from None
    except HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise ModelError(
                f"The Hugging Face Hub does not let this account write to {name} ({code}).", hint=HOW_TO_LOG_IN
            ) from None
        raise ModelError(f"The Hugging Face Hub refused {name} ({code}).", hint="Try again later.") from None
    except (HTTPError, OSError) as error:
        kind = type(error).__name__
        raise ModelError(f"The Hugging Face Hub cannot be reached ({kind}).", hint="Check the network.") from None
