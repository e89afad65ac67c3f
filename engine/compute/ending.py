"""Why a job ended without a finished model, told from what the run there said last, and what the Hub says of the job."""

from __future__ import annotations

from engine.compute.rented import Rented
from engine.errors import TrainingError
from engine.runs.status import State, Status


def why_it_ended(stage: str, words: str, there: Status | None, job: Rented, *, stopped: bool) -> TrainingError:
    """Why a job ended without a finished model."""
    if there is not None and there.state in (State.FAILED, State.INTERRUPTED):
        return TrainingError(there.reason, hint=there.hint, cause=there.cause)
    if stopped or stage == "CANCELED":
        by = "It was stopped" if stopped else "Its job was cancelled at Hugging Face"
        return TrainingError(f"{by}, and the rented machine with it; what it had learned is lost.", cause="stopped")
    said, lost = words.lower(), f" Hugging Face says: {words}." if words else ""
    ran = (job.ended or 0.0) - (job.started or 0.0)
    if "timeout" in said or "timed out" in said or (job.started and ran >= job.timeout_s - 1):
        hint = "Give it more hours (--job-hours), a faster machine, or less to do."
        return TrainingError(
            f"The job's {job.timeout_s / 3600:g} hours were over before it was done.", hint=hint, cause="timeout"
        )
    if "memory" in said or "oom" in said or "137" in said:
        hint = "Choose a larger machine, train a LoRA adapter, or halve the rows per step."
        return TrainingError(f"Memory ran out on the rented machine.{lost}", hint=hint, cause="memory")
    hint = f"Its log's last lines may tell why: {job.url}"
    return TrainingError(f"The job ended without a finished model.{lost}", hint=hint, cause="job")
