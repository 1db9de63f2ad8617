"""Consistency: the student on mixed inputs is pulled towards an averaged self-teacher on each of the clean ones.

For an objective's distance d: weight(t) · [ λ·d(S(mix), S′(x)) + (1 - λ)·d(S(mix), S′(x′)) ], x′ the batch reversed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from engine.distill.row_scores import Total

Distance = Callable[[Tensor, Tensor], Total]
"""d(student on mixed inputs, target): takes the target's tensor and the attention mask of the target's sentences."""


def consistency(distance: Distance, target: Tensor, mask: Tensor, lam: float | Tensor | None) -> Total:
    """λ·d(S(mix), S′(x)) + (1 - λ)·d(S(mix), S′(x′)), with the count that both halves share.

    The target ran once, on the clean batch: S′(x′) is S′(x) reversed along the batch. Rows and keys are those of the
    target's own sentence: the mask is reversed with it.

    Args:
        distance: holds the student's side.
        target: the tensor of S′ on the clean batch, batch first; no gradient goes there.
        mask: (batch, length), the clean batch's attention mask.
        lam: λ of the student's mixed inputs; None where they are not mixed, which leaves d(S(x), S′(x)).
    """
    target = target.detach()
    own, count = distance(target, mask)
    if lam is None:
        return own, count
    other, _ = distance(target.flip(0), mask.flip(0))
    return lam * own + (1 - lam) * other, count


def ramp(step: int, steps: int, kind: Literal["linear", "constant"] = "linear") -> float:
    """The share of the consistency weight at a stage's optimiser step `step` of `steps`, counted from 1.

    "linear" is step / steps: it acts from the first step on, and the last step has the full weight. "constant" is 1.
    """
    return 1.0 if kind == "constant" else min(1.0, step / max(1, steps))
