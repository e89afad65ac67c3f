"""What the tests' Hub knows of Spaces: files, variables, secrets, volumes, hardware, and buckets to mount."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

_COMMIT = "0" * 39 + "1"


@dataclass
class Space:
    """One Space; `happened` is what was asked of it, in order."""

    private: bool = True
    address: str = ""
    sdk: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"", "README.md": b"---\n---\n"})
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    buckets: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    happened: list[str] = field(default_factory=list)


def answer_space(spaces: dict[str, Space], method: str, address: str, body: bytes) -> tuple[int, Any] | None:
    """Status and body for a request about a Space; None for one about something else."""
    path = address.split("?")[0]
    if found := re.fullmatch(r"/api/buckets/([^/]+/[^/]+)", path):
        owner = spaces[found[1].removesuffix("-storage")]
        owner.buckets[found[1]] = json.loads(body)
        return 200, {"url": f"/buckets/{found[1]}"}
    found = re.fullmatch(r"/api/spaces/([^/]+/[^/]+)(?:/(.*))?", path)
    if not found:
        return None
    space, what = spaces.get(found[1]), (found[2] or "").split("/")[0]
    if space is None:
        return 404, {"error": "Repository not found"}
    if method in ("GET", "HEAD"):
        return _read(found[1], space, what)
    space.happened.append(what)
    return _written(space, what, body)


def _read(name: str, space: Space, what: str) -> tuple[int, Any]:
    if what == "tree":
        return 200, [{"type": "file", "path": p, "size": len(b), "oid": "0" * 40} for p, b in space.files.items()]
    if what == "runtime":
        return 200, {"stage": "RUNNING", "hardware": {"current": "cpu-basic"}, "volumes": space.volumes}
    if what in ("", "revision"):
        return 200, {"id": name, "sha": _COMMIT, "siblings": [{"rfilename": path} for path in space.files]}
    return 404, {"error": what}


def _written(space: Space, what: str, body: bytes) -> tuple[int, Any]:
    if what == "preupload":
        told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
        return 200, {"files": told}
    if what == "commit":
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                space.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del space.files[line["value"]["path"]]
        return 200, {"commitUrl": f"{space.address}/commit/{_COMMIT}", "commitOid": _COMMIT}
    asked = json.loads(body)
    if what in ("variables", "secrets"):
        kept = space.variables if what == "variables" else space.secrets
        kept[asked["key"]] = asked["value"]
        return 200, {key: {"value": value} for key, value in kept.items()}
    if what == "volumes":
        space.volumes = asked["volumes"]
        return 200, {}
    if what == "hardware":
        space.hardware = asked
        return 200, {"stage": "BUILDING", "hardware": {"requested": asked["flavor"]}}
    return 404, {"error": what}
