"""DPO: learns from pairs of a better and a worse answer, without a reward model (Rafailov et al. 2023).

The model is pushed away from a reference (itself before the training, unless another is named) towards the better
answers. Only the answers' tokens count; the prompt is read once for each answer and never trained.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from engine.params import LLMTrainingParams
from engine.spec import Chart, Comparison, Copies, Form, Guide, Job, TrainerSpec, twin, twins


class DPOParams(LLMTrainingParams):
    """Settings of direct preference optimisation."""

    trainer: Annotated[Literal["dpo"], Form("Basic", widget="hidden")] = Field("dpo", description="The training method.")
    loss: Annotated[
        Literal[
            "sigmoid",
            "robust",
            "hinge",
            "ipo",
            "sigmoid_norm",
            "exo_pair",
            "nca_pair",
            "sppo_hard",
            "apo_zero",
            "apo_down",
        ],
        Form("Trainer", advanced=True),
    ] = Field("sigmoid", description="How a pair is judged. sigmoid is DPO itself; ipo is calmer on small or clean data.")
    dpo_beta: Annotated[float, Form("Trainer", label="Hold to the original (beta)")] = Field(
        0.1, gt=0, le=10, description="How strongly the model is held to what it was. 0.1 is usual; 0.01 lets it go further."
    )
    label_smoothing: Annotated[
        float, Form("Trainer", advanced=True, when={"loss": ("sigmoid", "robust", "sigmoid_norm", "exo_pair")})
    ] = Field(0.0, ge=0, lt=0.5, description="Share of the pairs that are thought to be the wrong way round.")
    sft_weight: Annotated[float, Form("Trainer", label="Weight of learning the better answer", advanced=True)] = Field(
        0.0, ge=0, le=10, description="Adds plain learning of the better answer; about 1 keeps it from becoming unlikely."
    )
    model_ref: Annotated[str | None, Form("Trainer", label="Reference model", advanced=True, widget="model")] = Field(
        None, description="A finished run, folder or Hub id to compare with. Empty: the base model as it was at the start."
    )
    precompute_reference: Annotated[bool, Form("Trainer", label="Ask the reference beforehand", advanced=True)] = Field(
        True, description="Once before training, so that it takes no memory. Off: at every step, from the adapter's base."
    )


def build(params: DPOParams, kit: Any) -> Job:
    """A trainer on pairs against a reference; runs in the worker."""
    from engine.worker.preference import dpo

    objective = partial(
        dpo, kind=params.loss, beta=params.dpo_beta, label_smoothing=params.label_smoothing, sft_weight=params.sft_weight
    )
    return kit.pair_trainer(kit.pair_rows(), objective, "precomputed" if params.precompute_reference else "live")


def copies(params: DPOParams) -> Copies:
    """A reference that is asked at every step is a second model, except where it is the adapter's own base."""
    held = not params.precompute_reference and (bool(params.model_ref) or not params.peft)
    return Copies(sequences=2, frozen=int(held))


_SMOOTHED = """
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # a share of the pairs is taken to be the wrong way round: these are turned
        turned = {key: torch.cat(part.chunk(2)[::-1]) for key, part in inputs.items() if not key.startswith("ref_")}
        if "ref_chosen_logps" in inputs:
            turned |= {"ref_chosen_logps": inputs["ref_rejected_logps"], "ref_rejected_logps": inputs["ref_chosen_logps"]}
        right, wrong = super().compute_loss(model, dict(inputs)), super().compute_loss(model, turned)
        return (1 - LABEL_SMOOTHING) * right + LABEL_SMOOTHING * wrong
"""
_WITH_SFT = """
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = super().compute_loss(model, inputs)
        # TRL's "sft" is a mean over the tokens of a batch; here each better answer counts the same
        ids, attention, learned = (inputs[key].chunk(2)[0] for key in ("input_ids", "attention_mask", "completion_mask"))
        labels = ids.masked_fill(learned == 0, -100)
        found = model(input_ids=ids, attention_mask=attention, labels=labels, use_cache=False, fused_lm_head=True)
        surprise = -found.log_probs.sum(1) / found.label_mask.sum(1).clamp(min=1)
        return loss + SFT_WEIGHT * surprise.mean()
"""


def export(params: DPOParams, kit: Any) -> Any:
    """TRL's DPOTrainer on pairs that are tokens already; what TRL has no name for is a class of its own."""
    smoothed = params.label_smoothing > 0 and params.loss in ("sigmoid", "sigmoid_norm")
    # TRL wants a little smoothing for this loss and has none by itself
    smoothing = max(params.label_smoothing, 1e-3) if params.loss == "exo_pair" else params.label_smoothing
    return kit.preferences(
        "DPO",
        own_losses={
            "SmoothedLoss": _SMOOTHED if smoothed else "",
            "WithSFT": _WITH_SFT if params.sft_weight else "",
        },
        constants={"LABEL_SMOOTHING": params.label_smoothing, "SFT_WEIGHT": params.sft_weight},
        reference=params.model_ref,
        loss_type=params.loss,
        beta=kit.setting("dpo_beta"),
        label_smoothing=0.0 if smoothed else smoothing,
        precompute_ref_log_probs=params.precompute_reference,
    )


