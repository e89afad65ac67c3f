"""An export as a person takes it along: a folder, or a zip of one, with the program, the settings and the rows."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engine.config_file import to_yaml
from engine.errors import RunError
from engine.export.script import script
from engine.export.settled import settled
from engine.runs.directory import RunDirectory

SCRIPT, SETTINGS = "train.py", "settings.yaml"


def folder_for(name: str) -> Path:
    """Where a run is exported to when nobody says."""
    return Path(f"{name}-export")


@dataclass(frozen=True)
class Export:
    """A run as a program, as settings, and the files that the program needs beside it."""

    name: str
    script: str
    yaml: str
    files: dict[str, Path]

    def write(self, folder: Path) -> Path:
        """Put everything into `folder` and return the program's place.

        Raises:
            RunError: there is a program or settings already, or the folder cannot be written.
        """
        for name in (SCRIPT, SETTINGS):
            if (folder / name).exists():
                raise RunError(
                    f"{folder / name} exists, and may have been changed since.", hint="Name another folder, or delete it."
                )
        try:
            for name, file in self.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, folder / name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SETTINGS).write_text(self.yaml, encoding="utf-8")
            (folder / SCRIPT).write_text(self.script, encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"The export cannot be written: {error.filename or folder}: {error.strerror}.", hint="Name another folder."
            ) from error
        return folder / SCRIPT

    def zip(self, target: IO[bytes], *, own_files: bool = True) -> None:
        """Write the folder as a zip into `target`; without `own_files` only what a run's own folder holds."""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{self.name}/{SCRIPT}", self.script)
            archive.writestr(f"{self.name}/{SETTINGS}", self.yaml)
            for name, file in self.files.items():
                if own_files or name.startswith("data/"):
                    archive.write(file, f"{self.name}/{name}")


def export(run: RunDirectory, *, beside: bool = True) -> Export:
    """Export `run`, whatever became of it; without `beside` the program reads the run's own folder.

    Raises:
        ParamError: the run's settings are of another version.
    """
    found = settled(run)
    made = script(found, beside=beside)
    # the name is left out: a run of these settings needs one of its own
    settings = (found.params if found.chosen else found.asked).model_copy(update={"project_name": None})
    return Export(run.name, made.text, to_yaml(settings), made.files)
