"""Asks the package index whether a pinned version has a known hole. Usage: audit.py [constraints.txt]

It says for every release which advisories name it. Exit codes: 0 none is known, 1 some are, 2 it could not be asked.
PYPI_JSON names another index with the same interface.
"""

from __future__ import annotations

import json
import os
import re
import sys
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

INDEX = os.environ.get("PYPI_JSON", "https://pypi.org/pypi")
# An index that has none of so many releases has such answers for none.
_PATIENCE = 10
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def pins(file: Path) -> list[tuple[str, str]]:
    """Name and version of every pinned package."""
    return _PIN.findall(file.read_text(encoding="utf-8"))


def holes(name: str, version: str) -> list[dict[str, Any]] | None:
    """The advisories that name this release and were not withdrawn; None for a release that the index does not have.

    Raises:
        OSError, HTTPException: the index gave no answer.
    """
    try:
        with urlopen(f"{INDEX}/{name}/{version}/json", timeout=20) as answer:  # noqa: S310 - the address is ours
            found = json.load(answer)["vulnerabilities"]
    except HTTPError as error:
        if error.code == 404:
            return None
        raise
    return [hole for hole in found if not hole.get("withdrawn")]


def main(file: Path) -> int:
    known, unknown = 0, []
    listed = pins(file)
    for number, (name, version) in enumerate(listed, 1):
        try:
            found = holes(name, version)
        except (OSError, HTTPException, ValueError, KeyError) as error:
            print(f"The package index could not be asked ({error}), so nothing is known of holes.", file=sys.stderr)
            return 2
        if found is None:
            unknown.append(f"{name} {version}")
            if len(unknown) == number == min(_PATIENCE, len(listed)):
                print("The package index knows none of these releases, so nothing is known of holes.", file=sys.stderr)
                return 2
        for hole in found or []:
            known += 1
            mended = ", ".join(hole.get("fixed_in") or []) or "no release yet"
            names = ", ".join([hole["id"], *hole.get("aliases", [])])
            print(f"{name} {version}: {names}. Mended in {mended}. {hole.get('link') or ''}".rstrip())
    if unknown:
        print(f"Not in the index: {', '.join(unknown)}.")
    print(f"{len(listed)} pinned packages, {known} known holes.")
    return 1 if known else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "constraints.txt")))
