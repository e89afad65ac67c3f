"""What can go wrong, as one tree. Every error carries a hint: what to do now.

StudioError
├── ParamError        a setting is unknown, out of range, or belongs to another trainer
├── DataError         a file is not a data set, or no usable row is left
├── ModelError        a model cannot be found or loaded
│   ├── ModelMissing  nothing of that name is here or on the Hub
│   ├── ModelGated    its owner asks for terms to be accepted first
│   └── ModelOffline  the Hub, which should have it, gave no answer
├── DeviceError       what was asked for does not exist on this machine
├── DeployError       the studio cannot be put on a Space
├── TrainingError     a run went wrong while it was training
│   └── StageError    a pipeline ended at one of its stages
└── RunError
    ├── RunNotFound   no run has this name
    ├── RunNameTaken  another run has this name already
    └── RunActive     the run is still working, so this cannot be done to it
"""

from __future__ import annotations

from dataclasses import dataclass


class StudioError(Exception):
    """Base of every error that a person may see: a sentence, and a hint that says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True)
class FieldProblem:
    """One wrong setting: `field` is the parameter's name ("" when the problem is between fields)."""

    field: str
    message: str


class ParamError(StudioError):
    """Settings that cannot be used; `problems` has one entry for each wrong field."""

    def __init__(self, problems: list[FieldProblem], *, hint: str = "") -> None:
        super().__init__("\n".join(p.message for p in problems), hint=hint)
        self.problems = problems


class DataError(StudioError):
    """The data cannot be used as it is."""


class ModelError(StudioError):
    """A model cannot be found, loaded or used for this."""


class ModelMissing(ModelError):
    """There is no model of this name, here or on the Hub, or none that may be seen."""


class ModelGated(ModelError):
    """The Hub has the model and gives it only to those who accepted its terms."""


class ModelOffline(ModelError):
    """The Hub gave no answer."""


class DeviceError(StudioError):
    """The machine lacks what was asked for."""


class DeployError(StudioError):
    """The studio cannot be put on a Hugging Face Space."""


class TrainingError(StudioError):
    """A run that went wrong while it was training; `cause` is a short machine-readable word."""

    def __init__(self, message: str, *, hint: str = "", cause: str = "failed") -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


class StageError(TrainingError):
    """A pipeline ended at a stage: its run failed or was stopped, or it did not reach what its gate asks."""

    def __init__(self, message: str, *, stage: str, run: str, hint: str = "", cause: str = "failed") -> None:
        super().__init__(message, hint=hint, cause=cause)
        self.stage = stage
        self.run = run


class RunError(StudioError):
    """Something about a run's directory or state."""


class RunNotFound(RunError):
    """No run has this name."""


class RunNameTaken(RunError):
    """Another run has this name already."""


class RunActive(RunError):
    """The run is still working."""
