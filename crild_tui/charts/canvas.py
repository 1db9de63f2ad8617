"""A grid of character cells, each with a look; and the looks of a chart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

PLAIN, MUTED, TITLE, WARNING, LEVEL, FOCUS = range(6)
CURVE = 8
"""Looks from here on are the colours of curves."""
BOLD, DIM, REVERSE, BAR = 256, 512, 1024, 2048
"""Flags added to a look; BAR is the background of the title."""
KIND = 0xFF
"""Masks the look without flags."""
_COLORS = 248
"""Curves with distinct looks, a multiple of the colours of a palette."""

Span = tuple[str, int]
"""A piece of a row, and its look."""


def curve_look(color: int) -> int:
    """The look of the curve with this index in the palette."""
    return CURVE + color % _COLORS


class Canvas:
    """The grid. Text outside of it is dropped."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.codes: NDArray[np.uint32] = np.full((height, width), ord(" "), np.uint32)
        self.looks: NDArray[np.int64] = np.full((height, width), PLAIN, np.int64)

    def put(self, row: int, column: int, text: str, look: int = PLAIN, *, limit: int | None = None) -> int:
        """Write text up to the column `limit` (or the edge); returns the column after the text."""
        end = self.width if limit is None else min(limit, self.width)
        if not 0 <= row < self.height:
            return column
        for character in text:
            wide = cell_len(character)
            if not wide:
                continue
            if column + wide > end:
                break
            if column >= 0:
                self.codes[row, column] = ord(character)
                self.looks[row, column] = look
                if wide == 2:
                    self.codes[row, column + 1] = 0
                    self.looks[row, column + 1] = look
            column += wide
        return column

    def paste(self, other: Canvas, row: int, column: int) -> None:
        """Copy another canvas into this one, with its upper left cell at `row` and `column`; it must fit."""
        area = np.s_[row : row + other.height, column : column + other.width]
        self.codes[area], self.looks[area] = other.codes, other.looks

    def paint(self, row: int, look: int) -> None:
        """Add flags to the look of a whole row."""
        if 0 <= row < self.height:
            self.looks[row] |= look

    def spans(self) -> list[list[Span]]:
        """The rows, each in pieces of one look."""
        return [self._line(row) for row in range(self.height)]

    def _line(self, row: int) -> list[Span]:
        codes, looks = self.codes[row], self.looks[row]
        if not len(codes):
            return []
        cuts = [0, *(np.flatnonzero(np.diff(looks)) + 1).tolist(), self.width]
        text = codes.tobytes().decode("utf-32-le")
        return [(text[start:end].replace("\0", ""), int(looks[start])) for start, end in pairwise(cuts)]
