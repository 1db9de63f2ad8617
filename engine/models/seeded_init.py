"""Draw weights from their own seed, without changing the global random generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator inside the block, and restore its state afterwards.

    `torch.manual_seed` would also seed the generators of every GPU, which this does not restore.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def initial_range(width: int) -> float:
    """The standard deviation of the weights of a model from scratch: BERT's 0.02 at its width of 768, else as 1 / √width.

    At 0.02 a narrow model stays on its first plateau for long.
    """
    return round(0.02 * math.sqrt(768 / width), 4)
