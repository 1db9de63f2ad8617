"""The layout of a grid of small charts: as many as a terminal holds, in pages. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

LEAST_WIDTH, LEAST_HEIGHT = 36, 7
"""Cells of the smallest chart that still has a scale, a curve and an x axis."""
RATIO = 4.0
"""Columns for each row of a chart that is easy to read."""
GAP = 1
"""Columns between two charts."""


@dataclass(frozen=True)
class Cell:
    """Where a chart is in the grid."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Grid:
    """A grid of `columns` × `rows` charts in `width` × `height` cells; at least one chart."""

    columns: int
    rows: int
    width: int
    height: int

    @property
    def size(self) -> int:
        """Charts on a page."""
        return self.columns * self.rows

    def pages(self, count: int) -> int:
        """Pages for so many charts; at least one."""
        return max(-(-count // self.size), 1)

    def page_of(self, index: int) -> int:
        """The page of a chart, counted from 0."""
        return index // self.size

    def cell(self, index: int) -> Cell:
        """Where the chart with this index on its page is: row by row, all of the area used."""
        row, column = divmod(index % self.size, self.columns)
        left, right = (self.width * edge // self.columns for edge in (column, column + 1))
        top, bottom = (self.height * edge // self.rows for edge in (row, row + 1))
        return Cell(left, top, max(right - left - GAP, 0), bottom - top)


def fitted(count: int, width: int, height: int) -> Grid:
    """The grid for `count` charts: of those that hold all of them the one with the best proportions, else the largest."""
    most_columns, most_rows = max(width // (LEAST_WIDTH + GAP), 1), max(height // LEAST_HEIGHT, 1)
    whole = [
        Grid(columns, -(-count // columns), width, height)
        for columns in range(1, most_columns + 1)
        if 0 < -(-count // columns) <= most_rows
    ]
    return min(whole, key=_distortion, default=Grid(most_columns, most_rows, width, height))


def _distortion(grid: Grid) -> float:
    ratio = max(grid.width // grid.columns, 1) / max(grid.height // grid.rows, 1)
    return max(ratio / RATIO, RATIO / ratio)


def moved(index: int, count: int, columns: int, key: str) -> int:
    """The chart that is left, right, up or down of one in a grid; the same one at an edge."""
    step = {"left": -1, "right": 1, "up": -columns, "down": columns}[key]
    there = index + step
    if 0 <= there < count:
        return there
    return count - 1 if key == "down" and count and index // columns < (count - 1) // columns else index


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern finds a name: any of its words, in capitals or not, `*` and `?` standing for other characters.

    A word without them is found anywhere in the name; no word finds everything.
    """
    name = name.casefold()
    words = pattern.casefold().split()
    return not words or any(fnmatchcase(name, word) if set(word) & set("*?[") else word in name for word in words)
