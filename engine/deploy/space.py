"""A Space of one's own with the studio in it: made if it is not there, brought up to date if it is.

The token is read by the Hub's own client, from HF_TOKEN or the stored login, and passes through nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.deploy.files import space_readme
from engine.errors import DeployError
from engine.hosting import SPACE_STORAGE
from engine.hub.account import logged_in
from engine.hub_upload import HOW_TO_LOG_IN

_README = "README.md"
_KEPT = (".gitattributes",)  # the Hub's own
# A Space that has this file is a studio, and may be written over.
_OURS = "engine/hosting.py"


@dataclass(frozen=True)
class Wish:
    """What a person wants of a Space. `None` leaves things as they are; `private` is for one that is yet to be made."""

    space: str
    private: bool = True
    hardware: str | None = None
    sleep_s: int | None = None
    storage: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Deployed:
    """Where the Space is, and whether it is new."""

    space: str
    address: str
    created: bool
    files: int


def deploy(wish: Wish, root: Path, files: list[str]) -> Deployed:
    """Make the Space, or bring it up to date: files, variables, secrets, storage, hardware, in this order.

    Raises:
        DeployError: nobody is logged in, the name is not this account's, another Space has it, or the Hub refuses.
    """
    from huggingface_hub import HfApi

    if not logged_in():
        raise DeployError("Nobody is logged in to the Hugging Face Hub.", hint=HOW_TO_LOG_IN)
    hub = HfApi()
    name = _named(hub, wish.space)
    created = _make(hub, name, wish)
    for key, value in {**_torch(wish.hardware), **wish.variables}.items():
        _asked(name, hub.add_space_variable, name, key, value)
    for key, value in wish.secrets.items():
        _asked(name, hub.add_space_secret, name, key, value)
    if wish.storage:
        _mount(hub, name)
    if wish.hardware:
        _asked(name, hub.request_space_hardware, name, wish.hardware, sleep_time=wish.sleep_s)
    elif wish.sleep_s is not None:
        _asked(name, hub.set_space_sleep_time, name, wish.sleep_s)
    _send(hub, name, root, files)  # last: it is what makes the Space build, with all the rest in place
    return Deployed(name, f"{hub.endpoint}/spaces/{name}", created, len(files))


def _named(hub: Any, wanted: str) -> str:
    """`owner/name`; without an owner, the account's own.

    Raises:
        DeployError: the owner is neither this account nor an organisation that it belongs to.
    """
    me = _asked(wanted, hub.whoami)
    owner, _, name = wanted.rpartition("/")
    own = [str(me["name"]), *(str(org["name"]) for org in me.get("orgs", []))]
    if owner and owner not in own:
        raise DeployError(
            f"{wanted} is not yours to make: you are logged in as {own[0]}.",
            hint=f"Name it {own[0]}/{name}, or log in as {owner}.",
        )
    return f"{owner or own[0]}/{name}"


def _make(hub: Any, name: str, wish: Wish) -> bool:
    """Make the Space if there is none; True if there was none.

    Raises:
        DeployError: there is one, and it is no studio.
    """
    if not _asked(name, hub.repo_exists, name, repo_type="space"):
        _asked(name, hub.create_repo, name, repo_type="space", space_sdk="docker", private=wish.private, exist_ok=True)
        return True
    there = set(_asked(name, hub.list_repo_files, name, repo_type="space")) - {*_KEPT, _README}
    if there and _OURS not in there:
        raise DeployError(
            f"There is a Space {name} already, and it holds something else.",
            hint="Choose another name; nothing was changed.",
        )
    return False


def _torch(hardware: str | None) -> dict[str, str]:
    """The variable that says which PyTorch the image gets: a Space's variables are arguments of its build."""
    if hardware is None:
        return {}
    return {"TORCH": "cpu" if hardware.startswith("cpu") else "cuda"}


def _mount(hub: Any, name: str) -> None:
    """A private bucket of the same owner, mounted where the studio looks for storage; other volumes stay."""
    from huggingface_hub import Volume

    there = _asked(name, hub.get_space_runtime, name).volumes or []
    if any(volume.mount_path == SPACE_STORAGE for volume in there):
        return
    bucket = f"{name}-storage"
    _asked(bucket, hub.create_bucket, bucket, private=True, exist_ok=True)
    volumes = [*there, Volume(type="bucket", source=bucket, mount_path=SPACE_STORAGE)]
    _asked(name, hub.set_space_volumes, name, volumes)


def _send(hub: Any, name: str, root: Path, files: list[str]) -> None:
    """One commit that makes the Space hold these files and no others."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    readme = space_readme((root / _README).read_text(encoding="utf-8")).encode()
    added = [CommitOperationAdd(one, readme if one == _README else root / one) for one in files]
    there = _asked(name, hub.list_repo_files, name, repo_type="space")
    gone = [CommitOperationDelete(one) for one in sorted(set(there) - set(files) - set(_KEPT))]
    message = "AITraining Studio"
    _asked(name, hub.create_commit, name, [*added, *gone], commit_message=message, repo_type="space")


def _asked(name: str, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """What the Hub answers, or what kept it from answering in words."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError

    try:
        return call(*values, **named)
    except LocalTokenNotFoundError:
        raise DeployError("Nobody is logged in to the Hugging Face Hub.", hint=HOW_TO_LOG_IN) from None
    except HFValidationError as error:
        raise DeployError(f"{name!r} cannot be the name of a Space: {error}.") from None
    except HfHubHTTPError as error:
        raise _refused(name, error.response.status_code, error.server_message or "") from None
    except (HTTPError, OSError) as error:
        kind = type(error).__name__
        raise DeployError(f"The Hugging Face Hub cannot be reached ({kind}).", hint="Check the network.") from None


def _refused(name: str, code: int, said: str) -> DeployError:
    told = f" It says: {said}" if said else ""
    if code == 401:
        return DeployError("The Hugging Face Hub does not accept this token.", hint=HOW_TO_LOG_IN)
    if code == 402:
        hint = "Choose other hardware or storage, or add a way to pay in the account's settings."
        return DeployError(f"The Hugging Face Hub wants to be paid for this.{told}", hint=hint)
    if code == 403:
        return DeployError(f"The Hugging Face Hub does not let this account write to {name}.{told}", hint=HOW_TO_LOG_IN)
    return DeployError(f"The Hugging Face Hub refused {name} ({code}).{told}", hint="Try again later.")
