"""Choose what a step reads: of each group of candidates those whose answers the student, as it is then, gets most wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import Indices, collate, evaluation_batches
from engine.data.candidates import Choice
from engine.data.tokens import TokenSet
from engine.train.ranks import ALONE, Ranks
from engine.train.step import StepLosses

BATCH = 64
"""Candidates in one forward pass."""


@dataclass(frozen=True)
class Chosen:
    """The rows that a step reads, and how far the student's answers to what was compared are from the teacher's."""

    rows: Indices
    compared: npt.NDArray[np.float64]
    """Divergences (compared,); none of rows that are always read."""
    worst: npt.NDArray[np.float64]
    """Those of the rows among them that were chosen."""


def chosen(
    choice: Choice, losses: StepLosses, tokens: TokenSet, *, device: torch.device, pad_id: int, ranks: Ranks = ALONE
) -> Chosen:
    """What a step reads of its candidates, after Glitter (Kamalloo et al. 2022): one forward pass of the student over them.

    A function of the student's weights and of the candidates, so that a resumed run chooses the same. Of several processes each
    takes every n-th batch, and all choose alike. Raises RunError when another process was lost.
    """
    compared = choice.rows[choice.is_open]
    found = np.zeros(len(compared))
    for number, places in enumerate(evaluation_batches(tokens.lengths[compared], BATCH)):
        if number % ranks.world == ranks.rank:
            part = collate(tokens, compared[places], pad_id=pad_id).to(device)
            found[places] = losses.divergences(part).numpy()
    ranks.sum(torch.from_numpy(found))
    values = np.zeros(len(choice.rows))
    values[choice.is_open] = found
    is_read = choice.worst(values)
    return Chosen(choice.rows[is_read], found, values[is_read & choice.is_open])
