"""The pages are complete and fresh: nothing that exists is undocumented, nothing that is named is missing."""

from __future__ import annotations

import builtins
import inspect
import re
from pathlib import Path

import pytest

import engine
from engine import errors
from engine.errors import StudioError
from engine.params import flag
from engine.reference.errors import kinds, sentences
from engine.reference.pages import DOCS, found, pages
from engine.registry import specs
from engine.spec import TrainerSpec
from tests.docs.blocks import ROOT

EVERY = pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.id)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def text(place: str) -> str:
    return (DOCS / place).read_text(encoding="utf-8")


def test_generated_pages_are_what_the_code_says() -> None:
    """Otherwise: make docs"""
    wanted, there = pages(), found()
    assert sorted(there) == sorted(wanted)
    for place, made in wanted.items():
        assert there[place] == made, f"docs/{place} is stale: make docs"


@EVERY
def test_a_trainer_has_a_guide_that_answers_the_usual_questions(spec: TrainerSpec) -> None:
    page, guide = text(f"trainers/{spec.id}.md"), spec.guide
    for heading in ("Data", "Train it", "Settings that matter", "What the curves should look like", "When something is wrong"):
        assert f"\n## {heading}\n" in page
    assert len(guide.settings) >= 4 and len(guide.troubles) >= 3
    assert {name for name, _ in guide.settings} <= set(spec.params.model_fields)
    named = " ".join(f"`{name}` {words}" for name, words in [*guide.settings, *guide.troubles])
    settings = set(re.findall(r"`(\w+)`", text("settings.md")))
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`", named)) <= settings, "the guide names a setting that there is not"
    for words in (guide.not_when, guide.data, guide.curves, *(advice for _, advice in (*guide.settings, *guide.troubles))):
        assert words.endswith("."), words
    assert f"(trainers/{spec.id}.md)" in text("README.md")


@EVERY
def test_every_setting_and_its_flag_are_documented(spec: TrainerSpec) -> None:
    settings, commands = text("settings.md"), text("cli.md")
    for name in spec.params.model_fields:
        if name != "trainer":
            assert f"| `{name}` | `{flag(name)}` |" in settings
        assert re.search(rf"`{flag(name)}[ `]", commands), f"{flag(name)} is not in docs/cli.md"


def test_every_error_is_documented() -> None:
    page = text("errors.md")
    assert StudioError in kinds() and len(kinds()) >= 10
    for kind in kinds():
        assert f"\n## {kind.__name__}\n" in page
    said = sentences()
    assert sum(len(rows) for rows in said.values()) > 120, "the reader of the sources has gone blind"
    assert ("The disk is full.", "Remove checkpoints of ended runs, or delete old runs, then resume.") in said["TrainingError"]


def test_every_public_name_is_documented() -> None:
    page = text("api.md")
    for name in engine.__all__:
        assert f"\n### {name}\n" in page
        assert inspect.getdoc(getattr(engine, name)), name


def test_what_a_public_name_raises_is_an_error_that_there_is() -> None:
    raised = re.findall(r"\b[Rr]aises `(\w+)`", text("api.md"))
    assert {"ParamError", "TrainingError", "RunNotFound"} <= set(raised)
    for name in raised:
        kind = getattr(errors, name, None) or getattr(builtins, name, None)
        assert inspect.isclass(kind) and issubclass(kind, Exception), name


def test_every_variable_of_the_environment_is_documented() -> None:
    sources = [*(ROOT / "engine").rglob("*.py"), *(ROOT / "ui").rglob("*.py"), ROOT / "app.py", ROOT / "Dockerfile"]
    others = "GRADIO_TEMP_DIR|GRADIO_SERVER_PORT|HUGGING_FACE_HUB_TOKEN|OPENAI_API_KEY"  # of other programs, and read here too
    variable = re.compile(rf"\b(?:AITRAINING_[A-Z_]*[A-Z]|{others})\b")
    read = {name for path in sources for name in variable.findall(path.read_text(encoding="utf-8"))}
    assert {"AITRAINING_HOME", "AITRAINING_HOST", *others.split("|")} <= read
    for name in read:
        assert f"`{name}`" in text("cli.md"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    words = page.read_text(encoding="utf-8")
    for link in [*re.findall(r"\]\(([^)\s]+)\)", words), *re.findall(r'src="([^"]+)"', words)]:
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def anchors(page: Path) -> set[str]:
    """The names by which GitHub finds a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_no_picture_is_left_over() -> None:
    shown = {name for page in PAGES for name in re.findall(r"curves/(\w+\.svg)", page.read_text(encoding="utf-8"))}
    assert {path.name for path in (DOCS / "curves").iterdir()} == shown == {f"{name}.svg" for name in specs()}
