"""The way in: the login page, the password, the sign-in with a Hugging Face account, signing out, and who asks now."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from engine import api
from ui.login import page
from ui.login.guesses import Guesses, in_words
from ui.login.provider import Provider, SignInFailed
from ui.login.sessions import Session, Sessions, same
from ui.login.way import CLOSED, PASSWORD, PEOPLE, Way

_PUBLIC = frozenset({"/login", "/login/start", "/login/callback", "/logout", "/favicon.ico", "/robots.txt"})
# Long enough to type a password and a second factor at the provider.
_QUESTION_S = 900.0
_LONGEST_FORM = 10_000


class WayIn:
    """How people come in here, and who is in."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._sessions = Sessions(api.people.machine_root() / ".login", f"{way.kind} {way.secret}", way.hours)
        self._guesses = Guesses()
        self._provider = Provider(way)

    def routes(self) -> list[BaseRoute]:
        """The addresses of the way in."""
        return [
            Route("/login", self.show, methods=["GET"]),
            Route("/login", self.password, methods=["POST"]),
            Route("/login/start", self.begin),
            Route("/login/callback", self.back),
            Route("/logout", self.leave, methods=["POST"]),
            Route("/studio/who", self.tell),
        ]

    def is_public(self, path: str) -> bool:
        """Whether an address is for those who have not signed in yet."""
        return path in _PUBLIC

    async def asks(self, request: Request) -> api.people.Person | Response | None:
        """Who asks; None for nobody, or an answer that says why their password is not even looked at."""
        session = self._session(request)
        if session is not None:
            return api.people.Person(session.id, session.name, self._is_admin(session.name))
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not given or self.way.kind != PASSWORD:
            return None
        refused = await self._refused(request, given)
        return api.people.Person() if refused is None else JSONResponse({"error": refused, "hint": ""}, status_code=401)

    def _session(self, request: Request) -> Session | None:
        session = None if self.way.kind == CLOSED else self._sessions.of(request.cookies.get(_cookie(request)))
        if session is None or not session.id:  # all who know the password are one person
            return session
        return session if session.mark and session.mark == api.people.mark(session.id) else None

    def _is_admin(self, name: str) -> bool:
        return self.way.kind == PEOPLE and name.lower() in self.way.admins

    # ---- the page

    def show(self, request: Request) -> Response:
        """The login page; who is in already goes on."""
        if self._session(request) is not None:
            return RedirectResponse(_wanted(request.query_params.get("next")), 303)
        return page.login(self.way, _wanted(request.query_params.get("next")))

    def tell(self, request: Request) -> Response:
        """Who is signed in, for the header."""
        person = api.people.who()
        return JSONResponse({"name": person.name, "admin": person.admin})

    def leave(self, request: Request) -> Response:
        """Sign out."""
        session = self._session(request)
        if session is not None:
            self._sessions.end(session)
        answer = RedirectResponse("/login?out=1", 303)
        answer.delete_cookie(_cookie(request), secure=_is_secure(request), httponly=True, samesite="lax")
        return answer

    def _let_in(self, request: Request, id: str, name: str, wanted: str) -> Response:
        answer = RedirectResponse(wanted, 303)
        _keep(request, answer, _cookie(request), self._sessions.begin(id, name, api.people.mark(id)), self._sessions.seconds)
        return answer

    # ---- a password

    async def password(self, request: Request) -> Response:
        """Sign in with the password."""
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _LONGEST_FORM:
                return page.login(self.way, "/", "This is no password.", 413)
        form = parse_qs(body.decode("utf-8", "replace"))
        wanted, given = _wanted(form.get("next", [""])[0]), form.get("password", [""])[0]
        if self.way.kind != PASSWORD:
            return page.login(self.way, wanted, "There is no password here.", 404)
        refused = await self._refused(request, given)
        return page.login(self.way, wanted, refused, 401) if refused else self._let_in(request, "", "", wanted)

    async def _refused(self, request: Request, given: str) -> str | None:
        """Why this password lets nobody in, None for the right one."""
        address = _address(request, self.way)
        wait = self._guesses.wait_s(address)
        if wait:
            return f"There were too many wrong passwords. Wait {in_words(wait)}, then try again."
        if same(given, self.way.secret):
            self._guesses.right(address)
            return None
        self._guesses.wrong(address)
        await asyncio.sleep(self._guesses.delay_s())
        return "This is not the password."

    # ---- an account of the Hub

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider, and let it keep what the answer must fit."""
        wanted = _wanted(request.query_params.get("next"))
        if self.way.kind != PEOPLE:
            return page.login(self.way, wanted, "There are no accounts here.", 404)
        try:
            address, question = await self._provider.question(_came_from(request))
        except SignInFailed as failure:
            return page.login(self.way, wanted, f"{failure} Try again in a moment.", 502)
        answer = RedirectResponse(address, 303)
        kept = self._sessions.signed("question", {**question, "next": wanted}, _QUESTION_S)
        _keep(request, answer, _cookie(request, "question"), kept, int(_QUESTION_S))
        return answer

    async def back(self, request: Request) -> Response:
        """The browser comes back from the provider."""
        if self.way.kind != PEOPLE:
            return page.login(self.way, "/", "There are no accounts here.", 404)
        question = self._sessions.opened("question", request.cookies.get(_cookie(request, "question")))
        code, state = request.query_params.get("code", ""), request.query_params.get("state", "")
        try:
            if question is None or not same(state, question["state"]):
                raise SignInFailed("This sign-in was not begun in this browser, or it took too long.")
            if not code:
                raise SignInFailed("You were not signed in: Hugging Face was not allowed to say who you are.")
            subject, name = await self._provider.answer(code, question["verifier"], _came_from(request))
        except SignInFailed as failure:
            answer = page.login(self.way, "/", f"{failure} Try again.", 401)
        else:
            person = api.people.signed_in(subject, name)
            answer = self._let_in(request, person.id, person.name, _wanted(question["next"]))
        answer.delete_cookie(_cookie(request, "question"), secure=_is_secure(request), httponly=True, samesite="lax")
        return answer


# ---- what a request says ---------------------------------------------------------------------------------------------


def _wanted(address: str | None) -> str:
    """The page that was asked for before; never one of another site."""
    plain = (address or "").startswith("/") and not (address or "").startswith(("//", "/\\")) and (address or "").isprintable()
    return quote(address or "/", safe="/?&=%:~-._") if plain and not (address or "").startswith("/login") else "/"


def _is_secure(request: Request) -> bool:
    """Whether the browser speaks https: to us, or to the proxy in front of us."""
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return "https" in (request.url.scheme, forwarded) or (request.url.hostname or "").endswith(".hf.space")


def _came_from(request: Request) -> str:
    """Our address as the browser knows it, to come back to. The provider goes to none but those it was told of before."""
    return f"{'https' if _is_secure(request) else 'http'}://{request.headers.get('host', '')}/login/callback"


def _cookie(request: Request, what: str = "session") -> str:
    """What a cookie is called. Browsers keep cookies by name, not by port: two studios on one machine would mix theirs up."""
    if _is_secure(request):
        return f"__Host-studio-{what}"
    return f"studio-{request.url.port or 80}-{what}"


def _keep(request: Request, answer: Response, name: str, text: str, seconds: int) -> None:
    # Lax: sent when somebody comes here over a link, which is how one comes back from the provider, and with nothing that
    # another site's page asks for. Within another site's frame nobody is signed in, which is what the login page is for.
    answer.set_cookie(name, text, max_age=seconds, path="/", secure=_is_secure(request), httponly=True, samesite="lax")


def _address(request: Request, way: Way) -> str:
    """Where a request comes from. A Space is behind a proxy that adds the address it was asked from at the end."""
    forwarded = request.headers.get("x-forwarded-for", "") if way.space else ""
    return forwarded.split(",")[-1].strip() or (request.client.host if request.client else "")
