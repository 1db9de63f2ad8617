"""The fonts of the page."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fontTools.ttLib import TTFont

from crild_tui.serve import fonts


def opened(name: str) -> Any:
    return TTFont(io.BytesIO(fonts.font(name)))


@pytest.mark.parametrize("name", fonts.NAMES)
def test_all_have_cells_of_one_size(name: str) -> None:
    font = opened(name)
    widths = {font["hmtx"][glyph][0] for glyph in font.getBestCmap().values()}
    assert {fonts.WIDTH} == widths - {0}
    assert (font["hhea"].ascent, -font["hhea"].descent) == (fonts.ASCENT, fonts.DESCENT)
    assert font["head"].unitsPerEm == fonts.UNITS


def test_together_they_have_every_sign_of_the_dashboard() -> None:
    known = set(opened("regular.ttf").getBestCmap()) | set(opened("braille.ttf").getBestCmap())
    signs = "─│┤├┬└━▁▂▃▄▅▆▇█▌▸▾▲▼◂◀●○◉★✓✗·…×±−λΣ√≈→←" + "".join(map(chr, range(0x2800, 0x2900)))
    assert {sign for sign in signs if ord(sign) not in known} == set()


@pytest.mark.parametrize(
    ("sign", "dots"),
    [
        ("⠀", ()),
        ("⠁", ((0, 0),)),
        ("⡀", ((0, 3),)),
        ("⢀", ((1, 3),)),
        ("⠘", ((1, 0), (1, 1))),
        ("⣿", tuple(fonts.DOTS)),
    ],
)
def test_each_dot_is_where_unicode_has_it(sign: str, dots: tuple[tuple[int, int], ...]) -> None:
    font = opened("braille.ttf")
    glyph = font["glyf"][font.getBestCmap()[ord(sign)]]
    found = {(part.x, part.y) for part in glyph.components} if glyph.isComposite() else set()
    assert found == {fonts.centre(column, line) for column, line in dots}


def test_dots_have_one_distance_within_and_between_cells() -> None:
    across = [fonts.centre(column, 0)[0] for column in (0, 1)]
    down = [fonts.centre(0, line)[1] for line in range(4)]
    assert across[1] - across[0] == pytest.approx(across[0] + fonts.WIDTH - across[1], abs=1)
    steps = [
        above - below for above, below in zip(down, [*down[1:], down[0] - fonts.ASCENT - fonts.DESCENT], strict=True)
    ]
    assert steps == pytest.approx([596] * 4, abs=1)
