"""Whether methods differ by more than chance: a paired bootstrap over dev examples and seeds.

For two methods that were trained with the same S seeds and answered the same dev examples, a resample draws the examples
with replacement, one draw for all runs, and computes the metric of every run on them; the difference of the two means
over seeds is then moved by what other seeds could have given: a draw from Student's distribution times √(v/S). Three or
five seeds drawn with replacement would understate that. v is the variance over seeds of the difference between two
methods, pooled over all pairs of the column as in an analysis of variance with (methods − 1)(seeds − 1) degrees of
freedom, or the pair's own where that is larger. p is twice the probability, over resamples and draws, that the difference
is on the rarer side of nothing; that of the draws is computed, not drawn, so that p can be as small as many pairs need.
All pairs of a column are corrected together (Holm 1979), because which method is the best is read
off the same figures; where one method was named beforehand, the pairs with it alone.

The only module of the reports that needs numpy: import it where it is used.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.report.predictions import Answers

LEVEL = 0.05
"""Of significance, for all pairs of a column together."""
MOST_DRAWS, LEAST_DRAWS = 4_000, 1_000
"""Resamples of a small and of a large dev set."""
_CELLS = 20_000_000
"""Resamples × examples, from which on there are fewer resamples."""
_CHUNK = 2_000_000
"""Resamples × examples that are held at once."""

Array = npt.NDArray[np.float64]
Rival = Mapping[int, Answers]
"""The answers of a method's runs by seed."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class Gap:
    """How far a method is above another: the difference of their means over seeds, and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the test says of every pair of methods.

    `p` has the corrected p-values by pair (the lower place first); `gaps`, where one method was named, how far each other
    one is above it, by place; `untested` the reasons of pairs that could not be tested; `draws` is the number of
    resamples.
    """

    p: Mapping[Pair, float] = field(default_factory=dict)
    gaps: Mapping[int, Gap] = field(default_factory=dict)
    untested: Mapping[Pair, str] = field(default_factory=dict)
    draws: int = 0


