"""Attention over the teacher's layers (ALP-KD: Passban et al. 2021): each student layer learns from a mean of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.distill.row_scores import at_least_fp32


@torch.no_grad()
def attended(student: Tensor, teacher: Sequence[Tensor]) -> Tensor:
    """The mean of the teacher's layers at each position, weighted by a softmax of their dot products with the student's state.

    Products are divided by √width, as in attention. The weights depend on the student, but no gradient goes through them:
    what is returned is a target.

    Args:
        student: states of one layer (batch, positions, width), in the teacher's width.
        teacher: states of each of its layers, the same shape.

    Returns:
        (batch, positions, width), in single precision at least.
    """
    layers = torch.stack([at_least_fp32(states) for states in teacher])
    products = (layers * at_least_fp32(student)).sum(-1, keepdim=True)
    weights = (products * layers.shape[-1] ** -0.5).softmax(0)
    mean: Tensor = (weights * layers).sum(0)
    return mean
