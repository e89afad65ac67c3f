"""Tokens that are no text: what every text begins with, what ends a turn, what a row's own text only spells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from engine.chat_templates import CHATML, PLAIN
from engine.errors import DataError
from engine.models import resolve
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.worker.answers import stop_tokens
from engine.worker.models import load_any, load_tokenizer
from engine.worker.templates import choose_template
from engine.worker.tokens import (
    IGNORED,
    Tokens,
    chat_tokens,
    opening,
    prompt_text,
    spelt_control_tokens,
    text_tokens,
    turn_end,
)
from tests.train.toys import all_events, jsonl, qa

MESSAGES = [
    {"role": "user", "content": "Is it foggy?"},
    {"role": "assistant", "content": "Yes, very."},
]


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    """ChatML with `<|im_end|>`; texts begin with nothing."""
    return load_tokenizer(resolve(str(tiny_model)))


@pytest.fixture
def with_bos(tokenizer: Any) -> Any:
    """One that begins every text with `<|endoftext|>`, as Llama's and Gemma's do with theirs."""
    first = [("<|endoftext|>", tokenizer.bos_token_id)]
    made = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=first)
    tokenizer.backend_tokenizer.post_processor = made
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    return tokenizer


@pytest.fixture
def without_marks() -> Any:
    """One of a base model that never saw a chat: its only control token ends a text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    training = trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(["Is it foggy? Yes, very."], training)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>", pad_token="</s>")


def plain_ids(text: str, tokenizer: Any) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


# ---- what a text begins with -----------------------------------------------------------------------------------------


def test_a_document_begins_as_the_model_was_taught(with_bos: Any) -> None:
    begin, end = with_bos.bos_token_id, with_bos.eos_token_id
    assert opening(with_bos) == [begin]
    made = text_tokens({"text": "It is foggy."}, with_bos)
    assert made.input_ids == made.labels == [begin, *plain_ids("It is foggy.", with_bos), end]
    assert made.input_ids[:-1] == with_bos("It is foggy.")["input_ids"]  # as the model itself reads it


