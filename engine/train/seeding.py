"""Randomness as a function of where in a run one is, so that any step can be drawn again."""

from __future__ import annotations

import zlib

import numpy as np
import torch

# What is drawn; part of every key, so that two draws at one step are independent.
ORDER, MIXUP, DROPOUT, HEAD, PROJECTION, CORPUS, NOISE = range(7)


def key(seed: int, purpose: int, stage: str, *place: int) -> list[int]:
    """The entropy of one draw: (seed, purpose, stage, place...); place is an epoch, or a step and its micro-step."""
    return [seed, purpose, zlib.crc32(stage.encode()), *place]


def generator(seed: int, purpose: int, stage: str, *place: int) -> np.random.Generator:
    """NumPy's generator for one draw."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key(seed, purpose, stage, *place))))


def integer(seed: int, purpose: int, stage: str, *place: int) -> int:
    """A 63-bit seed for generators that take one number."""
    state = np.random.SeedSequence(key(seed, purpose, stage, *place)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def seed_torch(seed: int, purpose: int, stage: str, *place: int) -> None:
    """Set PyTorch's global generators, which dropout draws from."""
    torch.manual_seed(integer(seed, purpose, stage, *place))
