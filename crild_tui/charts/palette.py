"""Colours and markers of curves.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), distinguishable for colour-blind readers; each
also has its own marker, so that colour is never the only sign.
"""

from __future__ import annotations

CURVES_DARK = ("#56B4E9", "#E69F00", "#2FC08E", "#CC79A7", "#F0E442", "#D55E00", "#9AA7FF", "#B8B8B8")
CURVES_LIGHT = ("#0072B2", "#B05A00", "#00785A", "#A4467E", "#7A6A00", "#A83E00", "#4A4FB8", "#555555")
MARKERS = "ox+*#@%&"
"""One for each colour, in ASCII on purpose."""


def curve_color(index: int, dark: bool) -> str:
    """The colour of the curve with this index in its chart."""
    colors = CURVES_DARK if dark else CURVES_LIGHT
    return colors[index % len(colors)]


def curve_marker(index: int) -> str:
    """The marker that means the same without colour; when colours repeat, each gets another marker than before."""
    return MARKERS[(index + index // len(MARKERS)) % len(MARKERS)]
