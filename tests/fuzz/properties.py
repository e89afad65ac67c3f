"""What must hold for every input: an answer or a StudioError, within seconds."""

from __future__ import annotations

import contextlib
import io
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from engine import api
from engine.data import Problem, inspect, rows
from engine.errors import StudioError
from engine.pipelines import pipeline

# Of CPU time: on a busy machine nobody knows how long a second is.
MOST_S = 10.0
# A row of a broken file may be anything; more of them tell nothing new.
_ROWS = 500


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """What is done within takes seconds, and does not hang.

    Raises:
        AssertionError: it does not.
    """

    def hangs(number: int, frame: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(120)
    began = time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    took = time.process_time() - began
    assert took < MOST_S, f"it took {took:.1f} s"


def file_is_looked_at(named: tuple[str, bytes], kind: Any) -> None:
    """A data file is shown and read as the page and the worker do."""
    name, content = named
    with tempfile.TemporaryDirectory() as folder, soon():
        path = Path(folder) / name
        path.write_bytes(content)
        with contextlib.suppress(StudioError):
            inspect(path, kind).to_dict()
        with contextlib.suppress(StudioError):
            for number, (_, row) in enumerate(rows(path, kind or "text")):
                assert isinstance(row, (dict, Problem))
                if number > _ROWS:
                    break


def settings_are_judged(given: dict[str, Any]) -> None:
    """Settings become parameters that can be written down, or are refused by name."""
    with soon(), contextlib.suppress(StudioError):
        params = api.validate(given)
        params.model_dump_json()
        api.command(params)
        assert api.read_settings(api.to_yaml(params))[0] == params, "what was written is read as it was"


def yaml_is_read(text: str) -> None:
    """YAML is settings, or a pipeline, or neither, and then that is said."""
    with soon():
        with contextlib.suppress(StudioError):
            api.read_settings(text)
        with contextlib.suppress(StudioError):
            made = pipeline.from_yaml(text)
            api.pipelines.check(made)


def words_are_obeyed(words: list[str]) -> None:
    """A command line ends with one of the exit codes that are promised. Nothing is trained."""
    from engine.cli import main

    said = io.StringIO()
    nothing = mock.patch.object(api, "start", side_effect=StudioError("Nothing is started here."))
    with nothing, soon(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(words)
        except SystemExit as end:  # argparse's way to show help
            code = end.code
    assert code in (0, 1, 2, 3), code
    assert "Traceback" not in said.getvalue()
