"""Runs that failed or were cut off: recognised by the cause that the worker named, or by what the system left behind."""

from __future__ import annotations

from engine.diagnosis import changes
from engine.diagnosis.finding import Change, Evidence, Finding
from engine.runs.place import MAKE_ROOM

_ENV = "HF_TOKEN"


def memory(e: Evidence) -> Finding | None:
    """The worker was refused memory, or the system killed a process for want of it while the run was at work."""
    killed = e.status.cause == "killed" and bool(e.memory_kills)
    if e.status.cause != "memory" and not killed:
        return None
    change = e.first_valid(changes.less_memory(e))
    why = (
        "Rows, their gradients and what the optimizer remembers did not fit together."
        if e.trained
        else "The model's weights alone, with what is kept beside them, took more than there was."
    )
    return Finding(
        "memory",
        "The system ended the run because memory ran out." if killed else "Memory ran out.",
        why,
        _memory_advice(change),
        change,
        confidence="likely" if killed else "certain",
    )


def _memory_advice(change: tuple[Change, ...]) -> str:
    names = {one.setting for one in change}
    if "batch_size" in names:
        return "Take half the rows at once and join twice as many passes: it learns the same, in less memory."
    if "peft" in names:
        return "Train a LoRA adapter instead of all weights: far less memory, and nearly as good."
    if "gradient_checkpointing" in names:
        return "Recompute instead of remembering: about a third slower, much less memory."
    if "max_length" in names:
        return "Cut rows at half the length."
    return "Close other programs, or choose a smaller model."


def no_number(e: Evidence) -> Finding | None:
    """Loss or gradient stopped being a number."""
    if e.status.cause != "nan":
        return None
    change = e.first_valid(changes.smaller_steps(e, 10))
    to = change[0] if change else None
    why, advice = "Either the data has rows that no model can learn from, or the numbers are too coarse.", e.status.hint
    if to and to.setting == "lr":
        why = f"Steps of the learning rate {to.was:g} were too large: the weights left the range of numbers."
        advice = f"Train with the learning rate {to.becomes:g}."
    elif to:
        advice = "Compute in 32 bits."
    return Finding("nan", e.status.reason, why, advice, change, confidence="certain")


def killed(e: Evidence) -> Finding | None:
    """The process is gone and said nothing, which only a kill from outside, a crash or a restart can do."""
    if e.status.cause != "killed" or e.memory_kills:
        return None
    crashed = "Fatal Python error" in e.log
    if e.restarted:
        what, why = "The machine was restarted while the run was at work.", "The training process ended with it."
    elif crashed:
        what, why = "The training process crashed.", "A library that it uses failed; the log's end names the place."
    else:
        what = "The training process was killed by the system (SIGKILL) or by somebody."
        no_want = "and the system tells of no want of memory" if e.memory_kills == 0 else "often because memory runs out"
        why = f"It had no chance to say why, {no_want}."
    advice = "It had no checkpoint yet: Resume begins it again."
    if e.resumable:
        advice = "Resume goes on from the last checkpoint; nothing before it is lost."
    elif e.status.checkpoints_removed:
        advice = "Its checkpoints were removed, so it cannot go on. Start it again with the same settings."
    return Finding(
        "killed",
        what,
        why,
        advice,
        action="resume" if e.resumable or not e.status.checkpoints_removed else "retry",
        confidence="certain" if e.restarted or crashed else "likely",
    )


def disk(e: Evidence) -> Finding | None:
    """There was no room to write."""
    if e.status.cause != "disk":
        return None
    change = e.first_valid(changes.fewer_files(e))
    return Finding(
        "disk",
        "The disk is full.",
        "Checkpoints and the finished model need room on the disk that holds the runs.",
        f"{MAKE_ROOM} Then resume: it goes on from the last checkpoint."
        if e.resumable
        else f"{MAKE_ROOM} Then start again with fewer checkpoints.",
        () if e.resumable else change,
        "resume" if e.resumable else "retry",
        "certain",
    )


def gated(e: Evidence) -> Finding | None:
    """The Hub has the model and does not hand it out."""
    if e.status.cause != "gated":
        return None
    return Finding(
        "gated",
        e.status.reason,
        f"The Hub knows who may have it by a token: that of `hf auth login`, or the one in {_ENV}.",
        e.status.hint or f"Accept the terms on its page, log in or start the studio with {_ENV} set, and retry.",
        confidence="certain",
    )


def missing(e: Evidence) -> Finding | None:
    """Nothing of that name is here or on the Hub."""
    if e.status.cause != "missing":
        return None
    return Finding(
        "missing",
        e.status.reason,
        "The name may be misspelt, or the model private.",
        f"Retry opens the settings: correct the model there. A private model needs a login or {_ENV}. {e.status.hint}".strip(),
        confidence="certain",
    )


def offline(e: Evidence) -> Finding | None:
    """The Hub did not answer."""
    if e.status.cause != "offline":
        return None
    change = () if e.params.model == "starter" else e.first_valid([{"model": "starter"}])
    return Finding(
        "offline",
        e.status.reason,
        "The model is fetched from the Hub once, and the Hub gave no answer: there is no network, or a proxy is in the way.",
        "Retry once the network is back. The bundled starter needs none.",
        change,
        confidence="certain",
    )


def template(e: Evidence) -> Finding | None:
    """The model's chat template made nothing of the rows."""
    emptied = [w for w in e.warnings if w.get("about") == "template"]
    if not emptied:
        return None
    share = sum(w["rows"] for w in emptied) / max(1, sum(w["of"] for w in emptied))
    return Finding(
        "template",
        f"The chat template turned {_share(share)} of the rows into nothing.",
        "The model's own template does not know conversations of this form.",
        "Write the conversations in another way.",
        e.first_valid(changes.another_template(e)),
        confidence="certain",
    )


def cut_rows(e: Evidence) -> Finding | None:
    """Rows lost their end, where the answer is. One in twenty is enough to teach a model that answers have none."""
    cut = [w for w in e.warnings if w.get("about") == "cut"]
    of = sum(w["of"] for w in cut)
    if not cut or sum(w["rows"] for w in cut) < 0.05 * of:
        return None
    longest = max(w["longest"] for w in cut)
    change = e.first_valid(changes.more_room(e, longest))
    return Finding(
        "cut rows",
        f"{_share(sum(w['rows'] for w in cut) / of)} of the rows were cut before their answer ended.",
        f"The longest row has {longest} tokens, and the longest length was {e.chosen.max_length}: from answers without an "
        "end a model does not learn to stop.",
        "Give rows the room that they need." if change else "The model reads no more at once: shorten the rows.",
        change,
        confidence="certain",
    )


def _share(share: float) -> str:
    return "all" if share >= 1 else f"{share:.0%}"
