"""What is said about which training fits: the documentation's decision tree, use cases and pipelines, as data.

Advice names trainers by their ids; the registry decides which of them run. Questions and answers that are marked `ours`
are additions to the documentation, which forgets people with raw text and people with a long prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.spec import RowKind


@dataclass(frozen=True)
class Stage:
    """One station of a pipeline; `trainer` is None for a model that lies between trainings."""

    label: str
    trainer: str | None = None


@dataclass(frozen=True)
class Pipeline:
    """A way from a base model to a model in use, in the documentation's words."""

    id: str
    title: str
    stages: tuple[Stage, ...]
    ours: bool = False


@dataclass(frozen=True)
class Advice:
    """What a leaf of the tree or a use case says.

    `routes` are the trainings it means, best first, each a sequence of trainer ids; `instead` are the trainers to offer,
    nearest first, when none of the routes can be begun in this version; `by_rule` are those that a rule is enough for.
    """

    id: str
    words: str
    reason: str
    needs: str
    pipeline: str
    routes: tuple[tuple[str, ...], ...]
    instead: tuple[str, ...] = ()
    by_rule: tuple[str, ...] = ()
    title: str = ""
    ours: bool = False


@dataclass(frozen=True)
class Leaf:
    """An end of the tree."""

    advice: Advice


@dataclass(frozen=True)
class Question:
    """A question that is answered with one of `answers`: (answer's id, its word, what follows).

    `usual` is the answer that is taken for somebody whose file has answered everything before it.
    """

    id: str
    text: str
    explanation: str
    answers: tuple[tuple[str, str, Question | Leaf], ...]
    usual: str
    ours: bool = False


NAMES = {
    "default": "Default training",
    "sft": "SFT",
    "distillation": "Prompt Distillation",
    "dpo": "DPO",
    "kto": "KTO",
    "orpo": "ORPO",
    "ppo": "PPO",
    "reward": "Reward Model Training",
}
_BASE, _DEPLOYED = Stage("Base Model"), Stage("Deployed Model")
PIPELINES = (
    Pipeline("basic", "Basic Fine-tuning", (_BASE, Stage("SFT", "sft"), _DEPLOYED)),
    Pipeline("preference", "Preference Alignment (Simple)", (_BASE, Stage("SFT", "sft"), Stage("DPO", "dpo"), _DEPLOYED)),
    Pipeline("single-stage", "Single-Stage Alignment", (_BASE, Stage("ORPO", "orpo"), _DEPLOYED)),
    Pipeline(
        "rlhf",
        "Full RLHF Pipeline",
        (
            _BASE,
            Stage("SFT", "sft"),
            Stage("Reward Model Training", "reward"),
            Stage("PPO with Reward Model", "ppo"),
            _DEPLOYED,
        ),
    ),
    Pipeline(
        "language",
        "Language first, answers after",
        (_BASE, Stage("Default", "default"), Stage("SFT", "sft"), _DEPLOYED),
        ours=True,
    ),
    Pipeline("distillation", "Prompt Compression", (_BASE, Stage("Distillation", "distillation"), _DEPLOYED), ours=True),
)

_COLLECT = Advice(
    "collect",
    "Collect data first",
    "There is nothing to learn from yet. A few dozen good examples already show in the answers; some hundred carry a "
    "task. Write down questions as people would really ask them, each with the answer that you would be proud of.",
    "Two columns, prompt and completion, in a spreadsheet saved as CSV. Meanwhile, try how it feels on a sample.",
    "basic",
    ((),),
    ("sft", "default"),
)
_DEFAULT = Advice(
    "default",
    "Use Default",
    "Raw text has no questions and no answers, so the model learns to go on with it, word by word, and so takes in your "
    "subject's language and facts. To make it answer questions afterwards, train it further on examples.",
    "Texts of any kind: TXT or Markdown files, or one column called text.",
    "language",
    (("default",),),
    ("sft",),
    ours=True,
)
_DISTILLATION = Advice(
    "distillation",
    "Use Prompt Distillation",
    "The long prompt is answered once by a teacher, and your model learns to give the same answers without it. Every "
    "later question is then shorter, faster and cheaper.",
    "The long prompt, and typical questions; answers are not needed.",
    "distillation",
    (("distillation",),),
    ("sft",),
    ours=True,
)
_SFT = Advice(
    "sft",
    "Use SFT",
    "You know the right answers but have no pairs of a better and a worse one. Showing the right answers is the simplest "
    "and most stable training there is, and the first step of nearly every longer plan.",
    "Questions with their answers, or whole conversations.",
    "basic",
    (("sft",),),
    ("default",),
)
_ORPO = Advice(
    "orpo",
    "Use ORPO",
    "You have pairs but no model that already answers well to measure against. ORPO teaches the answers and the "
    "preference in one go and holds only one model in memory.",
    "Pairs: a prompt, the answer you prefer (chosen) and the one you do not (rejected).",
    "single-stage",
    (("orpo",),),
    ("dpo", "sft"),
)
_DPO = Advice(
    "dpo",
    "Use DPO",
    "You have pairs and a model that already answers well. DPO moves it towards the answers you prefer, and that model, "
    "kept as the reference, holds it back from drifting too far. No reward model is needed.",
    "Pairs: a prompt, the answer you prefer (chosen) and the one you do not (rejected).",
    "preference",
    (("dpo",),),
    ("orpo", "sft"),
)
_PPO = Advice(
    "ppo",
    "Train Reward Model → Use PPO",
    "The measure is your own. If a rule can work it out, such as a length, a keyword or valid JSON, no reward model is needed: "
    "PPO and GRPO take the rule itself. If only people can tell, a reward model first learns to score answers from your pairs; "
    "PPO then lets the model try answers and keeps what scores well. Most flexible of all, and the hardest to keep steady.",
    "Pairs for the reward model, then prompts for PPO. With a rule: prompts alone.",
    "rlhf",
    (("reward", "ppo"),),
    ("dpo", "orpo", "sft"),
    by_rule=("ppo", "grpo"),
)
_KTO = Advice(
    "kto",
    "Use KTO",
    "Each answer has been judged by itself: KTO learns to write the liked ones sooner and the others less. SFT can be chosen "
    "too; it copies the answers with a thumbs up and never sees the others.",
    "Questions, each with an answer and a thumbs up or down.",
    "preference",
    (("kto",),),
    ours=True,
)

