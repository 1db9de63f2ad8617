"""Give a model a classification head for a task: fresh where it has none, with the task's class names."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from transformers import PreTrainedModel

from engine.data.types import TaskSpec
from engine.models.class_names import name_outputs
from engine.models.families import family_of, output_of


def fit_head(model: PreTrainedModel, spec: TaskSpec, fresh: Collection[str], *, seed: int) -> None:
    """Give a model the task's outputs: the linear layers among `fresh` (parameter names) are drawn from `seed`.

    Normalisations among them begin as ones and zeros. The output layer is replaced when its size is not the task's. Each
    layer has a generator of its own, so that the same seed gives the same output layer whichever layers are new.
    """
    path, output = family_of(model.config).output, output_of(model)
    redraw = {name.rpartition(".")[0] for name in fresh}
    if output.out_features != spec.outputs:
        replacement = nn.Linear(output.in_features, spec.outputs, device="meta").to_empty(device=output.weight.device)
        model.set_submodule(path, replacement.to(output.weight.dtype))
        redraw.add(path)
    for redrawn in sorted(redraw):
        layer = model.get_submodule(redrawn)
        if isinstance(layer, nn.Linear):
            with torch.no_grad():
                generator = torch.Generator().manual_seed(seed)
                layer.weight.normal_(0.0, float(model.config.initializer_range), generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
        elif isinstance(layer, nn.LayerNorm):
            layer.reset_parameters()
    name_outputs(model, spec)


def head_parameters(model: PreTrainedModel) -> frozenset[str]:
    """Names of the parameters between the last layer and the logits that do not come from pre-training."""
    family = family_of(model.config)
    pretrained = () if family.pooler is None else (f"{family.pooler}.",)
    heads = tuple(f"{path}." for path in family.head)
    return frozenset(
        name for name, _ in model.named_parameters() if name.startswith(heads) and not name.startswith(pretrained)
    )
