"""What of the Hub a training needs: its models, the bases of adapters among them, and its data."""

from __future__ import annotations

from engine.bases import base_of
from engine.data.hub import on_hub
from engine.errors import ModelError
from engine.hub.fetch import fetched
from engine.models import ModelSource, hub_error, resolve
from engine.params import LLMTrainingParams, form_of

# How long the Hub may take to say whether it has a model: somebody waits for it.
_WAIT_S = 10
# Any of them in the cache means that a tokenizer was fetched before: older models have not all of them.
_TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "tokenizer.model", "vocab.json")


def hub_models(params: LLMTrainingParams) -> list[ModelSource]:
    """The models of the Hub that are loaded for a training, each once; a name that means nothing is passed over."""
    served = getattr(params, "teacher_endpoint", None)  # the teacher's name is then one of that server
    named = [
        getattr(params, name)
        for name in type(params).model_fields
        if form_of(type(params), name).widget in ("model", "judge") and not (served and name == "teacher_model")
    ]
    found = {source.reference: source for reference in named if reference for source in _on_hub(reference)}
    return list(found.values())


def hub_data(params: LLMTrainingParams) -> list[str]:
    """The data paths that mean data sets of the Hub."""
    return [path for path in (params.data_path, params.valid_path) if path and on_hub(path)]


def lacks(reference: str, file: str = "config.json") -> bool:
    """Whether a model, or the base of an adapter, has to be fetched before it can be used."""
    return any(not fetched(source.reference, file) for source in _on_hub(reference))


def refuse_unknown(reference: str) -> None:
    """Ask the Hub once whether it has the model whose tokenizer is to be fetched. Its client asks for each file again and
    again, for most of a minute.

    Raises:
        ModelError: it has not, or gives no answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    named = resolve(reference)
    if named.path is not None and (named.path / _TOKENIZER[0]).is_file():
        return  # an adapter brings its own, whatever it was made for
    for source in _on_hub(reference):
        if any(fetched(source.reference, file) for file in _TOKENIZER):
            continue
        try:
            HfApi().model_info(source.reference, timeout=_WAIT_S)
        except (HTTPError, OSError) as error:  # an answer that says no, or no answer at all
            raise hub_error(source.reference, error) from None


def _on_hub(reference: str) -> list[ModelSource]:
    """The model and the bases under it, those of the Hub."""
    found: list[ModelSource] = []
    try:
        source: ModelSource | None = resolve(reference)
        while source is not None:
            found += [source] if source.path is None else []
            source = base_of(source)
    except (ModelError, OSError, ValueError, KeyError):
        return found  # whoever loads it says what is wrong
    return found
