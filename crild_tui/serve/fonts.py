"""The fonts of the page. A browser's own may lack the signs of charts, or have them in another width."""

from __future__ import annotations

import io
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

NAMES = {
    "regular.ttf": "DejaVuSansMono.ttf",
    "bold.ttf": "DejaVuSansMono-Bold.ttf",
    "italic.ttf": "DejaVuSansMono-Oblique.ttf",
    "bold-italic.ttf": "DejaVuSansMono-BoldOblique.ttf",
    "braille.ttf": "",
}
"""What the page asks for, and the files of matplotlib that it gets. Those have every sign but braille."""
UNITS, WIDTH, ASCENT, DESCENT = 2048, 1233, 1901, 483
"""Of DejaVu Sans Mono: units of an em, of the width of a cell, of its height above and below the line."""
RADIUS = 210
"""Of a dot."""
_EIGHTHS = [math.pi * eighth / 4 for eighth in range(0, -8, -1)]
FIRST = 0x2800
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and line of the dot that each bit of a sign stands for (Unicode, braille patterns)."""


@cache
def font(name: str) -> bytes:
    """The bytes of a font in `NAMES`, as TrueType."""
    return _of_matplotlib(NAMES[name]) if NAMES[name] else braille()


def _of_matplotlib(name: str) -> bytes:
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name).read_bytes()


def braille() -> bytes:
    """A font of the 256 braille patterns whose dots have the same distance within a cell and between cells."""
    names = [".notdef", "dot", *(f"braille{bits:02x}" for bits in range(256))]
    builder: Any = FontBuilder(UNITS, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({FIRST + bits: f"braille{bits:02x}" for bits in range(256)})
    glyphs = {".notdef": TTGlyphPen(None).glyph(), "dot": _dot()}
    for bits in range(256):
        pen: Any = TTGlyphPen(glyphs)
        for bit, (column, line) in enumerate(DOTS):
            if bits & 1 << bit:
                pen.addComponent("dot", (1, 0, 0, 1, *centre(column, line)))
        glyphs[f"braille{bits:02x}"] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (WIDTH, 0)))
    builder.setupHorizontalHeader(ascent=ASCENT, descent=-DESCENT)
    builder.setupNameTable({"familyName": "crild braille", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=ASCENT, usWinAscent=ASCENT, usWinDescent=DESCENT)
    builder.setupPost()
    out = io.BytesIO()
    builder.save(out)
    return out.getvalue()


def centre(column: int, line: int) -> tuple[int, int]:
    """Where a dot is in a cell: to the right, and above the line of writing."""
    high = (ASCENT + DESCENT) / 4
    return round(WIDTH * (2 * column + 1) / 4), round(ASCENT - high * (line + 0.5))


def _dot() -> Any:
    """A round dot: eight points around a circle, between which the curve touches it."""
    pen: Any = TTGlyphPen(None)
    reach = RADIUS / math.cos(math.pi / 8)
    pen.qCurveTo(*((reach * math.cos(turn), reach * math.sin(turn)) for turn in _EIGHTHS), None)
    pen.closePath()
    return pen.glyph()
