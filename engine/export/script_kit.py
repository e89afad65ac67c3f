"""What a trainer's export() gets: recipes of programs for each kind of rows, to which it adds what is its own.

Knows what kinds of rows and trainers there are, never which trainer is asking; engine/worker/kit.py is its like for runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.arguments import group_settings, shared_arguments
from engine.export import answers_text, judge_text, model_text, rows_text, trainer_text
from engine.export.origin import Origin, origin
from engine.export.recipe import Code, Recipe, Setting
from engine.export.settled import Settled

# What transformers is told in a run that matters to the run's own machinery alone.
_OURS = {"output_dir", "use_cpu", "disable_tqdm", "label_names", "remove_unused_columns", "dataloader_pin_memory"}
# Which setting's reason explains an argument.
_REASONS = {
    "learning_rate": "lr",
    "per_device_train_batch_size": "batch_size",
    "bf16": "precision",
    "activation_checkpointing": "gradient_checkpointing",
    "logging_steps": "logging_steps",
    "eval_steps": "eval_steps",
    "save_steps": "save_steps",
}
_MARKS = re.compile(r"generation -?%}")


class ScriptKit:
    """The tools for one export. `params` has every automatic setting chosen, unless the run ended before that."""

    def __init__(self, found: Settled, *, beside: bool = True) -> None:
        """`beside` says that files may lie beside the program."""
        self.beside = beside
        self.found, self.params, self.reasons = found, found.params, found.reasons
        self.base: Origin = origin(found.params.model, found.root)

    def setting(self, name: str, value: Any = None) -> Setting:
        """The setting `name`, with the reason for which it was chosen."""
        return Setting(getattr(self.params, name) if value is None else value, self.reasons.get(name, ""))

    # ---- kinds of training -----------------------------------------------------------------------------------------

    def next_token(self, *, joined: str = "", cross_documents: bool = False, every_token: bool = False) -> Recipe:
        """Next-token training on texts ("blocks") or talks, which may be "packed"; with SFTTrainer in both cases."""
        texts = self.found.spec.rows == "text"
        recipe = self._recipe("SFT", talks=not texts, every_token=every_token)
        if joined:
            recipe.constants["CROSS_DOCUMENTS"] = Setting(cross_documents, "Whether texts in one place see each other.")
            recipe.pieces.append(rows_text.BLOCKS if texts else rows_text.PACKED)
        if texts:
            recipe.needs("bisect")
            recipe.needs("itertools")
        length = "None" if texts else "MAX_LENGTH"  # texts are cut into blocks and not at their end
        for part in self._parts():
            read = f'[row for row in (cut(row, {length}) for row in rows_of("{part}.jsonl")) if row]'
            joins = joined and (texts or part == "train")
            recipe.before.append(f"{part} = {f'joined({read})' if joins else read}")
        recipe.arguments["max_length"] = Setting(Code("None"), "Cut already.")
        if joined:
            recipe.arguments["padding_free"] = Setting(True, "Rows lie end to end, and each sees itself alone.")
        if self.found.valid:
            recipe.pieces.append(trainer_text.HELD_OUT_BY_TOKEN)
            recipe.trainer = "Trainer"
        return self._finished(recipe)

    def preferences(
        self,
        base: str,
        *,
        own_losses: Mapping[str, str],
        constants: Mapping[str, Any],
        reference: str | None,
        precompute_ref_log_probs: bool,
        **settings: Any,
    ) -> Recipe:
        """Training on pairs of answers with TRL's `base` ("DPO") against a reference, None for the model as it is now.

        `own_losses` are methods, each in a class of its name on the one before; "" for one that is not needed.
        """
        recipe = self._recipe(base)
        self._pairs(recipe)
        parent = f"{base}Trainer"
        for name, method in own_losses.items():
            if method:
                about = f"{parent} with a loss for which TRL has no name."
                recipe.pieces.append(trainer_text.subclass(parent, about, method, name=name))
                parent = name
        recipe.constants |= {name: Setting(value) for name, value in constants.items() if name in "".join(recipe.pieces)}
        self._reference(recipe, reference, beforehand=precompute_ref_log_probs)
        self._on_own_rows(recipe, parent)
        recipe.arguments |= _settings(settings)
        recipe.arguments["precompute_ref_log_probs"] = Setting(precompute_ref_log_probs)
        return self._finished(recipe)

    def own_pairs(self, trainer: str, **constants: Any) -> Recipe:
        """Training on pairs of answers with transformers' own trainer; `trainer` is the text of a class `PairTrainer`."""
        recipe = self._recipe("")
        self._pairs(recipe)
        recipe.constants |= _settings(constants)
        recipe.needs("torch.nn.functional", "cross_entropy", "logsigmoid")
        recipe.pieces.append(trainer)
        recipe.trainer = "PairTrainer"
        recipe.call["data_collator"] = Code("collate")
        recipe.arguments["remove_unused_columns"] = Setting(False)
        return self._finished(recipe)

    def scores(self, **settings: Any) -> Recipe:
        """Training to score the texts of pairs, with RewardTrainer."""
        recipe = self._recipe("Reward", kind=model_text.SCORES)
        for part in self._parts():
            recipe.before.append(f'{part} = whole_pairs("{part}.jsonl")')
        recipe.pieces.append(answers_text.WHOLE_PAIRS)
        if self.params.gradient_accumulation > 1:
            about = "RewardTrainer whose steps are the mean over their pairs."
            recipe.pieces.append(trainer_text.subclass("RewardTrainer", about, trainer_text.WHOLE_STEP))
            recipe.trainer = "Trainer"
        recipe.arguments |= {**_settings(settings), "disable_dropout": Setting(False)}
        recipe.arguments["max_length"] = Setting(Code("None"), "Longer pairs are left out already.")
        return self._finished(recipe)

    def feedback(self, *, crossed: bool, **settings: Any) -> Recipe:
        """Training on rated answers with KTOTrainer; `crossed` ones go beside them, from which the drift is known."""
        recipe = self._recipe("KTO")
        recipe.needs("numpy as np")
        recipe.needs("torch.utils.data", "Sampler")
        recipe.constants["BATCH_SIZE"] = self.setting("batch_size")
        recipe.constants["CROSSED"] = Setting(crossed, "Whether the drift is known, from prompts with other answers.")
        recipe.pieces += [answers_text.PADDED, answers_text.DEALT, answers_text.RATED]
        for part in self._parts():
            recipe.before.append(f'{part} = rated("{part}.jsonl")')
        self._on_own_rows(recipe, "KTOTrainer", answers_text.BATCH_BY_BATCH)
        recipe.arguments |= {
            **_settings(settings),
            "per_device_train_batch_size": Setting(Code("BATCH_SIZE")),
            "per_device_eval_batch_size": Setting(Code("BATCH_SIZE")),
            "train_sampling_strategy": Setting("sequential", "In the order of `dealt` and of WholeBatches."),
            "precompute_ref_log_probs": Setting(True),
        }
        return self._finished(recipe)

    def groups(self, *, kl: float, **settings: Any) -> Recipe:
        """Learning from groups of the model's own answers with GRPOTrainer; `settings` as those of `group_settings`."""
        p, found = self.params, self.found
        recipe = self._recipe("GRPO")
        batch = min(p.batch_size or 1, max(found.rows, 1))
        joined = min(p.gradient_accumulation, max(found.rows, 1) // batch) or 1
        made = group_settings(max(found.rows, 1), found.valid, batch, joined, **settings)
        judge_text.judged(recipe, p, found.root, beside=self.beside)
        for part in self._parts():
            recipe.before.append(f'{part} = prompts("{part}.jsonl")')
        recipe.call["reward_funcs"] = Code("reward")
        self._group_class(recipe)
        recipe.arguments |= {name: Setting(value) for name, value in made.items()}
        recipe.arguments["gradient_accumulation_steps"] = Setting(joined)
        recipe.arguments["max_steps"] = Setting(found.limit(batch, joined), "TRL leaves prompts out that fill no step.")
        recipe.arguments["beta"] = Setting(kl, "What each step away from the original model costs.")
        own_reference = kl and self.base.adapters and not p.peft
        if own_reference:  # TRL would load the base without its adapters
            recipe.arguments["beta"] = Setting(0.0, "The reference is given below.")
            recipe.needs("copy")
            recipe.needs("trl.trainer.utils", "add_fused_lm_head")
            recipe.before.append("reference = copy.deepcopy(model).eval().requires_grad_(False)")
            recipe.after.insert(0, f"add_fused_lm_head(reference, temperature=args.temperature)\ntrainer.beta = {kl!r}")
            recipe.after.insert(1, "trainer.ref_model = trainer.accelerator.prepare_model(reference, evaluation_mode=True)")
        return self._finished(recipe)

    # ---- parts of them ---------------------------------------------------------------------------------------------

    def _recipe(self, base: str, *, talks: bool = True, every_token: bool = False, kind: str = model_text.WRITES) -> Recipe:
        """What all programs have: where things are, the tokenizer, rows as tokens, the model, the shared arguments.

        `base` is how TRL's classes begin ("SFT"), "" for transformers' own.
        """
        trainer, config = (f"{base}Trainer", f"{base}Config") if base else ("Trainer", "TrainingArguments")
        recipe = Recipe(trainer, config, self._arguments(), {"model": Code("model")})
        recipe.needs("trl" if base else "transformers", trainer, config)
        recipe.needs("transformers", "AutoTokenizer")
        recipe.needs("datasets", "Dataset")
        recipe.needs("json")
        recipe.needs("pathlib", "Path")
        model_text.place(recipe, self.base)
        recipe.constants["MAX_LENGTH"] = self.setting("max_length")
        recipe.constants["SEED"] = self.setting("seed")
        scores = kind == model_text.SCORES
        tokenizer = model_text.tokenizer(self.base, self.params.chat_template, talks=talks, scores=scores)
        recipe.pieces += [tokenizer, rows_text.READ]
        recipe.pieces += self._talks(recipe, every_token) if talks else [rows_text.TEXT]
        if self.found.spec.rows != "prompts":
            recipe.pieces.append(rows_text.CUT)
        recipe.before += model_text.model(recipe, self.base, self.params, kind)
        if talks and not scores:
            recipe.pieces.append(rows_text.STOP)
            recipe.before.append("name_the_end(model)")
        if self.params.peft:
            # what draws at random before the adapter's own weights must be drawn in the same order
            by_trainer = bool(base) and not scores and not self.base.adapters
            model_text.adapter(recipe, self.params, "SEQ_CLS" if scores else "CAUSAL_LM", by_trainer=by_trainer)
        return recipe

    def _finished(self, recipe: Recipe) -> Recipe:
        """The rows handed over, and what comes after the training."""
        recipe.call["train_dataset"] = Code("Dataset.from_list(train)")
        if self.found.valid:
            recipe.call["eval_dataset"] = Code("Dataset.from_list(valid)")
        recipe.call["processing_class"] = Code("tokenizer")
        patience = self.params.early_stopping_patience
        if self.found.valid and patience:
            recipe.needs("transformers", "EarlyStoppingCallback")
            recipe.call["callbacks"] = Code(f"[EarlyStoppingCallback(early_stopping_patience={patience})]")
        recipe.after += model_text.saved(self.params, stacked=bool(self.base.adapters))
        return recipe

    def _parts(self) -> list[str]:
        return ["train", "valid"] if self.found.valid else ["train"]

    def _talks(self, recipe: Recipe, every_token: bool) -> list[str]:
        """Talks as tokens, by the way in which the chat template shows where answers are."""
        if every_token:
            return [rows_text.EVERY_TOKEN, rows_text.TALK]
        known = self.params.chat_template != "auto" or self.base.template is not None
        marked = self.params.chat_template != "auto" or not self.base.template or bool(_MARKS.search(self.base.template))
        if known:
            pieces = [rows_text.MARKED if marked else rows_text.BY_PREFIX]
        else:
            recipe.needs("re")
            found = rows_text.BY_PREFIX.replace("def answers(", "def found_answers(")
            pieces = [rows_text.MARKED.replace("def answers(", "def marked_answers("), found, rows_text.WHICH]
        if marked or not known:
            recipe.needs("itertools")
        return [*pieces, rows_text.TALK]

    def _pairs(self, recipe: Recipe) -> None:
        recipe.pieces += [answers_text.PADDED, answers_text.PAIRS]
        for part in self._parts():
            recipe.before.append(f'{part} = pairs("{part}.jsonl")')

    def _on_own_rows(self, recipe: Recipe, parent: str, *methods: str) -> None:
        """A class for rows that are tokens already, with steps that are the mean over all their rows."""
        more = (*methods, trainer_text.WHOLE_STEP) if self.params.gradient_accumulation > 1 else methods
        about = f"{parent} on rows that are tokens already."
        recipe.pieces.append(trainer_text.subclass(parent, about, trainer_text.TOKENISED, *more))
        recipe.trainer = "Trainer"
        recipe.call["data_collator"] = Code("collate")
        recipe.arguments |= {"disable_dropout": Setting(False), "remove_unused_columns": Setting(False)}

    def _reference(self, recipe: Recipe, named: str | None, *, beforehand: bool) -> None:
        """A reference that TRL would not find by itself."""
        if named:
            other = origin(named, self.found.root)
            recipe.constants["REFERENCE"] = Setting(other.base, other.told)
            recipe.before.append("reference = AutoModelForCausalLM.from_pretrained(REFERENCE, dtype=torch.float32)")
            if other.adapters:
                recipe.needs("peft", "PeftModel")
                recipe.constants["REFERENCE_ADAPTERS"] = Setting(list(other.adapters))
                recipe.before.append(model_text.merged("reference", "REFERENCE_ADAPTERS"))
        elif not beforehand and not self.params.peft and self.base.adapters:
            recipe.needs("copy")
            recipe.before.append("reference = copy.deepcopy(model)  # TRL would load the base without its adapters")
        else:
            return
        recipe.call["ref_model"] = Code("reference.eval().requires_grad_(False)")

    def _group_class(self, recipe: Recipe) -> None:
        methods = []
        if self.params.epochs > 1:
            recipe.needs("torch.utils.data", "Sampler")
            recipe.pieces.append(trainer_text.EACH_PASS)
            methods.append(trainer_text.ORDER_BY_PASS)
        if self.found.valid:
            methods.append(trainer_text.SAME_DICE)
        if methods:
            about = "GRPOTrainer with the order and the dice of the run."
            recipe.pieces.append(trainer_text.subclass("GRPOTrainer", about, *methods))
            recipe.trainer = "Trainer"

    def _arguments(self) -> dict[str, Setting]:
        """What every run tells transformers, with reasons; settings that were never chosen are left out."""
        p, valid = self.params, bool(self.found.valid)
        told = shared_arguments(p, Path(), p.batch_size or 1, p.gradient_accumulation, self.found.made, valid, True)
        on_cpu = Setting(True) if p.device == "cpu" else Setting(Code("not torch.accelerator.is_available()"))
        made = {"output_dir": Setting(Code('str(OUTPUT / "checkpoints")')), "use_cpu": on_cpu}
        for name, value in told.items():
            if name not in _OURS and value is not None:
                made[name] = Setting(value, self.reasons.get(_REASONS.get(name, ""), ""))
        made["seed"] = Setting(Code("SEED"))
        if 0 < told["warmup_steps"] < 1:
            made["warmup_steps"] = Setting(told["warmup_steps"], "A share of all steps.")
        if p.max_steps:
            made["max_steps"] = Setting(self.found.limit(p.batch_size or 1, p.gradient_accumulation))
        if valid and (p.keep_best or p.early_stopping_patience):
            made["metric_for_best_model"] = Setting(self.found.spec.judged_by)
            made["greater_is_better"] = Setting(self.found.spec.higher_is_better)
        if valid and p.keep_best:
            if not self.found.gained:
                why = "By what is held out the model was best before: the best of the training is kept all the same."
                made["eval_on_start"] = Setting(False, why)
            if (p.save_steps or 1) % (p.eval_steps or 1):
                made["save_steps"] = Setting(p.eval_steps, "The best of what is measured must have been saved.")
            made["load_best_model_at_end"] = Setting(True, "The model as it was at its best measurement is kept.")
        return made


def _settings(given: Mapping[str, Any]) -> dict[str, Setting]:
    return {name: value if isinstance(value, Setting) else Setting(value) for name, value in given.items()}
