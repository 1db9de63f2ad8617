"""Weights that other programs saved in a form of their own: from inside a wrapper, or as a part of a training state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import ModelError
from engine.models.families import Family
from engine.models.tensor_files import load_tensors, tensor_names
from engine.preset.text import listed, plain

_STATES = ("state_dict", "model_state_dict", "model")
"""Names under which training states hold the weights."""
_WRAPPERS = ("module.", "model.", "_orig_mod.", "_forward_module.")
"""Prefixes of wrappers around a bare encoder; around a classifier, the encoder's own name tells any prefix."""


def unwrapped(files: Sequence[Path], family: Family) -> tuple[dict[str, Tensor] | None, tuple[str, ...]]:
    """The tensors of weight files under the names that their family has, and a note that says what was done.

    None where the files have these names already, so that transformers can read them. Of pickles, tensors alone are
    unpickled. Raises ModelError for a training state without weights, and for the weights of several models at once.
    """
    if files[0].suffix == ".safetensors":
        prefix = _prefix((name for file in files for name in tensor_names(file)), family, files[0])
        if prefix is None:
            return None, ()
        tensors = {name: tensor for file in files for name, tensor in load_tensors(file).items()}
        return _without(prefix, tensors), (_note(prefix, files[0]),)
    if len(files) > 1:
        return None, ()
    document = _unpickled(files[0])
    tensors, key = _weights_of(document, files[0])
    prefix = _prefix(tensors, family, files[0])
    notes = () if key is None else (f"{plain(str(files[0]))} is a training state: only its {key} is used",)
    if prefix is not None:
        return _without(prefix, tensors), (*notes, _note(prefix, files[0]))
    return (None if key is None else _without("", tensors)), notes


def _unpickled(file: Path) -> Any:
    """The content of a pickle that holds tensors and plain values; its tensors stay in the file until they are used."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # the format before PyTorch 1.6 cannot be mapped
        return torch.load(file, map_location="cpu", weights_only=True)


def _weights_of(document: Any, file: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors by name of a pickle, and the name under which it holds them; None for those at its top."""
    if isinstance(document, Mapping):
        for key in (None, *_STATES):
            inner = document if key is None else document.get(key)
            if isinstance(inner, Mapping) and inner and all(isinstance(tensor, Tensor) for tensor in inner.values()):
                return {str(name): tensor for name, tensor in inner.items()}, key
    holds = listed((plain(str(key)) for key in document), "and", 5) if isinstance(document, Mapping) else "no names"
    sentence = f"this holds {holds}, not the weights of a model alone: save model.state_dict()"
    raise ModelError(sentence, kind="training-state", file=plain(str(file)))


def _prefix(names: Iterable[str], family: Family, file: Path) -> str | None:
    """What stands in front of all names of a model that was saved inside a wrapper; None where nothing does."""
    known = list(names)
    embeddings = f"{family.encoder}.embeddings."
    if any(name.startswith((embeddings, "embeddings.")) for name in known):
        return None
    prefixes = sorted({name[: name.index(f".{embeddings}") + 1] for name in known if f".{embeddings}" in name})
    if not prefixes:
        prefixes = [prefix for prefix in _WRAPPERS if any(name.startswith(f"{prefix}embeddings.") for name in known)]
    if len(prefixes) > 1:
        sentence = f"this holds several models ({listed(map(plain, prefixes), 'and', 3)}): save one of them alone"
        raise ModelError(sentence, kind="several-models", file=plain(str(file)))
    return prefixes[0] if prefixes else None


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in memory, which no longer depend on the file."""
    return {name.removeprefix(prefix): tensor.clone() for name, tensor in tensors.items()}


def _note(prefix: str, file: Path) -> str:
    return f'the names in {plain(str(file))} begin with "{plain(prefix)}": it was saved inside a wrapper, which is left out'
