"""Which tokens are trained: every expectation is put together by hand from pieces of text, never from a chat template."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from engine.chat_templates import CHATML, PLAIN
from engine.errors import DataError
from engine.models import resolve
from engine.worker.models import load_tokenizer
from engine.worker.templates import choose_template
from engine.worker.tokens import IGNORED, Tokens, chat_tokens, prompt_text, text_tokens

Pieces = list[tuple[str, bool]]

MULTI = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Hello!"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Is it foggy?"},
    {"role": "assistant", "content": "Yes, very."},
]
MULTI_CHATML: Pieces = [
    ("<|im_start|>system\nAnswer briefly.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n", False),
    ("Hello.<|im_end|>", True),
    ("\n<|im_start|>user\nIs it foggy?<|im_end|>\n<|im_start|>assistant\n", False),
    ("Yes, very.<|im_end|>", True),
    ("\n", False),
]
# Answers whose edges are easy to get wrong: white space, nothing at all, text that looks like the template's own.
ODD_ANSWERS = [
    " with a space before",
    "with a newline after\n",
    "two\n\nparagraphs",
    "",
    "assistant",
    "Ümläute, 漢字 and 🐟",
    "User: no",
]


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(resolve(str(tiny_model)))


def by_hand(pieces: Pieces, tokenizer: Any) -> Tokens:
    """Tokens of each piece by itself, trained or not."""
    ids, labels = [], []
    for text, trained in pieces:
        piece = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += piece
        labels += piece if trained else [IGNORED] * len(piece)
    return Tokens(ids, labels)


def unmarked(template: str) -> str:
    """The template as most models have it: without {% generation %}, so that the answers must be found."""
    return re.sub(r"\{%-? (end)?generation -?%\}", "", template)


def test_prompt_and_completion(tokenizer: Any) -> None:
    row = {"prompt": "When does it open?", "completion": "At six."}
    pieces = [("<|im_start|>user\nWhen does it open?<|im_end|>\n<|im_start|>assistant\n", False), ("At six.<|im_end|>", True)]
    expected = by_hand([*pieces, ("\n", False)], tokenizer)
    assert chat_tokens(row, tokenizer) == expected
    trained = [label for label in expected.labels if label != IGNORED]
    assert trained[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert expected.trained == len(trained)


def test_prompt_and_completion_may_be_turns_and_only_the_completion_is_trained(tokenizer: Any) -> None:
    row = {"prompt": MULTI[:4], "completion": MULTI[4:]}
    last = max(place for place, (_, trained) in enumerate(MULTI_CHATML) if trained)
    given = [(text, trained and place == last) for place, (text, trained) in enumerate(MULTI_CHATML)]
    assert sum(trained for _, trained in MULTI_CHATML) == 2  # the prompt has an answer of its own
    assert chat_tokens(row, tokenizer) == by_hand(given, tokenizer)


def test_every_answer_of_a_conversation_is_trained_and_nothing_else(tokenizer: Any) -> None:
    assert chat_tokens({"messages": MULTI}, tokenizer) == by_hand(MULTI_CHATML, tokenizer)


def test_plain_lines_end_an_answer_with_the_models_own_end(tokenizer: Any) -> None:
    assert choose_template(tokenizer, "plain")
    end = tokenizer.eos_token
    pieces = [
        ("System: Answer briefly.\nUser: Hello!\nAssistant:", False),
        (f" Hello.{end}", True),
        ("\nUser: Is it foggy?\nAssistant:", False),
        (f" Yes, very.{end}", True),
        ("\n", False),
    ]
    assert chat_tokens({"messages": MULTI}, tokenizer) == by_hand(pieces, tokenizer)


def test_a_tokenizer_without_a_template_joins_question_and_answer(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    made = chat_tokens({"prompt": "Say six:", "completion": " six"}, tokenizer)
    assert made == by_hand([("Say six:", False), (" six" + tokenizer.eos_token, True)], tokenizer)
    whole = chat_tokens({"prompt": "Say six:", "completion": " six"}, tokenizer, train_on_prompt=True)
    assert whole.labels == whole.input_ids == made.input_ids


def test_train_on_prompt_counts_every_token(tokenizer: Any) -> None:
    made = chat_tokens({"messages": MULTI}, tokenizer, train_on_prompt=True)
    assert made.input_ids == chat_tokens({"messages": MULTI}, tokenizer).input_ids
    assert made.labels == made.input_ids
    assert made.trained == len(made.input_ids) - 1  # nothing stands before the first token


@pytest.mark.parametrize("template", [CHATML, PLAIN], ids=["chatml", "plain"])
def test_answers_are_found_where_the_template_does_not_mark_them(tokenizer: Any, template: str) -> None:
    rows: list[dict[str, Any]] = [{"messages": MULTI}, {"prompt": "Hello!", "completion": "Hello."}]
    rows += [{"messages": [*MULTI[:4], {"role": "assistant", "content": odd}]} for odd in ODD_ANSWERS]
    rows += [{"messages": [*MULTI[:2], {"role": "assistant", "content": odd}, *MULTI[3:]]} for odd in ODD_ANSWERS]
    tokenizer.chat_template = template
    marked = [chat_tokens(row, tokenizer) for row in rows]
    tokenizer.chat_template = unmarked(template)
    assert "generation %}" not in tokenizer.chat_template.replace("add_generation_prompt", "")
    assert [chat_tokens(row, tokenizer) for row in rows] == marked
    assert all(made.trained for made in marked)


# As Qwen3 has it: what is thought stands in the answers after the last question alone.
THINKS = (
    "{%- set last = namespace(at=0) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set last.at = loop.index0 %}"
    "{%- endif %}{%- endfor %}{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' and loop.index0 > last.at %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def test_every_answer_is_trained_though_the_template_writes_the_last_one_otherwise(tokenizer: Any) -> None:
    tokenizer.chat_template = THINKS
    turns = [("When?", "At six."), ("And then?", "At six."), ("Really?", "Yes.")]
    messages = [
        {"role": role, "content": text} for turn in turns for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    made = chat_tokens({"messages": messages}, tokenizer)
    pieces: list[tuple[str, bool]] = []
    for place, (question, answer) in enumerate(turns):
        thought = "<think>\n\n</think>\n\n" if place == 2 else ""
        asked = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        pieces += [(asked, False), (f"{thought}{answer}<|im_end|>", True), ("\n", False)]
    assert made == by_hand(pieces, tokenizer)
    tokenizer.chat_template = THINKS.replace("{{- m.content", "{{- m.content.split('</think>')[-1] | trim")
    messages[1]["content"] = "<think>\nSix, surely.\n</think>\n\nAt six."  # what is not written there cannot be trained
    assert chat_tokens({"messages": messages}, tokenizer) == made


TRIMMING = {
    "byte-level": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "roberta": {
        "type": "RobertaProcessing",
        "sep": ["<|im_end|>", 2],
        "cls": ["<|endoftext|>", 0],
        "trim_offsets": True,
        "add_prefix_space": False,
    },
}


def trimming(kind: str, model: Path, folder: Path) -> Path:
    """A copy of the tokenizer that says of each word where it begins without the space before it, as GPT-2's file does."""
    shutil.copytree(model, folder)
    held = json.loads((folder / "tokenizer.json").read_text())
    one, other = TRIMMING["byte-level"], TRIMMING["roberta"]
    made = {"type": "Sequence", "processors": [one, other]} if kind == "both" else TRIMMING[kind]
    (folder / "tokenizer.json").write_text(json.dumps({**held, "post_processor": made}))
    return folder