TREE = Question(
    "labeled",
    "Do you have labeled examples?",
    "Labeled means: for each input there is the output that you want. Questions with answers, texts with summaries, "
    "conversations, or pairs of a better and a worse answer.",
    (
        (
            "no",
            "No",
            Question(
                "raw",
                "Do you have raw text?",
                "Articles, manuals, mails, books, code: text that nobody has turned into questions and answers.",
                (
                    (
                        "no",
                        "No",
                        Question(
                            "prompt",
                            "Is there a long prompt that you want to get rid of?",
                            "A prompt that you put in front of every question and that makes the answers good.",
                            (("no", "No", Leaf(_COLLECT)), ("yes", "Yes", Leaf(_DISTILLATION))),
                            "no",
                            ours=True,
                        ),
                    ),
                    ("yes", "Yes", Leaf(_DEFAULT)),
                ),
                "no",
                ours=True,
            ),
        ),
        (
            "yes",
            "Yes",
            Question(
                "pairs",
                "Do you have preference pairs?",
                "Two answers to the same prompt, and which of the two is better.",
                (
                    ("no", "No", Leaf(_SFT)),
                    (
                        "yes",
                        "Yes",
                        Question(
                            "rewards",
                            "Do you need custom rewards?",
                            "A measure of your own that pairs cannot express, such as a score that a program works out.",
                            (
                                (
                                    "no",
                                    "No",
                                    Question(
                                        "reference",
                                        "Do you have a reference model?",
                                        "A model that already answers in about the right way, such as one that SFT made.",
                                        (("no", "No", Leaf(_ORPO)), ("yes", "Yes", Leaf(_DPO))),
                                        "no",
                                    ),
                                ),
                                ("yes", "Yes", Leaf(_PPO)),
                            ),
                            "no",
                        ),
                    ),
                ),
                "no",
            ),
        ),
    ),
    "no",
)

USE_CASES = (
    Advice(
        "chat",
        "SFT → DPO",
        "SFT teaches it to answer instructions at all; DPO then makes it prefer the answers that people liked better.",
        "Conversations or questions with answers; later, pairs of a better and a worse answer.",
        "preference",
        (("sft", "dpo"),),
        ("orpo",),
        title="Chat/Instruction Following",
    ),
    Advice(
        "code",
        "SFT with quality data",
        "Code is right or wrong, so what is shown counts most: few examples that run beat many that do not.",
        "Tasks with the code that solves them, checked.",
        "basic",
        (("sft",),),
        ("default",),
        title="Code Generation",
    ),
    Advice(
        "creative",
        "ORPO for balanced creativity",
        "There is no single right text, only better and worse ones. ORPO learns from such pairs without tying the model "
        "to a reference, which leaves it room.",
        "Pairs of a text you like and one you like less, for the same request.",
        "single-stage",
        (("orpo",),),
        ("dpo", "sft"),
        title="Creative Writing",
    ),
    Advice(
        "safety",
        "DPO or PPO with safety rewards",
        "Pairs of a safe and an unsafe answer move it the steady way, with DPO. With a safety score of your own, PPO can "
        "search further.",
        "Pairs of a safe (chosen) and an unsafe (rejected) answer to the same prompt.",
        "preference",
        (("dpo",), ("reward", "ppo")),
        ("orpo", "sft"),
        title="Safety Alignment",
    ),
    Advice(
        "task",
        "SFT for most cases",
        "One task with a known right output, such as sorting mails or filling forms, is learned best by being shown.",
        "Inputs with the output you want, in the form in which they will come.",
        "basic",
        (("sft",),),
        ("default",),
        title="Task-Specific",
    ),
)

# What a file's kind of rows has answered already.
FILE_ANSWERS: dict[RowKind, dict[str, str]] = {
    "text": {"labeled": "no", "raw": "yes"},
    "prompts": {"labeled": "no", "raw": "no", "prompt": "yes"},
    "chat": {"labeled": "yes", "pairs": "no"},
    "preference": {"labeled": "yes", "pairs": "yes"},
}
# What a kind of rows ends in at once: the tree asks for nothing that would lead there.
FILE_ADVICE: dict[RowKind, Advice] = {"feedback": _KTO}
