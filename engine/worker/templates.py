"""Our own chat templates, for models that have none. Both mark the assistant's tokens, end of turn included."""

from __future__ import annotations

from typing import Any

# ChatML: <|im_start|>role\ncontent<|im_end|>\n for every turn (the format that many open models were trained on).
CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

# Plain lines for base models that never saw a chat token; the model's own end-of-text token ends an answer.
PLAIN = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- 'Assistant:' -}}"
    "{%- generation -%}{{- ' ' + (message['content'] or '') + eos_token -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['role'] | capitalize + ': ' + (message['content'] or '') -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}"
)


def choose_template(tokenizer: Any, wish: str) -> str:
    """Give the tokenizer the wished template (`auto`: its own, else plain lines); returns a note, "" when it keeps its own."""
    if wish == "chatml":
        if "<|im_end|>" in tokenizer.get_vocab():
            tokenizer.chat_template = CHATML
            return "Conversations are written as ChatML."
        # the mark would be spelt in many ordinary tokens, at which no program knows to stop
        tokenizer.chat_template = CHATML.replace("'<|im_end|>'", "eos_token")
        return f"Conversations are written as ChatML; this model has no `<|im_end|>`, so {tokenizer.eos_token} ends a turn."
    if wish == "plain":
        tokenizer.chat_template = PLAIN
        return "Conversations are written as plain `User:` and `Assistant:` lines."
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN
        return "This model has no chat template; conversations are written as plain `User:` and `Assistant:` lines."
    return ""
