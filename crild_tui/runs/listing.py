"""The list of runs as a table: its columns, their widths on a terminal, and the order of its rows. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from crild_tui.runs import formatting
from crild_tui.runs.filter import RunFilter, age, progress
from crild_tui.runs.marks import Kept
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import label_of
from engine.record.run import RunEntry
from engine.record.status import Status

GAP = 2
"""Cells between two columns."""
GUTTER = 4
"""Cells before the first column: cursor, marked, pinned or hidden, a space."""
BAR = 10
"""Cells of the bar that stands before the per cent where there is room."""
LONGEST_ID = 48
SHORTEST_ID = 12
COMFORTABLE_ID = 15
CORE = 5
"""Columns of this rank and below matter more than the end of a long name."""


@dataclass(frozen=True)
class Column:
    """A column: its heading, its text, what it is sorted by, and how it takes part in the struggle for width.

    rank: the column with the highest goes first when the terminal is narrow. most: cells that it takes at most.
    falling: whether the first sorting by it puts the largest first.
    """

    name: str
    text: Callable[[RunEntry, float], str]
    key: Callable[[RunEntry], float | str | None]
    rank: int
    most: int
    right: bool = False
    falling: bool = False


def _status(
    read: Callable[[Status], float | str | None],
) -> Callable[[RunEntry], float | str | None]:
    return lambda entry: None if entry.status is None else (read(entry.status) or None)


def _number(read: Callable[[Status], float | None]) -> Callable[[RunEntry], float | str | None]:
    return lambda entry: None if entry.status is None else read(entry.status)


def _word(read: Callable[[Status], str | None]) -> Callable[[RunEntry, float], str]:
    return lambda entry, _: one_line(read(entry.status) or "") if entry.status else ""


def _figure(read: Callable[[Status], float | None]) -> Callable[[RunEntry, float], str]:
    return lambda entry, _: formatting.metric(read(entry.status) if entry.status else None)


def one_line(text: str) -> str:
    """Text from outside on one line, safe to show."""
    return formatting.printable(text.replace("\n", " ").replace("\t", " "))


COLUMNS = (
    Column("state", lambda e, _: label_of(e.state), lambda e: e.state, 0, 13),
    Column("run", lambda e, _: one_line(e.id), lambda e: e.id, 1, LONGEST_ID),
    Column("preset", _word(lambda s: s.preset), _status(lambda s: s.preset), 12, 24),
    Column("task", _word(lambda s: s.task), _status(lambda s: s.task), 10, 16),
    Column("method", _word(lambda s: s.method), _status(lambda s: s.method), 11, 14),
    Column("seed", _word(lambda s: str(s.seed)), _number(lambda s: s.seed), 8, 10, right=True),
    Column("metric", _word(lambda s: s.metric_name), _status(lambda s: s.metric_name), 13, 12),
    Column("last", _figure(lambda s: s.last), _number(lambda s: s.last), 2, 12, right=True, falling=True),
    Column("best", _figure(lambda s: s.best), _number(lambda s: s.best), 7, 12, right=True, falling=True),
    Column("teacher", _figure(lambda s: s.teacher), _number(lambda s: s.teacher), 4, 12, right=True, falling=True),
    Column("done", lambda e, _: formatting.percent(progress(e)), progress, 3, 5, right=True, falling=True),
    Column("age", lambda e, now: formatting.age(age(e, now)), lambda e: age(e, 0.0), 5, 4, right=True),
    Column("tags", lambda e, _: one_line(" ".join(e.tags)), lambda e: " ".join(e.tags) or None, 9, 24),
    Column("note", lambda e, _: one_line(e.note), lambda e: e.note or None, 14, 40),
)
BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}
SAMPLE = 500
"""Of more runs than twice as many, a part is looked at for the widths; what is wider is cut."""
FIGURES = ("last", "best", "teacher")
"""Columns of figures with four digits after the point."""


# -- the order of rows


@dataclass(frozen=True)
class Order:
    """What the rows are sorted by. `turned` is against the column's first direction."""

    column: str = "age"
    turned: bool = False

    @property
    def falling(self) -> bool:
        """Whether the largest comes first."""
        return BY_NAME[self.column].falling != self.turned

    def chosen(self, column: str) -> Order:
        """The order after a column was chosen: the same one again turns it round."""
        return Order(column, not self.turned) if column == self.column else Order(column)


NEWEST = Order()


@dataclass(frozen=True)
class Arranged:
    """The rows to show, and how many runs the filter and hiding leave out."""

    rows: tuple[RunEntry, ...] = ()
    filtered: int = 0
    hidden: int = 0


