"""Reading a checkpoint from a folder: all of it as its config promises, or an error that says what is wrong.

transformers fills what a checkpoint lacks with fresh random weights and leaves out what does not fit. That is right
for the head of a bare encoder and for nothing else: a model that was half drawn anew still runs, and only its figures
tell. So everything that was missing, left over or of another shape is looked at here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from engine.errors import CrildError, ModelError
from engine.models.families import FAMILIES, Family, family_of
from engine.models.model_files import PICKLED, SAFETENSORS, has_tokenizer, missing_weights
from engine.models.seeded_init import seeded
from engine.models.transformers_logging import quiet
from engine.preset.text import listed, plain

# Heads of pre-training and of other tasks, and buffers that old checkpoints carry: no loss for a classifier.
_LEFT_OVER = re.compile(
    r"^(cls|lm_head|predictions|sop_classifier|decoder|lm_predictions|mask_predictions|discriminator_predictions|generator_predictions|generator_lm_head|qa_outputs|sequence_summary"
    r"|vocab_transform|vocab_layer_norm|vocab_projector)\."
    r"|(^|\.)pooler\.|(^|\.)position_ids$|(^|\.)token_type_ids$"
)
_NAMED = 3  # tensors named in a message; the rest are counted


@dataclass(frozen=True)
class Checkpoint:
    """A sequence-classification model as a folder holds it, in fp32, on the CPU, in evaluation mode.

    `fresh` are the parameters of the head that the folder had no weights for; they are random.
    """

    model: PreTrainedModel
    family: Family
    fresh: frozenset[str]


def read_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The config of a model folder. Raises `ModelError` when it is missing, broken, or of a family not supported."""
    path = folder / "config.json"
    document = _read_json(path)
    family = str(document.get("model_type", ""))
    if family not in FAMILIES:
        raise ModelError(_unsupported(family, document, trust_remote_code=trust_remote_code), file=plain(str(path)))
    with _foreign(f"the config of the model in {plain(str(folder))} cannot be used", file=str(path)):
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    family_of(config)
    return config


def read_checkpoint(folder: Path, *, trust_remote_code: bool = False) -> Checkpoint:
    """The model in a folder, safetensors before pickled tensors, nothing else unpickled.

    Raises `ModelError` when weights are missing, truncated, not finite, or don't fit the config.
    """
    config = read_config(folder, trust_remote_code=trust_remote_code)
    family = family_of(config)
    files = _weight_files(folder)
    for file in files:
        _check_readable(file)
    config.output_attentions = config.output_hidden_states = False
    with _foreign(f"the model in {plain(str(folder))} cannot be loaded", file=str(files[0])), seeded(0), quiet():
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="sdpa" if family.fused else "eager",
            use_safetensors=files[0].suffix == ".safetensors",
            weights_only=True,
            ignore_mismatched_sizes=True,  # so that they are reported, and refused here in our own words
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
            local_files_only=True,
        )
    fresh = _check_complete(config, family, found, folder)
    _check_finite(model, folder)
    return Checkpoint(model=model.eval(), family=family, fresh=fresh)


def read_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder.

    Raises `ModelError` when there is none, it cannot pad, or packages are missing that read it.
    """
    if not has_tokenizer(folder):
        raise ModelError(
            f"the model folder {plain(str(folder))} holds no tokenizer (tokenizer.json or vocab.txt); "
            "name one with tokenizer = ...",
            file=plain(str(folder)),
            key="tokenizer",
        )
    bare = _bare_sentencepiece(folder)
    if bare is not None and any(
        find_spec(package) is None for package in ("sentencepiece", "google", "google.protobuf")
    ):
        raise ModelError(
            f"the tokenizer in {plain(str(folder))} is a SentencePiece model alone, which takes two more packages to read: "
            "pip install sentencepiece protobuf",
            file=plain(str(bare)),
            key="tokenizer",
        )
    with _foreign(f"the tokenizer in {plain(str(folder))} cannot be read", file=str(folder)), quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer in {plain(str(folder))} has no padding token", file=plain(str(folder)))
    return tokenizer


def _bare_sentencepiece(folder: Path) -> Path | None:
    """The SentencePiece model of a folder that holds its tokenizer in no other form, as DeBERTa-v3's do."""
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        return None
    return next(folder.glob("*.model"), None)


def _unsupported(family: str, document: dict[str, Any], *, trust_remote_code: bool) -> str:
    supported = f"supported are {', '.join(FAMILIES)}"
    if not family:
        return f"config.json names no model_type; {supported}"
    if "auto_map" in document and not trust_remote_code:
        return f"the model brings its own code (model_type {plain(family)}), which is never run unasked; {supported}"
    return f"models of the family {plain(family)} cannot be used; {supported}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{plain(str(path.parent))} is no model folder: it has no config.json", file=plain(str(path))
        ) from None
    except json.JSONDecodeError as error:
        raise ModelError(f"not valid JSON: {error.msg}", file=plain(str(path)), line=error.lineno) from None
    except UnicodeDecodeError:
        raise ModelError("not valid JSON: it is not text in UTF-8", file=plain(str(path))) from None
    except (OSError, RecursionError) as error:
        raise ModelError(f"cannot be read: {plain(str(error))}", file=plain(str(path))) from None
    if not isinstance(document, dict):
        raise ModelError("not the config of a model: a JSON object is expected", file=plain(str(path)))
    return document


