"""Few-sample subsets and label noise, drawn with their own seed, so that every training seed sees the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.data.examples import Examples
from engine.data.types import Example, TaskSpec

_SUBSET, _NOISE, _CORPUS = 1, 2, 3  # separate streams: asking for noise does not change which examples are drawn


def few_samples(examples: Sequence[Example], count: int, seed: int) -> Examples:
    """Draw `count` of the examples, in their original order; each class keeps its share.

    Shares are rounded by largest remainder, and every class that exists keeps at least one example if `count` allows it.
    Scores, and several labels for a text, are drawn regardless of their values. Of examples with groups, whole groups are
    drawn, the last one cut where `count` ends, regardless of labels. Raises ValueError when there are fewer than `count`.
    """
    if count > len(examples):
        raise ValueError(f"{count:,} examples cannot be drawn from {len(examples):,}")
    generator = np.random.default_rng([seed, _SUBSET])
    order = generator.permutation(len(examples))
    rows = Examples.of(examples)
    if rows.groups is not None:
        numbers = np.unique(rows.groups, return_inverse=True)[1]
        place = generator.permutation(int(numbers.max()) + 1)[numbers]
        return rows.take(np.sort(np.argsort(place, kind="stable")[:count]))
    labels = np.zeros(len(rows), np.int64)
    if rows.labels is not None and rows.labels.dtype == np.int64:
        labels = rows.labels
    elif rows.labels is not None and rows.labels.dtype == object:
        labels = np.array([label if isinstance(label, int) else 0 for label in rows.labels.tolist()], np.int64)
    drawn = [
        order[labels[order] == label][:share] for label, share in enumerate(shares(np.bincount(labels).tolist(), count))
    ]
    return rows.take(np.sort(np.concatenate(drawn)))


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """Divide `count` among classes of these sizes: in proportion, by largest remainder, at least 1 per existing class.

    Requires count <= sum(sizes); no class gets more than its size.
    """
    total = sum(sizes)
    exact = [size * count / total for size in sizes]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda index: (counts[index] - exact[index], index))
    for index in by_remainder[: count - sum(counts)]:
        counts[index] += 1
    for index, size in enumerate(sizes):
        largest = max(range(len(sizes)), key=lambda other: counts[other])
        if size and not counts[index] and counts[largest] > 1:
            counts[index], counts[largest] = 1, counts[largest] - 1
    return counts


def noisy_labels(examples: Sequence[Example], share: float, spec: TaskSpec, seed: int) -> tuple[Examples, int]:
    """Replace the labels of a share of the examples; returns the examples and the number of replaced labels.

    round(share · n) examples are drawn without replacement. A class becomes one of the other classes, with equal
    probability; a score, or a set of labels, becomes that of another example (which may be equal).
    """
    generator = np.random.default_rng([seed, _NOISE])
    count = round(share * len(examples))
    if spec.kind != "classification" and len(examples) < 2:
        count = 0  # there is no other example to take labels from
    rows = Examples.of(examples)
    if not count or rows.labels is None:
        return rows, count
    changed = rows.labels.copy()
    for row in np.sort(generator.permutation(len(rows))[:count]).tolist():
        if spec.kind == "classification":
            step = int(generator.integers(1, len(spec.labels)))
            changed[row] = (rows.labels[row] + step) % len(spec.labels)
        else:
            step = int(generator.integers(1, len(rows)))
            changed[row] = rows.labels[(row + step) % len(rows)]
    return replace(rows, labels=changed), count


def drawn_rows(total: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw `count` of the rows 0 … total - 1 with equal probability, in ascending order; for inputs without labels."""
    generator = np.random.default_rng([seed, _CORPUS])
    return np.sort(generator.choice(total, size=count, replace=False)).astype(np.int64, copy=False)
