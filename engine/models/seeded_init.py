"""Drawing weights from a seed of their own, without touching the generator that the run draws from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is drawn on the CPU inside comes from `seed`; afterwards the generator is where it was.

    `torch.manual_seed` would do the same to the generators of every GPU, which nobody puts back.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def draw_linear(layer: nn.Linear, scale: float, generator: torch.Generator) -> None:
    """Fresh weights from N(0, scale²), bias zero: as BERT draws them."""
    with torch.no_grad():
        layer.weight.normal_(0.0, scale, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()


def initial_range(width: int) -> float:
    """The standard deviation that a model from scratch draws its weights with: BERT's 0.02 for its width of 768, and as
    1 / √width for others. At 0.02 a narrow model stays on its first plateau for long."""
    return round(0.02 * math.sqrt(768 / width), 4)
