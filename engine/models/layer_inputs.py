"""What a family's layers are called with beside the hidden states: masks, positions, biases.

Each function takes the model, what the first layer reads (batch, length, width) and the mask (batch, length) of real
positions, and answers for a layer (counted from 0) with the arguments behind the hidden states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from engine.models.attention import added, attention_mask

LayerInputs = Callable[[int], tuple[Any, ...]]


def _same(arguments: tuple[Any, ...]) -> LayerInputs:
    return lambda layer: arguments  # noqa: ARG005


def mask_alone(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """Most families: the mask, the same for all layers."""
    arguments = (attention_mask(model.config, hidden, mask),)
    return _same(arguments)


def modernbert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """ModernBERT: the mask and the rotation (cosines, sines) of a global or of a local layer."""
    config, kinds = model.config, model.config.layer_types
    places = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
    of_kind = {
        kind: (
            attention_mask(config, hidden, mask, config.sliding_window if kind == "sliding_attention" else None),
            model.model.rotary_emb(hidden, places, kind),
        )
        for kind in sorted(set(kinds))
    }
    return lambda layer: of_kind[kinds[layer]]


def rotated(config: PretrainedConfig, part: str, output: Tensor, arguments: tuple[Any, ...]) -> Tensor:
    """ModernBERT's queries, keys or values (batch, length, width) from the fused projection (batch, length, 3 × width).

    Queries and keys are turned by their positions, as the layer itself multiplies them (Su et al. 2021, RoFormer).
    """
    at = ("query", "key", "value").index(part)
    width = output.shape[-1] // 3
    taken = output[..., at * width : (at + 1) * width]
    if part == "value":
        return taken
    cos, sin = (table.unsqueeze(2) for table in arguments[1])
    heads = taken.view(*taken.shape[:-1], config.num_attention_heads, -1).float()
    left, right = heads.chunk(2, dim=-1)
    turned: Tensor = heads * cos + torch.cat((-right, left), dim=-1) * sin
    return turned.to(taken.dtype).flatten(2)


def mpnet(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """MPNet: the mask to add, and the bias of relative positions (1, heads, length, length) that layers share."""
    encoder = model.mpnet.encoder
    arguments = (added(hidden, mask[:, None, None, :]), encoder.compute_position_bias(hidden[:1]))
    return _same(arguments)


def deberta(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """DeBERTa: the mask, no other queries, relative positions and their embeddings, which layers share."""
    encoder = model.deberta.encoder
    arguments = (mask[:, None, None, :], None, encoder.get_rel_pos(hidden), encoder.get_rel_embedding())
    return _same(arguments)
