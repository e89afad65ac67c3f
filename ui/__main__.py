"""`python -m ui` and `aitraining app`: serve the page."""

from ui.shell import serve

if __name__ == "__main__":
    raise SystemExit(serve())
