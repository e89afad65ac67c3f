"""Teachers on this machine: a second model that is only asked, or the base that an adapter's model holds within itself.

A teacher answers prompts beforehand, and where its guesses count it is asked again at every step of the training.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch

from engine.errors import ModelError
from engine.models import ModelSource, resolve
from engine.runs.status import State
from engine.worker.answers import context_of, generating, stop_tokens
from engine.worker.flat import logits_at
from engine.worker.isolation import in_half, keeps_apart
from engine.worker.models import load_frozen, load_tokenizer, same_vocabulary
from engine.worker.reporter import Reporter
from engine.worker.rows import Row
from engine.worker.templates import choose_template
from engine.worker.tokens import prompt_tokens

if TYPE_CHECKING:
    from engine.worker.kit import Kit

# What is generated at once: rows, and tokens of their prompts and answers together, which the cache holds.
_ROWS, _TOKENS = 32, 32_768


class Answer(NamedTuple):
    """What a teacher wrote. `ids` are its own tokens, the one that ends the turn included, or nothing where only the
    text is known; `ended` says whether it came to an end by itself.
    """

    text: str
    ids: list[int]
    ended: bool


NO_ANSWER = Answer("", [], ended=True)


class Teacher(Protocol):
    """Whoever answers prompts. `together`: only when all processes of the run ask at once."""

    together: bool

    def answers(self, asked: Sequence[tuple[int, Row]], most: int, temperature: float) -> Iterator[tuple[int, Answer]]:
        """The answer to each (number, row) as it comes, of at most `most` tokens; temperature 0 takes the likeliest."""
        ...

    def release(self) -> None:
        """Give back what answering held; called when nobody asks any more."""
        ...


class LocalTeacher:
    """A model on this machine, loaded when it is first asked: a resumed run whose answers are all there may not ask."""

    def __init__(
        self,
        load: Callable[[], Any],
        tokenizer: Any,
        reporter: Reporter,
        *,
        within: bool = False,
        together: bool = False,
        seed: int = 0,
    ) -> None:
        """`within`: it is the base of the adapter's model that `load` gives. `together`: it is split among the processes of the
        run, which all ask it at once.
        """
        self.load, self.tokenizer, self.reporter, self.seed = load, tokenizer, reporter, seed
        self.within, self.together = within, together

    @cached_property
    def model(self) -> Any:
        return self.load()

    @cached_property
    def isolates(self) -> bool:
        """Whether it keeps documents apart that lie end to end."""
        return keeps_apart(self.model)

    def release(self) -> None:
        self.__dict__.pop("model", None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def guesses(self, trained: Any, inputs: dict[str, Any], keep: torch.Tensor) -> torch.Tensor:
        """Logits at the positions `keep` of a flattened row; `trained` is the model in training, without wrappers."""
        if not self.within:
            return logits_at(self.model, self.model, inputs, keep)
        was_training = trained.training
        trained.eval()
        with trained.disable_adapter():
            found = logits_at(trained, trained, inputs, keep)
        trained.train(was_training)
        return found

    def answers(self, asked: Sequence[tuple[int, Row]], most: int, temperature: float) -> Iterator[tuple[int, Answer]]:
        context = context_of(self.model)
        given = [(number, prompt_tokens(row, self.tokenizer).input_ids) for number, row in asked]
        for number, ids in given:
            if len(ids) >= context:
                yield number, NO_ANSWER  # it cannot read so much
        fitting = sorted((pair for pair in given if len(pair[1]) < context), key=lambda pair: len(pair[1]))
        for batch in _batches(fitting, most):
            room = min(most, context - len(batch[-1][1]))
            made = self._generated([ids for _, ids in batch], room, temperature, seed=self.seed + batch[0][0])
            for (number, _), ids in zip(batch, made, strict=True):
                yield number, self._read(ids)

    def _generated(self, prompts: list[list[int]], most: int, temperature: float, *, seed: int) -> list[list[int]]:
        """The tokens that follow each prompt, in one left-padded batch."""
        longest, pad = max(map(len, prompts)), self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(one)) + one for one in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=self.model.device)
        drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
        base = self.model.disable_adapter() if self.within else contextlib.nullcontext()
        with generating(self.model), torch.no_grad(), torch.random.fork_rng(), base, in_half(self.model):
            torch.manual_seed(seed)  # by the rows and not by what came before: a run that goes on draws the same
            made = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=most,
                pad_token_id=pad,
                eos_token_id=self._ends,
                stopping_criteria=[self._stopped],
                **({"do_sample": False} | drawn),
            )
        self.reporter.heed_stop(together=self.together)  # and nothing half-written is kept
        return made[:, longest:].tolist()

    def _stopped(self, ids: torch.Tensor, scores: Any) -> torch.Tensor:
        stop = self.reporter.stop_asked() if self.together else self.reporter.run.stop_requested
        return torch.full((len(ids),), stop, device=ids.device)

    @cached_property
    def _ends(self) -> list[int]:
        return stop_tokens(self.model, self.tokenizer)

    def _read(self, ids: list[int]) -> Answer:
        """The answer up to its end; what follows in the batch is padding."""
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        kept = ids if end is None else ids[: end + 1]
        if end == 0:
            return NO_ANSWER
        return Answer(self.tokenizer.decode(kept, skip_special_tokens=True).strip(), kept, end is not None)


def local_teacher(kit: Kit, reference: str | None, *, with_guesses: bool) -> LocalTeacher:
    """The model called `reference`, or the base model itself when that is None.

    Raises:
        ModelError: it cannot be loaded, or its guesses are wanted and it writes with another vocabulary.
    """
    p, reporter = kit.params, kit.reporter
    source, how = resolve(reference or p.model), {"together": p.fsdp, "seed": p.seed}
    if source.location == resolve(p.model).location:
        if p.peft or not with_guesses:  # what is trained later is still the base while it answers
            return LocalTeacher(lambda: kit.model, kit.tokenizer, reporter, within=p.peft, **how)
        return LocalTeacher(lambda: load_frozen(source, p, fast=True), kit.tokenizer, reporter, **how)
    tokenizer = load_tokenizer(source)
    choose_template(tokenizer, "auto")
    if with_guesses:
        _check_vocabulary(source, tokenizer, kit)

    def load() -> Any:
        reporter.phase(State.PREPARING, "Loading the teacher")
        return load_frozen(source, p, fast=True)

    return LocalTeacher(load, tokenizer, reporter, **how)


def _check_vocabulary(source: ModelSource, tokenizer: Any, kit: Kit) -> None:
    if not same_vocabulary(tokenizer, kit.tokenizer):
        raise ModelError(
            f"The teacher {source.reference} and the model {kit.params.model} write with different vocabularies, so their "
            "guesses cannot be compared token by token.",
            hint="Set the weight of the teacher's guesses to 0 (--distill-alpha 0): then only its answers are learned, which "
            "works between any two models. Or choose a teacher of the same family.",
        )


def _batches(rows: Sequence[tuple[int, list[int]]], most: int) -> Iterator[list[tuple[int, list[int]]]]:
    """Rows, sorted by their length, in groups that are generated at once."""
    batch: list[tuple[int, list[int]]] = []
    for row in rows:
        if batch and (len(batch) == _ROWS or (len(batch) + 1) * (len(row[1]) + most) > _TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
