"""Signing in with an account of the Hugging Face Hub: OAuth's authorization code with PKCE, spoken from our side.

The browser goes to the provider and comes back with a code. We exchange it there for a token, ask with that who it is, and
forget the token. That the answer is to our question is shown by `state`, and that the code was given to us by the verifier
(RFC 7636); both wait in a signed cookie of the browser that asked. Gradio's own login is built for its handlers alone, needs
two further packages, and keeps the token in a cookie that can be read.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any
from urllib.parse import urlencode

import httpx

from ui.login.way import Way

_TIMEOUT_S = 15.0


class SignInFailed(Exception):
    """Why somebody could not sign in, in a sentence for them."""


class Provider:
    """Who knows the people: an OpenID provider, found by OPENID_PROVIDER_URL."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._found: dict[str, str] = {}

    async def question(self, came_from: str) -> tuple[str, dict[str, str]]:
        """Where the browser has to go, and what has to be known when it is back at `came_from`.

        Raises:
            SignInFailed: the provider does not answer.
        """
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._way.client,
            "redirect_uri": came_from,
            "scope": self._way.scopes,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        async with _client() as client:
            place = (await self._places(client))["authorization_endpoint"]
        return f"{place}?{urlencode(asked)}", {"state": state, "verifier": verifier}

    async def answer(self, code: str, verifier: str, came_from: str) -> tuple[str, str]:
        """Who it is: the provider's own mark for this person, which never changes, and their name.

        Raises:
            SignInFailed: the provider does not know this code, or does not answer.
        """
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": came_from, "code_verifier": verifier}
        async with _client() as client:
            places = await self._places(client)
            us = httpx.BasicAuth(self._way.client, self._way.secret)
            token = (await _json(client, "POST", places["token_endpoint"], data=asked, auth=us)).get("access_token")
            person = await _json(client, "GET", places["userinfo_endpoint"], headers={"Authorization": f"Bearer {token}"})
        subject, name = person.get("sub"), person.get("preferred_username")
        if not isinstance(subject, str) or not subject or not isinstance(name, str) or not name:
            raise SignInFailed("Hugging Face did not say who you are.")
        return subject, name

    async def _places(self, client: httpx.AsyncClient) -> dict[str, str]:
        if not self._found:
            self._found = await _json(client, "GET", f"{self._way.provider}/.well-known/openid-configuration")
            for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
                if not isinstance(self._found.get(name), str):
                    self._found = {}
                    raise SignInFailed("Hugging Face does not say where to sign in.")
        return self._found


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=_TIMEOUT_S)


async def _json(client: httpx.AsyncClient, method: str, address: str, **asked: Any) -> dict[str, Any]:
    try:
        answer = (await client.request(method, address, **asked)).raise_for_status().json()
    except httpx.HTTPStatusError as error:
        raise SignInFailed(f"Hugging Face did not accept this sign-in ({error.response.status_code}).") from error
    except (httpx.HTTPError, ValueError) as error:
        raise SignInFailed("Hugging Face does not answer.") from error
    if not isinstance(answer, dict):
        raise SignInFailed("Hugging Face gave an answer that cannot be read.")
    return answer
