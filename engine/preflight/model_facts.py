"""Facts about a model that are needed before the engine starts, read from its `config.json` as plain JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.models.family_rules import FAMILIES, unusable
from engine.models.model_files import (
    architectures,
    check_folder,
    check_layers,
    has_own_head,
    is_folder,
    no_model_type,
    student_of_run,
)
from engine.preset.kinds import WORD_LABELS, Kind
from engine.preset.paths import not_a_file
from engine.preset.regular_file import OversizedError, read_regular
from engine.preset.source_names import cached_repository, is_path
from engine.preset.text import nearest, plain, shown
from engine.record.files import cause

_OTHER_NAMES = {
    ("distilbert", "hidden_size"): "dim",
    ("distilbert", "num_hidden_layers"): "n_layers",
    ("distilbert", "num_attention_heads"): "n_heads",
    ("distilbert", "intermediate_size"): "hidden_dim",
}
_SIZES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
_DEFAULTS = {  # what a config leaves out has these values in transformers
    "bert": (12, 768, 12, 3072, 30_522, 512),
    "roberta": (12, 768, 12, 3072, 50_265, 512),
    "xlm-roberta": (12, 768, 12, 3072, 30_522, 512),
    "distilbert": (6, 768, 12, 3072, 30_522, 512),
    "electra": (12, 256, 4, 1024, 30_522, 512),
    "albert": (12, 4096, 64, 16_384, 30_000, 512),
    "modernbert": (22, 768, 12, 1152, 50_368, 8192),
    "mpnet": (12, 768, 12, 3072, 30_527, 512),
    "deberta-v2": (24, 1536, 24, 6144, 128_100, 512),
}
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "mpnet")  # positions count from the padding token's id
_LARGEST_CONFIG = 10_000_000  # bytes
_LARGEST_SIZE = 10_000_000  # of a width, a vocabulary or a number of layers: beyond it, the config is damaged
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DUMB_LABEL = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class ModelFacts:
    """The sizes of a model, and what its outputs are called."""

    family: str
    """`model_type` of its config: a key of `FAMILIES`, or one that is not supported."""
    layers: int
    hidden_size: int
    heads: int
    intermediate_size: int
    vocab_size: int
    labels: tuple[str, ...] | None
    """Names of the outputs in their order; None where the config has none, or only LABEL_0, LABEL_1, ..."""
    max_positions: int
    """Tokens that the model can read at most, special tokens included."""
    folder: Path
    """Of its files."""
    problem_type: str | None = None
    """What its outputs mean ("multi_label_classification"), if its config says so."""
    architectures: tuple[str, ...] = ()
    """The classes that its config names."""

    def has_head(self, kind: Kind | None) -> bool:
        """Whether it has a head for a kind of task, as far as its config says; `kind` is None where it is not known yet."""
        return has_own_head(self.architectures, by_word=None if kind is None else kind == WORD_LABELS)


def model_facts(model: str, revision: str | None = None) -> ModelFacts | None:
    """The facts of a model: a folder, a run directory (its student), or a hub id in the local cache.

    None when the hub's files have not been fetched yet; nothing is downloaded. Raises ModelError when there is no such
    folder, or its config is missing, broken or absurd.
    """
    folder = model_folder(model, revision)
    if folder is None:
        return None
    check_folder(folder)
    return _facts(folder / "config.json")


def model_folder(model: str, revision: str | None) -> Path | None:
    """The folder with the files of a model; None for a hub id that is not in the local cache.

    Raises ModelError for a path that is no folder.
    """
    if not is_path(model):
        return _cached_folder(model, revision)
    path = Path(model)
    if is_folder(path):
        return student_of_run(path) or path
    if not path.exists():
        raise ModelError(_no_folder(path), kind="no-model-folder", file=plain(model))
    sentence = "a model is a folder with config.json, weights and tokenizer; this is a file"
    raise ModelError(sentence, kind="model-is-file", file=plain(model))


def _cached_folder(model: str, revision: str | None) -> Path | None:
    """The snapshot of a hub model in the local cache, if it has a `config.json`; `revision` is main when None.

    huggingface_hub.try_to_load_from_cache does the same, but takes half a second to import.
    """
    repository = cached_repository(model)
    revision = revision or "main"
    commit = revision
    if not _COMMIT.fullmatch(revision):
        try:
            commit = read_regular(repository / "refs" / revision, _LARGEST_CONFIG).decode("ascii").strip()
        except (OSError, ValueError):
            return None
    if not _COMMIT.fullmatch(commit):
        return None
    folder = repository / "snapshots" / commit
    return folder if (folder / "config.json").is_file() else None


def _no_folder(path: Path) -> str:
    if path.is_symlink():
        return f"this is a link to {plain(str(path.readlink()))}, which does not exist"
    try:
        near = nearest(path.name, [item.name for item in path.parent.iterdir() if item.is_dir()])
    except OSError:
        near = None
    if near:
        return f"there is no such model folder; did you mean {plain(str(path.parent / near))}?"
    hub = f"{path.parent.name}/{path.name}"
    if path.parent.is_dir() and not is_path(hub):
        return f"there is no such model folder (for the hub's {hub}, fetch it first: hf download {hub})"
    return "there is no such model folder"


def _facts(path: Path) -> ModelFacts:
    config = _read(path)
    family = config.get("model_type")
    if not isinstance(family, str) or not family:
        raise no_model_type(path, config)
    check_layers(path, config)
    sizes = {key: _size(config, family, key, path) for key in _SIZES}
    reason = _unusable(family, config)
    if reason is not None:
        raise ModelError(reason, kind="unusable-variant", file=plain(str(path)))
    hidden_size, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if hidden_size % heads:
        sentence = f"is invalid: a width of {hidden_size} is not a multiple of {heads} heads"
        raise _broken(path, sentence, kind="heads-do-not-divide-width", key="num_attention_heads")
    positions = sizes["max_position_embeddings"]
    if family in _POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id", 1)
        positions -= padding + 1 if isinstance(padding, int) and padding >= 0 else 2
    if positions < 1:
        sentence = "is invalid: it leaves no position for a token"
        raise _broken(path, sentence, kind="no-positions", key="max_position_embeddings")
    return ModelFacts(
        family=family,
        layers=sizes["num_hidden_layers"],
        hidden_size=hidden_size,
        heads=heads,
        intermediate_size=sizes["intermediate_size"],
        vocab_size=sizes["vocab_size"],
        labels=_labels(config.get("id2label"), path),
        max_positions=positions,
        folder=path.parent,
        problem_type=problem_type if isinstance(problem_type := config.get("problem_type"), str) else None,
        architectures=tuple(architectures(config.get("architectures"))),
    )


def _read(path: Path) -> dict[str, Any]:
    if (problem := not_a_file(path)) is not None:
        raise ModelError(problem, kind="not-regular-file", file=plain(str(path)))
    try:
        config = json.loads(read_regular(path, _LARGEST_CONFIG).decode())
    except json.JSONDecodeError as error:
        raise _broken(path, f"is not valid JSON: {error.msg}", kind="invalid-json", line=error.lineno) from None
    except UnicodeDecodeError:
        raise _broken(path, "is not UTF-8 text", kind="not-utf8") from None
    except OversizedError:
        raise _broken(path, "is far too large to be the config of a model", kind="file-too-large") from None
    except (RecursionError, ValueError):
        sentence = "is not valid JSON: it nests too deep, or a number in it is too long"
        raise _broken(path, sentence, kind="invalid-json") from None
    except OSError as error:
        raise _broken(path, f"cannot be read: {cause(error)}", kind="unreadable-file") from None
    if not isinstance(config, dict):
        raise _broken(path, "is not the config of a model: a JSON object is expected", kind="not-json-object")
    return config


def _size(config: Mapping[str, Any], family: str, key: str, path: Path) -> int:
    name = _OTHER_NAMES.get((family, key), key)
    value = config.get(name, config.get(key))
    if value is None:
        value = dict(zip(_SIZES, _DEFAULTS.get(family, ()), strict=False)).get(
            key, 1
        )  # of an unsupported family the sizes do not matter
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST_SIZE:
        if family not in FAMILIES:
            return 1
        sentence = f"is invalid: {name} is {shown(value)}, but must be a whole number from 1"
        raise _broken(path, sentence, kind="invalid-size", key=name)
    return value


def _unusable(family: str, config: Mapping[str, Any]) -> str | None:
    """`unusable`, for values that may be anything: loading the model reports those that are not numbers."""
    try:
        return unusable(family, config.get)
    except TypeError:
        return None


def _labels(id2label: object, path: Path) -> tuple[str, ...] | None:
    if id2label is None or id2label == {}:
        return None
    try:
        by_index = {int(index): str(label) for index, label in dict(id2label).items()}  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        by_index = {}
    if sorted(by_index) != list(range(len(by_index))) or not by_index:
        sentence = 'is invalid: id2label should give a name to each output, as {"0": "no", "1": "yes"}'
        raise _broken(path, sentence, kind="invalid-labels", key="id2label")
    names = tuple(by_index[index] for index in range(len(by_index)))
    return None if all(_DUMB_LABEL.fullmatch(name) for name in names) else names


def _broken(path: Path, sentence: str, *, kind: str, key: str | None = None, line: int | None = None) -> ModelError:
    return ModelError(f"the model's config {sentence}", kind=kind, file=plain(str(path)), line=line, key=key)