@pytest.mark.parametrize("kind", [*TRIMMING, "both"])
@pytest.mark.parametrize("template", [CHATML, unmarked(CHATML), PLAIN, unmarked(PLAIN)])
def test_a_tokenizer_that_passes_over_spaces_trains_them_all_the_same(
    kind: str, template: str, tokenizer: Any, tiny_model: Path, tmp_path: Path
) -> None:
    other = load_tokenizer(resolve(str(trimming(kind, tiny_model, tmp_path / "trimming"))))
    tokenizer.chat_template = other.chat_template = template
    for row in [{"messages": MULTI}, *({"prompt": "Is it?", "completion": odd} for odd in [*ODD_ANSWERS, "a  b\n    c"])]:
        assert chat_tokens(row, other) == chat_tokens(row, tokenizer)
    plain = AutoTokenizer.from_pretrained(tmp_path / "trimming")
    other.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in (" Two  words\n", "\tand 漢字  ", ""):
        assert again(text)["input_ids"] == other(text)["input_ids"] == plain(text)["input_ids"]


def test_a_template_that_hides_the_answer_is_refused(tokenizer: Any) -> None:
    # such a template shows how many turns there are first, so that no shorter rendering is a beginning of a longer one
    tokenizer.chat_template = "{{ messages | length }} turns: " + unmarked(CHATML)
    with pytest.raises(DataError, match="rewrites earlier turns") as caught:
        chat_tokens({"messages": MULTI}, tokenizer)
    assert "learn the questions too" in caught.value.hint
    made = chat_tokens({"messages": MULTI}, tokenizer, train_on_prompt=True)  # and so it can be
    assert tokenizer.decode(made.input_ids).startswith("5 turns:<|im_start|>system")
    assert made.labels == made.input_ids


def content_only(end: str) -> str:
    """ChatML that marks what the assistant says without the token that ends its turn, as some models' templates do."""
    says = "{% generation %}{{ m.content }}{% endgeneration %}"
    said = "{% if m.role == 'assistant' %}" + says + "{% else %}{{ m.content }}{% endif %}"
    begin = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    return begin + said + end + "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def test_the_end_of_a_turn_is_trained_though_the_template_marks_only_what_is_said(tokenizer: Any) -> None:
    rows: list[dict[str, Any]] = [{"messages": MULTI}, {"prompt": MULTI[:4], "completion": MULTI[4:]}]
    rows += [{"messages": [*MULTI, MULTI[1]]}, {"prompt": "Is it?", "completion": ""}]
    tokenizer.chat_template = unmarked(content_only("<|im_end|>\n"))
    found = [chat_tokens(row, tokenizer) for row in rows]
    tokenizer.chat_template = content_only("<|im_end|>\n")
    assert [chat_tokens(row, tokenizer) for row in rows] == found


