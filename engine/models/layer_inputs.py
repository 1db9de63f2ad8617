"""Extra inputs of each family's layers besides hidden states: masks, positions, biases.

Each function takes the model, the first layer's input (batch, length, width) and the mask (batch, length) of real
positions, and returns a function from a layer's number (from 0) to the arguments that follow the hidden states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from engine.distill.activations import PROJECTIONS, Projection
from engine.models.attention import added, attention_mask

LayerInputs = Callable[[int], tuple[Any, ...]]
"""The arguments of a layer, counted from 0, behind the hidden states."""


def _same(arguments: tuple[Any, ...]) -> LayerInputs:
    return lambda layer: arguments  # noqa: ARG005


def mask_alone(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """Most families: the mask, the same for all layers."""
    arguments = (attention_mask(model.config, hidden, mask),)
    return _same(arguments)


def modernbert(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """ModernBERT: the mask and the rotation (cosines, sines) of a global or of a local layer."""
    config, kinds = model.config, model.config.layer_types
    positions = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
    of_kind = {
        kind: (
            attention_mask(config, hidden, mask, config.sliding_window if kind == "sliding_attention" else None),
            model.model.rotary_emb(hidden, positions, kind),
        )
        for kind in sorted(set(kinds))
    }
    return lambda layer: of_kind[kinds[layer]]


def split_and_rotate(config: PretrainedConfig, name: Projection, output: Tensor, arguments: tuple[Any, ...]) -> Tensor:
    """ModernBERT's queries, keys or values (batch, length, width) from the fused projection (batch, length, 3 × width).

    Queries and keys are rotated by their positions, as the layer itself multiplies them (Su et al. 2021, RoFormer).
    """
    index = PROJECTIONS.index(name)
    width = output.shape[-1] // 3
    states = output[..., index * width : (index + 1) * width]
    if name == "value":
        return states
    cos, sin = (table.unsqueeze(2) for table in arguments[1])
    heads = states.view(*states.shape[:-1], config.num_attention_heads, -1).float()
    left, right = heads.chunk(2, dim=-1)
    rotated: Tensor = heads * cos + torch.cat((-right, left), dim=-1) * sin
    return rotated.to(states.dtype).flatten(2)


def mpnet(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """MPNet: the mask to add to scores, and the bias of relative positions (1, heads, length, length), for all layers."""
    encoder = model.mpnet.encoder
    arguments = (added(hidden, mask[:, None, None, :]), encoder.compute_position_bias(hidden[:1]))
    return _same(arguments)


def deberta(model: PreTrainedModel, hidden: Tensor, mask: Tensor) -> LayerInputs:
    """DeBERTa: the mask, no separate queries, relative positions and their embeddings, the same for all layers."""
    encoder = model.deberta.encoder
    arguments = (mask[:, None, None, :], None, encoder.get_rel_pos(hidden), encoder.get_rel_embedding())
    return _same(arguments)
