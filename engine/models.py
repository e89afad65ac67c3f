"""Where a model is and what it is like, found out from its files without loading it: no torch here.

A reference is, in this order: `starter` (bundled), a local folder, the name of a finished run (with or without `./` before
it), a Hub id.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import ModelError, ModelGated, ModelMissing, ModelOffline
from engine.paths import expanded
from engine.people import may_read
from engine.runs.directory import read_json, runs_root
from engine.samples import ASSETS

STARTER = "starter"
# An adapter of the starter that answers questions, and heeds one long prompt: two bundled samples begin with it.
INSTRUCTED = "starter-instructed"
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


@dataclass(frozen=True)
class ModelSource:
    """A reference resolved: `path` for what is on this machine, else None and `reference` is a Hub id."""

    kind: str  # "starter" | "folder" | "run" | "hub"
    reference: str
    path: Path | None
    label: str = ""

    @property
    def location(self) -> str:
        """What `from_pretrained` takes."""
        return str(self.path) if self.path else self.reference

    @property
    def scores(self) -> bool:
        """Whether it gives scores and does not write: its files say so. What the Hub has is taken for one that writes."""
        if self.path is None:
            return False
        if (self.path / "config.json").is_file():
            kinds = read_json(self.path / "config.json").get("architectures") or [""]
            return str(kinds[0]).endswith("ForSequenceClassification")
        return read_json(self.path / "adapter_config.json").get("task_type") == "SEQ_CLS"


@dataclass(frozen=True)
class ModelFacts:
    """Size and shape of a model.

    `parameters` counts weights, `context` tokens (0: it names no limit), `bytes_on_disk` its weight files.
    """

    reference: str
    kind: str
    architecture: str
    parameters: int
    hidden: int
    layers: int
    heads: int
    vocabulary: int
    intermediate: int
    context: int
    dtype: str
    bytes_on_disk: int
    has_chat_template: bool
    sliding_window: int | None = None
    licence: str = ""
    base_of_adapter: str = ""
    gated: bool = False
    to_fetch: int = 0  # bytes that are yet to be downloaded
    tied: bool = True  # embeddings and head are one matrix


def resolve(reference: str, root: Path | None = None) -> ModelSource:
    """Find out what a model reference means; a run is one of `root`, or of whoever asks.

    Raises:
        ModelError: nothing of that name is here, and it cannot be a Hub id.
    """
    reference = reference.strip()
    if reference == STARTER:
        return ModelSource("starter", reference, ASSETS / "starter", "Starter model (bundled)")
    if reference == INSTRUCTED:
        return ModelSource("starter", reference, ASSETS / "instructed", "Starter that answers questions (bundled)")
    folder = expanded(reference)
    if folder.is_dir() and may_read(folder):
        return ModelSource("folder", reference, _model_folder(folder), reference)
    name = reference.removeprefix("./")  # as a folder, which is how other tools name what they have trained
    run = (root or runs_root()) / name / "model"
    if "/" not in name and run.is_dir() and may_read(run):
        return ModelSource("run", name, run, f"{name} (your run)")
    if _HUB_ID.match(reference) and not reference.startswith("."):
        return ModelSource("hub", reference, None, reference)
    raise ModelError(
        f"There is no model {reference!r} on this machine.",
        hint="Give `starter`, the name of a finished run, a folder with config.json in it, or a Hub id like `org/name`.",
    )


def trained_on(reference: str) -> dict[str, Any]:
    """The data of the run that made a model, as settings that read it again; empty where no run is beside it."""
    source = resolve(reference)
    made_by = source.path.parent / "params.json" if source.path else None
    if made_by is None or not made_by.is_file():
        return {}
    params = read_json(made_by)
    return {name: params[name] for name in ("data_path", "data_format", "column_mapping") if params.get(name)}


def choices() -> list[ModelSource]:
    """Models on this machine: the bundled ones, then finished runs, newest first. A run whose model was damaged since is left
    out; who names it all the same is told what is wrong with it."""
    root = runs_root()
    finished = [p.parent for p in root.glob("*/model") if p.is_dir()] if root.is_dir() else []
    finished.sort(key=lambda path: (path / "model").stat().st_mtime, reverse=True)
    sources = [resolve(path.name) for path in finished]
    return [resolve(STARTER), resolve(INSTRUCTED), *(source for source in sources if _says_what_it_is(source))]


def _says_what_it_is(source: ModelSource) -> bool:
    try:
        return source.scores in (True, False)
    except (OSError, ValueError, AttributeError, TypeError, KeyError):  # a file that is missing, cut short, or written over
        return False


def facts(reference: str) -> ModelFacts:
    """Size, shape and template of a model.

    Raises:
        ModelError: it is not there, is no model, or the Hub cannot be reached.
    """
    source = resolve(reference)
    return _local_facts(source) if source.path else _hub_facts(source)


def _model_folder(folder: Path) -> Path:
    """The folder itself, or the finished model inside a run's folder."""
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file() or (candidate / "adapter_config.json").is_file():
            return candidate
    raise ModelError(
        f"The folder {str(folder)!r} holds no model.",
        hint="A model folder has config.json and model.safetensors in it (or adapter_config.json for an adapter).",
    )


