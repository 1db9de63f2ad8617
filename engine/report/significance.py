"""Test whether methods differ by more than chance: a paired bootstrap over dev examples and seeds.

For two methods that were trained with the same S seeds and answered the same dev examples, a resample draws the examples
with replacement, the same ones for all runs, and computes the metric of every run on them. The difference of the two means
over seeds is then shifted by what other seeds could have given: a draw from Student's t distribution times √(v/S). (Drawing
three or five seeds with replacement would understate that.) v is the variance over seeds of the difference between two
methods, pooled over all pairs of the column as in an analysis of variance with (methods − 1)(seeds − 1) degrees of
freedom, or the pair's own where that is larger. p is twice the probability, over resamples and draws, that the difference
lies on the rarer side of zero; the part of the draws is computed exactly, so that p can be as small as many pairs need.
All pairs of a column are corrected together (Holm 1979), because which method is the best is read off the same figures;
where one method was named beforehand, only the pairs with it.

An example is a row; where rows are ranked, all rows of a query, whatever the metric, because they depend on each other; where labels
are by word, a sentence.

`METRICS` are the metrics of `engine.evaluate.metrics`, under the same names and with the same values, but computed for many
runs and many resamples at once from the weights of the examples; a test holds the two equal.

The only module of the reports that needs numpy and SciPy: import it where it is used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.preset.kinds import RANKINGS
from engine.record.entities import EntityCounts
from engine.record.rankings import by_group
from engine.report.predictions import Answers

LEVEL = 0.05
"""Significance level, for all pairs of a column together."""
MOST_RESAMPLES, LEAST_RESAMPLES = 4_000, 1_000
"""Resamples of a small and of a large dev set."""
_CELLS = 20_000_000
"""Resamples × examples beyond which there are fewer resamples."""
_CHUNK = 2_000_000
"""Resamples × examples that are held at once."""
_NO_SPREAD = 1e-12
"""Differences and deviations up to this are rounding errors."""

Array = npt.NDArray[np.float64]
SeedAnswers = Mapping[int, Answers]
"""The answers of a method's runs by seed."""
Pair = tuple[int, int]
Metric = Callable[[Any, Any, Any, int], Array]


