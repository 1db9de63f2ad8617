"""Metrics as GLUE defines them, from scikit-learn and SciPy; a metric that cannot be computed is 0."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.types import TaskSpec
from engine.preset.kinds import ENTITY_METRICS
from engine.record.entities import EntityCounts
from engine.record.rankings import RANKED

Array = npt.NDArray[Any]


def compute(spec: TaskSpec, logits: Array, labels: Array, groups: Array | None = None) -> dict[str, float]:
    """The metrics of a task, in its order, the primary one first; fractions of 1, correlations from -1 to 1.

    `logits` is (rows, classes), or (rows, 1) or (rows,) of scores; `labels` is (rows,), of several labels for a text
    (rows, labels), 1 where a label applies. Each row's class is that of its largest logit; of several labels, those apply
    whose probability is at least 0.5, or the label's threshold (`TaskSpec.thresholds`). F1 is that of class 1, as in MRPC and QQP, where it is the positive one; f1_macro is the mean over
    the classes in `labels`, whatever classes are predicted, so that it means the same at every evaluation. f1_micro counts every
    label of every row, 2·TP / (2·TP + FP + FN), and subset_accuracy the rows whose labels are all right. A correlation with constant or non-finite predictions, and Matthews' of a constant prediction, is 0.
    mrr and ndcg (`engine.record.rankings`) rank the rows of each of the `groups` (rows,) by their score, or by how far
    the second class is above the first. Of labels by word, rows are words, and those of one of the groups a sentence: entity_f1,
    entity_precision and entity_recall compare the entities that the labels mark (`engine.record.entities`).
    """
    if len(labels) == 0 or len(logits) != len(labels):
        raise ValueError(f"{len(logits)} predictions for {len(labels)} labels")
    return _measured(spec, predicted(spec, logits), np.asarray(labels), ranking_scores(logits), groups)


def ranking_scores(logits: Array) -> Array:
    """What rows are ranked by, (rows,): their score, or how far the logit of the second class is above that of the first."""
    values = np.asarray(logits)
    two_classes = values.ndim == 2 and values.shape[1] == 2
    scores: Array = values[:, 1] - values[:, 0] if two_classes else values.reshape(len(values), -1)[:, 0]
    return scores


def predicted(spec: TaskSpec, logits: Array) -> Array:
    """Predictions from logits: (rows,) class indices, or scores; of several labels (rows, labels) of bool."""
    logits = np.asarray(logits)
    if spec.kind == "multilabel":
        return np.asarray(sigmoid(logits) >= (spec.thresholds or 0.5))
    if spec.kind == "regression":
        return logits.reshape(len(logits))
    classes: Array = logits.argmax(axis=1)
    return classes


def label_loss(spec: TaskSpec, logits: Array, labels: Array) -> float:
    """The mean loss on labels: cross-entropy of logits (rows, classes) with class indices (rows,), as the objective
    `labels`; of several labels the binary cross-entropy with (rows, classes); of scores the mean squared error. NaN where a
    logit is not finite."""
    values = np.asarray(logits, dtype=np.float64)
    gold = np.asarray(labels)
    if spec.kind == "regression":
        return float(np.mean((values.reshape(len(values)) - gold) ** 2))
    if spec.kind == "multilabel":
        with np.errstate(invalid="ignore"):  # log(1 + exp(x)) - gold · x
            return float(np.mean(np.logaddexp(0.0, values) - gold * values))
    with np.errstate(invalid="ignore"):
        values = values - values.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(values).sum(axis=1))
    return float(np.mean(log_sums - values[np.arange(len(gold)), gold]))


def majority(spec: TaskSpec, train_labels: Array, dev_labels: Array, groups: Array | None = None) -> dict[str, float]:
    """The metrics on dev of a model that only knows the distribution of the training labels.

    It gives every row the most frequent class (or set of labels) in training, the first of several, or the mean score,
    whose correlation with anything is 0. Rankings are those of a random order; of labels by word, rows are words.
    """
    dev = np.asarray(dev_labels)
    if spec.kind == "regression":
        return _measured(spec, np.full(len(dev), np.mean(train_labels)), dev, np.zeros(len(dev)), groups)
    if spec.kind == "multilabel":
        sets, counts = np.unique(np.asarray(train_labels), axis=0, return_counts=True)
        return _measured(spec, np.broadcast_to(sets[counts.argmax()], dev.shape), dev, np.zeros(len(dev)), None)
    counts = np.bincount(np.asarray(train_labels), minlength=len(spec.labels))
    return _measured(spec, np.full(len(dev), counts.argmax()), dev, np.zeros(len(dev)), groups)


def agreement(spec: TaskSpec, logits_a: Array, logits_b: Array, other_spec: TaskSpec | None = None) -> float:
    """How much two models agree: the share of rows with the same class (or the same labels), or Pearson's correlation of the scores.

    `other_spec` is that of the second model, if it has other thresholds.
    """
    one, other = predicted(spec, logits_a), predicted(other_spec or spec, logits_b)
    if len(one) != len(other) or len(one) == 0:
        raise ValueError(f"{len(one)} predictions, but {len(other)} of the other model")
    if spec.kind == "regression":
        return 1.0 if np.array_equal(one, other) else METRICS["pearson"](one, other)
    return METRICS["subset_accuracy" if spec.kind == "multilabel" else "accuracy"](one, other)


def sigmoid(logits: Array) -> npt.NDArray[np.float64]:
    """Probabilities of labels that are answered each on its own, from logits of any shape; NaN stays."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64))))


