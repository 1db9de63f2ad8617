"""Few-sample subsets and label noise, drawn with a seed of their own so that they are the same for every training seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.data.types import Example, TaskSpec

_SUBSET, _NOISE, _CORPUS = 1, 2, 3  # separate streams: asking for noise does not change which examples are drawn


def few_samples(examples: Sequence[Example], count: int, seed: int) -> tuple[Example, ...]:
    """Draws `count` of the examples, in their old order, each class keeping its share.

    Shares are rounded by largest remainder, and a class of which there is any keeps at least one example where `count`
    allows that. Scores (float labels) are drawn without regard to their value. Raises ValueError when there are fewer
    than `count`.
    """
    if count > len(examples):
        raise ValueError(f"{count:,} examples cannot be drawn from {len(examples):,}")
    generator = np.random.default_rng([seed, _SUBSET])
    order = generator.permutation(len(examples))
    labels = [example.label if isinstance(example.label, int) else 0 for example in examples]
    wanted = dict(zip(range(max(labels) + 1), shares(np.bincount(labels).tolist(), count), strict=True))
    kept = []
    for row in order.tolist():
        if wanted[labels[row]] > 0:
            wanted[labels[row]] -= 1
            kept.append(row)
    return tuple(examples[row] for row in sorted(kept))


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """Divides `count` over classes of the given sizes: in proportion, by largest remainder, none that exists left out.

    Needs count <= sum(sizes); gives no class more than it has.
    """
    total = sum(sizes)
    exact = [size * count / total for size in sizes]
    given = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda at: (given[at] - exact[at], at))
    for at in by_remainder[: count - sum(given)]:
        given[at] += 1
    for at, size in enumerate(sizes):
        largest = max(range(len(sizes)), key=lambda other: given[other])
        if size and not given[at] and given[largest] > 1:
            given[at], given[largest] = 1, given[largest] - 1
    return given


def noisy_labels(
    examples: Sequence[Example], share: float, spec: TaskSpec, seed: int
) -> tuple[tuple[Example, ...], int]:
    """Replaces the labels of a share of the examples, and counts them.

    round(share · n) examples are drawn without replacement. A class becomes another class, each of the others equally
    likely; a score becomes the score of another example (which may happen to be equal).
    """
    generator = np.random.default_rng([seed, _NOISE])
    count = round(share * len(examples))
    if spec.kind == "regression" and len(examples) < 2:
        count = 0  # there is no other example whose score could be taken
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
    """`count` of the rows 0 … total - 1, each equally likely, in rising order; for inputs without labels."""
    generator = np.random.default_rng([seed, _CORPUS])
    return sorted(generator.choice(total, size=count, replace=False).tolist())
