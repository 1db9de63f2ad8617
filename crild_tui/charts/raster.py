"""A raster of braille dots, two by four in a cell, and how curves become dots and dots become characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crild_tui.charts.traces import Columns, Ints
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
    """A curve in dots: for each dot column the rows from `top` to `bottom`; EMPTY in both where there is none."""

    top: Ints
    bottom: Ints

    def at(self, column: int) -> int | None:
        """The row in the middle of a dot column; None where there is none."""
        top, bottom = int(self.top[column]), int(self.bottom[column])
        return None if top == EMPTY else (top + bottom) // 2


def stroke(cut: Columns, count: int, rows: int, low: float, high: float) -> Stroke:
    """A curve over `count` dot columns and `rows` dot rows, from the value `low` at the bottom to `high` at the top.

    A column is filled from its least to its largest value and joined to its neighbours. Between points that lie
    further apart runs a straight line. Points that have no number, and breaks, stay gaps.
    """
    known = np.flatnonzero(~np.isnan(cut.mean))
    top, bottom = np.full(count, EMPTY), np.full(count, EMPTY)
    if not len(known) or count < 1:
        return Stroke(top, bottom)
    # Two groups share a column where a break lies in it: the later one has it, so that nothing joins them.
    known = known[np.diff(cut.at[known], append=cut.at[known[-1]] + 1) > 0]
    at, part = cut.at[known], cut.part[known]
    # Neighbours in `known` are joined unless a point without a number, or a break, lies between them.
    without = np.concatenate(([0], np.cumsum(np.isnan(cut.mean))))
    joined = (np.diff(without[known]) == 0) & (np.diff(part) == 0)
    middle = _rows(cut.mean[known], rows, low, high)
    tops, bottoms = _rows(cut.high[known], rows, low, high), _rows(cut.low[known], rows, low, high)
    inside = (at >= 0) & (at < count)
    top[at[inside]], bottom[at[inside]] = tops[inside], bottoms[inside]
    filled = top != EMPTY

    all_columns = np.arange(count)
    before = np.searchsorted(at, all_columns, side="right") - 1  # the last known column at or before each
    between = ~filled & (before >= 0) & (before < len(at) - 1)
    between[between] = joined[before[between]]
    if between.any():
        level = np.rint(np.interp(all_columns[between], at, middle)).astype(np.int64)
        top[between] = bottom[between] = level
    there = filled | between

    # Does the curve run on from the column before? It does unless a gap begins between the two.
    first_in = np.searchsorted(at, all_columns, side="left")  # the first known one at or after each column
    runs_on = np.zeros(count, bool)
    runs_on[1:] = there[1:] & there[:-1]
    edge = runs_on & filled & (first_in > 0)
    runs_on[edge] = joined[first_in[edge] - 1]
    _join(top, bottom, runs_on)
    return Stroke(top, bottom)


def _rows(values: Floats, rows: int, low: float, high: float) -> Ints:
    with np.errstate(over="ignore"):  # far outside is outside
        share = (high / 2 - values / 2) / (high / 2 - low / 2)
    return np.rint(np.clip(np.nan_to_num(share), 0, 1) * (rows - 1)).astype(np.int64)


def _join(top: Ints, bottom: Ints, runs_on: Dots) -> None:
    """Let neighbours meet half-way."""
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
    """A horizontal line with as many dots as gaps."""
    raster = np.zeros((rows, count), bool)
    raster[row] = np.arange(count) % 4 < 2
    return raster


def cells(raster: Dots) -> Bits:
    """(rows, columns) of cells, each with the eight bits of its dots as braille has them."""
    rows, count = raster.shape
    blocks = raster.reshape(rows // DOWN, DOWN, count // ACROSS, ACROSS)
    summed: Bits = (blocks * _BITS[None, :, None, :]).sum(axis=(1, 3), dtype=np.uint8)
    return summed


@dataclass(frozen=True, eq=False)
class Layer:
    """Dots of one look. Of the layers in a cell only those of the highest rank are drawn."""

    bits: Bits
    look: int
    rank: int


SHARE = 3
"""Cells after which curves that lie on each other take turns in giving the colour, so that none hides the others."""


def compose(layers: Sequence[Layer], rows: int, count: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The characters of `rows` × `count` cells, blank where there is no dot, and the look of each (EMPTY where blank)."""
    bits = np.zeros((rows, count), np.uint8)
    look = np.full((rows, count), EMPTY, np.int64)
    turn = np.arange(count) // SHARE
    for rank in sorted({layer.rank for layer in layers}, reverse=True):
        stack = np.stack([layer.bits for layer in layers if layer.rank == rank])
        looks = np.array([layer.look for layer in layers if layer.rank == rank])
        here = stack > 0
        sharing = here.sum(axis=0)
        fresh = (sharing > 0) & (look == EMPTY)
        chosen = here & (here.cumsum(axis=0) - 1 == turn % np.maximum(sharing, 1))
        look[fresh] = looks[chosen.argmax(axis=0)][fresh]
        bits[fresh] = np.bitwise_or.reduce(stack, axis=0)[fresh]
    codes = np.where(bits > 0, bits.astype(np.uint32) + BRAILLE, ord(" ")).astype(np.uint32)
    return codes, look
