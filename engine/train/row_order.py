"""Which rows a stage's steps read, and in what order: known before its first step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.data.batches import Indices, epoch_batches
from engine.train import seeding
from engine.train.settings import StageSettings


def batches_of(settings: StageSettings, lengths: npt.NDArray[np.int64], epoch: int) -> list[Indices]:
    """The batches of one epoch of a stage, one for each step; `lengths` (rows,) are the tokens of its inputs."""
    entropy = seeding.key(settings.seed, seeding.ORDER, settings.name, epoch)
    return epoch_batches(lengths, settings.batch_size, entropy)


def rows_read(settings: StageSettings, lengths: npt.NDArray[np.int64]) -> Indices:
    """The rows that the whole stage reads, ascending: all of them, or those of its first steps if it ends within an epoch.

    The same whether the stage starts, resumes, or ends early.
    """
    steps = settings.total_steps(len(lengths))
    if steps >= settings.steps_per_epoch(len(lengths)):
        return np.arange(len(lengths), dtype=np.int64)
    return np.sort(np.concatenate(batches_of(settings, lengths, epoch=0)[:steps]))