def test_the_beginning_of_the_next_turn_is_no_end_of_one(tokenizer: Any) -> None:
    tokenizer.chat_template = content_only("")
    trained = [label for label in chat_tokens({"messages": MULTI}, tokenizer).labels if label != IGNORED]
    assert tokenizer.decode(trained) == "Hello.Yes, very."
    says_the_end = content_only("").replace("{{ m.content }}{% endg", "{{ m.content }}<|im_end|>{% endg")
    tokenizer.chat_template = says_the_end + "{{ '<|endoftext|>' }}"
    trained = [label for label in chat_tokens({"messages": MULTI}, tokenizer).labels if label != IGNORED]
    assert tokenizer.decode(trained) == "Hello.<|im_end|>Yes, very.<|im_end|>"


def test_a_word_that_begins_before_its_mark_is_trained(tokenizer: Any) -> None:
    marks = "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
    said = "{% if m.role == 'assistant' %}A: " + marks + "{% else %}Q: {{ m.content }}\n{% endif %}"
    tokenizer.chat_template = "{% for m in messages %}" + said + "{% endfor %}"
    assert "Ġopens" in tokenizer.get_vocab()
    made = chat_tokens({"prompt": "Is it?", "completion": "opens"}, tokenizer)
    assert tokenizer.decode([label for label in made.labels if label != IGNORED]) == " opens" + tokenizer.eos_token


def test_an_empty_answer_in_the_prompt_is_an_answer(tokenizer: Any) -> None:
    empty = [*MULTI[:2], {"role": "assistant", "content": ""}, MULTI[3]]
    for end in ("<|im_end|>\n", "\n"):
        tokenizer.chat_template = content_only(end)
        made = chat_tokens({"prompt": empty, "completion": MULTI[4:]}, tokenizer)
        trained = tokenizer.decode([label for label in made.labels if label != IGNORED])
        assert trained == "Yes, very." + end.strip()


def test_a_template_that_raises_is_told_as_a_fault_of_the_row(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system turns here') }}"
    with pytest.raises(DataError, match="no system turns here"):
        chat_tokens({"messages": MULTI}, tokenizer)


def test_a_document_ends_with_the_end_of_text_token(tokenizer: Any) -> None:
    made = text_tokens({"text": "The harbour opens at six."}, tokenizer)
    plain = tokenizer("The harbour opens at six.", add_special_tokens=False)["input_ids"]
    assert made == Tokens([*plain, tokenizer.eos_token_id], [*plain, tokenizer.eos_token_id])
    assert made.trained == len(plain)


def test_a_row_is_cut_at_its_end(tokenizer: Any) -> None:
    whole = chat_tokens({"messages": MULTI}, tokenizer)
    cut = whole.cut(20)
    assert (cut.input_ids, cut.labels) == (whole.input_ids[:20], whole.labels[:20])
    assert whole.cut(None) == whole
    assert whole.cut(10_000) == whole


def test_the_first_token_is_never_counted_as_trained() -> None:
    assert Tokens([5, 6, 7], [5, 6, 7]).trained == 2
    assert Tokens([5], [5]).trained == 0


CODE = "{{ 7 * 7 }} {% for m in messages %}{{ m }}{% endfor %} {{x}} ${x} %s {0}"


@pytest.mark.parametrize("template", [CHATML, unmarked(CHATML), PLAIN, None], ids=["marked", "unmarked", "plain", "none"])
def test_data_is_never_a_template(tokenizer: Any, template: str | None) -> None:
    tokenizer.chat_template = template
    made = chat_tokens({"prompt": f"Q {CODE}", "completion": f"A {CODE}"}, tokenizer)
    assert tokenizer.decode(made.input_ids).count(CODE) == 2
    assert CODE in tokenizer.decode([label for label in made.labels if label != IGNORED])
    assert CODE in prompt_text({"prompt": CODE}, tokenizer)
    assert CODE in tokenizer.decode(text_tokens({"text": CODE}, tokenizer).input_ids)


def test_the_prompt_is_what_comes_before_the_last_answer(tokenizer: Any) -> None:
    asked = prompt_text({"messages": MULTI}, tokenizer)
    assert asked == "".join(text for text, _ in MULTI_CHATML[:3])
    assert prompt_text({"prompt": MULTI[:4]}, tokenizer) == asked


def test_the_starter_learns_to_end_its_turn() -> None:
    tokenizer = load_tokenizer(resolve("starter"))
    made = chat_tokens({"prompt": "Where does Runa work?", "completion": "At the studio."}, tokenizer)
    answer = tokenizer("At the studio.<|im_end|>", add_special_tokens=False)["input_ids"]
    assert [label for label in made.labels if label != IGNORED] == answer
