"""The steps of the Dockerfile, carried out without Docker: in a Debian of its own, by the same user, as the same process 1.

    python -m tests.hosting.image FOLDER [--torch cpu|cuda] [--bind PATH]...

Wants root on Linux, debootstrap, and room in FOLDER; takes minutes. FOLDER/base is a Debian of the release that the image's
base is made of, with Debian's own Python 3.11 in place of the one in `python:3.11-slim-bookworm`; the image is FOLDER/root.
Every RUN, COPY, USER, ENV, ARG and WORKDIR is carried out there in order. Then what ENTRYPOINT and CMD say is started as
process 1 of namespaces of its own, and what a person does is done: the HEALTHCHECK answers, a run trains, a stop lets a run at
work save, a second start finds it and resumes it. `--bind` shows a folder of this machine inside, for packages that pip finds
there (PIP_* variables are handed on).
"""

from __future__ import annotations

import argparse
import atexit
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import httpx

from engine.deploy.dockerfile import Step, steps
from engine.deploy.files import files_of

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
_BASE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass
class Image:
    """What the steps so far have made: a root folder, and user, variables and folder of the next step."""

    root: Path
    binds: list[str]
    user: str = "0"
    folder: str = "/"
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})

    def argv(self, command: list[str], **more: str) -> list[str]:
        """The command inside, as process 1 of namespaces of its own: whatever it started ends with it."""
        root = shlex.quote(str(self.root))
        mounts = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        mounts += [f"mount --rbind {shlex.quote(path)} {root}{shlex.quote(path)}" for path in self.binds]
        env = [f"{name}={value}" for name, value in {**self.env, **more}.items()]
        # Debian's own Python asks not to be written to, which the image's does not
        env += ["PIP_BREAK_SYSTEM_PACKAGES=1", *(f"{k}={v}" for k, v in os.environ.items() if k.startswith("PIP_"))]
        inside = ["env", "-i", *env, "sh", "-c", f'cd {shlex.quote(self.folder)} && exec "$@"', "sh", *command]
        begin = shlex.join(["chroot", f"--userspec={self.user}:{self.user}", str(self.root), *inside])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", f"{' && '.join(mounts)} && exec {begin}"]

    def run(self, command: list[str], **more: str) -> None:
        subprocess.run(self.argv(command, **more), check=True)


def debian(root: Path) -> None:
    """A Debian with Python, unless it is there."""
    if (root / "usr/bin/python3").exists():
        return
    argv = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def build(image: Image, torch: str) -> None:
    """Carry out the steps that make an image."""
    (image.root / "usr/local/bin/python").unlink(missing_ok=True)
    (image.root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    (image.root / "usr/local/bin/pip").unlink(missing_ok=True)
    (image.root / "usr/local/bin/pip").symlink_to("/usr/bin/pip3")
    for name in ("resolv.conf", "hosts"):  # which Docker writes, too
        shutil.copy(f"/etc/{name}", image.root / "etc" / name)
    for path in image.binds:
        there = image.root / path.lstrip("/")
        there.mkdir(parents=True, exist_ok=True) if Path(path).is_dir() else there.touch()
    arguments: dict[str, str] = {}
    for step in steps(ROOT / "Dockerfile"):
        began = time.monotonic()
        _carry_out(image, step, arguments, torch)
        if step.name in ("RUN", "COPY"):
            print(f"{time.monotonic() - began:6.1f} s  {step.name} {step.words[:90]}", flush=True)


def _carry_out(image: Image, step: Step, arguments: dict[str, str], torch: str) -> None:
    if step.name == "ARG":
        arguments.update({**step.assigned(), "TORCH": torch})
    elif step.name == "ENV":
        known = {**arguments, **image.env}
        image.env.update({name: Template(value).safe_substitute(known) for name, value in step.assigned().items()})
    elif step.name == "USER":
        image.user = step.words
    elif step.name == "WORKDIR":
        image.folder = step.words
    elif step.name == "RUN":
        image.run(["sh", "-c", step.words], **arguments)
    elif step.name == "COPY":
        _copy(image, *step.copied())


def _copy(image: Image, sources: list[str], target: str) -> None:
    """The files of the checkout that belong to the image, as user 1000."""
    for source in sources:
        for name in files_of(ROOT):
            if name != source and not name.startswith(f"{source}/"):
                continue
            inner = Path(target) / name.removeprefix(f"{source}/") if name != source else Path(target, Path(name).name)
            to = image.root / image.folder.lstrip("/") / (inner if target != "./" else name.rsplit("/", 1)[-1])
            missing = [parent for parent in to.parents if not parent.exists()]
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to)
            for made in (*missing, to):
                os.chown(made, 1000, 1000)


