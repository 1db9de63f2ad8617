"""Read values of JSON records that may hold anything: what isn't of the expected type is left out, never an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = 1e30
"""Figures beyond are as good as infinite: no mean and no axis could take them in."""


def number(value: object) -> float | None:
    """A finite number below `LARGEST`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else None  # NaN and infinity compare as False


def whole(value: object) -> int | None:
    """A whole number; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def word(value: object) -> str | None:
    """A text that isn't empty; None for anything else."""
    return value if isinstance(value, str) and value else None


def mapping(value: object) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
