"""Where a model comes from, as a program names it: a base, adapters that are merged into it, and a tokenizer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from engine.bases import base_of
from engine.errors import ModelError
from engine.models import ModelSource, resolve
from engine.runs.directory import read_json

_TOLD = {
    "starter": "A model that is bundled with AITraining Studio: on another machine, copy this folder and name its new place.",
    "folder": "A folder of this machine: elsewhere, copy it and name its new place.",
    "run": "A model that was trained here, a plain folder: elsewhere, copy it and name its new place.",
    "hub": "",
}


@dataclass(frozen=True)
class Origin:
    """A base as `from_pretrained` takes it, adapters in the order in which they are merged, and the tokenizer's place.

    `template` is its chat template: "" where there is none, None where that is not known here.
    """

    base: str
    adapters: tuple[str, ...]
    tokenizer: str
    told: str
    template: str | None


def origin(reference: str, root: Path) -> Origin:
    """What `reference` stands for among the runs in `root`; one that is gone from this machine is named as it was asked for."""
    try:
        chain = _chain(resolve(reference, root), root)
    except ModelError as error:
        return Origin(reference, (), reference, f"{error.message} Name its place here.", None)
    base, adapters = chain[-1], chain[-2::-1]
    named = next((source for source in chain if _has_tokenizer(source)), base)
    return Origin(
        base.location,
        tuple(source.location for source in adapters),
        named.location,
        _TOLD[chain[0].kind],
        _template(named),
    )


def _chain(source: ModelSource, root: Path) -> list[ModelSource]:
    """The model itself, then the base of each adapter, down to one that is complete."""
    base = base_of(source, root)
    return [source] if base is None else [source, *_chain(base, root)]


def _has_tokenizer(source: ModelSource) -> bool:
    return source.path is None or (source.path / "tokenizer_config.json").is_file()


def _template(source: ModelSource) -> str | None:
    """The chat template in the files of a tokenizer, as far as they are on this machine."""
    if (written := _file(source, "chat_template.jinja")) is not None:
        return written.read_text(encoding="utf-8")
    if (settings := _file(source, "tokenizer_config.json")) is None:
        return None
    kept = read_json(settings).get("chat_template") or ""
    if isinstance(kept, list):  # several under names
        kept = next((str(one["template"]) for one in kept if one.get("name") == "default"), "")
    return str(kept)


def _file(source: ModelSource, name: str) -> Path | None:
    if source.path is not None:
        return source.path / name if (source.path / name).is_file() else None
    found = None
    with contextlib.suppress(ValueError):  # a reference that the Hub would refuse as a name
        found = try_to_load_from_cache(source.reference, name)
    return Path(found) if isinstance(found, str) else None
