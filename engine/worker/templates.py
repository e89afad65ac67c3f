"""Gives a tokenizer the chat template that was wished for."""

from __future__ import annotations

from typing import Any

from engine.chat_templates import BEGIN, CHATML, PLAIN
from engine.worker.tokens import opening


def choose_template(tokenizer: Any, wish: str) -> str:
    """Give the tokenizer the wished template (`auto`: its own, else plain lines); returns a note, "" when it keeps its own."""
    begin = BEGIN if opening(tokenizer) else ""
    if wish == "chatml":
        if "<|im_end|>" in tokenizer.get_vocab():
            tokenizer.chat_template = begin + CHATML
            return "Conversations are written as ChatML."
        # the mark would be spelt in many ordinary tokens, at which no program knows to stop
        tokenizer.chat_template = begin + CHATML.replace("'<|im_end|>'", "eos_token")
        return f"Conversations are written as ChatML; this model has no `<|im_end|>`, so {tokenizer.eos_token} ends a turn."
    if wish == "plain":
        tokenizer.chat_template = begin + PLAIN
        return "Conversations are written as plain `User:` and `Assistant:` lines."
    if tokenizer.chat_template is None:
        tokenizer.chat_template = begin + PLAIN
        return "This model has no chat template; conversations are written as plain `User:` and `Assistant:` lines."
    return ""