@dataclass(frozen=True)
class _Inputs:
    """What a metric of some runs is computed from, as the functions below take it; `unit` (examples,) numbers what is drawn as one,
    None where each example is."""

    labels: Array
    predictions: Array
    metric: Metric
    unit: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class MeanDifference:
    """How far a method is above another: the difference of their means over seeds, and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairwiseTests:
    """The tests of every pair of methods, which go by their indices (the lower one first).

    p_values: corrected for their number. differences: where one method was named, how far each other one is above it.
    untested: why a pair could not be tested. resamples: how many there were.
    """

    p_values: Mapping[Pair, float] = field(default_factory=dict)
    differences: Mapping[int, MeanDifference] = field(default_factory=dict)
    untested: Mapping[Pair, str] = field(default_factory=dict)
    resamples: int = 0


def compare_methods(
    metric: str, methods: Sequence[SeedAnswers], resamples: int | None = None, *, against: int | None = None
) -> PairwiseTests:
    """Test every pair of methods, or those with the method of index `against`. The same input gives the same figures."""
    pairs = list(itertools.combinations(range(len(methods)), 2))
    seeds = {pair: sorted(methods[pair[0]].keys() & methods[pair[1]].keys()) for pair in pairs}
    untested = {pair: why for pair in pairs if (why := _why_untested(metric, methods, pair, seeds[pair]))}
    tested = [pair for pair in pairs if pair not in untested]
    answers = {(index, seed): methods[index][seed] for pair in tested for index in pair for seed in seeds[pair]}
    size = max((len(each) for each in answers.values()), default=1)
    count = resamples or max(LEAST_RESAMPLES, min(MOST_RESAMPLES, _CELLS // size))
    resampled = _resampled(metric, answers, count)
    scores = {key: score(metric, each) for key, each in answers.items()}
    variances = {
        (a, b): float(np.var([scores[a, seed] - scores[b, seed] for seed in seeds[a, b]], ddof=1)) for a, b in tested
    }
    number = len({index for pair in tested for index in pair})
    pooled, freedom = pooled_variance([(variances[pair], len(seeds[pair])) for pair in tested], number)
    raw, differences = {}, {}
    asked = [pair for pair in pairs if against is None or against in pair]
    for first, second in [pair for pair in tested if pair in asked]:
        shared = seeds[first, second]
        drawn = sum((resampled[first, seed] - resampled[second, seed] for seed in shared), np.zeros(count)) / len(
            shared
        )
        spread = np.sqrt(max(variances[first, second], pooled) / len(shared))
        raw[first, second] = _p_value(drawn, spread, freedom)
        if against is not None:
            sign, other = (1, first) if first != against else (-1, second)
            mean = math.fsum(sign * (scores[first, seed] - scores[second, seed]) for seed in shared) / len(shared)
            differences[other] = MeanDifference(mean, *_interval(sign * drawn, spread, freedom))
    return PairwiseTests(holm(raw), differences, {pair: untested[pair] for pair in asked if pair in untested}, count)


def _why_untested(metric: str, methods: Sequence[SeedAnswers], pair: Pair, seeds: Sequence[int]) -> str:
    """Why a pair cannot be tested; nothing where it can."""
    one, other = (methods[index] for index in pair)
    answers = (*one.values(), *other.values())
    if metric in RANKINGS and any(not each.groups for each in answers):
        return "predictions that don't say which query each row is of"
    if not all(has_test(metric, each) for each in answers):
        return f"there is no test for {metric}"
    if not one or not other:
        return "no predictions"
    if min(len(one), len(other)) < 2:
        return "one seed"
    if len(seeds) < 2:
        return "fewer than two seeds in common"
    if any(one[seed].dev != other[seed].dev or one[seed].classes != other[seed].classes for seed in seeds):
        return "other dev examples"
    return ""


def has_test(metric: str, answers: Answers) -> bool:
    """Whether a metric can be computed from these answers."""
    if answers.by_word:
        return metric in WORD_METRICS
    return metric in METRICS or (metric in RANKINGS and bool(answers.groups))


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


def _p_value(differences: Array, spread: float, freedom: int) -> float:
    """Two-sided p-value of differences (resamples,) that are shifted by `spread` times Student's t distribution."""
    from scipy.special import stdtr

    if spread <= _NO_SPREAD:  # never 0: the observed figures are one more resample
        rarer = min(np.count_nonzero(differences <= _NO_SPREAD), np.count_nonzero(differences >= -_NO_SPREAD))
        return float(min(1.0, 2 * (rarer + 1) / (len(differences) + 1)))
    side = 1 if differences.mean() >= 0 else -1
    values, counts = np.unique(differences, return_counts=True)  # few for most metrics, and the tail takes its time
    return float(min(1.0, 2 * np.average(stdtr(freedom, -side * values / spread), weights=counts)))


def _interval(differences: Array, spread: float, freedom: int) -> tuple[float, float]:
    """The central 95 % of the differences (resamples,), shifted by `spread` times Student's t distribution."""
    from scipy.optimize import brentq
    from scipy.special import stdtr

    tails = (LEVEL / 2, 1 - LEVEL / 2)
    if spread <= _NO_SPREAD:
        low, high = np.quantile(differences, tails)
        return float(low), float(high)

    values, counts = np.unique(differences, return_counts=True)
    edges = float(values[0]) - 100 * spread, float(values[-1]) + 100 * spread

    def quantile(share: float) -> float:
        def excess(edge: float) -> float:
            return float(np.average(stdtr(freedom, (edge - values) / spread), weights=counts)) - share

        return float(brentq(excess, *edges, xtol=1e-12))

    return quantile(tails[0]), quantile(tails[1])


