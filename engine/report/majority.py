"""The majority guess as a bar: a model that does not beat it has learnt nothing that can be used."""

from __future__ import annotations

from collections.abc import Mapping

MARK = "†"
"""Written next to the figure of a model that does not beat the majority guess."""
ASCII_MARK = "!"
LEGEND = f"{MARK} at or below the majority guess: always giving the same answer is as good"
TOLERANCE = 1e-6
"""Results are rounded, so figures that differ by less are the same."""


def at_or_below(value: float | None, majority: float | None) -> bool:
    """Whether a metric (larger is better) does not beat that of the majority guess; False where one is unknown."""
    return value is not None and majority is not None and value <= majority + TOLERANCE


def of_trained_head(value: float | None, majority: float | None) -> float | None:
    """A self-teacher's metric; None where it does not beat the majority guess: records of crild up to 0.2 may hold that of
    a classifier that nothing trained."""
    return None if at_or_below(value, majority) else value


def not_above(metrics: Mapping[str, float | None], majority: Mapping[str, float | None]) -> frozenset[str]:
    """The names of the metrics in which a model does not beat the majority guess."""
    return frozenset(name for name, value in metrics.items() if at_or_below(value, majority.get(name)))
