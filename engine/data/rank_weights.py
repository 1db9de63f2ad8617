"""Rankings of classes as probabilities: rank-order centroid weights. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Rankings of classes, sorted from the first class to the last in each row; all arrays are (rows, classes).

    `order` are the columns of the classes, `first` and `last` the positions, from 0, that a class shares with those of its
    rank, `ranks` their ranks: infinite where a class has none, which puts it after all that are ranked.
    """

    order: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    ranks: Numbers

    @classmethod
    def of(cls, ranks: Numbers, missing: npt.NDArray[np.bool_]) -> Ranking:
        """Ranks (rows, classes), 1 being the first, equal ones of classes that are as good; `missing` marks those not ranked."""
        known = np.where(missing, np.inf, ranks)
        order = np.argsort(known, axis=1, kind="stable")
        in_order = np.take_along_axis(known, order, axis=1)
        positions = np.arange(known.shape[1])
        differs = in_order[:, 1:] != in_order[:, :-1]
        starts, ends = (np.insert(differs, place, True, axis=1) for place in (0, len(positions) - 1))
        first = np.maximum.accumulate(np.where(starts, positions, 0), axis=1)
        last = np.minimum.accumulate(np.where(ends, positions, len(positions))[:, ::-1], axis=1)[:, ::-1]
        return cls(order, first, last, in_order)

    def has_gaps(self) -> npt.NDArray[np.bool_]:
        """Whether a row's ranks leave some out (rows,): neither 1, 2, 2, 3 nor 1, 2, 2, 4, where a tie takes the ranks up."""
        starts = self.first == np.arange(self.first.shape[1])
        counted = (np.cumsum(starts, axis=1) == self.ranks) | np.isinf(self.ranks)
        skipped = (self.first + 1 == self.ranks) | np.isinf(self.ranks)
        gaps: npt.NDArray[np.bool_] = ~(counted.all(axis=1) | skipped.all(axis=1))
        return gaps

    def weights(self) -> Numbers:
        """Probabilities (rows, classes), in the order of the columns.

        The class at position k of n weighs (1/k + 1/(k+1) + ... + 1/n) / n: the mean of all probabilities with this order, each
        being as likely (Barron and Barrett, 1996, "Decision quality using ranked attribute weights"). Classes that share
        positions count as the mean of their weights.
        """
        count = self.order.shape[1]
        weights = np.cumsum(1 / np.arange(count, 0, -1))[::-1] / count
        until = np.concatenate(([0.0], np.cumsum(weights)))
        shared = (until[self.last + 1] - until[self.first]) / (self.last + 1 - self.first)
        found: Numbers = np.empty_like(shared)
        np.put_along_axis(found, self.order, shared, axis=1)
        return found
