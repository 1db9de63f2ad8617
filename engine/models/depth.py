"""How families differ in the way they store layers, and in what changes in their config besides the number of layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers import PretrainedConfig

from engine.errors import ModelError
from engine.models.family_rules import FIRST_LAYER_STAYS, group_of


def albert_layers(config: PretrainedConfig, groups: nn.Module) -> Sequence[nn.Module]:
    """ALBERT: the groups' layers, each as often as it runs."""
    layers, count = int(config.num_hidden_layers), int(config.num_hidden_groups)
    return [groups.get_submodule(f"{group_of(layer, layers, count)}.albert_layers.0") for layer in range(layers)]


def select_albert_layers(config: PretrainedConfig, selected: Sequence[int]) -> Sequence[int]:
    """ALBERT: a student repeats a shared layer less often; of several groups it stores those that it uses.

    Raises:
        ModelError: the selected layers use their groups unevenly, which ALBERT cannot express.
    """
    layers, groups = int(config.num_hidden_layers), int(config.num_hidden_groups)
    of_selected = [group_of(layer, layers, groups) for layer in selected]
    used = list(dict.fromkeys(of_selected))
    if of_selected != [used[group_of(layer, len(selected), len(used))] for layer in range(len(selected))]:
        raise ModelError(
            f"this ALBERT shares its {layers} layers in {groups} groups, and student.keep and student.layers select "
            f"layers of the groups {', '.join(str(group) for group in of_selected)}; an ALBERT repeats each group equally "
            "often: select as many layers of each",
            kind="uneven-albert-groups",
            key="student.keep",
        )
    config.num_hidden_groups = len(used)
    return used


def fit_albert_depth(config: PretrainedConfig) -> None:
    """ALBERT: no more groups than layers."""
    config.num_hidden_groups = min(int(config.num_hidden_groups), int(config.num_hidden_layers))


def select_modernbert_layers(config: PretrainedConfig, selected: Sequence[int]) -> Sequence[int]:
    """ModernBERT: a selected layer stays global or local, as it was.

    Raises:
        ModelError: the first layer doesn't stay the first: it alone begins without a normalisation.
    """
    if selected[0] != 0:
        raise ModelError(FIRST_LAYER_STAYS, kind="first-layer-required", key="student.keep")
    config.layer_types = [config.layer_types[layer] for layer in selected]
    return selected


def fit_modernbert_depth(config: PretrainedConfig) -> None:
    """ModernBERT: global and local layers alternate as in the model whose config this is."""
    kinds = list(config.layer_types)
    period = next((index for index, kind in enumerate(kinds) if index and kind == kinds[0]), len(kinds))
    layers = range(int(config.num_hidden_layers))
    config.layer_types = [kinds[layer] if layer < len(kinds) else kinds[layer % period] for layer in layers]


def modernbert_windows(config: PretrainedConfig) -> tuple[int | None, ...]:
    """ModernBERT: local layers look half a window to either side."""
    return tuple(int(config.sliding_window) if kind == "sliding_attention" else None for kind in config.layer_types)


def fit_deberta_depth(config: PretrainedConfig) -> None:
    """DeBERTa: the pooler is as wide as the encoder."""
    config.pooler_hidden_size = config.hidden_size
