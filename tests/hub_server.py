"""A small server that speaks as much of the Hugging Face Hub's protocol as the real client needs, in memory."""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

COMMIT = "0" * 39 + "1"


class Hub:
    """`datasets` and `models` are id → file name → text; `downloaded` the files asked for, `tokens` every token seen."""

    def __init__(self) -> None:
        self.datasets: dict[str, dict[str, str]] = {}
        self.models: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.downloaded: list[str] = []
        self.tokens: set[str] = set()
        self.refuses = 0  # the status with which every commit is refused; 0: none is
        self._blobs: dict[str, bytes] = {}
        hub = self

        class Answers(self.handler()):  # type: ignore[misc]
            def __init__(self, *args: Any) -> None:
                self.hub = hub
                super().__init__(*args)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def handler() -> type[BaseHTTPRequestHandler]:
        return _Answers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Answers(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _send(self, code: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _missing(self, what: str) -> None:
        self._send(404, {"error": what}, X_Error_Code=what, X_Error_Message=what)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self._note_token()
        if path == "/api/whoami-v2":
            self._send(200, {"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}})
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(/revision/.+)?", path):
            self._about(found[1])
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/[^/]+/?.*", path):
            self._tree(found[1])
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._file(found[1], found[2])
        else:
            self._missing("EntryNotFound")

    def _about(self, name: str) -> None:
        files = self.hub.datasets.get(name)
        if files is None:
            self._missing("RepoNotFound")
            return
        self._send(200, {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]})

    def _tree(self, name: str) -> None:
        files = self.hub.datasets.get(name)
        if files is None:
            self._missing("RepoNotFound")
            return
        listed = [{"type": "file", "path": file, "size": len(text), "oid": "0" * 40} for file, text in files.items()]
        self._send(200, listed)

    def _file(self, name: str, file: str) -> None:
        text = self.hub.datasets.get(name, {}).get(file)
        if text is None:
            self._missing("EntryNotFound")
            return
        if self.command == "GET":
            self.hub.downloaded.append(file)
        self._send(200, text.encode(), ETag=f'"{abs(hash(text)):040d}"', X_Repo_Commit=COMMIT)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._note_token()
        if not self.headers.get("Authorization"):
            self._send(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/.+", self.path):
            files = json.loads(body)["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in files]
            self._send(200, {"files": told})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/.+", self.path):
            self._commit(found[1], body)
        elif self.path.startswith("/api/validate-yaml"):
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._missing("EntryNotFound")

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        if name in self.hub.models:
            self._send(409, {"error": "exists", "url": f"{self.hub.address}/{name}"})
            return
        self.hub.models[name] = {}
        self.hub.private[name] = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self._send(200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _commit(self, name: str, body: bytes) -> None:
        if self.hub.refuses:
            self._send(self.hub.refuses, {"error": "refused"})
            return
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.hub.models[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        self._send(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _note_token(self) -> None:
        if given := self.headers.get("Authorization"):
            self.hub.tokens.add(given.removeprefix("Bearer "))
