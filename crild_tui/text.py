"""Text made to fit a number of terminal cells, in ASCII if need be, and bars. `engine.preset.text` makes text safe to show."""

from __future__ import annotations

import unicodedata
from functools import lru_cache


def cells(text: str) -> int:
    """How many cells a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis where it is cut."""
    if cells(text) <= width:
        return text
    return _beginning(text, width - 1) + "…" if width > 0 else ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells: filled up with spaces (before it if `right`), or cut with an ellipsis."""
    size = cells(text)
    if size > width:
        text = shorten(text, width)
        size = cells(text)
    space = " " * (width - size)
    return space + text if right else text + space


def shorten_name(name: str, width: int) -> str:
    """`name` in at most `width` cells; one that is cut keeps its beginning and its end, where similar names differ."""
    if cells(name) <= width or width < 8:
        return shorten(name, width)
    tail = name[-width:]
    while cells(tail) > width // 2:
        tail = tail[1:]
    return _beginning(name, width - cells(tail) - 1) + "…" + tail


def fit_name(name: str, width: int) -> str:
    """`name` in exactly `width` cells, cut as by `shorten_name`."""
    return fit(shorten_name(name, width), width)


def _beginning(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return set_cell_size(text, width).rstrip()


def bar(share: float, width: int, *, ascii_only: bool = False) -> tuple[str, str]:
    """The full and the empty part of a bar of `width` cells: not full below a share of 1, not empty above 0.

    Bars on neighbouring lines stay apart, and both parts differ without colour and in the dashboard's ASCII.
    """
    share = max(0.0, min(1.0, share))
    done = int(share * width + 1e-9)
    if 0 < share < 1 and width > 1:
        done = max(1, min(width - 1, done))
    full, rest = ("#", ".") if ascii_only else ("▄", "▁")
    return full * done, rest * (width - done)


_LOOKS = {
    **dict.fromkeys("─━═╌┄╍┅⎯▁▔▂‾", "-"), **dict.fromkeys("│┃║╎┆▏▎▍▌▐▕┊▊▉", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬╸╺╴╶", "+"), **dict.fromkeys("█▇▆▅▄▃▀■◼", "#"),
    **dict.fromkeys("▓▒░", ":"), **dict.fromkeys("•·●○∙⬤", "*"), **dict.fromkeys("▶►▸→", ">"),
    **dict.fromkeys("◀◄◂←", "<"), **dict.fromkeys("▲▴↑△⯅", "^"), **dict.fromkeys("▼▾↓▽⯆", "v"), "✓": "y", "✗": "x",
    "…": ".", "⏎": "e", "–": "-", "—": "-", "±": "~", "×": "x", "λ": "l", "’": "'", "⭘": "o", "◉": "o", "★": "*", "†": "!", "✎": "e",
}  # fmt: skip


@lru_cache(4096)
def ascii_text(text: str) -> str:
    """`text` in ASCII, with as many cells."""
    return "".join(_ascii_character(character) for character in text)


def _ascii_character(character: str) -> str:
    if character.isascii():
        return character
    if character in _LOOKS:
        return _LOOKS[character]
    if "\u2800" <= character <= "\u28ff":  # braille: as dense as it has dots
        return " .:-=+*#@"[(ord(character) - 0x2800).bit_count()]
    if unicodedata.combining(character):
        return ""
    plain = unicodedata.normalize("NFKD", character)[0]
    shown = plain if plain.isascii() else "?"
    return shown * (2 if unicodedata.east_asian_width(character) in "WF" else 1)
