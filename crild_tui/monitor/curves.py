"""The curves of a run as columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""A column of numbers: positions on an axis with 64 bits, values with 32, since events hold seven digits of them."""
Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = ("step", "epoch", "time")
"""The x axes a chart can have."""


TEACHER = "teacher"
"""The stage that fine-tunes the teacher, and the model that it trains."""


def _empty() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Table:
    """Figures at rising moments of a run. All columns have the same length; NaN marks an unknown figure.

    A table equals only itself: columns aren't compared, and a watcher returns the same table while nothing is new.

    step: optimiser steps, the stages laid end to end. epoch: passes over the data, likewise. time: seconds of training;
    the time between two attempts is left out. values: figures by name. terms: terms of the loss by name.
    """

    step: Floats = field(default_factory=_empty)
    epoch: Floats = field(default_factory=_empty)
    time: Floats = field(default_factory=_empty)
    values: Mapping[str, Floats] = field(default_factory=dict)
    terms: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.step)

    def axis(self, name: Axis) -> Floats:
        """Positions on an axis."""
        return {"step": self.step, "epoch": self.epoch, "time": self.time}[name]

    def after(self, step: float) -> Table:
        """The rows after a step."""
        first = int(np.searchsorted(self.step, step, "right"))
        values, terms = ({name: column[first:] for name, column in part.items()} for part in (self.values, self.terms))
        return Table(self.step[first:], self.epoch[first:], self.time[first:], values, terms)

    def since(self, border: Border) -> Table:
        """The rows after a border, counted from it."""
        rows = self.after(border.step)
        return replace(
            rows, step=rows.step - border.step, epoch=rows.epoch - border.epoch, time=rows.time - border.time
        )


@dataclass(frozen=True)
class Border:
    """Where a stage begins, on each axis."""

    stage: str
    step: float
    epoch: float
    time: float

    def on(self, axis: Axis) -> float:
        """Its position on an axis."""
        return {"step": self.step, "epoch": self.epoch, "time": self.time}[axis]


@dataclass(frozen=True)
class Curves:
    """All curves of one run.

    steps: values `loss`, `consistency`, `weight` (of the consistency), `learning rate`, `gradient norm`, `examples/s`,
    `tokens/s`, `memory` (bytes), `divergence of chosen` and `divergence of candidates` (`select`), and the terms of the loss.
    evaluations: by model (`student`, `self-teacher`, `teacher`, `baseline`; a second dev set as `student (mismatched)`),
    a value for each metric, `loss` (the stage's, on dev, with its terms) and `label loss`.
    complete: False while only a sample of a long run has been read.
    """

    steps: Table = field(default_factory=Table)
    evaluations: Mapping[str, Table] = field(default_factory=dict)
    borders: tuple[Border, ...] = ()
    complete: bool = True

    def without_teacher(self) -> Curves:
        """The stages after the teacher's, counted from where it ended: so a run that fine-tuned its teacher stands beside one
        that took it from the cache. Everything where there is no such stage, or nothing after it yet."""
        if len(self.borders) < 2 or self.borders[0].stage != TEACHER:
            return self
        start = self.borders[1]
        return Curves(
            self.steps.since(start),
            {model: table.since(start) for model, table in self.evaluations.items()},
            tuple(
                Border(b.stage, b.step - start.step, b.epoch - start.epoch, b.time - start.time)
                for b in self.borders[1:]
            ),
            self.complete,
        )
