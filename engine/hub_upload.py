"""A finished model, uploaded to the Hugging Face Hub under the account of whoever is logged in.

The token is read by the Hub's own client, from HF_TOKEN or the stored login; it passes through no setting, file or log here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import ModelError, RunError
from engine.runs.directory import RunDirectory

HOW_TO_LOG_IN = "Put a token with the right to write into the environment variable HF_TOKEN, or log in with `hf auth login`."


def upload(run: RunDirectory, model_id: str | None = None, *, private: bool = True) -> str:
    """Put the run's finished model into a repository of the Hub and return its address.

    `model_id` is `name` or `owner/name`; without it the run's name is taken, without an owner the account's own. A new
    repository is private unless `private` is off; one that exists stays as it is.

    Raises:
        RunError: the run has no finished model.
        ModelError: nobody is logged in, the account may not write there, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    if not run.model_dir.is_dir():
        raise RunError(f"The run {run.name!r} has no finished model yet.", hint="A model is there once its run is done.")
    hub, wanted = HfApi(), model_id or run.name
    name = wanted if "/" in wanted else f"{_asked(wanted, hub.whoami)['name']}/{wanted}"
    made = _asked(name, hub.create_repo, name, private=private, exist_ok=True)
    message = f"{run.name}, trained with AITraining Studio"
    _asked(name, hub.upload_folder, repo_id=made.repo_id, folder_path=run.model_dir, commit_message=message)
    return str(made)


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
