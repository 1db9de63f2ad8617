"""The curves of a run as columns of numbers, and pure functions that cut, thin and smooth them for a chart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = ("step", "epoch", "time")
"""What can stand below a chart."""


def _empty() -> Floats:
    return np.empty(0)


@dataclass(frozen=True)
class Table:
    """Figures at rising moments of a run. All columns have one length; NaN stands where a figure is not known.

    step: optimiser steps, the stages laid end to end. epoch: passes over the data, likewise. time: seconds of work;
    what lies between two attempts is left out.
    """

    step: Floats = field(default_factory=_empty)
    epoch: Floats = field(default_factory=_empty)
    time: Floats = field(default_factory=_empty)
    values: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.step)

    def axis(self, name: Axis) -> Floats:
        """The column below the chart."""
        return {"step": self.step, "epoch": self.epoch, "time": self.time}[name]


@dataclass(frozen=True)
class Border:
    """Where a stage begins, on each axis."""

    stage: str
    step: float
    epoch: float
    time: float

    def at(self, axis: Axis) -> float:
        """Its place on an axis."""
        return {"step": self.step, "epoch": self.epoch, "time": self.time}[axis]


@dataclass(frozen=True)
class Curves:
    """All curves of one run.

    steps: columns `loss`, `consistency`, `weight` (of the consistency), `learning rate`, `gradient norm`,
    `examples/s`, `memory`, and one `term: <name>` for each objective.
    evaluations: by model (`student`, `self-teacher`, `teacher`, `baseline`; a second dev set as `student (mismatched)`),
    a column for each metric, and `loss`.
    complete: False while only a sample of a long run has been read.
    """

    steps: Table = field(default_factory=Table)
    evaluations: Mapping[str, Table] = field(default_factory=dict)
    borders: tuple[Border, ...] = ()
    complete: bool = True
