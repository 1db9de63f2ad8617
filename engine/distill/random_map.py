"""Layer maps that are drawn at random (Haidar et al. 2022, RAIL-KD)."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from engine.distill.layer_maps import Flow, Pair


def draw(possible: Sequence[Pair], generator: np.random.Generator) -> Flow:
    """A map drawn at random: as many different teacher layers as the student has, in order.

    Args:
        possible: what `pairs` gives for "random".
        generator: draws among all sets of teacher layers, each as likely as any other.
    """
    teacher, student = possible[-1]
    chosen = sorted(int(layer) + 1 for layer in generator.choice(teacher, student, replace=False))
    return tuple(((t, s), 1.0) for s, t in enumerate(chosen, 1))


def mean_of_draws(possible: Sequence[Pair]) -> Flow:
    """How often each pair is part of a map that `draw` gives: shares that make a loss its mean over all draws.

    Teacher layer t is the s-th of a sorted draw of S from T in C(t - 1, s - 1)·C(T - t, S - s) of C(T, S) cases.
    """
    teacher, student = possible[-1]
    cases = comb(teacher, student)
    return tuple(((t, s), comb(t - 1, s - 1) * comb(teacher - t, student - s) / cases) for t, s in possible)
