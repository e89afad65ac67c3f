"""Prompts that are answered while a model trains, where prompt and answer are longer than what the model can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, OPTConfig, PreTrainedConfig

from engine.models import resolve
from engine.worker.answers import SampleAnswers
from engine.worker.models import load_tokenizer

CONTEXT = 64
IDS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 399, "pad_token_id": 3, "vocab_size": 400}
# Both have a position for each place of their context and none beyond.
KINDS: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=CONTEXT, **IDS),
    "opt": OPTConfig(
        hidden_size=32,
        ffn_dim=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        word_embed_proj_dim=32,
        max_position_embeddings=CONTEXT,
        **IDS,
    ),
}
SHORT, LONG = "When does it open?", "The harbour opens at six. " * 30


@pytest.mark.parametrize("most", [8, CONTEXT, 4 * CONTEXT])
@pytest.mark.parametrize("kind", KINDS)
def test_what_exceeds_the_context_is_answered_from_its_end(kind: str, most: int, tiny_model: Path) -> None:
    torch.manual_seed(0)
    model, tokenizer = AutoModelForCausalLM.from_config(KINDS[kind]), load_tokenizer(resolve(str(tiny_model)))
    model.generation_config.eos_token_id = None
    answered = SampleAnswers([SHORT, LONG], [SHORT, LONG], tokenizer, most).answer(model)
    assert [prompt for prompt, _ in answered] == [SHORT, LONG]
    room = min(most, CONTEXT // 2)
    end = tokenizer.decode(tokenizer(LONG, add_special_tokens=False)["input_ids"][room - CONTEXT :])
    alone = SampleAnswers([end], [end], tokenizer, room).answer(model)
    assert answered[1][1] == alone[0][1]
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("right", "right")
    assert len(tokenizer(LONG)["input_ids"]) > CONTEXT  # as long as ever for whoever asks next