def started(image: Image, found: dict[str, Step]) -> subprocess.Popen[bytes]:
    """The container: what ENTRYPOINT and CMD say, as process 1."""
    made = subprocess.Popen(image.argv([*found["ENTRYPOINT"].argv(), *found["CMD"].argv()]), start_new_session=True)
    atexit.register(lambda: made.poll() is None and os.kill(_first(made), signal.SIGKILL))  # whatever goes wrong
    return made


def healthy(image: Image, found: dict[str, Step]) -> bool:
    """What the HEALTHCHECK says now."""
    done = subprocess.run(image.argv(found["HEALTHCHECK"].argv()), stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def until(what: Callable[[], object], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.5)


def stop(container: subprocess.Popen[bytes]) -> None:
    """What `docker stop` does: SIGTERM to process 1, which is the grandchild of ours that unshare started."""
    os.kill(_first(container), signal.SIGTERM)
    container.wait(30)


def _first(container: subprocess.Popen[bytes]) -> int:
    (child,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    return int(child)


def use(image: Image) -> None:
    """Do with the image what a person does."""
    found = {step.name: step for step in steps(ROOT / "Dockerfile")}
    studio = httpx.Client(base_url=f"http://127.0.0.1:{image.env['PORT']}", headers={"X-Studio": "1"}, timeout=60)

    def told(name: str) -> dict[str, Any]:
        return studio.get(f"/studio/api/runs/{name}").raise_for_status().json()

    def start(name: str, **settings: Any) -> None:
        body = {"trainer": "sft", "model": "starter", "data_path": "sample:neighbours", "project_name": name, **settings}
        studio.post("/studio/api/runs", json=body).raise_for_status()

    assert not healthy(image, found), "nothing answers yet"
    container = started(image, found)
    until(lambda: healthy(image, found), 180)
    print("The HEALTHCHECK answers.", flush=True)
    start("short", max_steps=5)
    until(lambda: told("short")["ended"], 300)
    assert told("short")["state"] == "done", told("short")
    print(f"A run of 5 steps is done: {told('short')['metrics']}", flush=True)
    start("long", max_steps=5000, epochs=1000)
    until(lambda: told("long")["step"] > 3, 300)
    stop(container)
    container = started(image, found)
    until(lambda: healthy(image, found), 180)
    before = told("long")
    assert before["state"] == "interrupted" and "shut down at step" in before["reason"], before
    print(f"After stop and start: {before['reason']}", flush=True)
    studio.post("/studio/runs/long/resume", json={}).raise_for_status()
    until(lambda: told("long")["step"] > before["step"] or told("long")["ended"], 300)
    assert told("long")["state"] == "training", told("long")
    stop(container)
    print(f"Resumed, and stopped again. All of it as user {image.user}.", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--built", action="store_true", help="Take the steps that make the image as done.")
    args = parser.parse_args()
    image = Image(args.folder.resolve() / "root", args.bind)
    if args.built:  # only what the later steps inherit
        for step in steps(ROOT / "Dockerfile"):
            if step.name not in ("RUN", "COPY"):
                _carry_out(image, step, {"TORCH": args.torch}, args.torch)
    else:
        base = args.folder.resolve() / "base"
        debian(base)
        shutil.rmtree(image.root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(base), str(image.root)], check=True)
        build(image, args.torch)
    use(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
