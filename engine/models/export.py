"""Save a model in the Hugging Face layout, and hash its contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.data.types import TaskSpec
from engine.errors import RunError
from engine.models.class_names import name_outputs
from engine.models.families import positions
from engine.models.thresholds import store_thresholds
from engine.models.transformers_logging import quiet
from engine.preset.text import plain
from engine.record.files import flush, follow_umask, refusal
from engine.record.removal import OpenFolder


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    folder: Path,
    *,
    complete: Callable[[OpenFolder], None] | None = None,
    root: Path | None = None,
) -> None:
    """Write weights (safetensors), config with the task's label names (and thresholds, if it has some), and tokenizer to `folder`.

    The folder appears whole or not at all, replaces an existing one (files that a person put into it stay), and is on the
    disk when this returns. It loads with `AutoModelForSequenceClassification` and `pipeline("text-classification")`; a
    model that labels words with `AutoModelForTokenClassification` and `pipeline("token-classification")`.
    `complete` may add files: it is called with the temporary folder that holds all others. No folder below `root` (by
    default the parent) may be a link. Raises `RunError` when it cannot be written.
    """
    root = root or folder.parent
    name_outputs(model, spec)
    store_thresholds(model.config, spec.thresholds)
    model.config.finetuning_task = spec.name
    try:
        names = folder.parent.relative_to(root).parts
        with OpenFolder.at(root, *names, create=True) as parent, parent.temporary_folder(folder.name) as new:
            with quiet():
                model.save_pretrained(new.path)
                with limited(tokenizer, positions(model.config)):
                    tokenizer.save_pretrained(new.path)
            for name in ("config.json", "tokenizer_config.json"):
                _forget_code(new.path / name)
            if complete is not None:
                complete(new)
            follow_umask(new)
            for path in (*new.path.iterdir(), new.path):
                flush(path)
            parent.put(new, folder.name)
            parent.flush()
    except (OSError, SafetensorError) as error:
        sentence = f"cannot save the model: {plain(refusal(error))}"
        raise RunError(sentence, kind="cannot-save-model", file=plain(str(folder))) from None


def _forget_code(file: Path) -> None:
    """Take references to code out of a config, unless the code was saved with it.

    A checkpoint that came with code, loaded by the class of transformers, would otherwise make whoever loads the student
    look for that code.
    """
    if not file.is_file() or any(file.parent.glob("*.py")):
        return
    config = json.loads(file.read_bytes())
    without = {key: value for key, value in config.items() if key not in ("auto_map", "custom_pipelines")}
    if without != config:
        file.write_text(json.dumps(without, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def limited(tokenizer: PreTrainedTokenizerBase, limit: int) -> Iterator[None]:
    """Inside the block, the tokenizer's `model_max_length` is at most the tokens that its model can read.

    Many tokenizers leave it open (1e30). Then `pipeline` does not shorten long texts, even with `truncation=True`, and the
    model fails on them.
    """
    before = tokenizer.model_max_length
    tokenizer.model_max_length = min(before, limit)
    try:
        yield
    finally:
        tokenizer.model_max_length = before


def parameters(model: PreTrainedModel) -> int:
    """Number of parameters, shared ones counted once; of an exported model, those that it had before."""
    if (known := getattr(model, "parameter_count", None)) is not None:
        return int(known)
    return sum(tensor.numel() for tensor in model.parameters())


def content_hash(model: PreTrainedModel) -> str:
    """SHA-256 over the parameters and persistent buffers: names, types, shapes, bytes. Independent of the device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name}\0{flat.dtype}\0{tuple(flat.shape)}\0".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
