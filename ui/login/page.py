"""What the login page looks like: one question, in the look of the studio, without anything that only who is in may load."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from starlette.responses import Response

from ui.login.way import CLOSED, PASSWORD, Way
from ui.plain_page import plain_page


def login(way: Way, wanted: str, trouble: str = "", status: int = 200) -> Response:
    """The page, with what went wrong the last time."""
    said = f'<p class="st-note error" role="alert">{escape(trouble)}</p>' if trouble else ""
    ask = {CLOSED: _closed, PASSWORD: _password}.get(way.kind, _people)
    return plain_page("Sign in", ask(way, wanted, said), status)


def _password(way: Way, wanted: str, said: str) -> str:
    where = (
        "It is in the link that the studio printed when it was started, and after that link’s <code>#key=</code>."
        if way.made_up
        else "Whoever started the studio has chosen it (AITRAINING_PASSWORD)."
    )
    return (
        f"<h1>Sign in</h1>{said}"
        '<form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{escape(wanted)}">'
        '<input type="text" name="username" value="studio" autocomplete="username" hidden>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>'
        f'<p class="st-soft">{where}</p>'
        '<button class="st-button main">Sign in</button></form>'
    )


def _people(way: Way, wanted: str, said: str) -> str:
    return (
        f"<h1>Sign in</h1>{said}"
        "<p>Your runs, files and models are yours alone here: nobody else who signs in can see them.</p>"
        f'<a class="st-button main" data-leave href="/login/start?next={quote(wanted, safe="")}">'
        "Sign in with Hugging Face</a>"
        '<p class="st-soft">It asks Hugging Face for your name, and keeps nothing else.</p>'
        '<p class="st-soft framed" hidden>This opens a tab of its own: within another site’s page nobody can sign in.</p>'
    )


def _closed(way: Way, wanted: str, said: str) -> str:
    settings = f"https://huggingface.co/spaces/{escape(way.space)}"
    return (
        "<h1>This studio is not open yet</h1>"
        "<p>It runs on a Hugging Face Space that does not ask who comes. Everybody would share all files and runs, so "
        "it lets nobody in.</p>"
        "<h2>If it is your Space</h2>"
        "<p>Either let people sign in with their Hugging Face accounts: add this line between the dashes at the top of the "
        f'Space’s <a href="{settings}/edit/main/README.md" target="_blank" rel="noopener">README.md</a>.</p>'
        "<pre><code>hf_oauth: true</code></pre>"
        "<p>Or keep it to those who know a password: add a secret called <code>AITRAINING_PASSWORD</code> in the Space’s "
        f'<a href="{settings}/settings" target="_blank" rel="noopener">settings</a>. It restarts, and asks for it.</p>'
        "<h2>If it is not yours</h2>"
        f'<p><a href="{settings}?duplicate=true" target="_blank" rel="noopener">Make a copy of your own</a>, or run the studio '
        "on your machine, where it needs no login.</p>"
    )
