"""Which objectives each family of models supports, and which members of a family do not work. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from engine.preset.base import ObjectiveName
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
"""The supported families, by `model_type`, and the objectives that each can take part in."""

_WHY_NOT: dict[str, str] = {
    "mpnet": "its attention adds a bias of relative positions to the products of queries and keys",
    "deberta-v2": "its attention adds products with relative positions to the products of queries and keys",
}

FIRST_LAYER_STAYS = (
    "a student of a ModernBERT must keep layer 0 as its first layer, which alone begins without a normalisation: "
    'keep = "first" or "alternate", or a list that begins with 0'
)


def not_offered(family: str, objective: str, side: str) -> str | None:
    """Why a model of `family` (the "teacher" or "student") cannot take part in an objective; None where it can."""
    offered = FAMILIES[family]
    if objective in offered:
        return None
    why = f": {_WHY_NOT[family]}; take query, key and value relations" if family in _WHY_NOT else ""
    return (
        f"models of the family {family} (the {side}) do not offer {objective}{why}; "
        f"they offer {listed(sorted(offered), 'and')}"
    )


def unusable(family: str, value: Callable[[str], Any]) -> str | None:
    """What is wrong with a member of a supported family that is built otherwise than the rest; None where nothing is.

    `value` gives what its config says for a name, None where it says nothing.
    """
    if family == "albert" and (value("inner_group_num") or 1) != 1:
        return (
            f"this ALBERT has groups of {value('inner_group_num')} layers (inner_group_num), which cannot be used: "
            "take one whose groups have a single layer, as all published ones"
        )
    if family == "deberta-v2" and (value("conv_kernel_size") or 0) > 0:
        return (
            "this DeBERTa has a convolution beside its first layer (conv_kernel_size), which cannot be used: "
            "take one without, as deberta-v3-small, -base or -large"
        )
    return None


def odd_heads(width: int, heads: int) -> str:
    """What is wrong with a ModernBERT whose heads have an odd size: positions turn their numbers in pairs."""
    return (
        f"a ModernBERT of width {width} cannot have {heads} heads: each would have {width // heads} numbers, and its "
        "rotary positions need an even number"
    )


def group_of(layer: int, layers: int, groups: int) -> int:
    """The group, from 0, that a layer of an ALBERT runs, from 0: as transformers computes it."""
    return int(layer / (layers / groups))