def arrange(
    entries: Sequence[RunEntry], where: RunFilter, order: Order, kept: Kept, now: float, *, show_hidden: bool = False
) -> Arranged:
    """Runs filtered and sorted: the pinned ones first, runs without a figure last. Equal ones stay newest first."""
    seen: list[RunEntry] = list(entries)
    if kept.hidden and not show_hidden:
        seen = [entry for entry in seen if entry.id not in kept.hidden]
    hidden = len(entries) - len(seen)
    passed = [entry for entry in seen if where.matches(entry, kept, now)] if where.tests else seen
    filtered = len(seen) - len(passed)
    key = BY_NAME[order.column].key
    valued = [(value, entry) for entry in passed if (value := key(entry)) is not None]
    ordered = sorted(valued, key=_first, reverse=order.falling)
    without = [entry for entry in passed if key(entry) is None] if len(valued) < len(passed) else []
    rows = [*(entry for _, entry in ordered), *without]
    if kept.pinned:
        rows = [e for e in rows if e.id in kept.pinned] + [e for e in rows if e.id not in kept.pinned]
    return Arranged(tuple(rows), filtered, hidden)


def _first(pair: tuple[float | str, RunEntry]) -> float | str:
    return pair[0]


def appeared(before: RunsSnapshot, after: RunsSnapshot) -> RunEntry | None:
    """The newest run that was not there before, or left its queue since; None at the first look."""
    if not before.revision:
        return None
    known = {entry.id: entry.state for entry in before.entries}
    fresh = [
        entry
        for entry in after.entries
        if entry.status is not None and entry.state != "queued" and known.get(entry.id, "queued") == "queued"
    ]
    return max(fresh, key=_begun, default=None)


def _begun(entry: RunEntry) -> float:
    assert entry.status is not None
    return max(entry.status.started or 0.0, entry.status.created)


# -- the width of columns


def fitting(rows: Sequence[RunEntry], width: int, order: Order = NEWEST) -> dict[str, int]:
    """The columns that fit into `width` cells, in their order, with their widths.

    Columns that say nothing in any row are left out. State and run are always there; the run's name shrinks when
    nothing else can give way, and the note takes what is left.
    """
    room = width - GUTTER
    widths = natural(rows, order)
    if "note" in widths:
        widths["note"] = min(widths["note"], 12)
    for column in sorted(COLUMNS, key=lambda column: -column.rank):
        over = _sum(widths) - room
        spare = widths["run"] - COMFORTABLE_ID if column.rank <= CORE else 0  # a shorter name is then the smaller loss
        if over <= max(spare, 0) or column.rank <= 1:
            break
        widths.pop(column.name, None)
    widths["run"] = max(widths["run"] - max(_sum(widths) - room, 0), min(widths["run"], SHORTEST_ID))
    if "note" in widths:
        widths["note"] += max(room - _sum(widths), 0)
    elif room - _sum(widths) > BAR and "done" in widths:
        widths["done"] += BAR + 1
    return {column.name: widths[column.name] for column in COLUMNS if column.name in widths}


def _sum(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def natural(rows: Sequence[RunEntry], order: Order = NEWEST) -> dict[str, int]:
    """The widths that columns would like to have, without looking at a text twice."""
    widths = {"state": 10, "run": 3}
    for column in COLUMNS:
        texts = _widest(column, rows)
        if texts or column.name in widths:
            heading = len(column.name) + (column.name == order.column)
            widest = max((cells(one_line(text)) for text in texts), default=0)
            widths[column.name] = min(max(widest, heading, widths.get(column.name, 0)), column.most)
    return widths


def _widest(column: Column, rows: Sequence[RunEntry]) -> set[str]:
    """Texts of a column among which is the widest."""
    if column.name in ("done", "age"):
        return {"0" * column.most} if rows else set()
    if column.name == "state":
        return {label_of(state) for state in {row.state for row in rows}}
    some = rows[:: max(len(rows) // SAMPLE, 1)]
    values = {value for row in some if (value := column.key(row)) is not None}
    if column.name in FIGURES and values:
        numbers = [value for value in values if isinstance(value, float)]
        return {formatting.metric(extreme) for extreme in (min(numbers), max(numbers))}
    return {str(value) for value in values}


def cells(text: str) -> int:
    """How many cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Text in exactly `width` cells; one that is cut ends in an ellipsis."""
    size = cells(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    space = " " * (width - size)
    return space + text if right else text + space


def fitted_ends(text: str, width: int) -> str:
    """Text in exactly `width` cells; one that is cut keeps its beginning and its end, which tells alike names apart."""
    if cells(text) <= width or width < 8:
        return fitted(text, width)
    tail = text
    while cells(tail) > width // 2:
        tail = tail[1:]
    return fitted(set_cell_size(text, width - cells(tail) - 1) + "…" + tail, width)


def bar(share: float | None, width: int) -> str:
    """A bar of `width` cells, empty where nothing is known."""
    if share is None:
        return " " * width
    full = min(int(share * width + 1e-9), width)
    return "█" * full + "░" * (width - full)


def cell(column: Column, entry: RunEntry, width: int, now: float) -> str:
    """The text of a cell, as wide as its column."""
    text = column.text(entry, now)
    if column.name == "done" and width > BAR:
        return f"{bar(progress(entry), BAR)} {fitted(text, width - BAR - 1, right=True)}"
    return fitted_ends(text, width) if column.name == "run" else fitted(text, width, right=column.right)
