"""The tree on the page is the documentation's, word for word, and every way through it ends in one thing to do."""

from __future__ import annotations

import re

from engine import api
from engine.advisor import leaves, pipelines, recommend, tree, use_cases
from engine.registry import specs
from engine.spec import RowKind
from ui.tree import comparison_html, pipelines_html, recommendation_html, recommendations_html, tree_html

# The documentation's tree, line by line: depth, then its words.
DOCUMENTED = """
Do you have labeled examples?
No → Collect data first
Yes → Do you have preference pairs?
No → Use SFT
Yes → Do you need custom rewards?
No → Do you have a reference model?
No → Use ORPO
Yes → Use DPO
Yes → Train Reward Model → Use PPO
"""
USE_CASES = {
    "Chat/Instruction Following": "SFT → DPO",
    "Code Generation": "SFT with quality data",
    "Creative Writing": "ORPO for balanced creativity",
    "Safety Alignment": "DPO or PPO with safety rewards",
    "Task-Specific": "SFT for most cases",
}


def spoken(node, lines: list[str]) -> list[str]:
    """The documented part of the tree as the documentation prints it: our own questions are passed through."""
    for _, word, following in node.answers:
        while not hasattr(following, "advice") and following.ours:
            following = following.answers[0][2]
        if hasattr(following, "advice"):
            lines.append(f"{word} → {following.advice.words}")
        else:
            lines.append(f"{word} → {following.text}")
            spoken(following, lines)
    return lines


def test_the_tree_is_the_documented_one() -> None:
    assert [tree().text, *spoken(tree(), [])] == DOCUMENTED.strip().splitlines()


def test_the_use_cases_are_the_documented_ones() -> None:
    assert {case.title: case.words for case in use_cases()} == USE_CASES


def test_the_two_forgotten_questions_are_asked() -> None:
    found = {advice.id: answers for answers, advice in leaves()}
    assert found["default"] == {"labeled": "no", "raw": "yes"}
    assert found["distillation"] == {"labeled": "no", "raw": "no", "prompt": "yes"}


def test_every_end_offers_one_training_that_runs() -> None:
    ends = [recommend(answers) for answers, _ in leaves()] + [recommend({"use": case.id}) for case in use_cases()]
    for found in ends:
        assert found is not None
        assert found.start in specs(), found.advice.id
        assert found.advice.reason.endswith(".") and found.advice.needs
        assert found.pipeline in pipelines()
        if found.stands_in and found.advice.id != "collect":
            assert "not in this version" in found.note, "an honest stand-in says that it is one"


def test_an_open_question_has_no_recommendation() -> None:
    assert recommend({}) is None
    assert recommend({"labeled": "yes"}) is None


def test_a_file_answers_the_questions() -> None:
    ends: dict[RowKind, str] = {
        "text": "Use Default",
        "chat": "Use SFT",
        "preference": "Use ORPO",
        "feedback": "Use KTO",
    }
    for kind, words in ends.items():
        found = recommend({}, [kind])
        assert found is not None
        assert found.advice.words == words


def test_the_page_shows_every_question_answer_and_end() -> None:
    shown = tree_html()
    for _, advice in leaves():
        assert advice.words in shown
    assert shown.count('class="tree-leaf"') == len(list(leaves()))
    hidden = recommendations_html()
    assert hidden.count('class="advice"') == len(list(leaves())) + len(use_cases())
    assert set(re.findall(r'href="/new\?trainer=(\w+)', hidden)) <= set(api.specs()), "only trainers that run are offered"


def test_a_chain_is_offered_beside_its_step_and_first_where_the_advice_is_the_chain() -> None:
    for case, first in (("chat", "Train all stages in a row"), ("safety", "Only this step"), ("code", "Go on with")):
        found = recommend({"use": case})
        assert found is not None
        shown = recommendation_html(found)
        assert re.findall(r'class="st-button main"[^>]*>([^<]*)<', shown)[0].startswith(first)
        assert ("/new-pipeline?chain=preference" in shown) == (case != "code")
        assert ("Only this step: " in shown) == (case != "code")
    pictures = pipelines_html()
    for pipeline in pipelines():
        assert f'href="/new-pipeline?chain={pipeline.id}"' in pictures and pipeline.title in pictures


def test_a_score_that_a_rule_works_out_needs_no_reward_model() -> None:
    """The question speaks of what pairs cannot express, so the answer must not end in pairs alone."""
    found = recommend({"labeled": "yes", "pairs": "yes", "rewards": "yes"})
    assert found is not None
    assert "no reward model is needed: PPO and GRPO take the rule itself" in found.advice.reason
    assert "With a rule: prompts alone" in found.advice.needs
    shown = recommendation_html(found)
    for trainer in ("ppo", "grpo"):
        assert f'href="/new?trainer={trainer}">With a rule: {api.spec_for(trainer).title}<' in shown
    assert shown.count("With a rule: ") == 3 and "/new-pipeline?chain=rlhf" in shown
    other = recommend({"use": "code"})
    assert other is not None and "With a rule" not in recommendation_html(other)


def test_the_comparison_has_the_documented_cells() -> None:
    shown = comparison_html().replace('<span class="star">★</span>', "⭐")
    for spec in api.specs().values():
        assert spec.comparison.stability in shown
        assert spec.comparison.use_case in shown


def test_nothing_on_the_page_speaks_of_documentation_that_its_reader_has_not_seen() -> None:
    page = tree_html() + pipelines_html() + recommendations_html()
    assert "original" not in page and ">added<" not in page
