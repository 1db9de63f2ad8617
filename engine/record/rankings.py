"""How well the rows of each group, such as the documents for a query, are ranked. numpy alone.

Rows with equal scores are in every order equally likely: figures are the mean over these orders, so that a model that gives all
rows one score is as good as chance. A group without a relevant row (a label above 0) cannot be ranked well or badly, and doesn't
count; without any other group the figure is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CUT = 10
"""Ranks that nDCG counts."""


def by_group(metric: str, scores: npt.ArrayLike, labels: npt.ArrayLike, groups: npt.ArrayLike) -> Array:
    """A metric of `RANKED` of each group, (groups,) in the order of their numbers; NaN of one without a relevant row. The other
    arguments are (rows,)."""
    figure = _FIGURES[metric]
    return np.array([figure(*each) if (each[0] > 0).any() else np.nan for each in _ranked(scores, labels, groups)])


def _mean(metric: str, scores: Array, labels: Array, groups: Array) -> float:
    """The mean over the groups that count."""
    values = by_group(metric, scores, labels, groups)
    found = values[~np.isnan(values)]
    return float(np.mean(found)) if len(found) else 0.0


def _ranked(scores: npt.ArrayLike, labels: npt.ArrayLike, groups: npt.ArrayLike) -> Iterator[tuple[Array, Array]]:
    """Labels of each group, the highest score first, and where rows of equal scores begin. A score that is not a number is the
    lowest."""
    numbers, values = np.asarray(groups), np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf)
    order = np.lexsort((-values, numbers))
    values, gold, numbers = values[order], np.asarray(labels, np.float64)[order], numbers[order]
    for rows in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers)) + 1):
        if len(rows):
            own = values[rows]
            yield gold[rows], np.flatnonzero(np.r_[True, own[1:] != own[:-1]])


def _reciprocal(labels: Array, starts: Array) -> float:
    """The expected reciprocal rank of the first relevant row."""
    relevant = np.add.reduceat((labels > 0).astype(np.int64), starts)
    first = int(np.flatnonzero(relevant)[0])
    before, hits = int(starts[first]), int(relevant[first])
    size = int((starts[first + 1] if first + 1 < len(starts) else len(labels)) - before)
    # The first of `hits` among `size` rows in random order is the n-th with this probability.
    return sum(comb(size - n, hits - 1) / comb(size, hits) / (before + n) for n in range(1, size - hits + 2))


def _discounted(labels: Array, starts: Array) -> float:
    """nDCG@10."""
    discount = 1 / np.log2(np.arange(2, len(labels) + 2))
    discount[CUT:] = 0
    ends = np.r_[starts[1:], len(labels)]
    gains = np.add.reduceat(labels, starts) / (ends - starts)
    return float((gains * np.add.reduceat(discount, starts)).sum() / (np.sort(labels)[::-1] * discount).sum())


_FIGURES: Mapping[str, Callable[[Array, Array], float]] = {"mrr": _reciprocal, "ndcg": _discounted}

RANKED: Mapping[str, Callable[[Array, Array, Array], float]] = {name: partial(_mean, name) for name in _FIGURES}
"""Each takes scores, labels and groups, (rows,) each. mrr: the mean reciprocal rank of the first relevant row of each group. ndcg: the
mean nDCG@10 of the groups, Σ label/log₂(rank + 1) over the best possible (Järvelin and Kekäläinen 2002), ties as
`sklearn.metrics.ndcg_score` has them."""
