"""Trainings that are not plain fine-tuning, as a person goes through them: pairs of answers, scores, rules for scores."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.steps import typed, wait_for_end

pytestmark = pytest.mark.browser


def chosen(page: Page, server: Server, trainer: str, sample: str) -> None:
    """The wizard with a sample, its examples in view."""
    page.goto(f"{server.url}/new?trainer={trainer}&data=sample:{sample}")
    expect(page.locator("#token-view .example").first).to_be_visible()


def trained(page: Page, epochs: str) -> None:
    """Set the passes, start, and wait until the run is done."""
    page.get_by_role("tab", name="3 · Settings").click()
    typed(page, "field-epochs", epochs)
    expect(page.locator("#command")).to_contain_text(f"--epochs {epochs}")
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#review-view")).to_contain_text("It fits on this machine")
    expect(page.locator("#start")).to_be_enabled()
    page.click("#start")
    page.wait_for_url("**/run?id=*")
    assert wait_for_end(page) == "done"


def test_pairs_are_shown_trained_on_and_drawn(page: Page, server: Server) -> None:
    """Both answers are marked, each in its own colour; every chart has a sentence, and its held-out twin."""
    chosen(page, server, "orpo", "whole-sentences")
    example = page.locator("#token-view .example").first
    expect(example.locator(".part")).to_have_text(["better", "worse"])
    expect(example.locator(".part.against")).to_have_text("worse")
    better, worse = example.locator("mark.trained").first, example.locator("mark.trained").last
    colour = "e => getComputedStyle(e).backgroundColor"
    assert better.evaluate(colour) != worse.evaluate(colour)
    trained(page, "1")

    curves = page.evaluate("Object.keys(document.querySelector('.monitor').monitor.board.curves)")
    for key in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert {key, f"eval_{key}"} <= set(curves)
    charts = page.locator(".charts > .chart:not([hidden])")
    for title in ("Loss", "How often the better answer wins", "Margin", "Rewards"):
        chart = charts.filter(has=page.locator(f"figcaption b:text-is('{title}')"))
        expect(chart).to_have_count(1)
        expect(chart.locator(".legend")).to_contain_text("held-out")
    said = page.locator(".charts > .chart:not([hidden]) .chart-good").all_inner_texts()
    assert len(said) == charts.count(), "a chart without a word on what good looks like"
    assert page.locator(".charts > .chart:not([hidden]) .legend .dashed").count() >= 4, "held-out lines of several kinds"
    losses = page.evaluate("document.querySelector('.monitor').monitor.board.curves.eval_loss[1]")
    assert losses[-1] < losses[0] / 2
    expect(page.locator(".machine")).to_be_visible()
    expect(page.locator(".machine .chart").first).to_be_hidden()


def test_a_reward_model_scores_answers_in_the_playground(page: Page, server: Server) -> None:
    chosen(page, server, "reward", "good-cheer")
    trained(page, "1")
    expect(page.locator(".answers-box h2")).to_have_text("The same answers, scored as it learns")
    expect(page.locator("#talk")).to_have_text("Score answers with it")
    page.click("#talk")
    page.wait_for_url("**/playground?*")
    scores = []
    known = "Clara is the captain of Saltmere."
    for answer in (f"{known} I am glad that you asked.", f"{known} It rained all morning and I am tired."):
        page.fill("#question", "What does Clara do?")
        page.fill("#answer", answer)
        page.click("#send")
        turn = page.locator(".turn.assistant").last
        expect(turn.locator("q")).to_have_text(answer)
        expect(turn.locator(".text")).to_have_text(re.compile(r"Score [+-]\d"), timeout=60_000)
        scores.append(float(turn.locator(".text").inner_text().removeprefix("Score ")))
        expect(page.locator("#send")).to_have_text("Score")
    assert scores[0] > scores[1]


@pytest.mark.long  # many clicks; tests/ui/test_form.py puts rules through the form
def test_reward_functions_are_chosen_without_knowing_how_they_are_written(page: Page, server: Server, tmp_path) -> None:
    questions = tmp_path / "questions.csv"
    questions.write_text("prompt,fact\n" + "".join(f"What is {n} plus one?,{n + 1}\n" for n in range(30)))
    page.goto(f"{server.url}/new?trainer=ppo")
    page.set_input_files("#upload input[type=file]", str(questions))
    expect(page.locator("#token-view .example").first).to_be_visible()  # looked at before anything scores
    expect(page.locator("#still-open")).to_contain_text("nothing scores the answers yet")
    page.get_by_role("tab", name="4 · Review and start").click()
    expect(page.locator("#start")).to_be_disabled()
    page.click("#choose-now")
    expect(page.locator("#reward-rules")).to_contain_text("Nothing scores the answers yet")

    page.click("#reward-add")
    expect(page.locator("#reward-says [role=alert]")).to_contain_text("Say what, for example")
    kind(page, "contains what a column says")
    expect(page.locator("#reward-column input")).to_have_value("fact")
    typed(page, "reward-weight", "twice")
    page.click("#reward-add")
    expect(page.locator("#reward-says [role=alert]")).to_contain_text("Weight: A number such as 2")
    typed(page, "reward-weight", "2")
    page.click("#reward-add")
    expect(page.locator(".rules li")).to_contain_text("It contains what a column says: fact")
    kind(page, "has this length")
    typed(page, "reward-argument", "6-12 words")
    page.keyboard.press("Enter")
    expect(page.locator(".rules li")).to_have_count(2)
    expect(page.locator("#field-rl_rewards textarea")).to_have_value("2 * contains: fact\nlength: 6-12 words")
    expect(page.locator("#command")).to_contain_text("2 * contains: fact")
    expect(page.locator("#still-open")).to_have_text("")

    typed(page, "field-rl_rewards", "match: solution")
    expect(page.locator(".rules .lacking")).to_contain_text("The data has no column solution. It has: fact.")
    page.locator("[data-remove-line]").click()
    expect(page.locator("#reward-rules")).to_contain_text("Nothing scores the answers yet")
    expect(page.locator("#field-rl_rewards textarea")).to_have_value("")


def kind(page: Page, title: str) -> None:
    page.locator("#reward-kind input").click()
    page.locator("#reward-kind [role=option]", has_text=title).click()