def _measured(
    spec: TaskSpec, predictions: Array, labels: Array, scores: Array, groups: Array | None
) -> dict[str, float]:
    grouped: dict[str, float] = {}
    if wanted := [name for name in spec.metrics if name in RANKED or name in ENTITY_METRICS]:
        if groups is None:
            raise ValueError(f"{wanted[0]} needs the group of each row")
        grouped = {name: RANKED[name](scores, labels, groups) for name in wanted if name in RANKED}
        if len(grouped) < len(wanted):
            counts = entity_counts(spec, predictions, labels, groups)
            grouped |= {"entity_f1": counts.f1, "entity_precision": counts.precision, "entity_recall": counts.recall}
    return {name: grouped[name] if name in grouped else METRICS[name](predictions, labels) for name in spec.metrics}


def entity_counts(spec: TaskSpec, predictions: Array, labels: Array, groups: Array) -> EntityCounts:
    """How many entities all sentences have, how many were predicted, and how many of those are right; words of one of the
    `groups` are a sentence, and stand together."""
    names = spec.labels
    gold, own = ([names[index] for index in values.tolist()] for values in (labels, predictions))
    total = EntityCounts()
    bounds = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(gold)]
    for start, end in pairwise(bounds):
        total += EntityCounts.of(gold[start:end], own[start:end])
    return total


def _accuracy(predictions: Array, labels: Array) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels == 1, predictions == 1, zero_division=0.0))


def _f1_macro(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    present = np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(axis=0))
    if not len(present):  # no row has any label
        return 0.0
    return float(f1_score(labels, predictions, labels=present, average="macro", zero_division=0.0))


def _f1_micro(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="micro", zero_division=0.0))


def _subset_accuracy(predictions: Array, labels: Array) -> float:
    return float(np.mean((predictions == labels).all(axis=1)))


def _matthews(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0  # undefined: no better than chance, by convention
    return float(matthews_corrcoef(labels, predictions))


def _correlation(function: str, predictions: Array, labels: Array) -> float:
    from scipy import stats

    x, y = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant predictions: the figure below is what is reported
        value = float(getattr(stats, function)(x, y)[0])
    return value if np.isfinite(value) else 0.0


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "f1_micro": _f1_micro,
    "subset_accuracy": _subset_accuracy,
    "matthews": _matthews,
    "pearson": partial(_correlation, "pearsonr"),
    "spearman": partial(_correlation, "spearmanr"),
}
"""Each takes predictions and labels, both (rows,), or (rows, labels) of several labels for a text."""
