"""Candidates: rows of a stage that are compared in groups before a step, which reads the worst of each group.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

STAYS = -1
"""What stands for the group of a row that every epoch reads."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The rows that one step chooses from: those of its first group, then those of the next.

    `rows` (candidates,); `sizes` (groups,) and `take` (groups,) say how many rows a group has, and how many of them the step
    reads. A row that is always read is a group of its own.
    """

    rows: Rows
    sizes: Rows
    take: Rows

    @cached_property
    def is_open(self) -> npt.NDArray[np.bool_]:
        """Which rows must be compared, (candidates,): those of groups that are not taken whole."""
        return np.repeat(self.sizes > self.take, self.sizes)

    def worst(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which rows the step reads, (candidates,): those with the largest values of each group; of equals the first.

        `values` (candidates,) may be anything where nothing is compared. A value that is no number counts as the largest, so that
        a step reads the row and reports it.
        """
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        order = np.lexsort((-np.nan_to_num(values, nan=np.inf), group))
        starts = np.cumsum(self.sizes) - self.sizes
        rank = np.arange(len(order)) - starts[group]
        chosen = np.zeros(len(order), np.bool_)
        chosen[order[rank < self.take[group]]] = True
        return chosen


@dataclass(frozen=True, eq=False)
class Candidates:
    """What of a stage's rows is chosen from: in each epoch `worst` of each `of` rows (at least as many) with equal `groups` (rows,).

    Rows of the group `STAYS` are always read. A group's last part may have fewer rows, and gives as many as it has at most.
    """

    groups: Rows
    worst: int
    of: int

    @cached_property
    def per_epoch(self) -> int:
        """Inputs that an epoch trains on: the same in each."""
        _, counts = np.unique(self.groups[self.groups != STAYS], return_counts=True)
        parts = counts // self.of * self.worst + np.minimum(counts % self.of, self.worst)
        return int(parts.sum() + np.count_nonzero(self.groups == STAYS))

    def parts(self, seed: Sequence[int]) -> tuple[Rows, Rows]:
        """All rows (rows,), those of a part one after the other in an order that `seed` gives, and where each part begins (parts,)."""
        rows = np.random.default_rng(list(seed)).permutation(len(self.groups))
        rows = rows[np.argsort(self.groups[rows], kind="stable")]
        groups = self.groups[rows]
        begins = np.flatnonzero(np.diff(groups, prepend=STAYS - 1))  # where another group begins
        place = np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))
        return rows, np.flatnonzero((groups == STAYS) | (place % self.of == 0))
