"""Whether somebody is logged in to the Hub, and what to do where the Hub says no, in plain words.

The token itself is read by the Hub's own client, from HF_TOKEN or the login that `hf auth login` stored.
"""

from __future__ import annotations


def logged_in() -> bool:
    """Whether there is a token; what it may do is seen when it does it."""
    from huggingface_hub import get_token

    return bool(get_token())


def address_of(reference: str, kind: str = "model") -> str:
    """The page of a model or data set on the Hub."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{reference}"


def how_to_log_in(right: str = "read") -> str:
    """How a token comes here, in a sentence or two."""
    from huggingface_hub import constants

    return (
        f"Make a token with the right to {right} at {constants.ENDPOINT}/settings/tokens, then run `hf auth login` on the "
        "machine of the studio and paste it there, or start the studio with it in the environment variable HF_TOKEN."
    )


def how_to_be_let_in(reference: str, kind: str = "model") -> str:
    """What to click, and where, before a gated model or data set is handed out."""
    page = address_of(reference, kind)
    if logged_in():
        return (
            f"You are logged in, but the account of your token has not been let in. Open {page} as that account and press "
            "“Agree and access repository”; where the owner answers by hand, wait for the mail. A fine-grained token also "
            "needs the right to read gated repositories. Then try again."
        )
    return f"1. Open {page}, sign in, and press “Agree and access repository”.\n2. {how_to_log_in()}\n3. Try again."


def how_to_find(what: str = "model") -> str:
    """What to look at where there is nothing of a name."""
    if logged_in():
        return f"Check the spelling. If it is a private {what}, the account of your token must be allowed to see it."
    return f"Check the spelling. A private {what} is shown only to its members: {how_to_log_in()}"
