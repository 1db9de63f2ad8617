"""Attention and dropout for training on a CPU: faster than the general ones (see docs/speed.md), with the same results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PretrainedConfig

NAME = "crild"
"""The name of `attend` in transformers' registry of attentions."""

_BITS = 16


def keep_mask(x: Tensor, p: float) -> Tensor:
    """A dropout mask in the shape and type of `x`: 0 with probability `p`, else 1 / (1 - p).

    Each number takes 16 random bits, so `p` is rounded to a multiple of 1 / 65536, and the mask's expectation is
    exactly 1 for the rounded `p`. Drawn from PyTorch's global generator, by one thread, so that the same seed gives the
    same mask whatever the number of threads. One 64-bit draw decides on four numbers, which takes an eighth of the time
    of `bernoulli_`.
    """
    levels = 1 << _BITS
    dropped = min(round(p * levels), levels - 1)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    mask = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(bits, dropped - levels // 2, out=mask)
    return mask.mul_(levels / (levels - dropped))


def drop(x: Tensor, p: float) -> Tensor:
    """`x` with each number set to 0 with probability `p` and scaled by 1 / (1 - p) otherwise."""
    if x.device.type != "cpu" or p >= 1:
        return nn.functional.dropout(x, p)
    return x * keep_mask(x, p) if p > 0 else x


class Dropout(nn.Dropout):
    """`nn.Dropout` by `keep_mask`."""

    def forward(self, input: Tensor) -> Tensor:
        """`input` as it is in evaluation mode."""
        return drop(input, self.p) if self.training else input


def use_dropout(model: nn.Module) -> None:
    """Replace every `nn.Dropout` in a model by `Dropout`. It has no parameters, so saved models don't change."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p).train(child.training))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """softmax(QKᵀ/√d + mask) V, for transformers' layers: (batch, query, heads, size) from (batch, heads, length, size).

    Scores are computed as (batch × heads, key, query): with the softmax over the second to last dimension, the processor
    handles neighbouring queries together, which for sentences (short rows) is faster than going along each row. Scaling
    and mask are part of the product.

    Args:
        module: the layer's attention; not used.
        query: (batch, heads, query, size).
        key: (batch, heads, key, size).
        value: the same shape.
        attention_mask: (batch, 1, 1 or query, key), added to the scores; None when every key takes part.
        dropout: probability with which an attention weight is dropped.
        scaling: 1 / √size when left out.
    """
    del module
    batch, heads, length, size = query.shape
    q, k, v = (part.reshape(batch * heads, -1, size) for part in (query, key, value))
    scaling = size**-0.5 if scaling is None else scaling
    if attention_mask is None:
        scores = torch.baddbmm(q.new_empty(1, 1, 1), k, q.mT, beta=0, alpha=scaling)
    else:
        rows, keys = attention_mask.shape[-2:]
        mask = attention_mask.expand(batch, heads, rows, keys).reshape(batch * heads, rows, keys).mT
        scores = torch.baddbmm(mask, k, q.mT, alpha=scaling)
    weights = drop(scores.softmax(1), dropout)
    mixed = torch.bmm(v.mT, weights).view(batch, heads, size, length)
    return mixed.permute(0, 3, 1, 2).contiguous(), None


@contextmanager
def fast_attention(config: PretrainedConfig, device: torch.device) -> Iterator[None]:
    """Use `attend` inside the block under bf16 autocast on a CPU; elsewhere the model's own attention.

    Evaluations, which are in fp32, keep the model's own attention. The config is restored afterwards.
    """
    if (
        device.type != "cpu"
        or not torch.is_autocast_enabled("cpu")
        or torch.get_autocast_dtype("cpu") != torch.bfloat16
    ):
        yield
        return
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


AttentionInterface.register(NAME, attend)
