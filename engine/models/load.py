"""Teachers and other pretrained models: from a folder, from the hub, or from nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.data.types import TaskSpec
from engine.models.families import Family
from engine.models.hub import resolve_revision
from engine.models.labels import align
from engine.preset import schema

__all__ = ["LoadedModel", "align", "load_pretrained", "load_teacher", "resolve_revision"]


@dataclass(frozen=True)
class LoadedModel:
    """A sequence-classification model with the task's outputs, on the CPU, in fp32, in evaluation mode.

    `order_known` is false when the names of its classes don't tell which is which: then the rows are still in the
    checkpoint's order, and `align(model, permutation, labels)` brings them into the task's. `fresh_head` is true when
    its last layer was just drawn and has learnt nothing. `notes` are sentences worth showing.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    order_known: bool
    notes: tuple[str, ...]
    fresh_head: bool


def load_teacher(teacher: schema.Teacher, spec: TaskSpec, *, train_texts: Iterable[str] = ()) -> LoadedModel:
    """The teacher of a preset, ready for fine-tuning or use. `train_texts` is read for "scratch" teachers alone."""
    raise NotImplementedError


def load_pretrained(
    model: str,
    spec: TaskSpec,
    *,
    seed: int,
    revision: str | None = None,
    tokenizer: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """A model that will be trained on the task: its head is kept where it fits the task, else drawn from `seed`."""
    raise NotImplementedError
