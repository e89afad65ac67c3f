"""Prints what pyproject.toml asks for, a line each, so that an image's layer of libraries does not change with the code.

Usage: list_dependencies.py [cpu|cuda]; cuda adds what only a GPU can use.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
kind = sys.argv[1] if len(sys.argv) > 1 else "cpu"
print(*project["dependencies"], *project["optional-dependencies"].get(kind, []), sep="\n")
