"""The frame around every page: addresses, header, theme, static files, and the server's life from start to Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from engine import api
from engine.errors import StudioError
from ui import (
    home,
    hosted,
    http_api,
    http_queue,
    hub_routes,
    new_pipeline,
    new_run,
    pipeline_page,
    pipeline_routes,
    playground_page,
    routes,
    run_page,
    runs_page,
    space_routes,
    sweep_page,
    sweep_routes,
)
from ui.compression import CompressedPages
from ui.http_errors import ToldErrors
from ui.login import way
from ui.login.gate import Gate, GuardedBlocks
from ui.login.way_in import WayIn
from ui.not_found import NotFoundPages
from ui.reach import KnownHosts, upload_limit
from ui.theme import theme

TITLE = "AITraining Studio"
ASSETS = Path(__file__).resolve().parent.parent / "assets"
DEFAULT_PORT = 7860
UPLOAD_KEEP_S = 24 * 3600
# Gradio keeps about 1 MB for every page that was opened, 10,000 of them. Ours need none of it: see events.py
PAGES_KEPT = 64


@dataclass(frozen=True)
class Page:
    """One address of the app; `nav` is its word in the header, "" for a page that is reached from elsewhere."""

    path: str
    nav: str
    title: str
    build: Callable[[gr.Blocks], None]


PAGES = (
    Page("/", "Start", "Start", home.build),
    Page("/new", "New run", "New run", new_run.build),
    Page("/new-pipeline", "", "New pipeline", new_pipeline.build),
    Page("/runs", "Runs", "Runs", runs_page.build),
    Page("/run", "", "Run", run_page.build),
    Page("/pipeline", "", "Pipeline", pipeline_page.build),
    Page("/sweep", "", "Sweep", sweep_page.build),
    Page("/playground", "Playground", "Playground", playground_page.build),
)


def build(way_in: WayIn | None = None) -> tuple[gr.Blocks, dict[str, Any]]:
    """The app with all its pages, and what `launch` has to be told. Without a way in there is no gate: it is for those who
    can reach it."""
    signs_in = way_in is not None
    with _no_web_app_yet():
        with GuardedBlocks(title=TITLE, analytics_enabled=False) as app:
            gr.Navbar(visible=False)
            _fill(PAGES[0], app, signs_in)
        # Gradio writes down all components so far at the end of every page: the pages with the large forms come last
        for page in reversed(PAGES[1:]):
            with app.route(page.title, page.path, show_in_navbar=False):
                _fill(page, app, signs_in)
    app.queue(default_concurrency_limit=16, max_size=64)
    # Gradio's queue looks for work a thousand times a second, which costs a twentieth of a core at rest.
    app._queue.sleep_when_free = 0.02
    return app, {
        "theme": theme(),
        "head": head(),
        "app_kwargs": {
            "routes": [*(way_in.routes() if way_in else []), *own_routes()],
            "middleware": [
                Middleware(ToldErrors),
                Middleware(KnownHosts),
                Middleware(NotFoundPages),
                *([Middleware(Gate, way_in, [page.path for page in PAGES])] if way_in else []),
                Middleware(CompressedPages),
            ],
        },
        "max_file_size": upload_limit(),
        "state_session_capacity": PAGES_KEPT,
        "favicon_path": ASSETS / "logo.svg",
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "show_error": True,
    }


def own_routes() -> list[BaseRoute]:
    """Every address that is ours and not Gradio's, the way in excepted."""
    rooms = (hub_routes, routes, http_api, http_queue, pipeline_routes, sweep_routes, space_routes, playground_page)
    return [route for room in rooms for route in room.routes()]


@contextmanager
def _no_web_app_yet() -> Iterator[None]:
    """Gradio makes its whole web application anew at the end of every page, and again when its queue is set and when it is
    launched. Only the last one is ever served; the others were half of what building the pages cost.
    """
    make = App.create_app
    App.create_app = staticmethod(lambda *_, **__: None)  # type: ignore[assignment]
    try:
        yield
    finally:
        App.create_app = staticmethod(make)  # type: ignore[assignment]


def head() -> str:
    """Links to our style and scripts."""
    files = [*sorted(ASSETS.glob("*.css")), *sorted(ASSETS.glob("*.js"))]
    tags = [
        '<meta name="color-scheme" content="light dark">',
        '<link rel="stylesheet" href="/studio/static/uplot.css">',
        '<script defer src="/studio/static/uplot.js"></script>',
    ]
    for file in files:
        address = routes.address_of(file)
        if file.suffix == ".css":
            tags.append(f'<link rel="stylesheet" href="{address}">')
        elif file.stem != "login":  # of a page of its own
            tags.append(f'<script defer src="{address}"></script>')
    return "".join(tags)


def _fill(page: Page, app: gr.Blocks, signs_in: bool) -> None:
    gr.HTML(_header(page, signs_in), apply_default_css=False, elem_id="studio-header")
    page.build(app)


