"""What the Hugging Face Hub says when it is asked for machines, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import DeviceError
from engine.hub_upload import HOW_TO_LOG_IN

ACCOUNT = "https://huggingface.co/settings/billing"


class Unreachable(DeviceError):
    """The Hub gave no answer; it may later."""


def asked(call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """What the Hub answers.

    Raises:
        Unreachable: nothing, or that it is out of order.
        DeviceError: it refused, and why.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError

    try:
        return call(*values, **named)
    except LocalTokenNotFoundError:
        raise DeviceError("Nobody is logged in to Hugging Face.", hint=HOW_TO_LOG_IN) from None
    except HfHubHTTPError as error:
        raise _refusal(error.response.status_code, _said(error)) from None
    except (HTTPError, OSError) as error:
        raise Unreachable(
            f"Hugging Face cannot be reached ({type(error).__name__}).", hint="Check the network, or train on this machine."
        ) from None


def _refusal(code: int, said: str) -> DeviceError:
    why = f" It says: {said}" if said else ""
    if code == 401:
        return DeviceError("Hugging Face does not know this token (401).", hint=HOW_TO_LOG_IN)
    if code == 402:
        return DeviceError(
            f"The Hugging Face account cannot pay for this machine (402).{why}",
            hint=f"Jobs need a paid plan or credit: {ACCOUNT}",
        )
    if code == 403:
        return DeviceError(
            f"This token or account may not start Jobs (403).{why}",
            hint=f"The token needs the right to write and to start Jobs, and the account a paid plan or credit: {ACCOUNT}",
        )
    if code >= 500 or code == 429:
        return Unreachable(f"Hugging Face has no answer now ({code}).", hint="Try again later, or train on this machine.")
    return DeviceError(f"Hugging Face refused ({code}).{why}", hint="Check hardware and owner in the settings.")


def _said(error: Any) -> str:
    words = str(getattr(error, "server_message", "") or "").strip()
    return words if not words or words.endswith(".") else f"{words}."
