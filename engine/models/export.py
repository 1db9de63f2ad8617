"""Saving a model in the Hugging Face layout, and telling one from another by content."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.data.types import TaskSpec


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: TaskSpec, folder: Path) -> None:
    """Write model, tokenizer and label names to `folder`, whole or not at all; what was there is replaced."""
    raise NotImplementedError


def parameters(model: PreTrainedModel) -> int:
    """Number of parameters, shared ones counted once."""
    raise NotImplementedError


def content_hash(model: PreTrainedModel) -> str:
    """SHA-256 over the parameters and persistent buffers: names, types, shapes, bytes."""
    raise NotImplementedError


def folder_hash(folder: Path) -> str:
    """SHA-256 over the weights, config and tokenizer files of a model folder."""
    raise NotImplementedError
