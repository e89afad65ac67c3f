"""Which files make a Space: those that the Dockerfile copies, of a git checkout, without what git ignores.

Runs, uploads and anything that looks like a token are never among them.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from engine.deploy.dockerfile import copied
from engine.errors import DeployError
from engine.runs.directory import runs_root

_CHECKOUT = Path(__file__).resolve().parents[2]
_RECIPE = ("Dockerfile", ".dockerignore")
# What the image leaves out of the folders that it copies (.dockerignore).
_LEFT_OUT = ("assets/build/",)
_TOKEN = re.compile(rb"\b(hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|AKIA[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----)")
_BINARY = (".safetensors", ".png")


def checkout() -> Path:
    """The git checkout that this program is run from.

    Raises:
        DeployError: it was installed without one, so that the Dockerfile and the page's files are not there.
    """
    if not all((_CHECKOUT / name).is_file() for name in (*_RECIPE, "app.py")) or not (_CHECKOUT / ".git").exists():
        raise DeployError(
            "A Space is made from a git checkout of the studio, and this one was installed without one.",
            hint="Clone the repository, and run `aitraining deploy` in it.",
        )
    return _CHECKOUT


def files_of(root: Path) -> list[str]:
    """The files of a checkout that are sent, relative to it and sorted.

    Raises:
        DeployError: git cannot be asked, or a file holds what looks like a token.
    """
    wanted = [*_RECIPE, *copied(root / "Dockerfile")]
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *wanted]
    try:
        listed = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", "") or error
        raise DeployError(f"git cannot list the files of {root}: {str(told).strip()}.", hint="Is git installed?") from None
    found = sorted(name for name in set(listed.split("\0")) if name and _sent(root, name))
    for name in found:
        _refuse_token(root / name, name)
    return found


def _sent(root: Path, name: str) -> bool:
    path = root / name
    hidden = any(part.startswith(".") for part in Path(name).parts) and name not in _RECIPE
    own = path.resolve()
    return (
        path.is_file()
        and not hidden
        and not name.startswith(_LEFT_OUT)
        and own.is_relative_to(root.resolve())  # a link out of the checkout
        and not own.is_relative_to(runs_root())
    )


def _refuse_token(path: Path, name: str) -> None:
    """
    Raises:
        DeployError: there is what looks like a token in a file.
    """
    if path.suffix not in _BINARY and _TOKEN.search(path.read_bytes()):
        raise DeployError(
            f"{name} holds what looks like a token or a key, so nothing is sent.",
            hint="Take it out; what a Space must know is a secret of the Space (--secret NAME).",
        )


def space_readme(text: str) -> str:
    """The README of a Space: what configures it and the first paragraphs, without pictures and links that are not there."""
    _, configured, rest = text.split("---\n", 2)
    opening = re.sub(r"<img[^>]*>\n*", "", rest.split("\n## ", 1)[0])
    opening = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", opening).strip()
    return f"---\n{configured}---\n\n{opening}\n"
