"""Turn curves into braille dots, two by four in a cell, and dots into characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crild_tui.charts.traces import DotColumns, Ints
from crild_tui.monitor.curves import Floats

Bits = NDArray[np.uint8]
Dots = NDArray[np.bool_]
"""(dot rows, dot columns), the first row at the top."""
ACROSS, DOWN = 2, 4
BRAILLE = 0x2800
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
EMPTY = -1


@dataclass(frozen=True, eq=False)
class Stroke:
    """A curve in dots: for each dot column the rows from `top` to `bottom`, both EMPTY if there is none."""

    top: Ints
    bottom: Ints

    def middle(self, column: int) -> int | None:
        """The middle row of a dot column; None if it is empty."""
        top, bottom = int(self.top[column]), int(self.bottom[column])
        return None if top == EMPTY else (top + bottom) // 2


def stroke(cut: DotColumns, count: int, rows: int, low: float, high: float) -> Stroke:
    """A curve over `count` dot columns and `rows` dot rows, from the value `low` at the bottom to `high` at the top.

    A column is filled from its smallest to its largest value and joined to its neighbours. Points further apart are
    joined by a straight line. NaN and breaks stay gaps.
    """
    known = np.flatnonzero(~np.isnan(cut.mean))
    top, bottom = np.full(count, EMPTY), np.full(count, EMPTY)
    if not len(known) or count < 1:
        return Stroke(top, bottom)
    # If a break is inside a column, the part after it takes the column, so that nothing joins the two.
    known = known[np.diff(cut.index[known], append=cut.index[known[-1]] + 1) > 0]
    index, part = cut.index[known], cut.part[known]
    # Neighbours in `known` are joined unless NaN or a break is between them.
    without = np.concatenate(([0], np.cumsum(np.isnan(cut.mean))))
    joined = (np.diff(without[known]) == 0) & (np.diff(part) == 0)
    middle = _rows(cut.mean[known], rows, low, high)
    tops, bottoms = _rows(cut.high[known], rows, low, high), _rows(cut.low[known], rows, low, high)
    inside = (index >= 0) & (index < count)
    top[index[inside]], bottom[index[inside]] = tops[inside], bottoms[inside]
    filled = top != EMPTY

    all_columns = np.arange(count)
    before = np.searchsorted(index, all_columns, side="right") - 1  # the last known column at or before each
    between = ~filled & (before >= 0) & (before < len(index) - 1)
    between[between] = joined[before[between]]
    if between.any():
        level = np.rint(np.interp(all_columns[between], index, middle)).astype(np.int64)
        top[between] = bottom[between] = level
    drawn = filled | between

    # The curve continues from the column before unless a gap starts between the two.
    first_in = np.searchsorted(index, all_columns, side="left")  # the first known one at or after each column
    runs_on = np.zeros(count, bool)
    runs_on[1:] = drawn[1:] & drawn[:-1]
    edge = runs_on & filled & (first_in > 0)
    runs_on[edge] = joined[first_in[edge] - 1]
    _join(top, bottom, runs_on)
    return Stroke(top, bottom)


def _rows(values: Floats, rows: int, low: float, high: float) -> Ints:
    with np.errstate(over="ignore"):  # far outside counts as outside
        share = (high / 2 - values / 2) / (high / 2 - low / 2)
    return np.rint(np.clip(np.nan_to_num(share), 0, 1) * (rows - 1)).astype(np.int64)


def _join(top: Ints, bottom: Ints, runs_on: Dots) -> None:
    """Extend neighbouring columns until they meet half-way."""
    falls = np.flatnonzero(runs_on[1:] & (top[1:] > bottom[:-1] + 1))  # rows count from the top
    rises = np.flatnonzero(runs_on[1:] & (bottom[1:] < top[:-1] - 1))
    down, up = (top[falls + 1] + bottom[falls]) // 2, (top[rises] + bottom[rises + 1]) // 2
    bottom[falls], top[falls + 1] = np.maximum(bottom[falls], down), np.minimum(top[falls + 1], down + 1)
    top[rises], bottom[rises + 1] = np.minimum(top[rises], up + 1), np.maximum(bottom[rises + 1], up)


def dots(drawn: Stroke, rows: int) -> Dots:
    """The stroke in a raster of `rows` dot rows."""
    row = np.arange(rows)[:, None]
    raster: Dots = (row >= drawn.top) & (row <= drawn.bottom) & (drawn.top != EMPTY)
    return raster


def dashes(count: int, rows: int, row: int) -> Dots:
    """A dashed horizontal line."""
    raster = np.zeros((rows, count), bool)
    raster[row] = np.arange(count) % 4 < 2
    return raster


def cells(raster: Dots) -> Bits:
    """(rows, columns) of cells, each with the eight bits of its dots in braille order."""
    rows, count = raster.shape
    blocks = raster.reshape(rows // DOWN, DOWN, count // ACROSS, ACROSS)
    summed: Bits = (blocks * _BITS[None, :, None, :]).sum(axis=(1, 3), dtype=np.uint8)
    return summed


@dataclass(frozen=True, eq=False)
class Layer:
    """Dots of one look. In each cell only the layers of the highest rank are drawn."""

    bits: Bits
    look: int
    rank: int


SHARE = 3
"""Cells after which overlapping curves alternate in colour, so that none hides the others."""


def compose(layers: Sequence[Layer], rows: int, count: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The characters of `rows` × `count` cells, blank without dots, and the look of each (EMPTY if blank)."""
    bits = np.zeros((rows, count), np.uint8)
    look = np.full((rows, count), EMPTY, np.int64)
    turn = np.arange(count) // SHARE
    for rank in sorted({layer.rank for layer in layers}, reverse=True):
        stack = np.stack([layer.bits for layer in layers if layer.rank == rank])
        looks = np.array([layer.look for layer in layers if layer.rank == rank])
        covers = stack > 0
        sharing = covers.sum(axis=0)
        fresh = (sharing > 0) & (look == EMPTY)
        chosen = covers & (covers.cumsum(axis=0) - 1 == turn % np.maximum(sharing, 1))
        look[fresh] = looks[chosen.argmax(axis=0)][fresh]
        bits[fresh] = np.bitwise_or.reduce(stack, axis=0)[fresh]
    codes = np.where(bits > 0, bits.astype(np.uint32) + BRAILLE, ord(" ")).astype(np.uint32)
    return codes, look
