"""The data that a chart shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crild_tui.charts.traces import Trace
from crild_tui.monitor.curves import Axis
from crild_tui.runs import formatting
from engine.report.units import POINTS

Words = Literal["loss", "metric", "rate", "number", "gigabytes"]
"""How values are written: metrics times 100, others as in the line of figures above the panels."""
GIGA = 1e9
LARGEST = 1e15
"""Where values are written with an exponent, whatever they are."""
BEST = "★"


@dataclass(frozen=True)
class View:
    """A part of the x axis."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Line:
    """A curve. `color` is its index in the palette; the marker means the same without colour."""

    label: str
    trace: Trace
    color: int
    marker: str
    behind: Trace | None = None
    """The curve before smoothing, drawn dimmed behind it."""
    dots: bool = False
    """Whether its points are figures in their own right (evaluations), each with a marker if there is room."""
    own_scale: bool = False
    """Whether it is drawn from 0 to its largest value over the full height, on its own scale."""
    counted: bool = False
    """Whether the title bar reports how many of its points are NaN."""
    breaks: tuple[float, ...] = ()
    """Where it starts over: points on both sides aren't joined."""
    hidden: frozenset[int] = frozenset()
    """Parts between two breaks, counted from 0 before the first, that are not drawn."""
    has_value: bool = True
    """Whether the legend has its current value. Points in no order have none."""
    since: float = -math.inf
    """Only points after this x count for `last`: a term of an earlier stage has no current value."""

    @property
    def last(self) -> float | None:
        """The current value; None if there is none."""
        return self.trace.newest(since=self.since)

    @property
    def points(self) -> Trace:
        """The curve as it was measured."""
        return self.trace if self.behind is None else self.behind


@dataclass(frozen=True)
class Level:
    """A figure to compare the curves with: a dashed line with its name at the right."""

    value: float
    label: str
    sign: str
    """A letter that stands for the label if there is no room for it."""


@dataclass(frozen=True)
class Mark:
    """The beginning of a stage or, with a value, a single point."""

    x: float
    label: str
    value: float | None = None
    color: int = 0


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart: what it shows, and which part of it."""

    title: str
    lines: tuple[Line, ...] = ()
    levels: tuple[Level, ...] = ()
    marks: tuple[Mark, ...] = ()
    view: View = View(0.0, 1.0)
    """The part of the x axis in view."""
    axis: Axis = "step"
    across: str = ""
    """What the x axis is called, where that is neither steps, epochs nor time."""
    scaled: View | None = None
    """The part of the x axis whose values the scale fits; None for all that is in view."""
    log: bool = False
    linear: bool = False
    """Never on a log scale, where a share or a correlation makes no sense."""
    cursor: float | None = None
    smoothing: float = 0.0
    """How much its curves are smoothed."""
    words: Words = "loss"
    empty: str = "nothing yet"
    """Shown if there is nothing to draw."""

    @property
    def unit(self) -> float:
        """What values are multiplied by where they are written."""
        return POINTS if self.words == "metric" else 1

    def text(self, value: float) -> str:
        """A value as a legend has it."""
        if not math.isfinite(value) or abs(value) > LARGEST:  # a damaged event may hold anything
            return formatting.loss(value * self.unit)
        if self.words == "metric" and abs(value) <= 100:
            return formatting.metric(value)
        if self.words == "rate":
            return formatting.rate(value)
        if self.words == "number":
            return formatting.number(value)
        return formatting.size(value * GIGA) if self.words == "gigabytes" else formatting.loss(value * self.unit)

    @property
    def outside(self) -> bool:
        """Whether there are curves, but none of them has a value in view."""
        view = self.view
        return bool(self.lines) and not any(
            np.isfinite(line.points.within(view.low, view.high)).any() for line in self.lines
        )
