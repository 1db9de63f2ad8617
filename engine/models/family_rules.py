"""Which objectives each family of models supports, and which members of a family do not work. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from engine.preset.names import ObjectiveName
from engine.preset.text import listed

_ALL: frozenset[ObjectiveName] = frozenset(get_args(ObjectiveName))
_OTHER_SCORES: frozenset[ObjectiveName] = _ALL - {"attention"}

FAMILIES: dict[str, frozenset[ObjectiveName]] = {
    "bert": _ALL,
    "roberta": _ALL,
    "xlm-roberta": _ALL,
    "distilbert": _ALL,
    "electra": _ALL,
    "albert": _ALL,
    "modernbert": _ALL,
    "mpnet": _OTHER_SCORES,
    "deberta-v2": _OTHER_SCORES,
}
"""The supported families, by `model_type`, and the objectives that each supports."""

_WHY_NOT: dict[str, str] = {
    "mpnet": "its attention adds a bias of relative positions to the products of queries and keys",
    "deberta-v2": "its attention adds products with relative positions to the products of queries and keys",
}

FIRST_LAYER_STAYS = (
    "a student of a ModernBERT must keep layer 0 as its first layer, the only one without a normalisation in front; "
    'use keep = "first" or "alternate", or a list that begins with 0'
)


def not_offered(family: str, objective: str, side: str) -> str | None:
    """Why a model of `family` (the "teacher" or "student") does not support an objective; None where it does."""
    offered = FAMILIES[family]
    if objective in offered:
        return None
    why = f": {_WHY_NOT[family]}; use query, key and value relations" if family in _WHY_NOT else ""
    return (
        f"models of the family {family} (the {side}) do not support {objective}{why}; "
        f"they support {listed(sorted(offered), 'and')}"
    )


def unusable(family: str, value: Callable[[str], Any]) -> str | None:
    """Why a variant of a supported family does not work; None where it does.

    `value` returns the entry of its config with a name, None where there is none.
    """
    if family == "albert" and (value("inner_group_num") or 1) != 1:
        return (
            f"this ALBERT has groups of {value('inner_group_num')} layers (inner_group_num), which are not supported; "
            "use one with a single layer in each group, like all published ones"
        )
    if family == "deberta-v2" and (value("conv_kernel_size") or 0) > 0:
        return (
            "this DeBERTa has a convolution next to its first layer (conv_kernel_size), which is not supported; "
            "use one without, such as deberta-v3-small, -base or -large"
        )
    return None


def odd_heads(width: int, heads: int) -> str:
    """Why a ModernBERT cannot have heads of an odd size: rotary positions turn their numbers in pairs."""
    return (
        f"a ModernBERT of width {width} cannot have {heads} heads: the head size would be {width // heads}, and "
        "rotary positions need an even one"
    )


def group_of(layer: int, layers: int, groups: int) -> int:
    """The group of an ALBERT's layer, both from 0, as transformers computes it."""
    return int(layer / (layers / groups))
