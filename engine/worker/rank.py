"""`python -m engine.worker.rank JSON`: a further process of a run, where the first one cannot be forked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

from engine.runs.directory import RunDirectory
from engine.worker.crew import helper
from engine.worker.ranks import Ranks
from engine.worker.train import help_out


def main(argv: list[str]) -> NoReturn:
    given = json.loads(argv[0])
    place, run = Ranks(given["rank"], given["size"], Path(given["meeting"])), RunDirectory(Path(given["run"]))
    helper(run, place, help_out, given["alive"], given["told"])


if __name__ == "__main__":
    main(sys.argv[1:])
