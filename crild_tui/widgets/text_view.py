"""A view of many lines of text, with wrapping, following and search."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

MOST_MATCHES = 10_000
LEAST = 8
"""Cells below which lines are cut rather than wrapped: a view that is not laid out yet has no width."""


@dataclass(frozen=True)
class TextLine:
    """A line that is safe to show; `level` (info, warning, error) sets its style, `mark` comes before its text."""

    text: str
    level: str = "info"
    mark: str = ""

    @property
    def shown(self) -> str:
        """All of it."""
        return self.mark + self.text


@dataclass(frozen=True)
class Match:
    """A match of a search: index of the line, first character and the one after the last."""

    line: int
    start: int
    end: int


@lru_cache(8192)
def wrapped(text: str, width: int) -> tuple[tuple[int, int], ...]:
    """(start, end) of each row of a text that is wrapped to `width` cells, at spaces if possible."""
    if width < 1 or (text.isascii() and len(text) <= width):
        return ((0, len(text)),)
    rows = []
    start = 0
    while start < len(text):
        end = _reach(text, start, width)
        if end < len(text) and text[end] != " ":
            space = text.rfind(" ", start + max(1, (end - start) // 2), end)
            end = space + 1 if space > 0 else end
        rows.append((start, end))
        start = end
    return tuple(rows) or ((0, 0),)


def _reach(text: str, start: int, width: int) -> int:
    """The end of what fits `width` cells from `start` on; at least one character."""
    end = min(len(text), start + width)
    piece = text[start:end]
    if piece.isascii():
        return end
    cells = cell_len(piece)
    while cells > width and end > start + 1:
        end -= 1
        cells -= cell_len(text[end])
    return end


def find_all(lines: Sequence[TextLine], words: str) -> list[Match]:
    """All matches of `words` in lines; case-sensitive only if `words` has a capital letter."""
    if not words:
        return []
    exact = words != words.lower()
    matches: list[Match] = []
    for number, line in enumerate(lines):
        text = line.shown if exact else _lower(line.shown)
        at = text.find(words)
        while at >= 0:
            matches.append(Match(number, at, at + len(words)))
            if len(matches) >= MOST_MATCHES:
                return matches
            at = text.find(words, at + len(words))
    return matches


def _lower(text: str) -> str:
    """In lower case, character for character (`İ` would become two)."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