def _header(page: Page, signs_in: bool) -> str:
    links = "".join(
        f'<a href="{p.path}"{" aria-current=page" if p is page else ""}>{escape(p.nav)}</a>' for p in PAGES if p.nav
    )
    return (
        f'<header class="st-header" data-title="{escape(page.title)}"><a class="st-brand" href="/">'
        f"{(ASSETS / 'logo.svg').read_text(encoding='utf-8')}<span>{TITLE}</span></a>"
        f'<nav aria-label="Pages">{links}</nav>{hosted.duplicate_button()}{_SIGN_OUT if signs_in else ""}'
        '<button type="button" class="st-theme" data-theme-toggle aria-label="Switch between light and dark">'
        '<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="7" fill="none" stroke="currentColor" '
        'stroke-width="1.6"/><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor"/></svg></button></header>'
        f"{hosted.notices()}"
    )


# Who it is, is filled in by shell.js: the page is the same for everybody.
_SIGN_OUT = (
    '<form class="st-who" method="post" action="/logout"><span data-who></span>'
    '<button class="st-button small">Sign out</button></form>'
)


# ---- serving -------------------------------------------------------------------------------------------------------


def serve() -> int:
    """Serve until Ctrl-C or SIGTERM; runs go on without us. Returns the exit code."""
    try:
        limited = api.retention.look_at()
        upload_limit()  # what is wrong with it is said now
    except StudioError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 1
    if limited:
        print(limited, file=sys.stderr)
    host, port = os.environ.get("AITRAINING_HOST", "127.0.0.1"), _port()
    way_in = _way_in()
    _prepare_uploads(writable=not limited)
    app, options = build(way_in)
    try:
        app.launch(server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, **options)
    except OSError:
        print(
            f"Port {port} is in use, so the page cannot be served there. Is the studio running already? "
            f"Otherwise choose another port, for example: PORT={port + 1} make app",
            file=sys.stderr,
        )
        return 1
    try:
        api.open_app()
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    _tell_where(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}", way_in)  # noqa: S104 - words
    _wait_for_end()
    api.close_app()
    app.close(verbose=False)
    return 0


def _way_in() -> WayIn | None:
    """How people sign in, None on a page for this machine alone. From then on nothing is found for nobody."""
    chosen = way.chosen(os.environ)
    if chosen is None:
        return None
    root = api.people.machine_root()
    os.environ["AITRAINING_HOME"] = str(root)
    api.people.demand_logins(chosen.kind)
    # a name that somebody types must not mean a file of ours by chance: from here no relative name leads anywhere
    nowhere = root / ".login" / "nowhere"
    try:
        made = WayIn(chosen)
        nowhere.mkdir(exist_ok=True)
    except OSError as error:
        why = f"{nowhere.parent}, where the key of logins is kept, cannot be written: {error.strerror}."
        raise SystemExit(f"Nobody could sign in: {why} Make it writable, or set AITRAINING_HOME to another folder.") from None
    os.chdir(nowhere)
    return made


def _tell_where(address: str, way_in: WayIn | None) -> None:
    print(f"{TITLE} is at {address}  (Ctrl-C ends it)", flush=True)
    chosen = way_in.way if way_in else None
    if chosen and chosen.made_up:
        print(
            f"Others can reach it, so it asks for a password. This link knows it: {address}/login#key={chosen.secret}\n"
            "It is another one at each start. To choose one yourself, set AITRAINING_PASSWORD.",
            flush=True,
        )
    elif chosen and chosen.kind == way.CLOSED:
        print("Nobody can sign in here yet: the page says what to do.", flush=True)


def _port() -> int:
    wanted = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or str(DEFAULT_PORT)
    if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
        raise SystemExit(f"PORT is {wanted!r}, which is not a port. Give a number from 1 to 65535.")
    return int(wanted)


def _prepare_uploads(*, writable: bool) -> None:
    """Uploads land beside the runs, so that keeping one is a move. There, leftovers of earlier servers are swept. A folder that
    the environment names is somebody else's, often the whole of /tmp: it is used, and nothing in it is deleted."""
    ours = api.people.machine_root() / ".uploads" / ".incoming"
    if writable:
        folder = Path(os.environ.setdefault("GRADIO_TEMP_DIR", str(ours)))
    else:
        folder = Path(os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.mkdtemp(prefix="aitraining-uploads-")))
    folder.mkdir(parents=True, exist_ok=True)
    for path in ours.rglob("*") if writable else ():
        if path.is_file() and time.time() - path.stat().st_mtime > UPLOAD_KEEP_S:
            path.unlink(missing_ok=True)


def _wait_for_end() -> None:
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    # in short waits: a plain wait() would not let the signal through on every platform
    while not ended.wait(0.5):
        pass
