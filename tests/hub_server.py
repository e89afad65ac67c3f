"""A small server that speaks as much of the Hugging Face Hub's protocol as the real client needs, in memory.

Models and data sets are listed, described and handed out, in parts where a part is asked for; uploads are taken. It can
demand a token, break off in the middle of a file, or be slow. What it knows of Spaces is in tests/space_server.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.space_server import Space, answer_space

COMMIT = "0" * 39 + "1"
_NAMED = r"([^/]+/[^/]+)"


class Hub:
    """`datasets` and `models` are id → file name → content; `downloaded` the files asked for, `tokens` every token seen.

    `about` has more of what the Hub knows of a model or data set (id → fields of its API), `gated` and `hidden` the ids that
    want one of `members` as token: a gated one is known to all, of a hidden one nobody is told.
    """

    def __init__(self) -> None:
        self.datasets: dict[str, dict[str, str]] = {}
        self.models: dict[str, dict[str, bytes]] = {}
        self.spaces: dict[str, Space] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.gated: set[str] = set()
        self.hidden: set[str] = set()
        self.members: set[str] = set()
        self.private: dict[str, bool] = {}
        self.downloaded: list[str] = []
        self.searched: list[dict[str, list[str]]] = []
        self.ranges: list[str] = []
        self.tokens: set[str] = set()
        self.refuses = 0  # the status with which every commit is refused; 0: none is
        self.breaks_after = 0  # bytes of a file after which the connection is cut; 0: never
        self.bytes_a_second = 0  # of a file; 0: as fast as it goes
        self.wait_s = 0.0  # before a search is answered
        self.speaks_html = False  # instead of an answer to a search
        self.hangs_up = 0  # searches that get no answer but the end of the connection
        self.large = 10_000  # bytes from which an uploaded file is sent beside the commit
        self.stored: dict[str, bytes] = {}
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
            self._write(data)

    def _write(self, data: bytes) -> None:
        step, sent = max(1, self.hub.bytes_a_second // 20) if self.hub.bytes_a_second else 65536, 0
        try:
            while sent < len(data):
                if 0 < self.hub.breaks_after <= sent:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                self.wfile.write(data[sent : sent + step])
                sent += step
                if self.hub.bytes_a_second and len(data) > step:
                    time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked has gone

    def _missing(self, what: str) -> None:
        self._send(404, {"error": what}, X_Error_Code=what, X_Error_Message=what)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self._note_token()
        if path == "/api/whoami-v2":
            orgs = [{"name": "club", "type": "org"}]
            self._send(200, {"type": "user", "name": "me", "orgs": orgs, "auth": {"accessToken": {"role": "write"}}})
        elif told := answer_space(self.hub.spaces, self.command, self.path, b""):
            self._missing("RepoNotFound") if told[0] == 404 else self._send(*told)
        elif found := re.fullmatch(r"/api/(models|datasets)", path):
            self._search(found[1])
        elif found := re.fullmatch(rf"/api/(models|datasets)/{_NAMED}(/revision/.+)?", path):
            self._about(found[1], found[2])
        elif found := re.fullmatch(rf"/api/(models|datasets)/{_NAMED}/tree/[^/]+/?.*", path):
            self._tree(found[1], found[2])
        elif found := re.fullmatch(rf"/datasets/{_NAMED}/resolve/[^/]+/(.+)", path):
            self._file("datasets", found[1], found[2])
        elif found := re.fullmatch(rf"/{_NAMED}/resolve/[^/]+/(.+)", path):
            self._file("models", found[1], found[2])
        else:
            self._missing("EntryNotFound")

    # ---- what there is

    def _files(self, kind: str, name: str) -> dict[str, bytes] | None:
        if kind == "models":
            return self.hub.models.get(name)
        found = self.hub.datasets.get(name)
        return None if found is None else {file: text.encode() for file, text in found.items()}

    def _refused(self, kind: str, name: str, *, content: bool) -> bool:
        """Whether this one is not for whoever asks, who is then told so."""
        member = (self.headers.get("Authorization") or "").removeprefix("Bearer ") in self.hub.members
        if self._files(kind, name) is None or (name in self.hub.hidden and not member):
            self._send(
                401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found"
            )
            return True
        if content and name in self.hub.gated and not member:
            told = f"Access to model {name} is restricted."
            self._send(401, {"error": told}, X_Error_Code="GatedRepo", X_Error_Message=told)
            return True
        return False

    def _described(self, kind: str, name: str) -> dict[str, Any]:
        files = self._files(kind, name) or {}
        siblings = [{"rfilename": file, **_stored(content)} for file, content in files.items()]
        gated = "manual" if name in self.hub.gated else False
        return {"id": name, "sha": COMMIT, "gated": gated, "siblings": siblings, **self.hub.about.get(name, {})}

    def _search(self, kind: str) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        self.hub.searched.append(asked)
        time.sleep(self.hub.wait_s)
        if self.hub.speaks_html:
            self._send(200, b"<html>Please log in to this network.</html>")
            return
        if self.hub.hangs_up:
            self.hub.hangs_up -= 1
            self.close_connection = True
            return
        member = (self.headers.get("Authorization") or "").removeprefix("Bearer ") in self.hub.members
        names = self.hub.models if kind == "models" else self.hub.datasets
        found = [self._described(kind, name) for name in names if name not in self.hub.hidden or member]
        word = (asked.get("search") or [""])[0].lower()
        found = [one for one in found if word in one["id"].lower()]
        for tag in asked.get("filter", []):
            found = [one for one in found if tag in one.get("tags", [])]
        if wanted := asked.get("pipeline_tag"):
            found = [one for one in found if one.get("pipeline_tag") == wanted[0]]
        found.sort(key=lambda one: -one.get("downloads", 0))
        shown = ["id", *asked["expand"]] if "expand" in asked else None
        found = [{key: value for key, value in one.items() if shown is None or key in shown} for one in found]
        self._send(200, found[: int((asked.get("limit") or ["100"])[0])])

    def _about(self, kind: str, name: str) -> None:
        if not self._refused(kind, name, content=False):
            self._send(200, self._described(kind, name))

    def _tree(self, kind: str, name: str) -> None:
        if not self._refused(kind, name, content=False):
            files = self._files(kind, name) or {}
            self._send(200, [{"type": "file", "path": file, **_stored(content)} for file, content in files.items()])

    def _file(self, kind: str, name: str, file: str) -> None:
        if self._refused(kind, name, content=True):
            return
        content = (self._files(kind, name) or {}).get(file)
        if content is None:
            self._missing("EntryNotFound")
            return
        if self.command == "GET":
            self.hub.downloaded.append(file)
        stored = _stored(content)
        etag = f'"{stored["lfs"]["oid"] if "lfs" in stored else stored["blobId"]}"'
        named = {"ETag": etag, "X_Linked_Etag": etag, "X_Linked_Size": str(len(content)), "X_Repo_Commit": COMMIT}
        if part := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            self.hub.ranges.append(part[0])
            start = int(part[1])
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], Content_Range=span, **named)
            return
        self._send(200, content, **named)

    # ---- what is sent here

    def do_PUT(self) -> None:
        if self.path.startswith("/api/"):
            self.do_POST()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.stored[self.path.rsplit("/", 1)[1]] = body
        self._send(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._note_token()
        if not self.headers.get("Authorization"):
            self._send(401, {"error": "Invalid username or password."})
        elif self.hub.refuses and "/api/spaces/" in self.path:
            self._send(self.hub.refuses, {"error": "refused"})
        elif told := answer_space(self.hub.spaces, self.command, self.path, body):
            self._missing("RepoNotFound") if told[0] == 404 else self._send(*told)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(rf"/api/models/{_NAMED}/preupload/.+", self.path):
            files = json.loads(body)["files"]
            told = [{"path": f["path"], "uploadMode": self._mode(f), "shouldIgnore": False, "oid": None} for f in files]
            self._send(200, {"files": told})
        elif re.fullmatch(rf"/{_NAMED}\.git/info/lfs/objects/batch", self.path):
            self._large(json.loads(body))
        elif found := re.fullmatch(rf"/api/models/{_NAMED}/commit/.+", self.path):
            self._commit(found[1], body)
        elif self.path.startswith("/api/validate-yaml"):
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._missing("EntryNotFound")

    def _mode(self, file: dict[str, Any]) -> str:
        return "lfs" if file.get("size", 0) >= self.hub.large else "regular"

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        if wanted.get("type") == "space":
            self.hub.spaces[name] = Space(private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
            self.hub.spaces[name].sdk, self.hub.spaces[name].address = wanted["sdk"], f"{self.hub.address}/spaces/{name}"
            self._send(200, {"url": f"{self.hub.address}/spaces/{name}", "name": name})
            return
        if name in self.hub.models:
            self._send(409, {"error": "exists", "url": f"{self.hub.address}/{name}"})
            return
        self.hub.models[name] = {}
        self.hub.private[name] = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self._send(200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _large(self, wanted: dict[str, Any]) -> None:
        objects = []
        for one in wanted["objects"]:
            place = {"upload": {"href": f"{self.hub.address}/store/{one['oid']}"}}
            objects.append({"oid": one["oid"], "size": one["size"], "actions": place})
        self._send(200, {"transfer": "basic", "objects": objects})

    def _commit(self, name: str, body: bytes) -> None:
        if self.hub.refuses:
            self._send(self.hub.refuses, {"error": "refused"})
            return
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.hub.models[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                self.hub.models[name][line["value"]["path"]] = self.hub.stored[line["value"]["oid"]]
        self._send(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _note_token(self) -> None:
        if given := self.headers.get("Authorization"):
            self.hub.tokens.add(given.removeprefix("Bearer "))


def _stored(content: bytes) -> dict[str, Any]:
    """How the Hub tells of a file: large ones by their checksum."""
    oid = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
    told: dict[str, Any] = {"size": len(content), "blobId": oid, "oid": oid}
    if len(content) >= 10_000:
        checksum = hashlib.sha256(content).hexdigest()
        told["lfs"] = {"size": len(content), "oid": checksum, "sha256": checksum, "pointerSize": 134}
    return told