@pytest.mark.parametrize("wish", ["auto", "plain", "chatml"])
def test_a_talk_in_a_template_of_ours_begins_so_as_well(with_bos: Any, wish: str) -> None:
    """Else a base model of Llama's kind would be trained, and asked, outside of what it was taught on."""
    if wish == "auto":
        with_bos.chat_template = None
    choose_template(with_bos, wish)
    talk = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At six."}]
    made = chat_tokens({"messages": talk}, with_bos)
    begin = with_bos.bos_token_id
    assert made.input_ids[0] == begin and begin not in made.input_ids[1:-1]
    assert made.labels[0] == IGNORED and made.trained > 0
    asked = with_bos.apply_chat_template(talk[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert made.input_ids[: len(asked)] == asked


def test_a_template_of_ours_begins_with_nothing_where_texts_do(tokenizer: Any) -> None:
    choose_template(tokenizer, "plain")
    made = chat_tokens({"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]}, tokenizer)
    assert tokenizer.decode(made.input_ids).startswith("User:")


def test_a_question_and_answer_that_are_simply_joined_begin_so_too(with_bos: Any) -> None:
    with_bos.chat_template = None
    made = chat_tokens({"prompt": "Say six:", "completion": " six"}, with_bos)
    before, after = plain_ids("Say six:", with_bos), [*plain_ids(" six", with_bos), with_bos.eos_token_id]
    begin = with_bos.bos_token_id
    assert made == Tokens([begin, *before, *after], [IGNORED] * (1 + len(before)) + after)
    # and what it is asked while it trains is the beginning of that
    assert plain_ids(prompt_text({"prompt": "Say six:"}, with_bos), with_bos) == [begin, *before]


def test_the_prompt_of_a_text_is_the_beginning_of_its_tokens(with_bos: Any) -> None:
    asked = plain_ids(prompt_text({"text": "It is"}, with_bos), with_bos)
    assert asked == [with_bos.bos_token_id, *plain_ids("It is", with_bos)]


@pytest.mark.parametrize("template", [CHATML, PLAIN], ids=["chatml", "plain"])
def test_a_chat_template_writes_its_beginning_itself(with_bos: Any, template: str) -> None:
    with_bos.chat_template = template
    assert with_bos.bos_token_id not in chat_tokens({"messages": MESSAGES}, with_bos).input_ids
    assert with_bos.bos_token not in prompt_text({"messages": MESSAGES}, with_bos)
    with_bos.chat_template = "{{ bos_token }}" + template
    assert chat_tokens({"messages": MESSAGES}, with_bos).input_ids.count(with_bos.bos_token_id) == 1


def test_a_tokenizer_that_begins_with_nothing_gets_nothing(tokenizer: Any, without_marks: Any) -> None:
    starter = load_tokenizer(resolve("starter"))
    for each in (tokenizer, without_marks, starter):
        assert opening(each) == []
        assert text_tokens({"text": "It is"}, each).input_ids == [*plain_ids("It is", each), each.eos_token_id]
        assert prompt_text({"text": "It is"}, each) == "It is"
    # one that ends every text with its last token does not begin it so
    last = [("<|im_end|>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A <|im_end|>", special_tokens=last)
    assert opening(tokenizer) == []


# ---- text that spells control tokens ---------------------------------------------------------------------------------

SPELT: list[tuple[dict[str, Any], set[str]]] = [
    ({"prompt": "Why?", "completion": "So."}, set()),
    ({"prompt": "What does <|im_end|> do?", "completion": "It ends a turn."}, {"<|im_end|>"}),
    ({"text": "<|endoftext|> and <|im_end|>"}, {"<|endoftext|>", "<|im_end|>"}),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b<|im_end|>"}]}, {"<|im_end|>"}),
    ({"prompt": "<|im_start|>", "completion": "begins one"}, {"<|im_start|>"}),  # no end and no padding: only added
    ({"text": "<|im_en", "more": "d|>"}, set()),
    ({"text": "two < three, |im_end|"}, set()),
]


@pytest.mark.parametrize(("row", "spelt"), SPELT)
def test_control_tokens_in_a_rows_own_text_are_seen(tokenizer: Any, row: dict[str, Any], spelt: set[str]) -> None:
    assert spelt_control_tokens(row, tokenizer) == spelt


def test_control_tokens_of_any_alphabet_are_seen(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"pad_token": "<｜结束▁der▁Seite｜>"})
    assert spelt_control_tokens({"text": "vor <｜结束▁der▁Seite｜> nach"}, tokenizer) == {"<｜结束▁der▁Seite｜>"}


@pytest.mark.slow
def test_rows_that_spell_control_tokens_are_told(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tmp_path: Path
) -> None:
    rows = qa(20)
    rows[3]["prompt"] += " <|im_end|>"
    rows[5]["completion"] += "<|im_end|>"
    run = new_run(jsonl(tmp_path / "qa.jsonl", rows), valid_fraction=0.0, max_steps=1)
    assert work(run) == 0
    (warned,) = [event["message"] for event in all_events(run, "warning")]
    assert warned.startswith("2 training rows spell <|im_end|>")


# ---- what ends a turn ------------------------------------------------------------------------------------------------


def arrays(rows: list[Tokens]) -> list[dict[str, Any]]:
    """Rows as they are stored."""
    return [{"input_ids": np.array(row.input_ids), "labels": np.array(row.labels)} for row in rows]


def test_the_end_of_a_turn_is_the_control_token_that_most_answers_end_with(tokenizer: Any) -> None:
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    rows = [chat_tokens({"messages": MESSAGES}, tokenizer) for _ in range(3)]
    cut = rows[0].cut(len(rows[0].input_ids) - 2)  # its end is cut away
    assert cut.trained and end not in [label for label in cut.labels if label != IGNORED]
    assert turn_end(arrays([cut, *rows]), tokenizer) == end
    assert turn_end(arrays([cut]), tokenizer) is None  # that is a word
    assert turn_end([], tokenizer) is None


def test_chatml_ends_a_turn_with_the_models_own_end_where_it_has_no_mark(tokenizer: Any, without_marks: Any) -> None:
    note = choose_template(without_marks, "chatml")
    assert "<|im_end|>" in note and "</s>" in note
    end = without_marks.eos_token_id
    made = chat_tokens({"messages": MESSAGES}, without_marks)
    text = "<|im_start|>user\nIs it foggy?</s>\n<|im_start|>assistant\nYes, very.</s>\n"
    assert made.input_ids == plain_ids(text, without_marks)
    assert [label for label in made.labels if label != IGNORED] == [*plain_ids("Yes, very.", without_marks), end]
    assert turn_end(arrays([made]), without_marks) == end
    asked = "<|im_start|>user\nIs it foggy?</s>\n<|im_start|>assistant\n"
    assert prompt_text({"messages": MESSAGES}, without_marks) == asked

    note = choose_template(tokenizer, "chatml")  # and one that has the mark keeps it
    assert "eos" not in tokenizer.chat_template and tokenizer.eos_token not in note
    assert chat_tokens({"messages": MESSAGES}, tokenizer).labels[-2] == tokenizer.convert_tokens_to_ids("<|im_end|>")


# ---- what a template refuses -----------------------------------------------------------------------------------------

REFUSING = {
    "it says so": "{{ raise_exception('no assistant turns here') }}",
    "it is wrong": "{{ messages[0]['content'] + 1 }}",
    "it is no template": "{% for message in messages %}",
    "it says so and marks answers": "{{ raise_exception('no') }}{% generation %}{% endgeneration %}",
}


@pytest.mark.parametrize("template", REFUSING.values(), ids=list(REFUSING))
def test_whatever_a_template_raises_is_a_fault_of_the_row(tokenizer: Any, template: str) -> None:
    tokenizer.chat_template = template
    rows: list[dict[str, Any]] = [{"messages": MESSAGES}, {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]}]
    for row in [*rows, {"prompt": "Is it foggy?", "completion": "Yes."}]:
        for use in (chat_tokens, prompt_text):
            with pytest.raises(DataError, match="chat template refuses this conversation") as caught:
                use(row, tokenizer)
            assert caught.value.hint


@pytest.mark.slow
def test_a_prompt_that_the_template_refuses_is_left_out_and_told(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tiny_model: Path, tmp_path: Path
) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    refuse = "{% if 'forbidden' in messages[0]['content'] %}{{ raise_exception('not that') }}{% endif %}"
    tokenizer.chat_template = refuse + CHATML
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "prim")
    asked = ["When does it open?", "A forbidden word?"]
    data = jsonl(tmp_path / "qa.jsonl", qa(20))
    given: dict[str, Any] = {"sample_prompts": asked, "sample_tokens": 4, "max_steps": 1, "valid_fraction": 0.0}
    run = new_run(data, model=str(tmp_path / "prim"), **given)
    assert work(run) == 0
    assert {event["prompt"] for event in all_events(run, "sample")} == {asked[0]}
    assert any("forbidden" in event["message"] and "not that" in event["message"] for event in all_events(run, "warning"))


@pytest.mark.slow
def test_a_run_that_no_row_of_can_be_shown_says_what_the_template_said(
    new_run: Callable[..., RunDirectory], work: Callable[..., int], tiny_model: Path, tmp_path: Path
) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{{ raise_exception('no talks here') }}"
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "prim")
    run = new_run(jsonl(tmp_path / "qa.jsonl", qa(4)), model=str(tmp_path / "prim"), valid_fraction=0.0)
    assert work(run) == 1
    assert "no talks here" in run.status().reason


# ---- what a trained model says about its end -------------------------------------------------------------------------


@pytest.fixture
def two_ends(tiny_model: Path, tmp_path: Path) -> Path:
    """A model whose texts end with one token and whose turns end with another, of which its settings know nothing."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.eos_token = "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "two-ends")
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in stop_tokens(model, tokenizer)
    return tmp_path / "two-ends"


WAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "full": ({}, ["model"]),
    "lora": ({"peft": True, "lora_r": 2}, ["model", "adapter"]),
    "an adapter alone": ({"peft": True, "lora_r": 2, "merge_adapter": False}, ["model", "adapter"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("given", "folders"), WAYS.values(), ids=list(WAYS))
def test_a_trained_model_says_where_its_turns_end(
    given: dict[str, Any],
    folders: list[str],
    new_run: Callable[..., RunDirectory],
    work: Callable[..., int],
    two_ends: Path,
    tmp_path: Path,
) -> None:
    run = new_run(jsonl(tmp_path / "qa.jsonl", qa(20)), model=str(two_ends), valid_fraction=0.0, max_steps=2, **given)
    assert work(run) == 0 and run.status().state is State.DONE
    ends = {AutoTokenizer.from_pretrained(two_ends).convert_tokens_to_ids(word) for word in ("<|endoftext|>", "<|im_end|>")}
    for folder in folders:
        written = json.loads((run.path / folder / "generation_config.json").read_text())
        assert set(written["eos_token_id"]) == ends, folder
        assert set(GenerationConfig.from_pretrained(run.path / folder).eos_token_id) == ends
        model = load_any(resolve(str(run.path / folder)))  # as the playground does
        assert set(stop_tokens(model, load_tokenizer(resolve(str(run.path / folder))))) == ends
        assert set(model.generation_config.eos_token_id) == ends, "for programs that do not ask the tokenizer"
    assert (run.model_dir / "adapter_config.json").is_file() is (given.get("merge_adapter") is False)
    before = json.loads((two_ends / "generation_config.json").read_text())["eos_token_id"]
    assert before == min(ends), "what it was trained from stays as it was"
