"""The three panels of runs as a picture, drawn by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from crild_tui.charts.figure import Figure, Line
from crild_tui.charts.palette import curve_color
from crild_tui.monitor.curves import Floats
from engine.report.figures import FAINT, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (8.0, 2.4)
"""Width, and height of a panel."""
DPI = 150
MARKED = 60
"""Evaluations up to which each has a dot."""
LEGEND_AT = 1.13
"""Where legends begin, in widths of a panel: beyond a scale at its right."""
FORMATS = (".png", ".svg")
AXES = {"step": "step", "epoch": "epoch", "time": "seconds"}


def picture(figures: Sequence[Figure], kind: str) -> bytes:
    """The figures below each other over one x axis; `kind` is one of `FORMATS`."""
    out = io.BytesIO()
    with drawing():
        page = Picture(figsize=(INCHES[0], INCHES[1] * len(figures)), dpi=DPI, layout="constrained")
        axes = page.subplots(len(figures), 1, sharex=True, squeeze=False)[:, 0]
        for each, figure in zip(axes, figures, strict=True):
            _draw(each, figure, named=each is axes[0])
        axes[-1].set_xlabel(AXES[figures[-1].axis])
        if kind == ".svg":
            FigureCanvasSVG(page)
        else:
            FigureCanvasAgg(page)
        page.savefig(out, format=kind[1:], metadata={"Date": None} if kind == ".svg" else None)
    return out.getvalue()


def _draw(axes: Axes, figure: Figure, *, named: bool) -> None:
    """Draw a figure; `named`: with the names of its stages."""
    axes.set_title(figure.title, loc="left")
    axes.set_xlim(figure.view.low, figure.view.high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=figure.axis == "step"))
    if figure.words == "metric":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figure.text(value)))
    if figure.log and not figure.linear:
        axes.set_yscale("log")
    handles = [_curve(axes, line) for line in figure.lines if np.isfinite(_with_gaps(line)[1]).any()]
    for level in figure.levels:
        dashes = "--" if level.sign == "T" else ":"
        handles.append(axes.axhline(level.value, color=FAINT, linestyle=dashes, label=level.label))
    for mark in figure.marks:
        if mark.value is None:
            axes.axvline(mark.x, color=FAINT, linewidth=0.6)
            if named:
                above = axes.get_xaxis_transform()
                axes.text(
                    mark.x, 1.0, f" {mark.label}", transform=above, va="top", fontsize=8, color=FAINT, clip_on=True
                )
        else:
            axes.plot([mark.x], [mark.value], color=curve_color(mark.color, dark=False), marker="*", markersize=10)
    if handles:
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(LEGEND_AT, 1.0))
    else:
        axes.text(0.5, 0.5, figure.empty, transform=axes.transAxes, ha="center", va="center", color=FAINT)


def _curve(axes: Axes, line: Line) -> Line2D:
    """Draw a curve, on a scale of its own at the right if it has one; returns it for the legend."""
    own = axes.twinx() if line.own_scale else axes
    x, y = _with_gaps(line)
    (drawn,) = own.plot(
        x, y, color=curve_color(line.color, dark=False), label=f"{line.label} (right)" if line.own_scale else line.label,
        linestyle="--" if line.own_scale else "-", marker="o" if line.dots and len(x) < MARKED else "", markersize=3,
    )  # fmt: skip
    if line.own_scale:
        own.set_ylim(bottom=0)
        own.grid(visible=False)
        own.spines["right"].set_visible(True)
    return drawn


def _with_gaps(line: Line) -> tuple[Floats, Floats]:
    """The points of a curve, with a NaN at each break and without the parts that are not drawn."""
    x, y = line.trace.x, line.trace.y
    part = np.searchsorted(np.asarray(line.breaks), x, side="left")
    y = np.where(np.isin(part, list(line.hidden)), np.nan, y)
    cuts = np.flatnonzero(np.diff(part)) + 1
    return np.insert(x, cuts, x[cuts]), np.insert(y, cuts, np.nan)
