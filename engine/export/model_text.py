"""How a program loads its tokenizer and its model, puts an adapter on it, and saves what it made."""

from __future__ import annotations

from typing import Any

from engine.chat_templates import BEGIN, CHATML, PLAIN
from engine.export.origin import Origin
from engine.export.recipe import Code, Recipe, Setting, value
from engine.export.rows_text import TEMPLATES

WRITES, SCORES = "AutoModelForCausalLM", "AutoModelForSequenceClassification"
_DTYPES = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}

_TRAINABLE = """
for weight in model.parameters():
    weight.requires_grad_(weight.is_floating_point())
"""
# An adapter of a model that writes, under the head of one that scores.
_MERGED_UNDER_A_HEAD = """
# adapters that the model was trained with before are added to its weights, under the new head
for folder in ADAPTERS:
    config = PeftConfig.from_pretrained(folder)
    config.task_type = None
    model = PeftModel.from_pretrained(model, folder, config=config).merge_and_unload()
"""
# transformers' classifiers read the last token that is no padding: that must never be the one that ends a text.
_SPARE_PADDING = """
# a scorer reads the last token that is no padding, so what pads must never end a text
spare = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token]
ordinary = tokenizer.convert_ids_to_tokens(int(tokenizer.eos_token_id == 0))  # a talk ends in none of these
tokenizer.pad_token = next((token for token in spare if token not in (None, tokenizer.eos_token)), ordinary)
"""
# As engine/worker/models.py does it.
_PLACES = """
# a token's place in a text begins with the space before its word, also where the tokenizer's file leaves it out
last = tokenizer.backend_tokenizer.post_processor
if last is not None:
    last.__setstate__(last.__getstate__().replace(b'"trim_offsets":true', b'"trim_offsets":false'))
    tokenizer.backend_tokenizer.post_processor = last
"""


def place(recipe: Recipe, base: Origin) -> None:
    """The constants that say where the model is."""
    recipe.constants["MODEL"] = Setting(base.base, base.told)
    if base.adapters:
        recipe.constants["ADAPTERS"] = Setting(list(base.adapters))
    if base.tokenizer != base.base:
        recipe.constants["TOKENIZER"] = Setting(base.tokenizer)


def tokenizer(base: Origin, wish: str, *, talks: bool, scores: bool) -> str:
    """The tokenizer with a padding token, and with the chat template of the run where rows are talks."""
    lines = [f"tokenizer = AutoTokenizer.from_pretrained({'MODEL' if base.tokenizer == base.base else 'TOKENIZER'})"]
    if scores:
        lines.append(_SPARE_PADDING.strip())
    else:
        lines += ["if tokenizer.pad_token is None:", "    tokenizer.pad_token = tokenizer.eos_token"]
    if talks:
        lines.append(_PLACES.strip())
    if talks and (wish != "auto" or not base.template):
        lines.append(f"BEGIN = {begun_by('tokenizer')}")
    if talks and wish == "chatml":
        lines.append(TEMPLATES.format(chatml=value(CHATML)).strip())
    elif talks and wish == "plain":
        lines.append(f"tokenizer.chat_template = BEGIN + {value(PLAIN)}")
    elif talks and not base.template:
        lines += ["if tokenizer.chat_template is None:", f"    tokenizer.chat_template = BEGIN + {value(PLAIN)}"]
    return "\n".join(lines)


def begun_by(tokenizer: str) -> str:
    """What a template of ours begins with: for a tokenizer that begins every text with a token, that token."""
    return f"""{value(BEGIN)} if {tokenizer}("")["input_ids"][:1] == [{tokenizer}.bos_token_id] else \"\""""


def model(recipe: Recipe, base: Origin, p: Any, kind: str = WRITES) -> list[str]:
    """The lines that make `model` as the run had it before its own adapter; what they import is added to the recipe."""
    recipe.needs("torch")
    recipe.needs("transformers", kind, "set_seed")
    options = {"dtype": _DTYPES[p.precision or "fp32"] if p.peft else _DTYPES["fp32"]}
    if kind == SCORES:
        options["num_labels"] = "1"
    if p.attention in ("eager", "flash_attention_2"):
        options["attn_implementation"] = value(p.attention)
    lines = []
    if p.quantization != "none":
        recipe.needs("transformers", "BitsAndBytesConfig")
        options["quantization_config"] = "bits"
        lines.append(f"bits = {_bits(p)}")
    given = "".join(f", {name}={words}" for name, words in options.items())
    lines += ["set_seed(SEED)", f"model = {kind}.from_pretrained(MODEL{given})"]
    if base.adapters:
        recipe.needs("peft", *(["PeftConfig", "PeftModel"] if kind == SCORES else ["PeftModel"]))
        lines.append(_MERGED_UNDER_A_HEAD.strip() if kind == SCORES else merged("model", "ADAPTERS"))
        lines.append(_TRAINABLE.strip())
    if kind == SCORES:
        lines.append("model.config.pad_token_id = tokenizer.pad_token_id")
    return lines


def merged(name: str, adapters: str) -> str:
    """Adapters that were trained before are added to the weights of the model called `name`."""
    return (
        f"for folder in {adapters}:  # what was trained before is added to the weights\n"
        f"    {name} = PeftModel.from_pretrained({name}, folder).merge_and_unload()"
    )


def adapter(recipe: Recipe, p: Any, task: str, *, by_trainer: bool) -> None:
    """LoRA, given to the trainer, which puts it on; or put on the model at once."""
    recipe.needs("peft", "LoraConfig")
    named: Any = p.target_modules
    if named != "all-linear":
        named = [name.strip() for name in named.split(",") if name.strip()]
    recipe.before.append(
        f"lora = LoraConfig(\n    r={p.lora_r!r},\n    lora_alpha={p.lora_alpha!r},\n    lora_dropout={p.lora_dropout!r},\n"
        f"    target_modules={value(named)},\n    task_type={value(task)},\n)"
    )
    if by_trainer:
        recipe.call["peft_config"] = Code("lora")
    else:
        recipe.needs("peft", "get_peft_model")
        recipe.before.append("model = get_peft_model(model, lora)")


def saved(p: Any, *, stacked: bool) -> list[str]:
    """The training, and the model it made: with LoRA a complete model, or the adapter alone, as in the run."""
    merged = p.peft and (stacked or (p.merge_adapter and p.quantization == "none"))
    last = "trainer.model" + (".merge_and_unload()" if merged else "")
    return [
        "trainer.train()",
        f'{last}.save_pretrained(OUTPUT / "model")',
        'tokenizer.save_pretrained(OUTPUT / "model")',
    ]


def _bits(p: Any) -> str:
    if p.quantization == "int8":
        return "BitsAndBytesConfig(load_in_8bit=True)"
    dtype = _DTYPES[p.precision or "bf16"]
    return (
        'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, '
        f"bnb_4bit_compute_dtype={dtype})"
    )
