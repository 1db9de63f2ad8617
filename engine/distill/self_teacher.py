"""The self-teacher: a moving average of the student's weights, the target of consistency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def average_decay(updates: int, decay: float, warmup: bool = True) -> float:
    """The averaging's decay after `updates` updates of a stage: min(decay, (1 + t)/(10 + t)), or `decay` itself.

    Without the warm-up, a decay of 0.999 would pull the student back to its start in a short stage.
    """
    return min(decay, (1 + updates) / (10 + updates)) if warmup else decay


@torch.no_grad()
def update_average(average: Sequence[Tensor], current: Sequence[Tensor], decay: float) -> None:
    """average ← decay · average + (1 - decay) · current, in place, with few kernels for all tensors.

    Args:
        average: the self-teacher's floating-point parameters.
        current: the student's, in the same order.
        decay: see `average_decay`.
    """
    torch._foreach_lerp_(list(average), list(current), 1 - decay)
