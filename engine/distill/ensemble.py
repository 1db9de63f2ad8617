"""The answers of several teachers as those of one (Hinton et al. 2015, section 2, average an ensemble's predictions)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from engine.preset.kinds import Kind

Combine = Literal["probabilities", "logits"]


def combined(
    logits: Sequence[Tensor],
    weights: Sequence[float],
    how: Combine = "probabilities",
    temperature: float = 1.0,
    *,
    kind: Kind = "classification",
) -> Tensor:
    """Logits z (rows, classes) that stand for several teachers', with w the weights divided by their sum.

    "probabilities": softmax(z/T) = Σ w·softmax(zₖ/T), so that the softened distributions are averaged whatever the
    temperature; of several labels for a text, sigmoids take the place of softmax. "logits": z = Σ w·zₖ, whose softmax is the
    weighted geometric mean. Scores of a regression are averaged.

    Args:
        logits: of each teacher, (rows, classes) in single precision, or (rows, 1) scores; rows of NaN stay so.
        weights: one for each teacher, above 0.
        how: what is averaged.
        temperature: T, of the stage that compares these logits.
        kind: what the logits mean.
    """
    scaled = [weight / max(weights) for weight in weights]  # their sum is finite
    shares = [weight / sum(scaled) for weight in scaled]
    if kind == "regression" or how == "logits":
        return torch.stack([share * each for share, each in zip(shares, logits, strict=True)]).sum(0)
    alone = kind == "multilabel"
    softened = [(each / temperature).sigmoid() if alone else (each / temperature).softmax(-1) for each in logits]
    mean = torch.stack([share * each for share, each in zip(shares, softened, strict=True)]).sum(0)
    return temperature * (mean.logit() if alone else mean.log())
