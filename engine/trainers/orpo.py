"""ORPO: learns the better answer and to prefer it, in one stage and without a reference (Hong et al. 2024).

The loss is the mean negative log-likelihood of the chosen answer plus a weight times the odds-ratio term. Only the
answers' tokens count. Pairs whose answer is cut away by the longest length are left out and told.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Copies, Form, Guide, Job, TrainerSpec, twin, twins


class ORPOParams(LLMTrainingParams):
    """Settings of odds ratio preference optimisation."""

    trainer: Annotated[Literal["orpo"], Form("Basic", widget="hidden")] = Field("orpo", description="The training method.")
    orpo_weight: Annotated[float, Form("Trainer", label="Weight of the preference")] = Field(
        0.1, ge=0, le=10, description="How much preferring counts beside learning the better answer (λ). 0.1 is usual."
    )


def build(params: ORPOParams, kit: Any) -> Job:
    """A trainer on pairs without a reference; runs in the worker."""
    from engine.worker.preference import orpo

    return kit.pair_trainer(kit.pair_rows(), partial(orpo, weight=params.orpo_weight))


_TRAINER = '''
class PairTrainer(Trainer):
    """ORPO (Hong et al. 2024, equations 6 and 7) on the answers' tokens.

    TRL's own, which is experimental, also learns the prompt, and an end that the chat template has written already.
    """

    loss_is_scaled_for_ga = True  # the mean over the pairs of an optimizer step

    def _get_num_items_in_batch(self, batch_samples, device):
        return sum(len(batch["input_ids"]) // 2 for batch in batch_samples)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)[:, 1:]
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
        logps = -cross_entropy(logits[:, :-1].float().transpose(1, 2), labels, reduction="none")
        chosen, rejected = (logps.sum(1) / (labels != -100).sum(1).clamp(min=1)).chunk(2)
        log_odds = (chosen - rejected) - (log_one_minus_exp(chosen) - log_one_minus_exp(rejected))
        losses = -chosen - ORPO_WEIGHT * logsigmoid(log_odds)
        return losses.sum() / (num_items_in_batch or len(losses))

    def prediction_step(self, model, inputs, *args, **kwargs):
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None


def log_one_minus_exp(x):
    """log(1 - exp(x)) for x < 0, exact at both ends."""
    x = x.clamp(max=-1e-6)  # a probability of one has infinite odds
    return torch.where(x > -0.6931, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
'''


def export(params: ORPOParams, kit: Any) -> Any:
    """A trainer of transformers' own with ORPO's loss."""
    return kit.own_pairs(_TRAINER, ORPO_WEIGHT=params.orpo_weight)


GUIDE = Guide(
    not_when="The model already answers well and should change only a little: DPO holds it to what it was, ORPO does not. "
    "Without worse answers to show, SFT is the same and simpler.",
    data="Pairs: a prompt, the answer that you prefer and the one that you do not. The better answers are learned as "
    "in SFT, so each must be good in itself and not only the lesser evil. A few hundred pairs are a start.",
    settings=(
        (
            "orpo_weight",
            "How much preferring counts beside learning the better answer. 0.1 to begin with; 0.5 when the margin "
            "does not rise.",
        ),
        ("lr", "Chosen for you. It lies between those of SFT and DPO, since the model learns and prefers at once."),
        ("epochs", "2 to 5, as for SFT: answering is learned from the same rows."),
        ("max_length", "Pairs whose answer would be cut away are left out and told. Raise it when that happens."),
        ("peft", "An adapter needs far less memory; ORPO holds one model only, so it fits where DPO just does not."),
    ),
    curves="On the sample (69 steps) the loss falls from 4.1 to 0.6 as in SFT, since most of it is learning the better "
    "answers; the margin rises from 0.5 to 0.9. There the better answer is likelier from the start (a whole "
    "sentence against stammering), so that its accuracy is 1 throughout; with real pairs it begins near 0.5 and "
    "climbs.",
    troubles=(
        (
            "The worse answers become likelier, too.",
            "That is usual at first: both are answers, and answering is being learned. What counts is that the margin "
            "rises; if it does not, raise `orpo_weight`.",
        ),
        (
            "It prefers well but writes badly.",
            "Too little to learn from: more pairs, more passes, or SFT first and DPO after it.",
        ),
        (
            "Pairs are reported as too long.",
            "Raise `max_length`, or shorten the answers; what is left out is counted in the run's warnings.",
        ),
        (
            "The held-out line turns up.",
            "The pairs are being learned by heart: fewer passes, or more pairs.",
        ),
    ),
)


SPEC = TrainerSpec(
    id="orpo",
    title="Odds Ratio Preference Optimization (ORPO)",
    summary="Single-stage training combining SFT and preference learning.",
    use_when="Starting from scratch with preference data",
    key_features="No reference model needed, memory efficient",
    example="Training aligned model in one step",
    order=50,
    rows="preference",
    params=ORPOParams,
    comparison=Comparison("⭐⭐ Moderate", "⭐⭐⭐ Very Stable", "⭐⭐ Moderate", "⭐ Low", "Single-stage alignment"),
    guide=GUIDE,
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It should fall; when the line of held-out rows turns up, the pairs are being learned by heart.",
        ),
        Chart(
            "Learning the better answer",
            twin("nll"),
            "How surprised the model is by the better answers. It should fall as in plain fine-tuning.",
        ),
        Chart(
            "How often the better answer wins",
            twin("rewards/accuracies"),
            "Share of pairs in which the better answer is the likelier one. It should rise towards 1.",
        ),
        Chart(
            "Margin",
            twin("rewards/margins"),
            "How far the better answer is ahead. It should rise and then level off.",
        ),
        Chart(
            "Rewards",
            twins(("rewards/chosen", "better"), ("rewards/rejected", "worse")),
            "How likely each answer is, counted by the token. The better answer's line should rise, and the two should part.",
        ),
        Chart(
            "Odds ratio loss",
            twin("odds_ratio"),
            "The part of the loss that prefers. It should fall towards 0.",
        ),
        Chart(
            "Log odds",
            twin("log_odds"),
            "How much likelier the better answer is. Above 0 it is preferred; it should rise.",
        ),
        Chart(
            "Log-probability of the answers",
            twins(("logps/chosen", "better"), ("logps/rejected", "worse")),
            "The better answer's line should rise, and the two should part.",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?", "chosen": "The harbour opens at six.", "rejected": "six six six"},
        {"prompt": "Who lights the lamp?", "chosen": "The keeper lights it at dusk.", "rejected": "keeper lamp lamp"},
        {"prompt": "Is it foggy?", "chosen": "Yes, it is very foggy today.", "rejected": "foggy foggy"},
    ),
    build=build,
    in_parallel=True,
    export=export,
    copies=Copies(sequences=2),
    learns="It learns to write the marked tokens of the better answer, and to prefer them to those of the worse one.",
    lr_scale=0.5,
    pipelines=("single-stage",),
)
