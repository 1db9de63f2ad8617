"""Mixed inputs: λ·e(x) + (1 - λ)·e(x′), x′ the batch reversed (Zhang et al. 2018; MixKD, Liang et al. 2021)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from engine.preset.kinds import Kind


def draw(generator: np.random.Generator, alpha: float) -> float:
    """One λ for a batch: λ ~ Beta(alpha, alpha), then max(λ, 1 - λ), so that x keeps the larger share."""
    lam = float(generator.beta(alpha, alpha))
    return max(lam, 1 - lam)


def mix(
    embedding: Tensor, mask: Tensor, lam: float | Tensor, unpaired: Literal["padding", "whole"] = "padding"
) -> tuple[Tensor, Tensor]:
    """λ·e(x) + (1 - λ)·e(x′), x′ the batch reversed, and the union of both masks.

    Args:
        embedding: e(x), (batch, length, width).
        mask: (batch, length) of bool, true at real positions.
        lam: λ.
        unpaired: what to do at positions that only one of the two sentences reaches. "padding" mixes with the
            embedding of the padding token, as the CR-ILD code does; "whole" takes the longer sentence's embedding.
    """
    other = mask.flip(0)
    share: float | Tensor = lam
    if unpaired == "whole":
        share = torch.where(mask & ~other, 1.0, torch.where(other & ~mask, 0.0, lam)).unsqueeze(-1)
        share = share.to(embedding.dtype)
    return share * embedding + (1 - share) * embedding.flip(0), mask | other


SCORES = 2**24
"""Scores of words against the vocabulary that `mix_tokens` holds at once: 64 MB."""


def mix_tokens(
    input_ids: Tensor, mask: Tensor, lam: float | Tensor, table: Tensor, ordinary: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens nearest to λ·w(x) + (1 - λ)·w(x′), x′ the batch reversed, and the union of both masks.

    After AugPro-Mix (Wang et al. 2023). The nearest word embedding is that of the largest cosine: by distance, the word of
    the larger share is the nearest one nearly everywhere (`docs/objectives.md`). Only ordinary tokens are mixed and found. A
    special token of x stays, a token of x where x′ has a special one too, and a token where the other has none.

    Args:
        input_ids: x, (batch, length).
        mask: (batch, length) of bool, true at real positions.
        lam: λ.
        table: word embeddings w, (vocabulary, width).
        ordinary: (vocabulary,) of bool, false at special tokens.
    """
    other, reached = input_ids.flip(0), mask.flip(0)
    tokens = torch.where(reached & ~mask, other, input_ids)
    differ = mask & reached & ordinary[input_ids] & ordinary[other] & (input_ids != other)
    mixed = normalize(lam * table[input_ids[differ]] + (1 - lam) * table[other[differ]], dim=-1)
    lengths = table.norm(dim=-1).clamp_min(torch.finfo(table.dtype).tiny)
    rows = max(1, SCORES // len(table))
    nearest = [
        (mixed[row : row + rows] @ table.T / lengths).masked_fill_(~ordinary, -torch.inf).argmax(-1)
        for row in range(0, max(1, len(mixed)), rows)
    ]
    tokens[differ] = torch.cat(nearest)
    return tokens, mask | reached


def mix_answers(
    logits: Tensor, lam: float | Tensor, temperature: float = 1.0, *, kind: Kind = "classification"
) -> Tensor:
    """Logits whose softmax(logits/temperature) is λ·p + (1 - λ)·p′, p the softened answers, p′ the batch reversed.

    What mixup does with labels (Zhang et al. 2018), for answers that no model can give to the mixed input. Of several labels
    for a text, each has a sigmoid of its own. Scores of a regression are mixed themselves.

    Args:
        logits: (batch, classes), or (batch, 1) scores.
        lam: λ.
        temperature: of the stage.
        kind: what the logits mean.
    """
    if kind == "regression":
        return lam * logits + (1 - lam) * logits.flip(0)
    if kind == "multilabel":
        chances = (logits / temperature).sigmoid()
        return temperature * (lam * chances + (1 - lam) * chances.flip(0)).logit()
    shares = (logits / temperature).softmax(-1)
    return temperature * (lam * shares + (1 - lam) * shares.flip(0)).log()
