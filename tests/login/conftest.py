"""A studio with logins, served within this process, with the accounts of ada, ben and an admin called grace."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.login.provider_server import CLIENT, SECRET, AccountServer

PEOPLE = {"id-of-ada": "Ada", "id-of-ben": "ben", "id-of-grace": "grace", "id-of-cleo": "cleo"}


@dataclass
class Studio:
    """The server: its address, its Gradio app, and where accounts are."""

    url: str
    app: Any
    accounts: AccountServer
    root: Path

    def visitor(self) -> httpx.Client:
        """A browser in which nobody has signed in."""
        return httpx.Client(base_url=self.url, timeout=60)

    def signed_in(self, subject: str) -> httpx.Client:
        """A browser in which this person has signed in, by the whole dance."""
        client = self.visitor()
        away = client.get("/login/start").headers["location"]
        back = httpx.get(f"{away}&as={subject}").headers["location"]
        assert client.get(back).status_code == 303
        return client


@pytest.fixture(scope="package")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Served as on a Space. Nothing that is started is trained: nobody dispatches the queue."""
    from engine.runs import queue
    from ui import shell

    root = tmp_path_factory.mktemp("space") / "runs"
    with AccountServer(dict(PEOPLE)) as accounts, pytest.MonkeyPatch.context() as patch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        accounts.back = f"http://127.0.0.1:{port}/login/callback"
        for name, value in {
            "AITRAINING_HOME": str(root),
            "AITRAINING_LOGINS": "",
            "AITRAINING_ADMINS": "Grace, nobody-here",
            "GRADIO_TEMP_DIR": str(root / ".uploads" / ".incoming"),
            "SPACE_ID": "ada/studio",
            "OAUTH_CLIENT_ID": CLIENT,
            "OAUTH_CLIENT_SECRET": SECRET,
            "OPENID_PROVIDER_URL": accounts.url,
        }.items():
            patch.setenv(name, value)
        patch.delenv("AITRAINING_PERSON", raising=False)
        patch.setattr(queue, "dispatch", lambda root: [])
        here = os.getcwd()
        way_in = shell._way_in()
        # Gradio asks SPACE_ID too, and would behave as on the real thing: its reloader wants to reach the Hub
        patch.delenv("SPACE_ID")
        shell._prepare_uploads(writable=True)
        app, options = shell.build(way_in)
        app.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **options)
        yield Studio(f"http://127.0.0.1:{port}", app, accounts, root)
        app.close(verbose=False)
        os.chdir(here)
