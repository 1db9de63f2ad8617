"""From which probability a label applies, of a model that answers each label on its own: stored in its config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

USUAL = 0.5
"""The threshold of labels without one of their own, as in other programs."""
KEY = "label_thresholds"
"""The key in config.json: a threshold for each label, in the order of the outputs."""


def thresholds_of(config: Any) -> tuple[float, ...]:
    """The threshold of each output: 0.5, unless a model's config has others in the form that crild writes."""
    outputs = int(config.num_labels)
    found = getattr(config, KEY, None)
    if not isinstance(found, list) or len(found) != outputs:
        return (USUAL,) * outputs
    if not all(isinstance(value, float) and 0 < value < 1 for value in found):
        return (USUAL,) * outputs
    return tuple(found)


def store_thresholds(config: Any, thresholds: Sequence[float]) -> None:
    """Write thresholds into a model's config; none where every label has the usual one."""
    if any(value != USUAL for value in thresholds):
        setattr(config, KEY, list(thresholds))
    elif hasattr(config, KEY):
        delattr(config, KEY)
