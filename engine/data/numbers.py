"""Numbers in data files, written as text. Imports neither torch nor numpy."""

from __future__ import annotations

from typing import Any


def as_number(value: Any) -> float:
    """A value as a number. Raises TypeError, ValueError or OverflowError as `float` does, and ValueError for `1_0`, which
    Python's source may hold in place of 10 and no data does."""
    if isinstance(value, str) and "_" in value:
        raise ValueError(f"no number: {value!r}")
    return float(value)
