"""Read a model folder: every weight that its config promises, or an error that explains what is wrong.

transformers fills missing weights with fresh random ones and leaves out those that do not fit. That is right for the
head of a bare encoder and wrong for anything else: a half-random model still runs, and only its metrics are bad. So
this module checks everything that was missing, left over or of another shape.
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
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from engine.errors import CrildError, ModelError
from engine.models.families import FAMILIES, Family, family_of, labels_words
from engine.models.model_files import (
    PICKLED,
    SAFETENSORS,
    architectures,
    check_files,
    check_folder,
    check_layers,
    has_own_head,
    has_tokenizer,
    missing_weights,
    no_model_type,
)
from engine.models.seeded_init import seeded
from engine.models.tensor_files import tensor_names
from engine.models.transformers_logging import quiet
from engine.models.wrapped_weights import unwrapped
from engine.preset.regular_file import open_regular, read_regular
from engine.preset.text import listed, plain
from engine.record.files import LARGEST, cause, refusal

# Heads of pre-training and of other tasks, and buffers of old checkpoints: a classifier needs none of them, and they
# are in so many checkpoints that no note names them.
_LEFT_OVER = re.compile(
    r"^(cls|lm_head|predictions|sop_classifier|decoder|lm_predictions|mask_predictions|discriminator_predictions|generator_predictions|generator_lm_head|qa_outputs|sequence_summary"
    r"|vocab_transform|vocab_layer_norm|vocab_projector)\."
    r"|(^|\.)pooler\.|(^|\.)position_ids$|(^|\.)token_type_ids$"
)
_NAMED = 3  # tensors named in a message; the rest are counted


@dataclass(frozen=True)
class Checkpoint:
    """A model from a folder that classifies texts or their words, in fp32, on the CPU, in evaluation mode.

    `fresh` are the names of the head's parameters that the folder has no weights for; they are random. `notes` are
    sentences for the user: what was left out, and what was renamed.
    """

    model: PreTrainedModel
    fresh: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def fresh_output(self) -> bool:
        """Whether the output layer is random."""
        return f"{family_of(self.model.config).output}.weight" in self.fresh


def read_checkpoint(folder: Path, *, by_word: bool | None = False, trust_remote_code: bool = False) -> Checkpoint:
    """The model in a folder, with a head that labels texts, or with `by_word` every token (None: as its config says), from safetensors if there are any, else from pickled tensors; nothing else is unpickled.

    Weights that were saved from inside a wrapper (`module.`), or in a training state with a `state_dict`, are read with a
    note. Raises `ModelError` when a file cannot be opened, when the config is missing, broken, or of an unsupported
    family, and when weights are missing, truncated, not finite, or don't fit the config.
    """
    check_family(folder)
    with library_errors(f"the config of the model in {plain(str(folder))}", file=folder / "config.json"):
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    own_names = architectures(config.architectures)
    if by_word is None:
        by_word = labels_words(config)
    mapping = MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING if by_word else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) in mapping:  # else a family that the next line refuses
        config.architectures = [mapping[type(config)].__name__]
    family = family_of(config)
    files = _weight_files(folder)
    for file in files:
        _check_readable(file)
    config.output_attentions = config.output_hidden_states = False
    with library_errors(f"the model in {plain(str(folder))}", file=files[0]), seeded(0), quiet():
        state, notes = unwrapped(files, family)
        common: dict[str, Any] = {
            "config": config,
            "dtype": torch.float32,
            "attn_implementation": "sdpa" if family.fused else "eager",
            "ignore_mismatched_sizes": True,  # reported in loading_info, and refused by _check_complete
            "output_loading_info": True,
            "local_files_only": True,
        }
        if state is not None:
            kind = mapping[type(config)]
            model, loading_info = kind.from_pretrained(None, state_dict=state, **common)
        else:
            auto = AutoModelForTokenClassification if by_word else AutoModelForSequenceClassification
            model, loading_info = auto.from_pretrained(
                folder,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=True,
                trust_remote_code=trust_remote_code,
                **common,
            )
    fresh, left_out = _check_complete(family, loading_info, folder, own_head=has_own_head(own_names, by_word=by_word))
    _check_finite(model, folder)
    if left_out:
        count = f"{len(left_out)} tensor{'s' * (len(left_out) > 1)} of {plain(str(folder))}"
        were = "were" if len(left_out) > 1 else "was"
        notes += (f"{count} that a classifier does not use {were} left out: {_named(left_out)}",)
    return Checkpoint(model.eval(), fresh, notes)


def read_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder.

    Raises `ModelError` when there is none, it cannot pad, or packages are missing that read it.
    """
    name = plain(str(folder))
    check_files(folder)
    if not has_tokenizer(folder):
        sentence = (
            f"the model folder {name} has no tokenizer (tokenizer.json or vocab.txt); name one with tokenizer = ..."
        )
        raise ModelError(sentence, kind="no-tokenizer", file=name, key="tokenizer")
    bare = _bare_sentencepiece(folder)
    needed = ("sentencepiece", "google", "google.protobuf")
    if bare is not None and any(find_spec(package) is None for package in needed):
        sentence = (
            f"the tokenizer in {name} is only a SentencePiece model, which needs two more packages: "
            "pip install sentencepiece protobuf"
        )
        raise ModelError(sentence, kind="sentencepiece-not-installed", file=plain(str(bare)), key="tokenizer")
    with library_errors(f"the tokenizer in {name}", file=folder), quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer in {name} has no padding token", kind="no-padding-token", file=name)
    return tokenizer


