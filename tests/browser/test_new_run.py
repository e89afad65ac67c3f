"""The page "New run" in a real browser: errors beside the field, presets, YAML, mapping, second tab, hostile files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.steps import typed

pytestmark = pytest.mark.browser


def opened(page: Page, server: Server, step: str | None = None) -> None:
    page.goto(f"{server.url}/new?trainer=sft&data=sample:neighbours")
    expect(page.locator("#token-view .example").first).to_be_visible()
    expect(page.locator("#command")).to_contain_text("sample:neighbours")
    if step:
        page.get_by_role("tab", name=step).click()


def test_a_wrong_value_is_said_beside_its_box(page: Page, server: Server) -> None:
    opened(page, server, "3 · Settings")
    # an answer that Gradio's page has shown and not yet done with takes a newer verdict away when it is
    expect(page.locator("#field-epochs .meta-text")).to_have_count(0)
    typed(page, "field-epochs", "many")
    expect(page.locator("#field-epochs")).to_contain_text("Passes over the data must be a number")
    typed(page, "field-epochs", "4")
    expect(page.locator("#field-epochs")).not_to_contain_text("must be a number")
    expect(page.locator("#command")).to_contain_text("--epochs 4")
    expect(page.locator("#field-batch_size")).to_contain_text("in 4 passes")  # the reason follows


def test_what_is_wrong_stays_said_whatever_else_is_answered(page: Page, server: Server) -> None:
    """Gradio's page takes the words away with every answer that reads the form: here those of the review."""
    opened(page, server, "3 · Settings")
    typed(page, "field-epochs", "many")
    wrong = page.locator("#field-epochs div.validation-error")
    expect(wrong).to_contain_text("Passes over the data must be a number")
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#review-view [role=alert]")).to_contain_text("Passes over the data must be a number")
    page.get_by_role("tab", name="3 · Settings").click()
    expect(wrong).to_contain_text("Passes over the data must be a number")
    page.locator("#show-all input").check()
    expect(page.locator("#field-max_steps")).to_be_visible()
    expect(wrong).to_contain_text("Passes over the data must be a number")


def test_what_is_deleted_or_pasted_counts_as_well(page: Page, server: Server) -> None:
    opened(page, server, "3 · Settings")
    typed(page, "field-epochs", "4")
    expect(page.locator("#command")).to_contain_text("--epochs 4")
    page.keyboard.press("Backspace")
    expect(page.locator("#command")).not_to_contain_text("--epochs")
    page.keyboard.insert_text("5")  # as a paste or a phone's keyboard does it: no key is pressed
    expect(page.locator("#command")).to_contain_text("--epochs 5")


