"""The floating-point operations that a training step needs: of its matrix products, over real tokens and layers that are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import source_tree  # noqa: F401 - before the product's packages

from engine.train.settings import StageSettings

_SCORES = {"attention", "query", "key", "value"}
"""Objectives that compare rows of scores: of the last layer they need projections alone."""
_HEAD = {"labels", "logits"}


@dataclass(frozen=True)
class Encoder:
    """Sizes of a BERT classifier."""

    layers: int
    width: int
    inner: int
    """Width of the feed-forward part."""

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's matrices."""
        return 4 * self.width**2 + 2 * self.width * self.inner

    def parameters(self, vocabulary: int = 30522, positions: int = 512) -> int:
        """All weights, without biases."""
        return self.layers * self.layer_parameters + (vocabulary + positions) * self.width + self.width**2

    def forward(self, lengths: npt.NDArray[np.float64], terms: Sequence[str]) -> float:
        """Operations of a forward pass over sentences of these lengths (rows,), as far as the objectives `terms` read."""
        tokens, squares = float(lengths.sum()), float((lengths**2).sum())
        partial = not set(terms) - _SCORES
        whole = self.layers - 1 if partial else self.layers
        flops = whole * (2 * tokens * self.layer_parameters + 4 * squares * self.width)
        if partial:
            read = {name for term in terms for name in (("query", "key") if term == "attention" else (term,))}
            flops += 2 * tokens * len(read) * self.width**2 + 2 * squares * self.width * len(terms)
        if set(terms) & _HEAD:
            flops += 2 * self.width**2 * len(lengths)
        return flops


def step_flops(
    settings: StageSettings,
    teacher: Encoder,
    student: Encoder,
    lengths: npt.NDArray[np.int64],
    *,
    answer_epochs: float = 1.0,
) -> float:
    """Operations of one step on sentences of these lengths (rows,), in the batch's order.

    The backward pass needs twice the student's forward. Answers that the teacher gives ahead of the steps count by
    1 / `answer_epochs`; so many epochs share them.
    """
    terms = list(settings.stage.terms())
    own = lengths.astype(np.float64)
    union = np.maximum(own, own[::-1]) if settings.mixup else own
    flops = 3 * student.forward(union, terms)
    ahead = "logits" in terms and settings.mixup is None
    compared = [term for term in terms if term != "labels" and not (ahead and term == "logits")]
    if compared:
        flops += teacher.forward(union, compared)
    if ahead:
        flops += teacher.forward(own, ["logits"]) / answer_epochs
    if settings.consistency:
        flops += student.forward(own, [term for term in terms if term not in _HEAD])
    return flops
