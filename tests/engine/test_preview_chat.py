"""The processes that hold a tokenizer or a model for the page: what they answer, what they refuse, and that they go."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import api
from engine.chat import ChatSession
from engine.errors import DataError, ModelError, StudioError
from engine.preview import close_preview
from engine.samples import data_file

pytestmark = pytest.mark.slow


def workers(job: str) -> list[psutil.Process]:
    """Processes of ours that do `job`; one that has ended and waits to be collected is none."""
    found = []
    for child in psutil.Process().children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and job in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


# ---- the token preview -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _preview_ends() -> Iterator[None]:
    yield
    close_preview()


def params(**values: Any) -> api.LLMTrainingParams:
    return api.LLMTrainingParams(**{"trainer": "sft", "data_path": "sample:neighbours", **values})


def test_the_preview_marks_exactly_the_answers() -> None:
    with open(data_file("sample:neighbours"), encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    seen = api.token_preview(params(), 20)
    assert len(seen["examples"]) == 20
    for example, row in zip(seen["examples"], rows, strict=False):
        trained = "".join(text for text, is_trained in example["parts"][0]["pieces"] if is_trained)
        assert trained == f"{row['Answer']}<|im_end|>"  # the end of the turn is learned, or the model never stops
        whole = "".join(text for text, _ in example["parts"][0]["pieces"])
        assert whole == f"<|im_start|>user\n{row['Question']}<|im_end|>\n<|im_start|>assistant\n{trained}\n"
        assert 0 < example["trained"] < example["tokens"]
        assert example["problem"] == ""
    assert len(seen["lengths"]) == len(rows) == 300
    assert seen["over"] == seen["lost"] == 0
    assert seen["facts"]["tokens_max"] == max(seen["lengths"])


def test_a_cut_that_takes_the_answer_away_is_told() -> None:
    seen = api.token_preview(params(max_length=8), 3)
    assert seen["over"] == 1.0
    assert seen["lost"] > 0.5
    for example in seen["examples"]:
        assert "Nothing of this row is trained" in example["problem"]
        assert not any(is_trained for _, is_trained in example["parts"][0]["pieces"])


def test_all_tokens_but_the_first_are_marked_when_the_question_is_learned_too() -> None:
    for example in api.token_preview(params(train_on_prompt=True), 2)["examples"]:
        assert [is_trained for _, is_trained in example["parts"][0]["pieces"]] == [False, True]
    for example in api.token_preview(params(trainer="default", data_path="sample:harbour-almanac"), 2)["examples"]:
        assert [is_trained for _, is_trained in example["parts"][0]["pieces"]] == [False, True]


@pytest.mark.parametrize("model", ["no-such-model", "org/no-such-model", "/nowhere/at all"])
def test_a_missing_model_is_a_model_error_with_a_way_out(model: str) -> None:
    with pytest.raises(ModelError) as caught:
        api.token_preview(params(model=model), 2)
    assert caught.value.hint
    assert model in caught.value.message


def test_data_that_cannot_be_used_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("colour,weight\nred,1\nblue,2\n")
    with pytest.raises(DataError):
        api.token_preview(params(data_path=str(tmp_path / "x.csv")), 2)


def test_one_process_answers_all_and_a_dead_one_is_replaced(wait_until: Callable[..., None]) -> None:
    api.token_preview(params(), 1)
    (first,) = workers("inspect")
    api.token_preview(params(), 1)
    assert workers("inspect") == [first]
    first.kill()
    wait_until(lambda: not workers("inspect"))
    assert len(api.token_preview(params(), 1)["examples"]) == 1
    (second,) = workers("inspect")
    assert second != first


def test_the_facts_for_the_plan_are_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt,completion\n" + "Who?,Me.\n" * 30)
    facts = api.data_facts(params(data_path=str(file)))
    assert (facts.rows, facts.exact, facts.valid_rows) == (30, True, None)
    began = time.perf_counter()
    assert api.data_facts(params(data_path=str(file), lr=1e-3)) is facts  # settings that change no token
    assert time.perf_counter() - began < 0.1
    file.write_text("prompt,completion\n" + "Who?,Me.\n" * 40)
    import os

    os.utime(file, (1, 1))
    assert api.data_facts(params(data_path=str(file))).rows == 40


@pytest.mark.parametrize("spec", [s for s in api.specs().values() if s.example_settings], ids=lambda s: s.id)
def test_data_is_counted_for_a_trainer_that_cannot_do_without_a_setting(spec: api.TrainerSpec) -> None:
    asked = api.LLMTrainingParams(trainer=spec.id, data_path="sample:contest", **spec.example_settings)
    assert api.data_facts(asked).rows == 150


@pytest.mark.parametrize("thumb", ["up", "down"])
def test_thumbs_of_one_kind_are_refused_before_anything_starts(tmp_path: Path, thumb: str) -> None:
    file = tmp_path / "thumbs.csv"
    file.write_text("prompt,completion,label\n" + "".join(f"Who {n}?,Me.,{thumb}\n" for n in range(30)))
    asked = api.LLMTrainingParams(trainer="kto", data_path=str(file))
    with pytest.raises(DataError, match=f"Every answer has a thumbs {thumb}, so good cannot be told from bad") as caught:
        api.data_facts(asked)
    assert "plain fine-tuning" in caught.value.hint
    file.write_text(file.read_text() + "Who?,You.," + {"up": "down", "down": "up"}[thumb] + "\n")
    assert api.data_facts(asked).rows == 31


def test_held_out_files_of_a_folder_are_no_rows_to_train_on(tmp_path: Path) -> None:
    for name, count in (("train", 40), ("validation", 5), ("test", 7)):
        (tmp_path / f"{name}.csv").write_text("prompt,completion\n" + "Who?,Me.\n" * count)
    facts = api.data_facts(params(data_path=str(tmp_path)))
    assert (facts.rows, facts.valid_rows) == (40, 5)
    chosen = api.plan(params(data_path=str(tmp_path)), facts)
    assert (chosen.train_rows, chosen.valid_rows) == (40, 5)
    (tmp_path / "own.csv").write_text("prompt,completion\n" + "Who?,You.\n" * 3)  # the person's own file goes first
    facts = api.data_facts(params(data_path=str(tmp_path / "train.csv"), valid_path=str(tmp_path / "own.csv")))
    assert (facts.rows, facts.valid_rows) == (40, 3)
    (tmp_path / "own.csv").write_text("prompt,completion\n" + "Who?,You.\n" * 12_000)  # more than a look sees
    facts = api.data_facts(params(data_path=str(tmp_path / "train.csv"), valid_path=str(tmp_path / "own.csv")))
    assert facts.valid_rows == pytest.approx(12_000, rel=0.02)


def test_the_process_goes_when_the_page_does(wait_until: Callable[..., None]) -> None:
    api.token_preview(params(), 1)
    close_preview()
    wait_until(lambda: not workers("inspect"))


# ---- the playground --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session() -> Iterator[ChatSession]:
    made = api.chat()
    yield made
    made.close()


def ask(identity: str, *models: str | Path, **settings: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "When does the harbour open?"}]
    given = {"temperature": 0, "max_tokens": 12, **settings}
    return {"id": identity, "models": [str(m) for m in models], "messages": [turns] * len(models), "settings": given}


def test_both_sides_stream_their_text_and_end(session: ChatSession, tiny_model: Path) -> None:
    assert not session.open  # nothing is loaded before the first question
    messages = list(session.answer(ask("a", "starter", tiny_model)))
    assert session.open
    assert {m["id"] for m in messages} == {"a"}
    assert messages[-1]["type"] == "done"
    for side in (0, 1):
        mine = [m for m in messages if m.get("side") == side]
        assert [m["type"] for m in mine[-1:]] == ["end"]
        assert all(m["type"] == "text" for m in mine[:-1])
        assert 1 <= mine[-1]["tokens"] <= 12
        assert mine[-1]["seconds"] > 0
    # the sides take turns, so that neither waits for the other's last word
    order = [m["side"] for m in messages if m["type"] == "text"]
    assert 1 in order[:4]
    assert 0 in order[:4]


def test_the_same_seed_gives_the_same_words(session: ChatSession) -> None:
    def text(seed: int) -> str:
        heat = {"temperature": 1.5, "top_p": 0.95, "top_k": 40, "repetition_penalty": 1.1, "seed": seed}
        return "".join(m.get("text", "") for m in session.answer(ask("s", "starter", **heat)))

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


def test_a_side_whose_model_is_missing_does_not_take_the_other_with_it(session: ChatSession) -> None:
    messages = list(session.answer(ask("m", "no-such-model", "starter")))
    (error,) = [m for m in messages if m["type"] == "error"]
    assert error["side"] == 0
    assert "no-such-model" in error["message"]
    assert error["hint"]
    assert any(m["type"] == "text" and m["side"] == 1 for m in messages)
    assert messages[-1]["type"] == "done"


def test_closing_the_iterator_stops_the_answer(session: ChatSession, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = ask("long", tiny_model, max_tokens=200, temperature=5, seed=7)
    whole = next(m["tokens"] for m in session.answer(long) if m["type"] == "end")
    assert whole > 30, "this seed ends too early to tell"
    channel, heard = session._channel, []
    assert channel is not None
    receive = channel.receive

    def listen(timeout_s: float | None = None) -> Any:
        heard.append(receive(timeout_s))
        return heard[-1]

    monkeypatch.setattr(channel, "receive", listen)
    pieces = session.answer(long)
    assert next(pieces)["type"] == "text"
    pieces.close()
    assert heard[-1]["type"] == "done"  # what was left has been read
    assert next(m["tokens"] for m in heard if m["type"] == "end") < whole
    # and the next answer is not mixed with it
    assert {m["id"] for m in session.answer(ask("next", tiny_model))} == {"next"}


def test_a_process_that_died_is_told_and_replaced(session: ChatSession, wait_until: Callable[..., None]) -> None:
    list(session.answer(ask("a", "starter", max_tokens=1)))
    (process,) = workers("chat")
    process.kill()
    wait_until(lambda: not workers("chat"))
    with pytest.raises(StudioError) as caught:
        list(session.answer(ask("b", "starter")))
    assert "ended without a word" in caught.value.message
    assert caught.value.hint
    assert not session.open
    assert list(session.answer(ask("c", "starter")))[-1]["type"] == "done"


def test_close_gives_the_process_and_its_memory_back(session: ChatSession, wait_until: Callable[..., None]) -> None:
    list(session.answer(ask("a", "starter", max_tokens=1)))
    assert workers("chat")
    session.close()
    assert not session.open
    wait_until(lambda: not workers("chat"))
    session.close()  # twice is harmless
