"""Mixed inputs: λ·e(x) + (1 - λ)·e(x′), x′ the batch reversed (Zhang et al. 2018; MixKD, Liang et al. 2021).

The embeddings themselves are mixed where the models are run; here is what belongs to the arithmetic around it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def draw(generator: np.random.Generator, alpha: float) -> float:
    """One λ for a batch: λ ~ Beta(alpha, alpha), then max(λ, 1 - λ), so that x keeps the larger share."""
    lam = float(generator.beta(alpha, alpha))
    return max(lam, 1 - lam)


def united(mask: Tensor) -> Tensor:
    """The attention mask of mixed inputs: a position is real where it is in either sentence; (batch, length)."""
    return torch.maximum(mask, mask.flip(0))