class TextView(ScrollView, can_focus=True):
    """A view of lines. It follows the end as lines are added, unless the user scrolls away from it."""

    DEFAULT_CSS = """
    TextView {
        background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: scroll;
        & > .lines--warning { color: $warning; }
        & > .lines--error { color: $error; text-style: bold; }
        & > .lines--mark { text-style: dim; }
        & > .lines--match { text-style: reverse; }
        & > .lines--current { text-style: reverse bold underline; color: $accent; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "lines--warning", "lines--error", "lines--mark", "lines--match", "lines--current",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "A line up", id="log.up", show=False),
        Binding("down", "move(1)", "A line down", id="log.down", show=False),
        Binding("pageup", "page(-1)", "A page up", id="log.page_up", show=False),
        Binding("pagedown", "page(1)", "A page down", id="log.page_down", show=False),
        Binding("home", "scroll_home", "To the beginning", id="log.home", show=False),
        Binding("end", "scroll_end", "To the end, and follow it", id="log.end", show=False),
    ]

    class Moved(Message):
        """The view was scrolled away from its end, or back to it."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.lines: tuple[TextLine, ...] = ()
        self._first = 0
        self._words = ""
        self._rows: list[tuple[int, int, int]] = []
        self._row_of: list[int] = []
        self._width = 0
        self._matches: list[Match] = []
        self._matched: dict[int, list[Match]] = {}
        self.current: int | None = None
        """The index of the present match."""
        self.following = True
        """Whether the end stays in view as lines are added."""

    @property
    def matches(self) -> int:
        """The number of matches of the search."""
        return len(self._matches)

    # -- what is shown

    def show(self, lines: Sequence[TextLine], first: int = 0, *, unrelated: bool = False) -> None:
        """Show lines, of which `first` earlier ones are gone; or that are `unrelated` to those before."""
        top = None if self.following or unrelated else self._top_line()
        if top is not None:
            top = (top[0] + self._first - first, top[1])
        current = None if self.current is None else self._matches[self.current]
        if current is not None:
            current = replace(current, line=current.line + self._first - first)
        self.lines, self._first = tuple(lines), first
        self._wrap()
        self._search(current)
        if unrelated:
            self.following = True
        self._go_to(top)

    def _top_line(self) -> tuple[int, int] | None:
        """The line at the upper edge, and how many of its rows are above it."""
        row = int(self.scroll_offset.y)
        if not self._rows or row >= len(self._rows):
            return None
        number = self._rows[row][0]
        return number, row - self._row_of[number]

    def _go_to(self, top: tuple[int, int] | None) -> None:
        if top is None:
            if self.following:
                self.call_after_refresh(self._to_end)
        else:
            number = max(0, min(top[0], len(self._row_of) - 1))
            row = self._row_of[number] + top[1] if self._row_of and top[0] >= 0 else 0
            self.scroll_to(y=row, animate=False, immediate=True)
        self.refresh()

    def _to_end(self) -> None:
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    @property
    def _room(self) -> int:
        """The width that lines are wrapped to; 0 where they are cut."""
        width = self.scrollable_content_region.width
        return width if width >= LEAST else 0

    def _wrap(self) -> None:
        self._width = self._room
        self._rows, self._row_of = [], []
        for number, line in enumerate(self.lines):
            self._row_of.append(len(self._rows))
            self._rows += [(number, start, end) for start, end in wrapped(line.shown, self._width)]
        self.virtual_size = Size(max(self._width, 1), len(self._rows))

    def on_resize(self) -> None:
        """Wrap the lines again."""
        if self._room != self._width:
            top = None if self.following else self._top_line()
            self._wrap()
            self._go_to(top)
        elif self.following:
            self.call_after_refresh(self._to_end)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end again once it is reached."""
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value >= self.max_scroll_y
        if at_end != self.following and (at_end or new_value < old_value):
            self.following = at_end
            self.post_message(self.Moved())

    def action_move(self, rows: int) -> None:
        """Scroll by rows, at once: an animation is slow over a slow connection."""
        self.scroll_relative(y=rows, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.scroll_relative(y=pages * self.scrollable_content_region.height, animate=False)

    def action_scroll_home(self) -> None:
        """Go to the beginning."""
        self.scroll_home(animate=False)

    def action_scroll_end(self) -> None:
        """Go to the end and stay there."""
        self.following = True
        self._to_end()
        self.post_message(self.Moved())

    # -- search

    def search(self, words: str) -> int:
        """Highlight all matches of `words`; returns their number. None of them is the present one yet."""
        self._words = words
        self._search(None)
        self.refresh()
        return len(self._matches)

    def _search(self, current: Match | None) -> None:
        self._matches = find_all(self.lines, self._words)
        self._matched = {}
        for match in self._matches:
            self._matched.setdefault(match.line, []).append(match)
        self.current = self._matches.index(current) if current in self._matches else None

    def nearest(self) -> int:
        """The last match in view or above it; the first if there is none."""
        if not self._rows:
            return 0
        bottom = min(int(self.scroll_offset.y) + max(1, self.size.height), len(self._rows)) - 1
        number = self._rows[bottom][0]
        return max(0, bisect_right([match.line for match in self._matches], number) - 1)

    def choose(self, index: int | None) -> None:
        """Make a match the present one and bring it into view."""
        self.current = index
        if index is not None:
            match = self._matches[index]
            row = self._row_of[match.line]
            row += sum(1 for _, end in wrapped(self.lines[match.line].shown, self._width) if end <= match.start)
            top, height = int(self.scroll_offset.y), max(1, self.size.height)
            if not top <= row < top + height:
                self.following = False
                self.scroll_to(y=max(0, min(row - height // 2, self.max_scroll_y)), animate=False, immediate=True)
                self.post_message(self.Moved())
        self.refresh()

    # -- drawing

    def render_line(self, y: int) -> Strip:
        """One row."""
        row, base, width = int(self.scroll_offset.y) + y, self.rich_style, self.size.width
        if row >= len(self._rows):
            return Strip.blank(width, base)
        return Strip(self._segments(*self._rows[row], base)).adjust_cell_length(width, base)

    def _segments(self, number: int, start: int, end: int, base: Style) -> list[Segment]:
        line, matches = self.lines[number], self._matched.get(number, [])
        current = None if self.current is None else self._matches[self.current]
        edges = {start, end, len(line.mark), *(edge for match in matches for edge in (match.start, match.end))}
        segments = []
        for left, right in pairwise(sorted(edge for edge in edges if start <= edge <= end)):
            part = "mark" if right <= len(line.mark) else line.level if line.level in ("warning", "error") else None
            style = base if part is None else base + self._part(part)
            hit = next((match for match in matches if match.start <= left and right <= match.end), None)
            if hit is not None:
                style += self._part("current" if hit == current else "match")
            segments.append(Segment(line.shown[left:right], style))
        return segments

    def _part(self, name: str) -> Style:
        return self.get_component_rich_style(f"lines--{name}", partial=True)
