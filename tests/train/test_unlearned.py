"""What stands in a conversation and is not learned: a greeting before the first question, and calls that no template shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.chat_templates import CHATML, PLAIN
from engine.errors import DataError
from engine.models import resolve
from engine.registry import parse
from engine.worker.inspect import preview
from engine.worker.models import load_tokenizer
from engine.worker.templates import choose_template
from engine.worker.tokens import IGNORED, Tokens, chat_tokens, pair_tokens, prompt_text

HELLO = {"role": "assistant", "content": "Welcome!"}
ASKED = {"role": "user", "content": "Is it foggy?"}
ANSWER = {"role": "assistant", "content": "Yes, very."}
CALL = {"type": "function", "function": {"name": "fog", "arguments": {"place": "harbour"}}}
CALLS = {"role": "assistant", "content": "", "tool_calls": [CALL]}
TALK = [ASKED, CALLS, {"role": "tool", "content": "very foggy"}, ANSWER]

WITHOUT_MARKS = re.sub(r"\{%-? (end)?generation -?%\}", "", CHATML)
REFUSES_GREETINGS = (
    "{%- set first = messages[1] if messages[0]['role'] == 'system' else messages[0] -%}"
    "{%- if first['role'] != 'user' -%}{{- raise_exception('a user must begin') -}}{%- endif -%}"
)
REFUSES_CALLS = re.compile(r"\{%- if message\['tool_calls'\] -%\}.*?\{%- endif -%\}")
SHOWS_CALLS = "{{- message['tool_calls'][0]['function']['name'] -}}"


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(resolve(str(tiny_model)))


def learned(made: Tokens, tokenizer: Any) -> str:
    return tokenizer.decode([label for label in made.labels if label != IGNORED])


@pytest.mark.parametrize("template", [CHATML, WITHOUT_MARKS, PLAIN], ids=["chatml", "without marks", "plain"])
def test_a_greeting_is_read_and_not_learned(tokenizer: Any, template: str) -> None:
    tokenizer.chat_template = template
    made = chat_tokens({"prompt": [HELLO, ASKED], "completion": [ANSWER]}, tokenizer)
    assert "Welcome!" in tokenizer.decode(made.input_ids)
    assert "Yes, very." in learned(made, tokenizer) and "Welcome" not in learned(made, tokenizer)
    assert "Welcome!" in prompt_text({"prompt": [HELLO, ASKED]}, tokenizer)


@pytest.mark.parametrize("template", [CHATML, WITHOUT_MARKS], ids=["marks", "without marks"])
@pytest.mark.parametrize("before", [[], [{"role": "system", "content": "Be brief."}]], ids=["alone", "system"])
def test_a_greeting_is_left_out_where_the_template_refuses_it(tokenizer: Any, template: str, before: Any) -> None:
    tokenizer.chat_template = REFUSES_GREETINGS + template
    greeted, plain = [*before, HELLO, ASKED], [*before, ASKED]
    given = {"prompt": greeted, "completion": [ANSWER, ASKED, ANSWER]}
    assert chat_tokens(given, tokenizer) == chat_tokens({**given, "prompt": plain}, tokenizer)
    pair = {"prompt": greeted, "chosen": [ANSWER], "rejected": [HELLO]}
    assert pair_tokens(pair, tokenizer) == pair_tokens({**pair, "prompt": plain}, tokenizer)
    assert prompt_text({"prompt": greeted}, tokenizer) == prompt_text({"prompt": plain}, tokenizer)
    assert prompt_text({"messages": [*greeted, ANSWER]}, tokenizer) == prompt_text({"prompt": plain}, tokenizer)
    with pytest.raises(DataError, match="a user must begin"):
        chat_tokens({"prompt": [HELLO], "completion": [ANSWER]}, tokenizer)


@pytest.mark.parametrize("wish", ["chatml", "plain"])
def test_our_templates_refuse_calls_of_tools(tokenizer: Any, wish: str) -> None:
    """An empty answer would be learned in place of the call."""
    choose_template(tokenizer, wish)
    for row in ({"messages": TALK}, {"prompt": TALK[:3], "completion": TALK[3:]}):
        with pytest.raises(DataError, match="no place for the call of a tool"):
            chat_tokens(row, tokenizer)
    with pytest.raises(DataError, match="no place for the call of a tool"):
        prompt_text({"prompt": TALK[:3]}, tokenizer)
    talk = [ASKED, {**ANSWER, "tool_calls": []}]
    assert "Yes, very." in learned(chat_tokens({"messages": talk}, tokenizer), tokenizer)


def test_a_models_own_template_that_leaves_calls_out_is_found(tokenizer: Any) -> None:
    tokenizer.chat_template = REFUSES_CALLS.sub("", CHATML)
    assert tokenizer.chat_template != CHATML
    with pytest.raises(DataError, match="has no place for the call of a tool") as told:
        chat_tokens({"messages": TALK}, tokenizer)
    assert told.value.hint
    shown = "{%- if message['tool_calls'] -%}" + SHOWS_CALLS + "{%- endif -%}{{- (message['content'] or '')"
    tokenizer.chat_template = REFUSES_CALLS.sub("", CHATML).replace("{{- (message['content'] or '')", shown)
    made = chat_tokens({"messages": TALK}, tokenizer)
    assert learned(made, tokenizer) == "fog<|im_end|>Yes, very.<|im_end|>"


def test_what_is_told_of_rows_whose_calls_no_template_shows(tiny_model: Path, tmp_path: Path) -> None:
    """By the row's number where rows are looked at before a training; and of answers of which none was liked, that."""
    params = {"trainer": "sft", "model": str(tiny_model), "data_path": str(tmp_path / "rows.jsonl"), "chat_template": "chatml"}
    rows = [{"messages": [ASKED, ANSWER]}, {"messages": TALK}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fine, refused = preview(parse(params), 5, {})["examples"]
    assert not fine["problem"] and refused["row"] == 2 and "no place for the call of a tool" in refused["problem"]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": [ASKED, ANSWER], "label": False}))
    with pytest.raises(DataError, match="Not one answer has a thumbs up"):
        preview(parse(params), 5, {})
