"""Store the linear layers of a frozen model in half precision, so that autocast need not convert them at each forward."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def in_half_precision(model: M, dtype: torch.dtype) -> M:
    """A copy of `model` whose linear layers' weights are of type `dtype` and take no gradient.

    Everything else (embeddings, normalisation, buffers) is shared with `model`. Under autocast to `dtype` it computes
    the same bits as `model`: autocast converts the same weights in the same way, at each forward.
    """
    shared: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            for parameter in module.parameters(recurse=False):
                shared[id(parameter)] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
    return copy.deepcopy(model, shared)
