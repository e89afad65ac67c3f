"""The Hub with Jobs: private data repositories that can be written, and jobs whose command is really executed here.

Speaks the HTTP protocol of the Hub's own client. A job runs in a folder of its own, with no environment but what it was given;
`uv run --with … python` is taken by this environment's Python, which has those packages.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.hub_server import COMMIT, Hub, _Answers

_UV = """#!/bin/sh
while [ "$1" != python ]; do shift; done
shift
exec "{python}" "$@"
"""
HARDWARE = [
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "accelerator": None,
     "unitCostMicroUSD": 167, "unitCostUSD": 0.000167, "unitLabel": "minute"},
    {"name": "a10g-small", "prettyName": "Nvidia A10G - small", "cpu": "4 vCPU", "ram": "15 GB",
     "accelerator": {"type": "gpu", "model": "A10G", "quantity": "1", "vram": "24 GB", "manufacturer": "Nvidia"},
     "unitCostMicroUSD": 16667, "unitCostUSD": 0.016667, "unitLabel": "minute"},
]  # fmt: skip


@dataclass
class Job:
    """One job: what it was asked to be, its process, and what it has said."""

    id: str
    spec: dict[str, Any]
    folder: Path
    stage: str = "SCHEDULING"
    message: str | None = None
    lines: list[dict[str, str]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    started: float = 0.0
    finished: float | None = None

    @property
    def over(self) -> bool:
        return self.stage in ("COMPLETED", "ERROR", "CANCELED")

    def run(self, address: str) -> None:
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(parents=True)
        uv = bin_folder / "uv"
        uv.write_text(_UV.format(python=sys.executable))
        uv.chmod(0o755)
        environment = {
            "PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": str(self.folder), "HF_ENDPOINT": address, "OMP_NUM_THREADS": "1",
            **self.spec["environment"], **self.spec.get("secrets", {}),
        }  # fmt: skip
        self.process = subprocess.Popen(
            self.spec["command"], cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.stage, self.started = "RUNNING", time.time()
        threading.Timer(self.spec["timeoutSeconds"], self.end, ["ERROR", "Job timeout"]).start()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append({"data": line.rstrip("\n"), "timestamp": _iso(time.time())})
        code = self.process.wait()
        self.end("COMPLETED" if code == 0 else "ERROR", None if code == 0 else f"Job failed with exit code: {code}")

    def end(self, stage: str, message: str | None = None) -> None:
        if self.over:
            return
        self.stage, self.message, self.finished = stage, message, time.time()
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def told(self) -> dict[str, Any]:
        ran = (self.finished or time.time()) - self.started if self.started else None
        return {
            "id": self.id, "createdAt": _iso(time.time()), "dockerImage": self.spec["dockerImage"],
            "command": self.spec["command"], "arguments": [], "environment": self.spec["environment"],
            "flavor": self.spec["flavor"], "labels": self.spec.get("labels"),
            "startedAt": _iso(self.started) if self.started else None,
            "finishedAt": _iso(self.finished) if self.finished else None,
            "durations": {"schedulingSecs": 0, "runningSecs": ran, "totalSecs": ran},
            "status": {"stage": self.stage, "message": self.message}, "owner": {"id": "1", "name": "me", "type": "user"},
        }  # fmt: skip


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class JobsHub(Hub):
    """`parcels` is repository → file → bytes of the data repositories that were made; `refuse_jobs` answers with a status."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parcels: dict[str, dict[str, bytes]] = {}
        self.deleted: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.refuse_jobs: tuple[int, str] | None = None
        self.silent_after = sys.maxsize  # lines of a log that are told; then the service of logs is away
        super().__init__()

    @staticmethod
    def handler() -> type[BaseHTTPRequestHandler]:
        return _JobAnswers

    def begin(self, spec: dict[str, Any]) -> Job:
        job = Job(f"job{len(self.jobs) + 1}", spec, self.folder / f"job{len(self.jobs) + 1}")
        self.jobs[job.id] = job
        threading.Thread(target=job.run, args=(self.address,), daemon=True).start()
        return job

    def close(self) -> None:
        for job in self.jobs.values():
            job.end("CANCELED")
        super().close()


class _JobAnswers(_Answers):
    hub: Any

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self._note_token()
        if path == "/api/jobs/hardware":
            self._send(200, HARDWARE)
        elif found := re.fullmatch(r"/api/jobs/me/(\w+)/logs", path):
            self._stream(self.hub.jobs[found[1]])
        elif found := re.fullmatch(r"/api/jobs/me/(\w+)", path):
            self._send(200, self.hub.jobs[found[1]].told())
        elif path == "/api/jobs/me":
            wanted = [one.partition("=") for one in parse_qs(urlsplit(self.path).query).get("label", [])]
            jobs = (job for job in self.hub.jobs.values() if all(job.spec["labels"].get(k) == v for k, _, v in wanted))
            self._send(200, [job.told() for job in jobs])
        else:
            super().do_GET()

    def _about(self, kind: str, name: str) -> None:
        if kind == "datasets" and name in self.hub.parcels:
            self._send(200, {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in self.hub.parcels[name]]})
        else:
            super()._about(kind, name)

    def _tree(self, kind: str, name: str) -> None:
        held = self.hub.parcels.get(name) if kind == "datasets" else None
        if held is None:
            super()._tree(kind, name)
        else:
            sizes = ((file, len(data)) for file, data in held.items())
            self._send(200, [{"type": "file", "path": file, "size": size, "oid": "0" * 40} for file, size in sizes])

    def _file(self, kind: str, name: str, file: str) -> None:
        data = self.hub.parcels.get(name, {}).get(file) if kind == "datasets" else None
        if data is None:
            super()._file(kind, name, file)
        else:
            self._send(200, data, ETag=f'"{abs(hash(data)):040d}"', X_Repo_Commit=COMMIT)

    def _stream(self, job: Job) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        said = 0
        while True:
            over, lines = job.over, job.lines[said : self.hub.silent_after]
            for line in lines:
                self.wfile.write(f"data: {json.dumps(line)}\n\n".encode())
            said += len(lines)
            self.wfile.flush()
            if over and said >= min(len(job.lines), self.hub.silent_after):
                self.close_connection = True
                return
            time.sleep(0.1)

    def do_POST(self) -> None:
        if self.path == "/api/jobs/me":
            spec = json.loads(self._body())
            if self.hub.refuse_jobs:
                code, words = self.hub.refuse_jobs
                self._send(code, {"error": words})
            else:
                self._send(200, self.hub.begin(spec).told())
        elif found := re.fullmatch(r"/api/jobs/me/(\w+)/cancel", self.path):
            self.hub.jobs[found[1]].end("CANCELED")
            self._send(200, self.hub.jobs[found[1]].told())
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/preupload/.+", self.path):
            files = json.loads(self._body())["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in files]
            self._send(200, {"files": told})
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/.+", self.path):
            for line in map(json.loads, self._body().splitlines()):
                if line["key"] == "file":
                    self.hub.parcels[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._send(200, {"commitUrl": f"{self.hub.address}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            super().do_POST()

    def _create(self, wanted: dict[str, Any]) -> None:
        if wanted.get("type") != "dataset":
            super()._create(wanted)
            return
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        self.hub.private[name] = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.parcels.setdefault(name, {})
        self._send(200, {"url": f"{self.hub.address}/datasets/{name}", "name": name})

    def do_DELETE(self) -> None:
        wanted = json.loads(self._body())
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        self.hub.parcels.pop(name, None)
        self.hub.deleted.append(name)
        self._send(200, {})

    def _body(self) -> bytes:
        self._note_token()
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))
