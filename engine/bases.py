"""What an adapter stands on: the model that it was trained for, found again, and known from another of the same name."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ModelError
from engine.models import ModelSource, resolve
from engine.runs.directory import read_json


def base_of(source: ModelSource, root: Path | None = None) -> ModelSource | None:
    """What the adapter in this folder was made for, under the studio's own names too; None for a complete model.

    `root`: as in `resolve`.

    Raises:
        ModelError: the base is not on this machine, and its name is none that the Hub knows; or it is another model of that
            name; or the bases go round in a circle.
    """
    base = _named(source, root)
    if base is not None:
        _refuse_another(source, base)
        _refuse_circle(source, base, root)
    return base


def made_at(source: ModelSource) -> float | None:
    """When the run was made whose model this is (seconds since 1970); None for what no run here has made."""
    status = source.path.parent / "status.json" if source.path else None
    return read_json(status).get("created") if status is not None and status.is_file() else None


def _named(source: ModelSource, root: Path | None) -> ModelSource | None:
    if source.path is None or (source.path / "config.json").is_file():
        return None
    return resolve(str(read_json(source.path / "adapter_config.json")["base_model_name_or_path"]), root)


def _refuse_another(source: ModelSource, base: ModelSource) -> None:
    assert source.path is not None
    status = source.path.parent / "status.json"
    known = read_json(status).get("base_created") if status.is_file() else None
    if known is not None and made_at(base) != known:
        raise ModelError(
            f"{source.reference} is an adapter on a run's model that was deleted; what is in its place ({base.location}) is "
            "another model, on which it would write nonsense.",
            hint="Train it again on the model that you want, or choose another model.",
        )


def _refuse_circle(source: ModelSource, base: ModelSource, root: Path | None) -> None:
    seen: set[Path | None] = {source.path}
    further: ModelSource | None = base
    while further is not None and further.path is not None:
        if further.path in seen:
            raise ModelError(
                f"{source.reference} is an adapter whose base is that adapter itself ({source.path}).",
                hint="The model that it was trained on was deleted or renamed. Choose another model.",
            )
        seen.add(further.path)
        further = _named(further, root)
