"""What a run needs of the Hub is fetched before anything else, for all to see; then it goes on without the Hub."""

from __future__ import annotations

import time

from huggingface_hub import constants
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import disable_progress_bars

from engine import keys
from engine.data.hub import fetched
from engine.data.parts import part_of
from engine.hub.fetch import Pace, fetch
from engine.hub.needs import hub_data, hub_models
from engine.models import ModelSource, hub_error
from engine.params import LLMTrainingParams
from engine.runs.status import State
from engine.worker.reporter import Reporter

# What of a model is fetched: no weights that could run code, nothing in folders.
_WANTED, _UNWANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"], ["*/*"]
_STATUS_S, _EVENT_S = 0.5, 3.0


class Transfer:
    """Tells how far a download is: in the status twice a second, among the events now and then. Heeds a wish to stop."""

    def __init__(self, reporter: Reporter, what: str) -> None:
        self.reporter, self.what, self.pace = reporter, what, Pace()
        self.told = self.logged = 0.0

    def __call__(self, done: int, total: int) -> None:
        """
        Raises:
            StopRequested: somebody asked the run to end.
        """
        self.reporter.heed_stop()
        speed, now = self.pace.at(done), time.monotonic()
        if now - self.told < _STATUS_S and done < total:
            return
        found = {"what": self.what, "done": done, "total": total, "per_second": round(speed)}
        self.told = now
        self.reporter.set(transfer=found)
        if now - self.logged >= _EVENT_S or done >= total:
            self.logged = now
            self.reporter.run.log_event("transfer", **found)
            print(f"{self.what}: {done / 1e6:.1f} of {total / 1e6:.1f} MB", flush=True)


def fetch_data(params: LLMTrainingParams, reporter: Reporter) -> None:
    """Fetch the data sets of the Hub that the run learns from.

    Raises:
        DataError: one cannot be had. StopRequested: somebody asked the run to end.
    """
    for path in hub_data(params):
        disable_progress_bars()  # they are for terminals; this output is a file
        reporter.phase(State.PREPARING, "Downloading the data")
        part = part_of(path)
        try:
            fetched(part.source if part else path, part, Transfer(reporter, part.source if part else path))
        finally:
            reporter.set(transfer=None)


def fetch_models(params: LLMTrainingParams, reporter: Reporter) -> None:
    """Fetch every model that the run will load.

    Raises:
        ModelError: one cannot be had. StopRequested: somebody asked the run to end.
    """
    for source in hub_models(params):
        disable_progress_bars()
        reporter.phase(State.PREPARING, "Downloading the model" if source.reference == params.model else "Downloading a model")
        _fetch_model(source, reporter)


def _fetch_model(source: ModelSource, reporter: Reporter) -> None:
    try:
        fetch(source.reference, _WANTED, _UNWANTED, tell=Transfer(reporter, source.reference))
    except (HTTPError, OSError) as error:  # an answer that says no, or no answer at all
        raise hub_error(source.reference, error) from error
    finally:
        reporter.set(transfer=None)


def leave_hub(params: LLMTrainingParams) -> None:
    """Once all is here: no secret stays in this process that it has no further use for, and nothing is asked of the Hub.

    What is loaded from now on comes from the cache. A run that uploads its model in the end keeps the Hub and the token.
    """
    if params.push_to_hub:
        keys.forget(keep=[*keys.HUB, *keys.TEACHER])
        return
    keys.forget(keep=keys.TEACHER)
    stay_here()


def stay_here() -> None:
    """Ask nothing of the Hub in this process: what it loads is on this machine."""
    constants.HF_HUB_OFFLINE = True
