"""Few-sample subsets and label noise, drawn with their own seed, so that every training seed sees the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.data.types import Example, TaskSpec

_SUBSET, _NOISE, _CORPUS = 1, 2, 3  # separate streams: asking for noise does not change which examples are drawn


def few_samples(examples: Sequence[Example], count: int, seed: int) -> tuple[Example, ...]:
    """Draw `count` of the examples, in their original order; each class keeps its share.

    Shares are rounded by largest remainder, and every class that exists keeps at least one example if `count` allows it.
    Scores (float labels) are drawn regardless of their value. Raises ValueError when there are fewer than `count`.
    """
    if count > len(examples):
        raise ValueError(f"{count:,} examples cannot be drawn from {len(examples):,}")
    generator = np.random.default_rng([seed, _SUBSET])
    order = generator.permutation(len(examples))
    labels = [example.label if isinstance(example.label, int) else 0 for example in examples]
    wanted = dict(zip(range(max(labels) + 1), shares(np.bincount(labels).tolist(), count), strict=True))
    chosen = []
    for row in order.tolist():
        if wanted[labels[row]] > 0:
            wanted[labels[row]] -= 1
            chosen.append(row)
    return tuple(examples[row] for row in sorted(chosen))


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


def noisy_labels(
    examples: Sequence[Example], share: float, spec: TaskSpec, seed: int
) -> tuple[tuple[Example, ...], int]:
    """Replace the labels of a share of the examples; returns the examples and the number of replaced labels.

    round(share · n) examples are drawn without replacement. A class becomes one of the other classes, with equal
    probability; a score becomes the score of another example (which may be equal).
    """
    generator = np.random.default_rng([seed, _NOISE])
    count = round(share * len(examples))
    if spec.kind == "regression" and len(examples) < 2:
        count = 0  # there is no other example to take a score from
    changed = list(examples)
    for row in sorted(generator.permutation(len(examples))[:count].tolist()):
        label = examples[row].label
        if spec.kind == "classification":
            assert isinstance(label, int)
            step = int(generator.integers(1, len(spec.labels)))
            changed[row] = replace(examples[row], label=(label + step) % len(spec.labels))
        else:
            step = int(generator.integers(1, len(examples)))
            changed[row] = replace(examples[row], label=examples[(row + step) % len(examples)].label)
    return tuple(changed), count


def drawn_rows(total: int, count: int, seed: int) -> list[int]:
    """Draw `count` of the rows 0 … total - 1 with equal probability, in ascending order; for inputs without labels."""
    generator = np.random.default_rng([seed, _CORPUS])
    return sorted(generator.choice(total, size=count, replace=False).tolist())