def _bare_sentencepiece(folder: Path) -> Path | None:
    """The SentencePiece model of a folder that has its tokenizer in no other form, as DeBERTa-v3's do."""
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
        return None
    return next(folder.glob("*.model"), None)


def check_family(folder: Path) -> None:
    """Raises `ModelError` unless the folder is a model's, with a config of a supported family."""
    check_folder(folder)
    path = folder / "config.json"
    document = _read_json(path)
    family = str(document.get("model_type", ""))
    if family in FAMILIES:
        check_layers(path, document)
        return
    supported = f"supported are {', '.join(FAMILIES)}"
    file = plain(str(path))
    if not family:
        raise no_model_type(path, document)
    sentence = f"models of the family {plain(family)} are not supported; {supported}"
    raise ModelError(sentence, kind="unsupported-family", file=file)


def _read_json(path: Path) -> dict[str, Any]:
    file = plain(str(path))
    try:
        document = json.loads(read_regular(path, LARGEST).decode())
    except json.JSONDecodeError as error:
        raise ModelError(f"not valid JSON: {error.msg}", kind="invalid-json", file=file, line=error.lineno) from None
    except UnicodeDecodeError:
        raise ModelError("not valid JSON: the file is not UTF-8 text", kind="not-utf8", file=file) from None
    except (ValueError, RecursionError):
        sentence = "not valid JSON: it nests too deep, or a number in it is too long"
        raise ModelError(sentence, kind="invalid-json", file=file) from None
    except OSError as error:
        raise ModelError(f"cannot read the file: {plain(cause(error))}", kind="unreadable-config", file=file) from None
    if not isinstance(document, dict):
        raise ModelError("not a model config: expected a JSON object", kind="config-not-an-object", file=file)
    return document


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; raises `ModelError` when any are missing."""
    missing, name = missing_weights(folder), plain(str(folder))
    if missing == [SAFETENSORS[0]]:
        other = sorted(file.name for file in folder.iterdir() if file.suffix in (".h5", ".msgpack", ".onnx", ".gguf"))
        hint = f"; {plain(other[0])} belongs to another framework" if other else ""
        sentence = f"{name} has no weights: expected {SAFETENSORS[0]} or {PICKLED[0]}{hint}"
        raise ModelError(sentence, kind="no-weights", file=name)
    if missing:
        sentence = f"{name} lacks {len(missing)} of its weight files: {_named(missing)}"
        raise ModelError(sentence, kind="missing-weight-files", file=name)
    for single, shards, _ in (SAFETENSORS, PICKLED):
        if (folder / single).is_file():
            return [folder / single]
        if files := sorted(folder.glob(shards)):
            return files
    raise ModelError(f"{name} has an index of weights, but no weights", kind="no-weights", file=name)


def _check_readable(file: Path) -> None:
    """A cheap check of a weights file: a safetensors header also says how long the file is."""
    if file.suffix != ".safetensors":
        return
    try:
        tensor_names(file)
    except OSError as error:
        raise ModelError(f"cannot be read: {cause(error)}", kind="unreadable-file", file=plain(str(file))) from None
    except SafetensorError as error:
        with open_regular(file) as start:
            if start.read(7) == b"version":
                sentence = "this is a Git LFS pointer, not the weights; fetch them with git lfs pull"
                raise ModelError(sentence, kind="git-lfs-pointer", file=plain(str(file))) from None
        sentence = f"the weights are truncated or damaged ({plain(str(error))}); fetch the file again"
        raise ModelError(sentence, kind="damaged-weights", file=plain(str(file))) from None


def _check_complete(
    family: Family, loading_info: dict[str, Any], folder: Path, *, own_head: bool
) -> tuple[frozenset[str], list[str]]:
    """The head's parameters that the checkpoint lacks, and tensors that were left out and deserve a note.

    Raises `ModelError` for any other parameter that is missing. What is left over is harmless once everything was found
    that the config promises, except for parts of an encoder: they belong to another config.
    """
    heads = tuple(f"{path}." for path in family.head)
    pretrained = () if family.pooler is None else (f"{family.pooler}.",)

    def replaceable(name: str) -> bool:
        return name.startswith(heads) and not own_head

    mismatched = sorted((name, tuple(got), tuple(want)) for name, got, want in loading_info["mismatched_keys"])
    refused = [entry for entry in mismatched if not replaceable(entry[0]) or entry[0].startswith(pretrained)]
    where = plain(str(folder))
    if refused:
        name, got, want = refused[0]
        others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise ModelError(
            f"the weights in {where} do not fit their config.json: {plain(name)} has the shape {list(got)}, but the config "
            f"asks for {list(want)}{others}",
            kind="weight-shapes-do-not-fit",
            file=where,
        )
    missing = set(loading_info["missing_keys"])
    bare = f"{family.output}.weight" in missing or not own_head
    refused_names = sorted(name for name in missing if not (bare and name.startswith(heads)))
    if refused_names:
        sentence = (
            f"the weights in {where} lack tensors that config.json calls for: {_named(refused_names)}; "
            "the file is incomplete, or belongs to another model"
        )
        raise ModelError(sentence, kind="missing-weights", file=where)
    unused = sorted(
        name for name in loading_info["unexpected_keys"] if not _LEFT_OVER.search(name) and not replaceable(name)
    )
    encoder = (f"{family.encoder}.", f"{family.stack}.", "embeddings.")
    if strange := [name for name in unused if name.startswith(encoder)]:
        sentence = (
            f"the weights in {where} hold tensors that config.json does not call for: {_named(strange)}; "
            "the config belongs to another model"
        )
        raise ModelError(sentence, kind="unexpected-weights", file=where)
    if bare:
        missing |= {f"{family.output}.weight", f"{family.output}.bias"}
    return frozenset(missing | {entry[0] for entry in mismatched}), unused


def _check_finite(model: PreTrainedModel, folder: Path) -> None:
    broken = [name for name, tensor in model.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if broken:
        where = plain(str(folder))
        sentence = f"the weights in {where} hold NaN or infinite values: {_named(broken)}"
        raise ModelError(sentence, kind="non-finite-weights", file=where)


def _named(names: Iterable[str]) -> str:
    return listed(map(plain, names), "and", _NAMED)


@contextmanager
def library_errors(what: str, *, file: Path) -> Iterator[None]:
    """Turn whatever a broken file makes a library raise into a `ModelError`: its errors are many and undocumented."""
    try:
        yield
    except (CrildError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  any of them means that the file is broken
        if "weights_only" in str(error) or "Unpickl" in type(error).__name__:
            sentence = (
                f"{what} cannot be read: its pickled weights hold more than tensors, and crild never runs code in a "
                "pickle; convert them to safetensors if you trust them"
            )
            raise ModelError(sentence, kind="unsafe-pickle", file=plain(str(file))) from None
        reason = plain(refusal(error).strip().split("\n")[0])
        raise ModelError(f"{what} cannot be read: {reason}", kind="unreadable-model", file=plain(str(file))) from None
