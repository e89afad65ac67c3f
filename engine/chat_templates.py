"""Our own chat templates, for models that have none. Both mark the assistant's tokens, end of turn included.

Neither has a place for calls of tools, and both refuse them: leaving one out would teach an empty answer.
"""

from __future__ import annotations

_NO_CALLS = "{%- if message['tool_calls'] -%}{{- raise_exception('it has no place for the call of a tool') -}}{%- endif -%}"

# ChatML: <|im_start|>role\ncontent<|im_end|>\n for every turn (the format that many open models were trained on).
CHATML = (
    "{%- for message in messages -%}" + _NO_CALLS + "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- (message['content'] or '') + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

# Before either, for a model whose every text begins with a token of its own, which its tokenizer else writes by itself.
BEGIN = "{{- bos_token -}}"

# Plain lines for base models that never saw a chat token; the model's own end-of-text token ends an answer.
PLAIN = (
    "{%- for message in messages -%}" + _NO_CALLS + "{%- if message['role'] == 'assistant' -%}"
    "{{- 'Assistant:' -}}"
    "{%- generation -%}{{- ' ' + (message['content'] or '') + eos_token -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['role'] | capitalize + ': ' + (message['content'] or '') -}}{%- endif -%}"
    "{{- '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}"
)