def test_fields_appear_when_they_matter(page: Page, server: Server) -> None:
    opened(page, server, "3 · Settings")
    expect(page.locator("#field-lora_r")).to_be_hidden()
    page.locator("#field-peft input").check()
    expect(page.locator("#field-lora_r")).to_be_visible()
    expect(page.locator("#field-lora_alpha")).to_be_hidden()
    page.locator("#show-all input").check()
    expect(page.locator("#field-lora_alpha")).to_be_visible()
    page.locator("#field-train_on_prompt input").check()
    expect(page.locator("#command")).to_contain_text("--train-on-prompt")
    page.get_by_role("tab", name="1 · Data").click()
    expect(page.locator("#token-view mark.trained").nth(1)).to_contain_text("user")  # the preview follows
    page.get_by_label("Default/Generic CLM Training").check()
    expect(page.locator("#command")).to_contain_text("--trainer default")
    page.get_by_role("tab", name="3 · Settings").click()
    expect(page.locator("#field-train_on_prompt")).to_be_hidden()
    expect(page.locator("#field-cross_documents")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_reasons_that_come_with_the_plan_move_nothing_away_from_under_a_click(page: Page, server: Server, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    places = []
    for data, reasons in ("", 0), ("&data=sample:neighbours", 3):
        page.goto(f"{server.url}/new?trainer=sft{data}")
        page.get_by_role("tab", name="3 · Settings").click()
        expect(page.locator("#field-project_name")).to_be_visible()
        expect(page.get_by_label("Best quality")).to_be_visible()  # presets come with the data
        expect(page.locator(".explained", has_text="Chosen:").filter(visible=True)).to_have_count(reasons)
        places.append(page.locator("#yaml").evaluate("box => box.getBoundingClientRect().top + window.scrollY"))
    assert places[0] == places[1]
    # and the presets have found the room that they take
    heights = page.locator("#preset").evaluate("b => [b.offsetHeight, parseFloat(getComputedStyle(b).minHeight)]")
    assert heights[0] == pytest.approx(heights[1], abs=1)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_command_that_is_drawn_anew_keeps_its_room(page: Page, server: Server, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, server, "3 · Settings")
    expect(page.locator("#command")).to_contain_text("--data-path")
    expect(page.locator("#field-batch_size")).to_contain_text("Chosen:")
    height = "() => document.documentElement.scrollHeight"
    before = page.evaluate(height)
    page.add_style_tag(content="#command > * { display: none !important }")  # as for a moment, when its text is another one
    assert page.evaluate(height) == before


def test_presets_and_yaml_fill_the_form(page: Page, server: Server) -> None:
    opened(page, server, "3 · Settings")
    page.get_by_label("Best quality").check()
    expect(page.locator("#command")).to_contain_text("--epochs 8")
    expect(page.locator("#field-batch_size")).to_contain_text("in 8 passes")  # all of the answer is there
    page.get_by_text("Settings as YAML").click()
    expect(page.locator("#yaml-text")).to_contain_text("epochs: 8")
    page.locator("#yaml-own .cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("trainer: default\nmodel: starter\ndata_path: sample:harbour-almanac\nlr: 3e-4\n")
    page.click("#read-yaml")
    expect(page.locator("#command")).to_contain_text("--trainer default --model starter --data-path sample:harbour-almanac")
    expect(page.locator("#command")).to_contain_text("--lr 0.0003")
    page.locator("#yaml-own .cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("trainer: default\ndata_path: x\nepochz: 3")
    page.click("#read-yaml")
    expect(page.locator("#yaml")).to_contain_text("epochz")
    expect(page.locator("#yaml [role=alert]")).to_contain_text("epochs")  # the nearest right one is named
    page.get_by_label("Quick try").check()
    expect(page.locator("#yaml-text")).to_contain_text("max_samples: 200")
    expect(page.locator("#yaml-own")).to_contain_text("epochz: 3")  # what was written is still there to be mended
    page.click("#copy-yaml")
    expect(page.locator("#yaml-own")).to_contain_text("max_samples: 200")
    page.locator("#yaml-own .cm-content").click()
    page.keyboard.press("Control+A")
    theirs = "task: llm-generic\nbase_model: starter\ndata:\n  path: sample:harbour-almanac\nparams:\n  block_size: 64\n"
    page.keyboard.insert_text(theirs)  # a file of AutoTrain
    page.click("#read-yaml")
    expect(page.locator("#yaml .st-note")).to_contain_text("block_size 64 → max_length 64")
    expect(page.locator("#command")).to_contain_text("--max-length 64")


def test_columns_that_say_nothing_can_be_mapped(page: Page, server: Server, tmp_path: Path) -> None:
    odd = tmp_path / "odd.csv"
    odd.write_text("n,foo,bar,baz\n" + "".join(f"{n},Ask {n}?,Say {n}.,x{n}\n" for n in range(25)))
    page.goto(f"{server.url}/new?trainer=sft")
    page.set_input_files("#upload input[type=file]", str(odd))
    expect(page.locator("#file-view")).to_contain_text("foo was taken as the question")
    page.get_by_text("How the rows are read").click()
    choose(page, "role-0", "bar")
    choose(page, "role-1", "baz")
    expect(page.locator("#token-view mark.trained").nth(1)).to_contain_text("x0")
    expect(page.locator("#command")).to_contain_text("--column-mapping")


def test_columns_can_be_chosen_where_none_is_known(page: Page, server: Server, tmp_path: Path) -> None:
    odd = tmp_path / "tickets.csv"
    odd.write_text(
        "Kunde;Betreff;Loesweg\n" + "".join(f"Kundin {n};Frage nach Tor {n};Es geht um {n} auf.\n" for n in range(25))
    )
    page.goto(f"{server.url}/new?trainer=sft")
    page.set_input_files("#upload input[type=file]", str(odd))
    choose(page, "field-data_format", "questions and answers")
    expect(page.locator("#file-view [role=alert]")).to_contain_text("No column is chosen for: Question, Answer")
    choose(page, "role-0", "Betreff")
    expect(page.locator("#file-view [role=alert]")).to_contain_text("No column is chosen for: Answer")
    choose(page, "role-1", "Loesweg")
    expect(page.locator("#token-view mark.trained").nth(1)).to_contain_text("Es geht um 0 auf.")


def choose(page: Page, field: str, option: str) -> None:
    page.locator(f"#{field} input").click()
    page.locator(f"#{field} [role=option]", has_text=option).first.click()


def test_two_tabs_start_one_run(page: Page, server: Server) -> None:
    opened(page, server, "4 · Review and start")
    expect(page.locator("#start")).to_be_enabled()
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator("#command")).to_contain_text("sample:neighbours")
    second.get_by_role("tab", name="4 · Review and start").click()
    expect(second.locator("#start")).to_be_enabled()
    page.click("#start")
    second.click("#start")
    page.wait_for_url("**/run?id=*")
    second.wait_for_url("**/run?id=*")
    assert page.url == second.url
    page.click("#stop")
    expect(page.locator(".run-head .st-pill")).to_have_text("stopped", timeout=90_000)


BROKEN = {
    "empty.json": b"",
    "picture.json": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "deep.json": b"[" * 100_000,
    "cut.jsonl.gz": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03abc",
}


def test_broken_files_get_a_sentence_and_run_nothing(page: Page, server: Server, tmp_path: Path) -> None:
    page.goto(f"{server.url}/new?trainer=sft")
    for name, content in BROKEN.items():
        file = tmp_path / name
        file.write_bytes(content)
        page.set_input_files("#upload input[type=file]", str(file))
        expect(page.locator("#file-view [role=alert]")).to_be_visible()
        expect(page.locator("#file-view")).to_contain_text(name)
        expect(page.locator("#token-view [role=alert]")).to_have_count(0)  # what is wrong is said once

    hostile = tmp_path / "hostile.jsonl"
    nasty = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>{{ 7*7 }}"
    hostile.write_text("".join(json.dumps({"prompt": f"{nasty} {n}", "completion": nasty}) + "\n" for n in range(30)))
    page.set_input_files("#upload input[type=file]", str(hostile))
    expect(page.locator("#token-view mark.trained").nth(1)).to_contain_text("<script>window.hacked=1</script>")
    expect(page.locator("#token-view mark.trained").nth(1)).to_contain_text("{{ 7*7 }}")
    assert page.evaluate("window.hacked") is None
    assert server.answers()


def test_an_own_file_keeps_nothing_that_a_sample_brought(page: Page, server: Server, tmp_path: Path) -> None:
    page.goto(f"{server.url}/new?trainer=dpo&data=sample:manners")
    expect(page.locator("#command")).to_contain_text("--model starter-instructed")
    file = tmp_path / "pairs.csv"
    lines = [f"{n};What does organ {n} do?;It does {n}. Well asked!;No idea." for n in range(20)]
    file.write_text("\n".join(["Nr;Prompt;Good answer;Bad answer", *lines]), encoding="utf-8-sig")
    page.set_input_files("#upload input[type=file]", str(file))
    expect(page.locator("#command")).to_contain_text("pairs.csv")
    command = page.locator("#command")
    expect(command).to_contain_text("--trainer dpo --model starter --data-path")
    for brought in ("starter-instructed", "--lr", "--sft-weight"):
        expect(command).not_to_contain_text(brought)
    expect(page.locator("#token-view .part.against").first).to_be_visible()


def test_a_teacher_with_nothing_to_teach_is_not_started(page: Page, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "questions.csv"
    file.write_text("prompt\n" + "".join(f"What is {n} plus one?\n" for n in range(20)))
    page.goto(f"{server.url}/new?trainer=distillation")
    page.set_input_files("#upload input[type=file]", str(file))
    expect(page.locator("#still-open")).to_contain_text("there is nothing to learn")
    page.click("#choose")
    typed(page, "field-teacher_prompt_template", "Answer as a pirate. {input}")
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#start")).to_be_enabled()
    expect(page.locator("#still-open")).not_to_contain_text("nothing to learn")
