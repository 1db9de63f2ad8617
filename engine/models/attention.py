"""Choose the attention kernel of a model, and build the mask in the form that the kernel takes."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from engine.distill.row_scores import within


def choose_attention(model: PreTrainedModel, device: torch.device | str, precision: str) -> str:
    """Set the faster attention for a device and a precision ("bf16" or "fp32"); returns its name in transformers.

    That is the fused kernel where transformers has one, except for bf16 on a CPU: there the fused kernel's backward has
    no bf16 code (measured with torch 2.13, 32 sentences of 32 tokens, 12 heads of 32: 30 ms against 3 ms), and with
    dropout there is no fused kernel at all.
    """
    if not model._supports_sdpa:
        return "eager"
    name = "eager" if torch.device(device).type == "cpu" and precision == "bf16" else "sdpa"
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)
    return name


def attention_mask(config: PretrainedConfig, hidden: Tensor, mask: Tensor, window: int | None = None) -> Tensor | None:
    """The `(batch, length)` mask of real positions as the encoder's layers take it; None when every key takes part.

    Fused attention takes `(batch, 1, 1, key)` booleans, eager attention numbers of the scores' type to add to them; with
    a `window` that is shorter than the input, the shape is `(batch, 1, query, key)`. `hidden (batch, length, width)` is
    the first layer's input. Keys further away than `window` positions are masked. A row that is not real attends to
    everything near, so that no row is without a key.
    """
    near = None if window is None else within(hidden.shape[1], window, hidden.device)
    # On the CPU this check is free and saves the masking; elsewhere it would wait for the device.
    if mask.device.type == "cpu" and bool(mask.all()):
        if near is None:
            return None
        broad = near[None, None]
    else:
        broad = mask[:, None, None, :]
        if near is not None:
            broad = near & (broad | ~mask[:, None, :, None])
    return broad if config._attn_implementation == "sdpa" else added(hidden, broad)


def added(hidden: Tensor, keys: Tensor) -> Tensor:
    """A mask of bools as numbers to add to scores: 0 at keys that take part, the lowest number elsewhere."""
    kind = hidden.device.type
    scores = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    zeros = torch.zeros(keys.shape, dtype=scores, device=keys.device)
    return zeros.masked_fill(~keys, torch.finfo(scores).min)
