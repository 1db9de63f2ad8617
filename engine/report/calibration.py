"""Whether a classifier is right as often as its probabilities say: expected calibration error, and one temperature.

Loads numpy: import it where calibration is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15
LEAST_ROWS = 20
"""Rows below which no temperature is fitted: halves of them say nothing."""
LOW, HIGH = 0.05, 20.0
"""The range of temperatures."""
ROUNDING = 5e-7
"""Saved probabilities have six digits: a 0 stands for up to half of the last."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error (a share of 1) of a model on a dev set, before and after one temperature.

    `temperature` is fitted on all rows: the one to use. `after` is honest all the same: a temperature is fitted on one half
    of the rows and measured on the other, and the other way round. Both are None for fewer than `LEAST_ROWS` rows.
    """

    rows: int
    before: float
    temperature: float | None
    after: float | None


def calibration(probabilities: Sequence[Sequence[float]], labels: Sequence[float], ids: Sequence[str]) -> Calibration:
    """Measure the calibration of probabilities (rows, classes) against class indices (rows,).

    The halves are drawn by a hash of the rows' ids, so that they don't depend on the order of the rows.
    """
    shares, gold = np.asarray(probabilities, dtype=np.float64), np.asarray(labels).astype(np.int64)
    before = expected_calibration_error(shares, gold)
    if len(gold) < LEAST_ROWS:
        return Calibration(len(gold), before, None, None)
    logits = np.log(np.maximum(shares, ROUNDING))
    order = np.argsort([hashlib.sha256(name.encode("utf-8", "replace")).hexdigest() for name in ids], kind="stable")
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    rescaled = np.empty_like(shares)
    for fitted, measured in ((first, second), (second, first)):
        rescaled[measured] = softmax(logits[measured] / fit_temperature(logits[fitted], gold[fitted]))
    return Calibration(len(gold), before, fit_temperature(logits, gold), expected_calibration_error(rescaled, gold))


def expected_calibration_error(probabilities: Array, labels: Array, bins: int = BINS) -> float:
    """The mean over rows of |accuracy − confidence| of their bin (Guo et al. 2017, equation 3).

    A row's confidence is the probability of its most likely class; bin m of M holds confidences above (m − 1)/M, up to
    m/M. `probabilities` is (rows, classes), `labels` (rows,) class indices.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=right.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def fit_temperature(logits: Array, labels: Array) -> float:
    """The temperature T for which softmax(logits/T) has the least cross-entropy with the labels, from 0.05 to 20.

    `logits` is (rows, classes), up to a constant for each row. The loss is convex in 1/T, so it has one minimum, which a
    golden-section search over log T finds.
    """
    ratio = (np.sqrt(5.0) - 1) / 2
    low, high = np.log(LOW), np.log(HIGH)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = _loss(logits, labels, left), _loss(logits, labels, right)
    while high - low > 1e-4:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = _loss(logits, labels, left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = _loss(logits, labels, right)
    return float(np.exp((low + high) / 2))


def softmax(logits: Array) -> Array:
    """Probabilities (rows, classes) of logits."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _loss(logits: Array, labels: Array, log_temperature: float) -> float:
    scaled = logits / np.exp(log_temperature)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    picked = scaled[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - picked))
