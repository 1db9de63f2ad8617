"""What a chart shows, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crild_tui.charts.traces import Trace
from crild_tui.monitor.curves import Axis

Words = Literal["loss", "metric"]
"""How values read in a legend."""
BEST = "★"


@dataclass(frozen=True)
class View:
    """A part of the axis below a chart."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Line:
    """A curve. `color` is its number in the palette; the marker says the same without colour."""

    label: str
    trace: Trace
    color: int
    marker: str
    behind: Trace | None = None
    """The curve before smoothing, drawn dimly behind."""
    dots: bool = False
    """Whether its points are figures in their own right (evaluations), each with a marker while there is room."""
    own_scale: bool = False
    """Whether it is drawn from 0 to its largest value over the full height, whatever the other curves' scale."""
    counted: bool = False
    """Whether each of its points should have a number, so that it is said how many have none."""
    breaks: tuple[float, ...] = ()
    """Where it begins anew: nothing is joined across."""
    hidden: frozenset[int] = frozenset()
    """The stretches between two breaks, counted from 0 before the first, in which it is not drawn."""
    since: float = -math.inf
    """Only a point after this place says what the curve shows now: a term of an earlier stage shows nothing."""

    @property
    def last(self) -> float | None:
        """What the curve shows at its end; None when that is nothing."""
        return self.trace.newest(since=self.since)

    @property
    def points(self) -> Trace:
        """The curve as it was measured."""
        return self.trace if self.behind is None else self.behind


@dataclass(frozen=True)
class Level:
    """A figure that the curves are held against: a dashed line with its name at the right."""

    value: float
    label: str
    sign: str
    """A letter that stands for the label where there is no room for it."""


@dataclass(frozen=True)
class Mark:
    """A place on the axis: the beginning of a stage, or, with a value, a point of its own."""

    at: float
    label: str
    value: float | None = None
    color: int = 0


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart: what is drawn, and which part of it."""

    title: str
    lines: tuple[Line, ...] = ()
    levels: tuple[Level, ...] = ()
    marks: tuple[Mark, ...] = ()
    view: View = View(0.0, 1.0)
    """The part of the axis that is shown."""
    axis: Axis = "step"
    log: bool = False
    linear: bool = False
    """Never on a log scale, as a share or a correlation makes no sense there."""
    cursor: float | None = None
    words: Words = "loss"
    empty: str = "nothing yet"
    """Said where there is nothing to draw."""

    @property
    def outside(self) -> bool:
        """Whether there are curves, but none of them has a value in view."""
        view = self.view
        return bool(self.lines) and not any(
            np.isfinite(line.points.within(view.low, view.high)).any() for line in self.lines
        )
