"""Which attention kernel a model runs with, and the mask in the form which that kernel takes."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from engine.distill.row_scores import within


def choose_attention(model: PreTrainedModel, device: torch.device | str, precision: str) -> str:
    """Set the faster attention for a device and a precision ("bf16" or "fp32"); its name in transformers.

    Fused where transformers has it, everywhere but for bf16 on a CPU: the fused kernel's backward has no bf16 code there (measured with torch 2.13,
    32 sentences of 32 tokens, 12 heads of 32: 30 ms against 3 ms), and with dropout there is no fused kernel at all.
    """
    if not model._supports_sdpa:
        return "eager"
    name = "eager" if torch.device(device).type == "cpu" and precision == "bf16" else "sdpa"
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)
    return name


def attention_mask(config: PretrainedConfig, hidden: Tensor, mask: Tensor, window: int | None = None) -> Tensor | None:
    """The `(batch, length)` mask of real positions as the encoder's layers take it; None when every key takes part.

    Fused attention takes `(batch, 1, 1, key)` booleans, eager attention numbers that are added to the scores, in the
    scores' own type; with a `window` that is shorter than the input, `(batch, 1, query, key)`. `hidden (batch, length,
    width)` is what the first layer reads. Keys further away than `window` positions take no part. A row that is not
    real looks at all that is near, so that no row is without a key.
    """
    near = None if window is None else within(hidden.shape[1], window, hidden.device)
    # Looking costs nothing on the CPU and spares the masking; elsewhere it would wait for the device.
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
    """A mask of bools as numbers that are added to scores: 0 at keys that take part, the lowest number elsewhere."""
    kind = hidden.device.type
    scores = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    nothing = torch.zeros(keys.shape, dtype=scores, device=keys.device)
    return nothing.masked_fill(~keys, torch.finfo(scores).min)
