"""Themes of the dashboard, and its ASCII mode."""

from __future__ import annotations

from collections.abc import Mapping

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

from crild_tui.runs.states import Tone
from crild_tui.text import ascii_text

DARK = Theme(
    name="crild-dark", dark=True, primary="#56B4E9", secondary="#009E73", accent="#E69F00", warning="#E69F00",
    error="#FF7A5C", success="#2FC08E", foreground="#E6E6E6", background="#101418", surface="#161B21", panel="#1E252D",
)  # fmt: skip
LIGHT = Theme(
    name="crild-light", dark=False, primary="#005B96", secondary="#00694D", accent="#9A4A00", warning="#6B4400",
    error="#A82A00", success="#00694D", foreground="#16191D", background="#FBFBF9", surface="#F1F1EE", panel="#E4E4E0",
)  # fmt: skip
CONTRAST = Theme(
    name="crild-contrast", dark=True, primary="#7FD4FF", secondary="#5CFFC4", accent="#FFD000", warning="#FFD000",
    error="#FF8A70", success="#5CFFC4", foreground="#FFFFFF", background="#000000", surface="#000000", panel="#1A1A1A",
)  # fmt: skip
ALL = (DARK, LIGHT, CONTRAST)

TONES: Mapping[Tone, str] = {
    "muted": "$foreground-muted", "running": "$success", "finished": "$foreground", "warning": "$warning",
    "error": "$error",
}  # fmt: skip
"""The colour of each tone of a run's state."""


class Ascii(LineFilter):
    """Replaces what is not ASCII by look-alikes, cell for cell."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - Textual's signature
        """The same line in ASCII."""
        return [
            segment if segment.text.isascii() else Segment(ascii_text(segment.text), segment.style, segment.control)
            for segment in segments
        ]
