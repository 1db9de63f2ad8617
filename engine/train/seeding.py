"""Randomness as a function of the position in a run, so that any step can be drawn again."""

from __future__ import annotations

import zlib

import numpy as np
import torch

# The purpose of a draw is part of its key, so that two draws at one step are independent. 3 and 5 are reserved: the
# numbers of the others must never change, or old runs could not be repeated.
ORDER, MIXUP, DROPOUT, PROJECTION, NOISE, COPIES, LAYERS, CANDIDATES = 0, 1, 2, 4, 6, 7, 8, 9


def key(seed: int, purpose: int, stage: str, *position: int) -> list[int]:
    """The entropy of one draw: (seed, purpose, stage, position): an epoch, or a step and its micro-step."""
    return [seed, purpose, zlib.crc32(stage.encode()), *position]


def generator(seed: int, purpose: int, stage: str, *position: int) -> np.random.Generator:
    """NumPy's generator for one draw."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key(seed, purpose, stage, *position))))


def integer(seed: int, purpose: int, stage: str, *position: int) -> int:
    """A 63-bit seed for generators that take one number."""
    state = np.random.SeedSequence(key(seed, purpose, stage, *position)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def seed_torch(seed: int, purpose: int, stage: str, *position: int) -> None:
    """Seed PyTorch's global generators, which dropout draws from."""
    torch.manual_seed(integer(seed, purpose, stage, *position))