def _local_facts(source: ModelSource) -> ModelFacts:
    assert source.path is not None
    if (source.path / "adapter_config.json").is_file() and not (source.path / "config.json").is_file():
        from engine.bases import base_of

        found = base_of(source)
        assert found is not None
        base = _local_facts(found) if found.path else _hub_facts(found)
        return ModelFacts(**{**base.__dict__, "reference": source.reference, "base_of_adapter": base.reference})
    try:
        config = read_json(source.path / "config.json")
    except (OSError, ValueError) as error:
        raise ModelError(f"config.json in {source.path} cannot be read: {error}.") from None
    weights = sorted(source.path.glob("*.safetensors"))
    if not weights:
        raise ModelError(
            f"{source.path} holds no model.safetensors.",
            hint="Only safetensors weights are loaded; older .bin files can run code and are refused.",
        )
    parameters, dtype = _count(weights)
    template = (source.path / "chat_template.jinja").is_file() or _names_template(source.path / "tokenizer_config.json")
    size = sum(file.stat().st_size for file in weights)
    return _shaped(source, config, parameters, dtype, size, template, _licence(source.path / "README.md"))


def _hub_facts(source: ModelSource) -> ModelFacts:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError

    try:
        info = HfApi().model_info(source.reference, timeout=10, files_metadata=True)
        config = read_json(Path(hf_hub_download(source.reference, "config.json")))
    except (HTTPError, OSError) as error:  # an answer that says no, or no answer at all
        kept = try_to_load_from_cache(source.reference, "config.json")
        if isinstance(kept, str) and any(Path(kept).parent.glob("*.safetensors")):  # fetched before
            return _local_facts(replace(source, path=Path(kept).parent))
        raise hub_error(source.reference, error) from None
    files = [f for f in info.siblings or [] if f.rfilename.endswith(".safetensors")]
    if not files:
        raise ModelError(f"{source.reference} has no safetensors weights.", hint="Choose a version that has.")
    size = sum(f.size or 0 for f in files)
    counted = info.safetensors.total if info.safetensors else size // 2
    by_type = info.safetensors.parameters if info.safetensors else {}
    dtype = max(by_type, key=lambda name: by_type[name], default="BF16")
    template = bool(((info.config or {}).get("tokenizer_config") or {}).get("chat_template"))
    licence = str((info.card_data or {}).get("license") or "")
    found = _shaped(source, config, counted, dtype, size, template, licence)
    here = all(isinstance(try_to_load_from_cache(source.reference, f.rfilename), str) for f in files)
    return replace(found, gated=bool(info.gated), to_fetch=0 if here else size)


def hub_error(reference: str, error: Exception) -> ModelError:
    """What a failure of the Hub's client means for whoever wanted the model."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    from engine.hub import account

    if isinstance(error, GatedRepoError):
        return ModelGated(
            f"{reference} is gated: its owner gives it only to those who have accepted its terms.",
            hint=account.how_to_be_let_in(reference),
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelMissing(
            f"There is no model {reference!r}: no folder, no finished run, and none on the Hub by that name that you may see.",
            hint=account.how_to_find(),
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return ModelGated(
            f"The Hugging Face Hub does not take the token that is used here ({error.response.status_code}).",
            hint=account.how_to_log_in(),
        )
    return ModelOffline(
        f"{reference} is no folder and no finished run, and the Hugging Face Hub cannot be reached ({type(error).__name__}).",
        hint="Use the starter model or a local folder, or check the network.",
    )


def _shaped(
    source: ModelSource, config: dict[str, Any], parameters: int, dtype: str, size: int, template: bool, licence: str
) -> ModelFacts:
    text = config.get("text_config") or config
    hidden = int(text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 0)
    layers = int(text.get("num_hidden_layers") or text.get("n_layer") or 0)
    return ModelFacts(
        reference=source.reference,
        kind=source.kind,
        architecture=(config.get("architectures") or ["unknown"])[0],
        parameters=parameters,
        hidden=hidden,
        layers=layers,
        heads=int(text.get("num_attention_heads") or text.get("n_head") or 1),
        vocabulary=int(text.get("vocab_size") or 0),
        intermediate=int(text.get("intermediate_size") or text.get("n_inner") or 4 * hidden),
        context=int(text.get("max_position_embeddings") or text.get("n_positions") or 0),
        dtype=dtype,
        bytes_on_disk=size,
        has_chat_template=template,
        sliding_window=text.get("sliding_window") if text.get("use_sliding_window", True) else None,
        licence=licence,
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))),
    )


def _count(weights: list[Path]) -> tuple[int, str]:
    """Number of weights and the commonest type, from the safetensors headers alone."""
    by_type: dict[str, int] = {}
    for file in weights:
        for entry in _header(file).values():
            by_type[entry["dtype"]] = by_type.get(entry["dtype"], 0) + math.prod(entry["shape"])
    return sum(by_type.values()), max(by_type, key=lambda name: by_type[name], default="F32")


def _header(file: Path) -> dict[str, Any]:
    """The tensor table of a safetensors file: eight bytes of length, then JSON."""
    with file.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= 100_000_000:
            raise ModelError(f"{file} is not a safetensors file.", hint="The download may have been cut off: fetch it again.")
        try:
            table = json.loads(opened.read(length))
        except ValueError:
            raise ModelError(f"{file} is damaged.", hint="The download may have been cut off: fetch it again.") from None
    table.pop("__metadata__", None)
    return table


def _names_template(file: Path) -> bool:
    return file.is_file() and bool(read_json(file).get("chat_template"))


def _licence(card: Path) -> str:
    """The licence that a model card's front matter names."""
    if not card.is_file():
        return ""
    found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace")[:2000], re.MULTILINE)
    return found.group(1) if found else ""
