"""Builds the page and serves it; nothing else."""

from ui.shell import serve

if __name__ == "__main__":
    raise SystemExit(serve())
