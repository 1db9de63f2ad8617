"""How a family's layers are stored, cut and drawn anew: what its config must say of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from engine.errors import ModelError
from engine.models.family_rules import FIRST_LAYER_STAYS, group_of


def stored(model: PreTrainedModel, path: str) -> Sequence[nn.Module]:
    """Most families: each layer is stored once and runs once."""
    layers: nn.ModuleList = model.get_submodule(path)
    return list(layers)


def cut(config: PretrainedConfig, kept: Sequence[int]) -> Sequence[int]:
    """Most families: nothing but the number of layers changes."""
    config.num_hidden_layers = len(kept)
    return kept


def redo(config: PretrainedConfig, layers: int) -> None:
    """Most families: nothing but the number of layers changes."""
    config.num_hidden_layers = layers


def no_windows(config: PretrainedConfig) -> tuple[int | None, ...]:  # noqa: ARG001
    """Most families: every layer looks everywhere."""
    return ()


def albert_layers(model: PreTrainedModel, path: str) -> Sequence[nn.Module]:
    """ALBERT: the groups' layers, each as often as it runs."""
    config, groups = model.config, model.get_submodule(path)
    layers, count = int(config.num_hidden_layers), int(config.num_hidden_groups)
    return [groups.get_submodule(f"{group_of(layer, layers, count)}.albert_layers.0") for layer in range(layers)]


def cut_albert(config: PretrainedConfig, kept: Sequence[int]) -> Sequence[int]:
    """ALBERT: a student repeats a shared layer less often; of several groups it stores those that it uses.

    Raises `ModelError` where the kept layers use their groups unevenly, which no ALBERT can.
    """
    layers, groups = int(config.num_hidden_layers), int(config.num_hidden_groups)
    wanted = [group_of(layer, layers, groups) for layer in kept]
    used = list(dict.fromkeys(wanted))
    if wanted != [used[group_of(layer, len(kept), len(used))] for layer in range(len(kept))]:
        raise ModelError(
            f"this ALBERT shares its {layers} layers in {groups} groups, and the layers that student.keep and "
            f"student.layers ask for belong to the groups {', '.join(str(group) for group in wanted)}; an ALBERT repeats "
            "each group equally often: keep as many layers of each",
            key="student.keep",
        )
    config.num_hidden_layers, config.num_hidden_groups = len(kept), len(used)
    return used


def redo_albert(config: PretrainedConfig, layers: int) -> None:
    """ALBERT: no more groups than layers."""
    config.num_hidden_layers = layers
    config.num_hidden_groups = min(int(config.num_hidden_groups), layers)


def cut_modernbert(config: PretrainedConfig, kept: Sequence[int]) -> Sequence[int]:
    """ModernBERT: a kept layer stays global or local, as it was.

    Raises `ModelError` unless the first layer stays the first: it alone begins without a normalisation.
    """
    if kept[0] != 0:
        raise ModelError(FIRST_LAYER_STAYS, key="student.keep")
    config.layer_types = [config.layer_types[layer] for layer in kept]
    config.num_hidden_layers = len(kept)
    return kept


def redo_modernbert(config: PretrainedConfig, layers: int) -> None:
    """ModernBERT: global and local layers alternate as in the model that it is like."""
    kinds = list(config.layer_types)
    period = next((at for at, kind in enumerate(kinds) if at and kind == kinds[0]), len(kinds))
    config.layer_types = [kinds[layer] if layer < len(kinds) else kinds[layer % period] for layer in range(layers)]
    config.num_hidden_layers = layers


def windows(config: PretrainedConfig) -> tuple[int | None, ...]:
    """ModernBERT: local layers look half a window to either side."""
    return tuple(int(config.sliding_window) if kind == "sliding_attention" else None for kind in config.layer_types)


def redo_deberta(config: PretrainedConfig, layers: int) -> None:
    """DeBERTa: the pooler is as wide as the encoder."""
    config.num_hidden_layers = layers
    config.pooler_hidden_size = config.hidden_size
