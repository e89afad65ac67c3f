"""Models as other people make them: adapters alone, templates that raise, tokenizers that cannot do what is asked of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import api
from engine.chat import ChatSession
from engine.errors import DataError, ModelError
from engine.preview import close_preview

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session() -> Iterator[ChatSession]:
    made = api.chat()
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def _preview_ends() -> Iterator[None]:
    yield
    close_preview()


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter and a tokenizer, whose base lies elsewhere; it makes the base answer otherwise."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    model: Any = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture
def refusing(tiny_model: Path, tmp_path: Path) -> Path:
    """A model whose template refuses every talk."""
    folder = tmp_path / "refusing"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only about the weather, please') }}")
    return folder


@pytest.fixture
def slow_tokenizer(tiny_model: Path, tmp_path: Path) -> Path:
    """A model whose tokenizer is written in Python, which cannot tell where in the text a token stands."""
    folder = tmp_path / "bytes"
    shutil.copytree(tiny_model, folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer", "eos_token": "</s>"}))
    turns = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    (folder / "chat_template.jinja").write_text(turns + "{% if add_generation_prompt %}assistant: {% endif %}")
    return folder


def ask(*models: str | Path, **settings: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "When does the harbour open?"}]
    given = {"temperature": 0, "max_tokens": 12, **settings}
    return {"id": "a", "models": [str(m) for m in models], "messages": [turns] * len(models), "settings": given}


def text(messages: list[dict[str, Any]], side: int) -> str:
    return "".join(m["text"] for m in messages if m["type"] == "text" and m["side"] == side)


# ---- the playground --------------------------------------------------------------------------------------------------


def test_an_adapter_alone_can_be_talked_to_beside_its_base(session: ChatSession, adapter: Path, tiny_model: Path) -> None:
    assert not (adapter / "config.json").exists()
    messages = list(session.answer(ask(adapter, tiny_model)))
    assert not [m for m in messages if m["type"] == "error"]
    assert messages[-1]["type"] == "done"
    assert {m["side"] for m in messages if m["type"] == "end" and m["tokens"] > 0} == {0, 1}
    assert text(messages, 0) != text(messages, 1), "the adapter is at work"


def test_an_adapter_stops_where_its_folder_says(session: ChatSession, adapter: Path, tmp_path: Path) -> None:
    """The base's settings do not know the tokens that the adapter was taught to end with: here all of them."""
    (end,) = [m for m in session.answer(ask(adapter)) if m["type"] == "end"]
    assert end["tokens"] > 0
    folder = tmp_path / "taught"
    shutil.copytree(adapter, folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(400))}))
    (end,) = [m for m in session.answer(ask(folder)) if m["type"] == "end"]
    assert end["tokens"] == 0


def test_a_template_that_raises_is_told_on_its_side_and_the_other_is_answered(
    session: ChatSession, refusing: Path, tiny_model: Path
) -> None:
    for models in ((refusing, tiny_model), (tiny_model, refusing)):
        messages = list(session.answer(ask(*models)))
        side = models.index(refusing)
        (error,) = [m for m in messages if m["type"] == "error"]
        assert error["side"] == side
        assert "only about the weather, please" in error["message"]
        assert error["hint"]
        assert [m["tokens"] > 0 for m in messages if m["type"] == "end"] == [True]
        assert messages[-1]["type"] == "done"
    # the talk goes on in the same process, and without its template the model answers
    messages = list(session.answer(ask(refusing, raw=True)))
    assert {m["type"] for m in messages} >= {"end", "done"}
    assert not [m for m in messages if m["type"] == "error"]


# ---- the token preview -----------------------------------------------------------------------------------------------


def inspectors() -> list[int]:
    # of a child of other tests that has ended and was not waited for there is no command line
    named = {child.pid: child.as_dict(["cmdline"], ad_value=())["cmdline"] for child in psutil.Process().children()}
    return [pid for pid, words in named.items() if "inspect" in words]


def test_what_a_foreign_tokenizer_raises_is_told_and_the_process_lives_on(slow_tokenizer: Path) -> None:
    def look(model: str | Path) -> dict[str, Any]:
        return api.token_preview(api.LLMTrainingParams(trainer="sft", data_path="sample:neighbours", model=str(model)), 2)

    assert len(look("starter")["examples"]) == 2
    before = inspectors()
    assert len(before) == 1
    with pytest.raises(ModelError, match="cannot be shown as tokens") as caught:
        look(slow_tokenizer)
    assert caught.value.hint
    assert len(look("starter")["examples"]) == 2
    assert inspectors() == before, "the same process, with its tokenizers still loaded"


def test_a_template_that_refuses_every_row_leaves_none_to_show(refusing: Path, tmp_path: Path) -> None:
    data = tmp_path / "qa.jsonl"
    data.write_text('{"prompt": "Is it foggy?", "completion": "Yes."}\n' * 3)
    asked = api.LLMTrainingParams(trainer="sft", data_path=str(data), model=str(refusing))
    with pytest.raises(DataError, match="No row of this file can be used") as caught:
        api.token_preview(asked, 2)
    assert "only about the weather, please" in caught.value.hint