GUIDE = Guide(
    not_when="The model does not answer well yet: DPO moves it between answers that it could give anyway. Train with SFT "
    "first, or do both at once with ORPO. With thumbs on single answers instead of pairs, use KTO.",
    data="Pairs: a prompt, the answer that you prefer and the one that you do not. The two should differ in what you "
    "care about and in little else: if the better one is always the longer one, length is what is learned. A few "
    "hundred clear pairs turn a manner round; finer differences want thousands. Pairs of answers that the model "
    "itself gave teach most.",
    settings=(
        (
            "dpo_beta",
            "How tightly the model is held to what it was. 0.1 to begin with; 0.3 when answers get strange, 0.03 when "
            "nothing changes.",
        ),
        (
            "lr",
            "Chosen for you, ten times smaller than for SFT. Too large shows as a margin that shoots up while both "
            "rewards fall.",
        ),
        ("sft_weight", "About 1 keeps the better answers likely while the worse ones fall; it helps small models most."),
        ("epochs", "1 to 3: preferences are learned by heart quickly."),
        ("model_ref", "Empty: the model as it was at the start, which is nearly always right."),
        (
            "loss",
            "`sigmoid` is DPO as published. `ipo` is calmer with few, clean pairs; `robust` where some pairs are the "
            "wrong way round.",
        ),
    ),
    curves="On the sample (69 steps) the better answer wins on every held-out pair after a tenth of the run, and the "
    "margin rises to about 8 and levels off. Its loss begins at 6.7 and not at 0.69, because the sample adds "
    "learning of the better answer (`sft_weight`). People's finer preferences are slower: an accuracy that climbs "
    "from 0.5 to 0.7 over the whole run is a success.",
    troubles=(
        (
            "The better answers become unlikely, too.",
            "Both lines of the rewards fall: set `sft_weight` to 1, or take a smaller learning rate.",
        ),
        (
            "The better answer wins no more than half of the time.",
            "The pairs contradict each other, or better and worse are swapped: look at some examples. Else double the "
            "learning rate.",
        ),
        (
            "The answers get longer and longer.",
            "The better answers are longer on the whole. Balance the lengths, or use the loss `sigmoid_norm`.",
        ),
        (
            "The loss stays at 0.69.",
            "Nothing moves: the learning rate is too small for so few steps. Double it, or take more passes.",
        ),
        (
            "The answers get strange.",
            "Too far from the original: a larger `dpo_beta`, fewer passes.",
        ),
    ),
)


SPEC = TrainerSpec(
    id="dpo",
    title="Direct Preference Optimization (DPO)",
    summary="Align models with human preferences without training a separate reward model.",
    use_when="You have preference data (chosen vs rejected)",
    key_features="More stable than PPO, no reward model needed",
    example="Improving response quality based on human feedback",
    order=40,
    rows="preference",
    params=DPOParams,
    comparison=Comparison("⭐⭐ Moderate", "⭐⭐⭐ Very Stable", "⭐⭐ Moderate", "⭐⭐ Medium", "Preference alignment"),
    guide=GUIDE,
    charts=(
        Chart(
            "Loss",
            twin("loss"),
            "It begins near 0.69 (the model and its reference are the same) and should fall; the held-out line tells.",
        ),
        Chart(
            "How often the better answer wins",
            twin("rewards/accuracies"),
            "Share of pairs in which the better answer gained more. It begins at 0, where none has moved; above 0.7 is good.",
        ),
        Chart(
            "Margin",
            twin("rewards/margins"),
            "How much more the better answer gained. It should rise and stay modest: a very large one is learned by heart.",
        ),
        Chart(
            "Surprise at the better answer",
            twin("nll"),
            "How unlikely the model finds each token of the better answer. It should not rise.",
        ),
        Chart(
            "Rewards",
            twins(("rewards/chosen", "better"), ("rewards/rejected", "worse")),
            "How far each answer has moved from where it began. The two should part; if both fall far, take smaller steps.",
        ),
        Chart(
            "Log-probability of the answers",
            twins(("logps/chosen", "better"), ("logps/rejected", "worse")),
            "The better line should gain on the worse. If it falls, give weight to learning the better answer (all settings).",
        ),
    ),
    example_rows=(
        {"prompt": "When does the harbour open?", "chosen": "Good morning! It opens at six.", "rejected": "Six. Go away."},
        {"prompt": "Who lights the lamp?", "chosen": "The keeper does, with pleasure.", "rejected": "Why do you ask?"},
        {"prompt": "Is it foggy?", "chosen": "Yes, very. Take care.", "rejected": "Look out of the window."},
    ),
    build=build,
    in_parallel=True,
    export=export,
    copies=copies,
    learns="It learns to write the marked tokens of the better answer rather than those of the worse one.",
    lr_scale=0.1,
    keeps_good={"sft_weight": 1.0},
    pipelines=("preference",),
)
