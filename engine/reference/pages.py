"""Which pages of docs/ are made from the code, and how they get there. A test keeps the files and this the same."""

from __future__ import annotations

from pathlib import Path

from engine.reference import commands, errors, guides, index, python_names, settings, troubleshooting

DOCS = Path(__file__).resolve().parents[2] / "docs"
_MADE = "<!-- Made from the code by `make docs`; change it there. -->\n"


def pages() -> dict[str, str]:
    """Every generated page: its place under docs/, and what is in it."""
    made = {
        "README.md": index.page(),
        "settings.md": settings.page(),
        "cli.md": commands.page(),
        "api.md": python_names.page(),
        "errors.md": errors.page(),
        "troubleshooting.md": troubleshooting.page(),
        **{f"trainers/{name}.md": text for name, text in guides.pages().items()},
    }
    return {place: _MADE + text.rstrip("\n") + "\n" for place, text in made.items()}


def found() -> dict[str, str]:
    """What lies under docs/ now and says of itself that it was made."""
    texts = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {place: text for place, text in texts.items() if text.startswith(_MADE)}


def write() -> list[str]:
    """Make the files what they should be; returns the places of those that changed."""
    wanted, there = pages(), found()
    for place in there.keys() - wanted.keys():
        (DOCS / place).unlink()
    changed = sorted({place for place, text in wanted.items() if there.get(place) != text} | (there.keys() - wanted.keys()))
    for place in changed:
        if place in wanted:
            (DOCS / place).parent.mkdir(exist_ok=True)
            (DOCS / place).write_text(wanted[place], encoding="utf-8")
    return changed
