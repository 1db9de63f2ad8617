"""Choose from which probability a label applies, where a text can have several."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.models.thresholds import USUAL

Array = npt.NDArray[Any]


def best_thresholds(probabilities: Array, labels: Array) -> tuple[float, ...]:
    """The threshold of each label with the largest F1 on some rows; both arguments are (rows, labels).

    Tried are 0.5 and what lies halfway between two neighbouring probabilities; of equally good ones the nearest to 0.5
    counts. A label that none or all of the rows have keeps 0.5.
    """
    return tuple(_best(shares, gold > 0) for shares, gold in zip(probabilities.T, labels.T, strict=True))


def _best(shares: Array, gold: Array) -> float:
    count = int(gold.sum())
    values = np.unique(shares)
    if count in (0, len(gold)) or not np.isfinite(values).all():
        return USUAL
    tried = np.append((values[1:] + values[:-1]) / 2, USUAL)
    order = np.sort(shares), np.sort(shares[gold])
    named, hits = (len(part) - np.searchsorted(part, tried, side="left") for part in order)
    f1 = 2 * hits / (named + count)
    best = tried[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - USUAL).argmin()])
