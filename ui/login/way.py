"""How people sign in here, read off the environment once, at the start.

- On this machine alone (127.0.0.1): not at all.
- Served to others: with one password, AITRAINING_PASSWORD, or one that is made up and printed at the start. Whoever knows it is
  the one person whose studio this is.
- On a Hugging Face Space with `hf_oauth: true`: with their own account. AITRAINING_ADMINS names those who see everything.
- On a Space with neither: nobody is let in, and the page says what its owner has to do.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from ui.reach import bound_here

PASSWORD, PEOPLE, CLOSED = "password", "people", "closed"
SHORTEST = 8
_HOURS = 24.0
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_OAUTH = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OPENID_PROVIDER_URL")


@dataclass(frozen=True)
class Way:
    """How people sign in. `secret` is the password or the provider's secret, and is never shown; `made_up` if nobody chose it.

    `space` is `owner/name` on a Space; `hours` is how long one stays signed in.
    """

    kind: str
    secret: str = field(default="", repr=False)
    made_up: bool = False
    client: str = ""
    provider: str = ""
    scopes: str = "openid profile"
    admins: frozenset[str] = frozenset()
    space: str = ""
    hours: float = _HOURS


def chosen(env: MutableMapping[str, str]) -> Way | None:
    """The way in, None for a page that only this machine can reach. Secrets are taken out of `env`: processes that train, and
    programs that score answers, have no use for them. So is the owner's own token for the Hub where strangers sign in.

    Raises:
        SystemExit: what the environment says cannot be used; with a sentence that says why.
    """
    password = env.pop("AITRAINING_PASSWORD", "")
    secret = env.pop("OAUTH_CLIENT_SECRET", "")
    space, hours = env.get("SPACE_ID", ""), _hours(env)
    if space and secret and all(env.get(name) for name in _OAUTH if name != "OAUTH_CLIENT_SECRET"):
        admins = frozenset(name.strip().lower() for name in env.get("AITRAINING_ADMINS", "").split(",") if name.strip())
        scopes = env.get("OAUTH_SCOPES") or "openid profile"
        if env.get("AITRAINING_SHARED_TOKEN") != "1":  # it reads what its owner may, for whoever asks
            for name in _TOKENS:
                env.pop(name, None)
        client, provider = env["OAUTH_CLIENT_ID"], env["OPENID_PROVIDER_URL"].rstrip("/")
        return Way(PEOPLE, secret, False, client, provider, scopes, admins, space, hours)
    if password:
        if len(password) < SHORTEST:
            raise SystemExit(f"AITRAINING_PASSWORD is too short: it needs at least {SHORTEST} characters.")
        return Way(PASSWORD, password, space=space, hours=hours)
    if space:
        return Way(CLOSED, space=space)
    if bound_here():
        return None
    return Way(PASSWORD, secrets.token_urlsafe(24), made_up=True, hours=hours)


def _hours(env: Mapping[str, str]) -> float:
    text = env.get("AITRAINING_SESSION_HOURS") or str(_HOURS)
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24 * 365:
        raise SystemExit(f"AITRAINING_SESSION_HOURS is {text!r}. Give a number of hours above 0, such as 8.")
    return hours