def judge(metric: str, rivals: Sequence[Rival], draws: int | None = None, *, against: int | None = None) -> Verdict:
    """Test every pair of methods, or those with the method at the place `against`.

    The same input always gives the same figures.
    """
    pairs = list(itertools.combinations(range(len(rivals)), 2))
    shared = {pair: sorted(rivals[pair[0]].keys() & rivals[pair[1]].keys()) for pair in pairs}
    untested = {pair: _obstacle(metric, rivals, pair, shared[pair]) for pair in pairs}
    wanted = [pair for pair in pairs if not untested[pair]]
    used = {
        (place, seed): rivals[place][seed] for pair in wanted for place in pair for seed in shared[pair]
    }  # of rivals without a partner nothing is computed
    most = max((len(answers.labels) for answers in used.values()), default=1)
    count = draws or max(LEAST_DRAWS, min(MOST_DRAWS, _CELLS // most))
    values = _resampled(metric, used, count)
    scores = {key: score(metric, answers) for key, answers in used.items()}
    own = {
        (a, b): float(np.var([scores[a, seed] - scores[b, seed] for seed in shared[a, b]], ddof=1)) for a, b in wanted
    }
    methods = len({place for pair in wanted for place in pair})
    pooled, freedom = pooled_variance([(own[pair], len(shared[pair])) for pair in wanted], methods)
    raw, gaps = {}, {}
    asked = [pair for pair in pairs if against is None or against in pair]
    for first, second in [pair for pair in wanted if pair in asked]:
        seeds = shared[first, second]
        drawn = sum((values[first, seed] - values[second, seed] for seed in seeds), np.zeros(count)) / len(seeds)
        spread = np.sqrt(max(own[first, second], pooled) / len(seeds))
        raw[first, second] = _p(drawn, spread, freedom)
        if against is not None:
            sign, other = (1, first) if first != against else (-1, second)
            mean = math.fsum(sign * (scores[first, seed] - scores[second, seed]) for seed in seeds) / len(seeds)
            gaps[other] = Gap(mean, *_interval(sign * drawn, spread, freedom))
    return Verdict(holm(raw), gaps, {pair: untested[pair] for pair in asked if untested[pair]}, count)


def _obstacle(metric: str, rivals: Sequence[Rival], pair: Pair, seeds: Sequence[int]) -> str:
    if metric not in METRICS:
        return f"the test does not know {metric}"
    one, other = (rivals[place] for place in pair)
    if not one or not other:
        return "no predictions"
    if min(len(one), len(other)) < 2:
        return "one seed"
    if len(seeds) < 2:
        return "fewer than two seeds in common"
    if any(one[seed].dev != other[seed].dev or one[seed].classes != other[seed].classes for seed in seeds):
        return "other dev examples"
    return ""


def holm(raw: Mapping[Pair, float]) -> dict[Pair, float]:
    """p-values by pair, corrected for how many there are by Holm's step-down procedure (1979).

    The smallest of m is multiplied by m, the next by m - 1 and so on; none gets smaller than one before it, none above 1.
    """
    corrected, smallest = {}, 0.0
    for rank, pair in enumerate(sorted(raw, key=lambda pair: (raw[pair], pair))):
        smallest = max(smallest, min(1.0, raw[pair] * (len(raw) - rank)))
        corrected[pair] = smallest
    return corrected


def pooled_variance(variances: Sequence[tuple[float, int]], methods: int) -> tuple[float, int]:
    """The mean of variances, each with its number of seeds, weighted by those less one; its degrees of freedom."""
    weights = [seeds - 1 for _, seeds in variances]
    if not weights:
        return 0.0, 1
    mean = sum(variance * weight for (variance, _), weight in zip(variances, weights, strict=True)) / sum(weights)
    return mean, max(1, int((methods - 1) * sum(weights) / len(weights)))


def _p(differences: Array, spread: float, freedom: int) -> float:
    """Two-sided p-value of differences (draws,) that are moved by `spread` times Student's distribution."""
    tiny = 1e-12  # sums of equal figures in another order
    if spread <= tiny:  # never 0: the figures at hand are one more resample
        rarer = min(np.count_nonzero(differences <= tiny), np.count_nonzero(differences >= -tiny))
        return float(min(1.0, 2 * (rarer + 1) / (len(differences) + 1)))
    side = 1 if differences.mean() >= 0 else -1
    return float(min(1.0, 2 * _beyond(side * differences / spread, freedom).mean()))


def _interval(differences: Array, spread: float, freedom: int) -> tuple[float, float]:
    """What 95 % of the differences (draws,), moved by `spread` times Student's distribution, lie between."""
    tail = LEVEL / 2
    if spread <= 1e-12:
        low, high = np.quantile(differences, [tail, 1 - tail])
        return float(low), float(high)
    edges = []
    for share in (1 - tail, tail):
        low, high = float(differences.min()) - 100 * spread, float(differences.max()) + 100 * spread
        for _ in range(60):
            middle = (low + high) / 2
            above = _beyond((middle - differences) / spread, freedom).mean()
            low, high = (middle, high) if above > share else (low, middle)
        edges.append((low + high) / 2)
    return float(edges[0]), float(edges[1])


def _beyond(values: Array, freedom: int) -> Array:
    """P(T > value) of Student's distribution."""
    angles, tails = _student(freedom)
    tail = np.interp(np.arctan(np.abs(values) / np.sqrt(freedom)), angles, tails)
    found: Array = np.where(values >= 0, tail, 1 - tail)
    return found


@functools.cache
def _student(freedom: int) -> tuple[Array, Array]:
    """P(T > t) by θ = arctan(t/√f), in which the density is cos(θ)^(f − 1): summed from the far end, so exact there too."""
    angles = np.linspace(0, np.pi / 2, 4_001)
    density = np.cos(angles) ** (freedom - 1)
    beyond = np.r_[np.cumsum(((density[1:] + density[:-1]) / 2)[::-1])[::-1], 0.0]
    return angles, beyond / (2 * beyond[0])


def _resampled(metric: str, used: Mapping[tuple[int, int], Answers], draws: int) -> dict[tuple[int, int], Array]:
    """The metric of each run on every resample (draws,) of its dev set."""
    found: dict[tuple[int, int], Array] = {}
    for dev in dict.fromkeys((answers.dev, answers.classes) for answers in used.values()):
        runs = [key for key, answers in used.items() if (answers.dev, answers.classes) == dev]
        labels = np.asarray(used[runs[0]].labels)
        predictions = np.asarray([used[run].predictions for run in runs])
        parts = [
            METRICS[metric](labels, predictions, weights, max(2, len(dev[1])))
            for weights in _weights(len(labels), draws)
        ]
        found |= dict(zip(runs, np.concatenate(parts).T, strict=True))
    return found


def _weights(examples: int, draws: int) -> Iterator[Array]:
    """How often each example is drawn, (some draws, examples) at a time: the same for all runs on one dev set."""
    random = np.random.default_rng((0, examples))
    size = max(1, _CHUNK // examples)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = random.integers(0, examples, size=(rows, examples)) + np.arange(rows)[:, None] * examples
        yield np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples).astype(np.float64)


def score(metric: str, answers: Answers) -> float:
    """The metric of one run on its dev set, as `engine.evaluate.metrics` computes it."""
    labels, predictions = np.asarray(answers.labels), np.asarray([answers.predictions])
    weights = np.ones((1, len(labels)))
    return float(METRICS[metric](labels, predictions, weights, max(2, len(answers.classes)))[0, 0])


# -- metrics of many runs on many resamples: labels (examples,), predictions (runs, examples), weights (draws, examples)


def _accuracy(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    correct = weights @ (predictions == labels).T.astype(np.float64)
    return _ratio(correct, weights.sum(axis=1, keepdims=True))


def _f1_of(labels: Array, predictions: Array, weights: Array, which: int) -> Array:
    gold, said = labels == which, predictions == which
    hits = weights @ (said & gold).T.astype(np.float64)
    either = weights @ said.T.astype(np.float64) + (weights @ gold.astype(np.float64))[:, None]
    return _ratio(2 * hits, either)


def _f1(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    return _f1_of(labels, predictions, weights, 1)


def _f1_macro(labels: Array, predictions: Array, weights: Array, classes: int) -> Array:
    """The mean over the classes that a resample has or a run names, as scikit-learn takes it."""
    total = np.zeros((len(weights), len(predictions)))
    present = np.zeros_like(total)
    for which in range(classes):
        gold = (weights @ (labels == which).astype(np.float64))[:, None]
        said = weights @ (predictions == which).T.astype(np.float64)
        total += _f1_of(labels, predictions, weights, which)
        present += (gold + said) > 0
    return _ratio(total, present)


def _matthews(labels: Array, predictions: Array, weights: Array, classes: int) -> Array:
    size = weights.sum(axis=1, keepdims=True)
    correct = weights @ (predictions == labels).T.astype(np.float64)
    both, said_twice, gold_twice = (np.zeros_like(correct) for _ in range(3))
    for which in range(classes):
        gold = (weights @ (labels == which).astype(np.float64))[:, None]
        said = weights @ (predictions == which).T.astype(np.float64)
        both += gold * said
        said_twice += said**2
        gold_twice += gold**2
    return _ratio(correct * size - both, np.sqrt(np.maximum((size**2 - said_twice) * (size**2 - gold_twice), 0.0)))


def _pearson(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    x = predictions - predictions.mean(axis=1, keepdims=True)
    y = labels - labels.mean()
    size = weights.sum(axis=1, keepdims=True)
    mean_x, mean_y = weights @ x.T / size, (weights @ y)[:, None] / size
    covariance = weights @ (x * y).T / size - mean_x * mean_y
    variance = (weights @ (x**2).T / size - mean_x**2) * ((weights @ y**2)[:, None] / size - mean_y**2)
    floor = 1e-14 * max(float((y**2).mean()), 1e-300) * np.maximum((x**2).mean(axis=1), 1e-300)
    return _ratio(np.where(variance > floor, covariance, 0.0), np.sqrt(np.maximum(variance, 0.0)))


def _spearman(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    gold = _ranks(labels, weights)
    return np.stack([_weighted_correlation(gold, _ranks(row, weights), weights) for row in predictions], axis=1)


def _ranks(values: Array, weights: Array) -> Array:
    """Mean ranks (draws, examples) of values in each resample, where an example counts as often as it was drawn."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    which = np.empty(len(values), np.intp)
    which[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(values)]))
    found: Array = ranks[:, which]
    return found


def _weighted_correlation(x: Array, y: Array, weights: Array) -> Array:
    size = weights.sum(axis=1, keepdims=True)
    x = x - (size + 1) / 2
    y = y - (size + 1) / 2  # the mean of all ranks, ties or not
    return _ratio((weights * x * y).sum(axis=1), np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)))


def _ratio(above: Array, below: Array) -> Array:
    """The ratio, 0 where there is nothing below."""
    found: Array = np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > 0)
    return found


METRICS: Mapping[str, Callable[[Any, Any, Any, int], Array]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""(draws, runs) each; what cannot be computed is 0, as in `engine.evaluate.metrics`."""
