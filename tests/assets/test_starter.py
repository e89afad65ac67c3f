"""The bundled model is what its card says: small, safe to load, at home in its town, and with a template that marks answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "assets" / "starter"
RECORD = json.loads((STARTER / "training.json").read_text())


def test_it_is_small_and_holds_nothing_that_runs() -> None:
    files = [path for path in STARTER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja", ".md"}


def test_its_card_states_what_was_measured() -> None:
    card = (STARTER / "README.md").read_text()
    for figure in RECORD["held_out_perplexity"].values():
        assert str(figure) in card
    assert RECORD["curve"][-1]["eval_loss"] < RECORD["curve"][0]["eval_loss"] / 5


def test_its_template_marks_the_answers() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Mara."}]
    made = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    marked = [t for t, on in zip(made["input_ids"], made["assistant_masks"], strict=True) if on]
    assert tokenizer.decode(marked) == "Mara.<|im_end|>"
    any_script = "Zażółć 漢字 🐟 עברית"
    assert tokenizer.decode(tokenizer(any_script)["input_ids"]) == any_script


@pytest.mark.slow
def test_it_knows_its_town_better_than_counting_does() -> None:
    """The figures of the card, measured again on fresh texts and with fewer texts to count."""
    from assets.build.corpus import documents
    from assets.build.evaluate import perplexities
    from assets.build.rebuild import SEED

    seen = list(documents(4000, SEED))
    unseen = [text for text in documents(80, SEED + 50) if text not in set(seen)]
    found = perplexities(STARTER, seen, unseen)
    assert found["model"] == pytest.approx(RECORD["held_out_perplexity"]["model"], rel=0.1)
    assert found["model"] < found["trigram"] * 0.7
    assert found["trigram"] < found["unigram"] / 10