def _resampled(metric: str, answers: Mapping[Pair, Answers], resamples: int) -> dict[Pair, Array]:
    """The metric of each run, by method and seed, on every resample (resamples,) of its dev set."""
    values: dict[Pair, Array] = {}
    for dev in dict.fromkeys((each.dev, each.classes) for each in answers.values()):
        runs = [key for key, each in answers.items() if (each.dev, each.classes) == dev]
        inputs = _inputs(metric, [answers[run] for run in runs])
        parts = [
            inputs.metric(inputs.labels, inputs.predictions, weights, max(2, len(dev[1])))
            for weights in _weights(len(inputs.labels), resamples, inputs.unit)
        ]
        values |= dict(zip(runs, np.concatenate(parts).T, strict=True))
    return values


def _weights(examples: int, resamples: int, unit: npt.NDArray[np.int64] | None = None) -> Iterator[Array]:
    """How often each example is drawn, (some resamples, examples) at a time: the same for all runs on one dev set."""
    units = examples if unit is None else int(unit.max()) + 1
    random = np.random.default_rng((0, units))
    size = max(1, _CHUNK // examples)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = random.integers(0, units, size=(rows, units)) + np.arange(rows)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
        yield counts if unit is None else counts[:, unit]


def _inputs(metric: str, runs: Sequence[Answers]) -> _Inputs:
    """What a metric of some runs on one dev set is computed from.

    Of a ranking, examples are queries: labels say which have a relevant row (queries,), and predictions are the metric of each
    (runs, queries). Of labels by word, they are sentences: counts of entities and words (sentences, 2), and for each run of predicted
    entities, of those that are right, and of words that are right (runs, sentences, 3).
    """
    if not runs[0].by_word:
        groups = np.unique(runs[0].groups, return_inverse=True)[1] if runs[0].groups else None
        gold = np.asarray(runs[0].labels)
        if metric not in RANKINGS:
            return _Inputs(gold, np.asarray([run.predictions for run in runs]), METRICS[metric], groups)
        values = np.asarray([by_group(metric, run.scores, gold, run.groups) for run in runs])
        return _Inputs(1.0 - np.isnan(values[0]), np.nan_to_num(values), _query_mean)
    counts = [[(EntityCounts.of(gold, own), gold, own) for gold, own in run.words] for run in runs]
    labels = [(each.gold, sum(label is not None for label in gold)) for each, gold, _ in counts[0]]
    predictions = [
        [
            (each.predicted, each.right, sum(a == b and a is not None for a, b in zip(gold, own, strict=True)))
            for each, gold, own in run
        ]
        for run in counts
    ]
    return _Inputs(np.asarray(labels, np.float64), np.asarray(predictions, np.float64), WORD_METRICS[metric])


def score(metric: str, answers: Answers) -> float:
    """The metric of one run on its dev set, as `engine.evaluate.metrics` computes it."""
    inputs = _inputs(metric, [answers])
    weights = np.ones((1, len(inputs.labels)))
    return float(inputs.metric(inputs.labels, inputs.predictions, weights, max(2, len(answers.classes)))[0, 0])


# -- metrics of many runs on many resamples: labels (examples,), predictions (runs, examples), weights (resamples, examples);
# of several labels for a text, labels (examples, classes) and predictions (runs, examples, classes)


def _accuracy(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    correct = weights @ (predictions == labels).T.astype(np.float64)
    return _ratio(correct, weights.sum(axis=1, keepdims=True))


def _query_mean(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    return _ratio(weights @ predictions.T, (weights @ labels)[:, None])


def _entity_f1(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    either = weights @ predictions[:, :, 0].T + (weights @ labels[:, 0])[:, None]
    return _ratio(2 * weights @ predictions[:, :, 1].T, either)


def _entity_precision(_labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    return _ratio(weights @ predictions[:, :, 1].T, weights @ predictions[:, :, 0].T)


def _entity_recall(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    return _ratio(weights @ predictions[:, :, 1].T, (weights @ labels[:, 0])[:, None])


def _word_accuracy(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    return _ratio(weights @ predictions[:, :, 2].T, (weights @ labels[:, 1])[:, None])


def _f1_of(labels: Array, predictions: Array, weights: Array, which: int) -> Array:
    gold, named = labels == which, predictions == which
    hits = weights @ (named & gold).T.astype(np.float64)
    either = weights @ named.T.astype(np.float64) + (weights @ gold.astype(np.float64))[:, None]
    return _ratio(2 * hits, either)


def _f1_micro(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    hits = weights @ (predictions * labels).sum(axis=2).T
    either = weights @ predictions.sum(axis=2).T + (weights @ labels.sum(axis=1))[:, None]
    return _ratio(2 * hits, either)


def _subset_accuracy(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    correct = weights @ (predictions == labels).all(axis=2).T.astype(np.float64)
    return _ratio(correct, weights.sum(axis=1, keepdims=True))


def _f1(labels: Array, predictions: Array, weights: Array, _classes: int) -> Array:
    return _f1_of(labels, predictions, weights, 1)


def _f1_macro(labels: Array, predictions: Array, weights: Array, classes: int) -> Array:
    """The mean over the classes that a resample has, whatever classes a run names."""
    total = np.zeros((len(weights), len(predictions)))
    present = np.zeros_like(total)
    for which in range(classes):
        own, answers, index = labels, predictions, which
        if labels.ndim == 2:
            own, answers, index = labels[:, which], predictions[:, :, which], 1
        gold = (weights @ (own == index).astype(np.float64))[:, None]
        total += np.where(gold > 0, _f1_of(own, answers, weights, index), 0.0)
        present += gold > 0
    return _ratio(total, present)


def _matthews(labels: Array, predictions: Array, weights: Array, classes: int) -> Array:
    size = weights.sum(axis=1, keepdims=True)
    correct = weights @ (predictions == labels).T.astype(np.float64)
    both, named_twice, gold_twice = (np.zeros_like(correct) for _ in range(3))
    for which in range(classes):
        gold = (weights @ (labels == which).astype(np.float64))[:, None]
        named = weights @ (predictions == which).T.astype(np.float64)
        both += gold * named
        named_twice += named**2
        gold_twice += gold**2
    return _ratio(correct * size - both, np.sqrt(np.maximum((size**2 - named_twice) * (size**2 - gold_twice), 0.0)))


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
    """Mean ranks (resamples, examples) of values in each resample, where an example counts as often as it was drawn."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    which = np.empty(len(values), np.intp)
    which[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(values)]))
    own_ranks: Array = ranks[:, which]
    return own_ranks


def _weighted_correlation(x: Array, y: Array, weights: Array) -> Array:
    size = weights.sum(axis=1, keepdims=True)
    x = x - (size + 1) / 2
    y = y - (size + 1) / 2  # the mean of all ranks, ties or not
    return _ratio((weights * x * y).sum(axis=1), np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1)))


def _ratio(above: Array, below: Array) -> Array:
    """The ratio, 0 where there is nothing below."""
    zeros = np.zeros(np.broadcast_shapes(above.shape, below.shape))
    ratio: Array = np.divide(above, below, out=zeros, where=below > 0)
    return ratio


METRICS: Mapping[str, Metric] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "f1_micro": _f1_micro,
    "subset_accuracy": _subset_accuracy,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""(resamples, runs) each; what cannot be computed is 0, as in `engine.evaluate.metrics`."""

WORD_METRICS: Mapping[str, Metric] = {
    "entity_f1": _entity_f1,
    "entity_precision": _entity_precision,
    "entity_recall": _entity_recall,
    "accuracy": _word_accuracy,
}
"""Those of labels by word, from the counts of each sentence."""