def _weight_files(folder: Path) -> list[Path]:
    """The files with the weights; `ModelError` when there are none or some are missing."""
    missing = missing_weights(folder)
    if missing == [SAFETENSORS[0]]:
        other = sorted(
            file.name for pattern in ("*.h5", "*.msgpack", "*.onnx", "*.gguf") for file in folder.glob(pattern)
        )
        hint = f"; {plain(other[0])} is of another framework and cannot be read" if other else ""
        raise ModelError(
            f"{plain(str(folder))} holds no weights: {SAFETENSORS[0]} or {PICKLED[0]} is expected{hint}",
            file=plain(str(folder)),
        )
    if missing:
        raise ModelError(
            f"{plain(str(folder))} lacks {len(missing)} of its weight files: {_named(missing)}", file=plain(str(folder))
        )
    for single, shards in ((SAFETENSORS[0], SAFETENSORS[1]), (PICKLED[0], PICKLED[1])):
        if (folder / single).is_file():
            return [folder / single]
        if found := sorted(folder.glob(shards)):
            return found
    raise ModelError(f"{plain(str(folder))} holds an index of weights, but no weights", file=plain(str(folder)))


def _check_readable(file: Path) -> None:
    """A cheap look at a weights file: a safetensors header also tells that the file is as long as it should be."""
    if file.suffix != ".safetensors":
        return
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        with file.open("rb") as start:
            pointer = start.read(7) == b"version"
        way_out = (
            "it is a Git LFS pointer, not the weights; fetch them with git lfs pull"
            if pointer
            else f"it is truncated or damaged ({plain(str(error))}); fetch it again"
        )
        raise ModelError(f"the weights cannot be read: {way_out}", file=plain(str(file))) from None


def _check_complete(config: PretrainedConfig, family: Family, found: dict[str, Any], folder: Path) -> frozenset[str]:
    """The head's parameters that were not in the checkpoint; `ModelError` for any other that does not fit."""
    heads = tuple(f"{path}." for path in family.head)
    own_head = _has_own_head(config)
    kept = () if family.pooler is None else (f"{family.pooler}.",)

    def replaceable(name: str) -> bool:
        return name.startswith(heads) and not own_head

    mismatched = sorted((name, tuple(got), tuple(want)) for name, got, want in found["mismatched_keys"])
    refused = [entry for entry in mismatched if not replaceable(entry[0]) or entry[0].startswith(kept)]
    where = plain(str(folder))
    if refused:
        name, got, want = refused[0]
        raise ModelError(
            f"the weights in {where} do not fit their config.json: {plain(name)} has the shape {list(got)}, the config "
            f"asks for {list(want)}{_more(len(refused) - 1)}",
            file=where,
        )
    missing = set(found["missing_keys"])
    bare = f"{family.output}.weight" in missing or not own_head
    refused_names = sorted(name for name in missing if not (bare and name.startswith(heads)))
    if refused_names:
        raise ModelError(
            f"the weights in {where} lack what their config.json promises: {_named(refused_names)}; "
            "the file is incomplete, or belongs to another model",
            file=where,
        )
    strange = sorted(name for name in found["unexpected_keys"] if not _LEFT_OVER.search(name) and not replaceable(name))
    if strange:
        raise ModelError(
            f"the weights in {where} hold what their config.json has no place for: {_named(strange)}; "
            "the config belongs to another model",
            file=where,
        )
    if bare:
        missing |= {f"{family.output}.weight", f"{family.output}.bias"}
    return frozenset(missing | {entry[0] for entry in mismatched})


def _has_own_head(config: PretrainedConfig) -> bool:
    """Whether a head in the checkpoint would be a sentence classifier's, not a token classifier's, say."""
    named = [str(name) for name in config.architectures or ()]
    return not named or any(name.endswith("ForSequenceClassification") for name in named)


def _check_finite(model: PreTrainedModel, folder: Path) -> None:
    broken = [name for name, tensor in model.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(
            f"the weights in {plain(str(folder))} hold values that are no finite numbers: {_named(broken)}",
            file=plain(str(folder)),
        )


def _named(names: Iterable[str]) -> str:
    return listed(map(plain, names), "and", _NAMED)


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


@contextmanager
def _foreign(sentence: str, *, file: str) -> Iterator[None]:
    """Ends whatever a foreign file makes a library raise as a sentence: their kinds are many and undocumented."""
    try:
        yield
    except (CrildError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  any of them means that the file is no good
        reason = plain(str(error).strip().split("\n")[0])
        if "weights_only" in str(error) or "Unpickl" in type(error).__name__:
            reason = (
                "its pickled weights hold more than tensors, and code in a pickle is never run; convert them to "
                "safetensors where you trust them"
            )
        raise ModelError(f"{sentence}: {reason or type(error).__name__}", file=plain(file)) from None
