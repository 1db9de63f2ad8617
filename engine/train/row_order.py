"""Which rows a stage's steps read, and in what order: known before its first step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.data.batches import Indices, epoch_batches, epoch_choices
from engine.data.candidates import Candidates, Choice
from engine.train import seeding
from engine.train.settings import StageSettings


def batches_of(settings: StageSettings, lengths: npt.NDArray[np.int64], epoch: int) -> list[Indices]:
    """The batches of one epoch of a stage, one for each step; `lengths` (rows,) are the tokens of its inputs."""
    entropy = seeding.key(settings.seed, seeding.ORDER, settings.name, epoch)
    return epoch_batches(lengths, settings.batch_size, entropy)


def choices_of(
    settings: StageSettings, lengths: npt.NDArray[np.int64], epoch: int, candidates: Candidates
) -> list[Choice]:
    """What the steps of one epoch choose from, one for each step, where a stage has candidates."""
    seeds = [
        seeding.key(settings.seed, purpose, settings.name, epoch) for purpose in (seeding.ORDER, seeding.CANDIDATES)
    ]
    return epoch_choices(candidates, lengths, settings.batch_size, *seeds)


def rows_read(settings: StageSettings, lengths: npt.NDArray[np.int64], candidates: Candidates | None = None) -> Indices:
    """The rows that the whole stage reads or compares, ascending: all of them, or those of its first steps if it ends within an
    epoch.

    The same whether the stage starts, resumes, or ends early.
    """
    per_epoch = len(lengths) if candidates is None else candidates.per_epoch
    steps = settings.total_steps(per_epoch)
    if steps >= settings.steps_per_epoch(per_epoch):
        return np.arange(len(lengths), dtype=np.int64)
    if candidates is None:
        read = batches_of(settings, lengths, epoch=0)[:steps]
    else:
        read = [choice.rows for choice in choices_of(settings, lengths, 0, candidates)[:steps]]
    return np.sort(np.concatenate(read))
