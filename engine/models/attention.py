"""Which attention kernel a model runs with, and the mask in the form which that kernel takes."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel


def choose_attention(model: PreTrainedModel, device: torch.device | str, precision: str) -> str:
    """Set the faster attention for a device and a precision ("bf16" or "fp32"); its name in transformers.

    Fused everywhere but for bf16 on a CPU: the fused kernel's backward has no bf16 code there (measured with torch 2.13,
    32 sentences of 32 tokens, 12 heads of 32: 30 ms against 3 ms), and with dropout there is no fused kernel at all.
    """
    name = "eager" if torch.device(device).type == "cpu" and precision == "bf16" else "sdpa"
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)
    return name


def attention_mask(config: PretrainedConfig, hidden: Tensor, mask: Tensor) -> Tensor | None:
    """The `(batch, length)` mask of real positions as the encoder's layers take it; None when every position is real.

    Fused attention takes `(batch, 1, 1, key)` booleans, eager attention numbers that are added to the scores, in the
    scores' own type. `hidden (batch, length, width)` is what the first layer reads.
    """
    # Looking costs nothing on the CPU and spares the masking; elsewhere it would wait for the device.
    if mask.device.type == "cpu" and bool(mask.all()):
        return None
    broad = mask[:, None, None, :]
    if config._attn_implementation == "sdpa":
        return broad
    kind = hidden.device.type
    scores = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    nothing = torch.zeros(broad.shape, dtype=scores, device=mask.device)
    return nothing.masked_fill(~broad, torch.finfo(scores).min)
