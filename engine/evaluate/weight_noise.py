"""Add Gaussian noise to a model's weights, to measure how wide the minimum is that training found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean, stdev
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


def direction(model: nn.Module, seed: int) -> list[Tensor]:
    """Noise for each parameter, of its shape and on its device: N(0, 1) times the parameter's root mean square.

    The root mean square is taken over all of a tensor, so a tensor of zeros (a fresh bias) stays unchanged, and
    scaling all weights scales the noise. Drawn on the CPU, so that all devices get the same.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = [parameter.detach() for parameter in model.parameters()]
    return [torch.randn(x.shape, generator=generator).to(x) * x.square().mean().sqrt() for x in parameters]


@contextmanager
def displaced(model: nn.Module, noise: Sequence[Tensor], scale: float) -> Iterator[None]:
    """Add `scale` times the noise to the model's parameters inside the block; restores them afterwards, bit for bit."""
    parameters = list(model.parameters())
    originals = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter, change in zip(parameters, noise, strict=True):
                parameter.add_(change, alpha=scale)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, originals, strict=True):
                parameter.copy_(value)


def under_noise(
    model: nn.Module, scales: Sequence[float], seeds: Sequence[int], measure: Callable[[float], T]
) -> dict[float, list[T]]:
    """The results of `measure(scale)` for each scale and seed, in the order of the seeds.

    A seed has one direction for all scales, so that a curve over scales is smooth.
    """
    results: dict[float, list[T]] = {scale: [] for scale in scales}
    for seed in seeds:
        noise = direction(model, seed)
        for scale, values in results.items():
            with displaced(model, noise, scale):
                values.append(measure(scale))
    return results


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (of a sample: divided by n − 1); None for a single value. NaN where a value is not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    return fmean(values), stdev(values) if len(values) > 1 else None
