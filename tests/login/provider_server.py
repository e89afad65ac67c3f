"""A provider of accounts that speaks as huggingface.co does (OpenID discovery, authorization code with PKCE, userinfo), on
this machine. It is strict: what RFC 6749, 7636 and OpenID Connect demand of a client is refused where it is missing."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import threading
from html import escape
from urllib.parse import parse_qs, quote, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "client-of-the-space", "a-secret-of-the-space"


class AccountServer:
    """`people` are those who can sign in: their mark, which never changes, and their name."""

    def __init__(self, people: dict[str, str]) -> None:
        self.people = people
        self.back = ""  # the one address that it sends people back to, as registered for the client
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, str] = {}
        self.refused: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/oauth/authorize", self.authorize),
                Route("/oauth/token", self.token, methods=["POST"]),
                Route("/oauth/userinfo", self.userinfo),
            ]
        )
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="warning"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> AccountServer:
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    def discovery(self, request: Request) -> Response:
        places = {f"{name}_endpoint": f"{self.url}/oauth/{path}" for name, path in _PLACES.items()}
        return JSONResponse({"issuer": self.url, **places})

    def authorize(self, request: Request) -> Response:
        """Asks who it is, as a page with a link for each person; `as` in the address is what such a link adds."""
        asked = request.query_params
        right = {"response_type": "code", "client_id": CLIENT, "redirect_uri": self.back, "code_challenge_method": "S256"}
        wrong = [name for name, value in right.items() if asked.get(name) != value]
        wrong += [name for name in ("state", "code_challenge") if len(asked.get(name, "")) < 32]
        if wrong or "openid" not in asked.get("scope", "").split():
            return self._no(f"authorize: {wrong}")
        if asked.get("as") == "nobody":
            return RedirectResponse(f"{self.back}?{urlencode({'error': 'access_denied', 'state': asked['state']})}", 302)
        if asked.get("as") not in self.people:
            here = escape(str(request.url))
            people = self.people.items()
            links = "".join(f'<p><a href="{here}&amp;as={quote(one)}">Sign in as {name}</a>' for one, name in people)
            return HTMLResponse(f"<h1>Who are you?</h1>{links}")
        code = secrets.token_urlsafe(16)
        self.codes[code] = {"challenge": asked["code_challenge"], "subject": asked["as"]}
        return RedirectResponse(f"{self.back}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def token(self, request: Request) -> Response:
        asked = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        us = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        given = self.codes.pop(asked.get("code", ""), None)  # a code is good once
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        fits = given is not None and challenge.decode() == given["challenge"] and asked.get("redirect_uri") == self.back
        if request.headers.get("authorization") != f"Basic {us}" or asked.get("grant_type") != "authorization_code" or not fits:
            return self._no("token")
        assert given is not None
        token = f"hf_oauth_{secrets.token_urlsafe(16)}"
        self.tokens[token] = given["subject"]
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": 28800})

    def userinfo(self, request: Request) -> Response:
        subject = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if subject is None:
            return self._no("userinfo")
        return JSONResponse({"sub": subject, "preferred_username": self.people[subject], "name": "", "picture": ""})

    def _no(self, why: str) -> Response:
        self.refused.append(why)
        return JSONResponse({"error": "invalid_request"}, status_code=400)


_PLACES = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
