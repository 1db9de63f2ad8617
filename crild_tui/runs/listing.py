"""The list of runs as a table: its columns, their widths on a terminal, and the order of its rows. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crild_tui.runs import formatting
from crild_tui.runs.filter import RunFilter, age, progress
from crild_tui.runs.states import label_of
from crild_tui.text import bar, cells, fit, fit_name
from engine.errors import UsageError
from engine.preset.text import nearest, one_line, plain
from engine.record.run import RunEntry
from engine.record.states import ACTIVE, IN_PROGRESS
from engine.record.status import Status
from engine.report.majority import MARK, at_or_below

if TYPE_CHECKING:
    from crild_tui.runs.marks import Marks
    from crild_tui.runs.snapshot import RunsSnapshot

GAP = 2
"""Cells between two columns."""
GUTTER = 4
"""Cells before the dashboard's first column: cursor, marked, pinned or hidden, a space."""
BAR = 10
"""Cells of the bar before the per cent, where there is room."""
LONGEST_ID = 48
SHORTEST_ID = 12
COMFORTABLE_ID = 15
CORE = 5
"""Columns of this rank and below matter more than the end of a long name."""
Value = float | str | None


@dataclass(frozen=True)
class Column:
    """A column: its heading, its text, the value it is sorted by, and how it takes part in the contest for width.

    rank: the column with the highest is left out first on a narrow terminal. widest: its maximum width in cells.
    descending: whether sorting by it first puts the largest value on top.
    """

    name: str
    text: Callable[[RunEntry, float], str]
    key: Callable[[RunEntry], Value]
    rank: int
    widest: int
    right: bool = False
    descending: bool = False


def _word(name: str, read: Callable[[Status], str | None], rank: int, widest: int) -> Column:
    """A column of words; runs without one come last in its order."""
    return Column(
        name,
        lambda entry, _: one_line(read(entry.status) or "") if entry.status else "",
        lambda entry: (read(entry.status) or None) if entry.status else None,
        rank,
        widest,
    )


def _metric(name: str, read: Callable[[Status], float | None], rank: int) -> Column:
    """A column of metrics, the highest on top; those of a finished run that don't beat the majority guess are marked."""
    return Column(
        name,
        lambda entry, _: _figure(read(entry.status), entry) if entry.status else formatting.NONE,
        lambda entry: read(entry.status) if entry.status else None,
        rank,
        12,
        right=True,
        descending=True,
    )


def _figure(value: float | None, entry: RunEntry) -> str:
    least = entry.status.majority if entry.status and entry.state == "finished" else None
    return f"{formatting.metric(value)}{MARK if at_or_below(value, least) else ''}"


def to_teacher(entry: RunEntry) -> float | None:
    """How far the last dev metric is from the teacher's; None where either is not known."""
    status = entry.status
    return None if status is None or status.last is None or status.teacher is None else status.last - status.teacher


COLUMNS = (
    Column("state", lambda e, _: label_of(e.state), lambda e: e.state, 0, 13),
    Column("run", lambda e, _: one_line(e.id), lambda e: e.id, 1, LONGEST_ID),
    _word("preset", lambda s: s.preset, 12, 24),
    _word("task", lambda s: s.task, 8, 16),
    _word("method", lambda s: s.method, 11, 14),
    Column(
        "seed", lambda e, _: str(e.status.seed) if e.status else "", lambda e: e.status.seed if e.status else None,
        8, 10, right=True,
    ),
    _word("metric", lambda s: s.metric_name, 13, 12),
    _metric("last", lambda s: s.last, 7),
    _metric("best", lambda s: s.best, 2),  # the saved student's, unless a preset keeps the last weights
    _metric("teacher", lambda s: s.teacher, 4),
    Column(
        "to-teacher", lambda e, _: formatting.difference(to_teacher(e)), to_teacher, 10, 10, right=True,
        descending=True,
    ),
    Column("done", lambda e, _: formatting.percent(progress(e)), progress, 3, 5, right=True, descending=True),
    Column("age", lambda e, now: formatting.age(age(e, now)), lambda e: age(e, 0.0), 5, 4, right=True),
    Column("tags", lambda e, _: one_line(" ".join(e.tags)), lambda e: " ".join(e.tags) or None, 9, 24),
    _word("job", lambda s: s.job.id if s.job is not None else None, 9, 12),
    Column("note", lambda e, _: one_line(e.note), lambda e: e.note or None, 14, 40),
)  # fmt: skip
BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}
SAMPLE = 500
"""With more than twice as many runs, only a sample decides the widths; what is wider is cut."""
NAMES = ("run", "preset", "task", "method")
"""Columns of names, which are cut in the middle."""
METRICS = ("last", "best", "teacher", "to-teacher")
"""Columns of metrics, and of differences between them."""
_ALIASES = {"id": "run", "progress": "done", "created": "age", "gap": "to-teacher"}
"""Other names of columns in `crild runs --sort`; what was created last has the lowest age."""
SORT_KEYS = (*BY_NAME, *_ALIASES)


# -- the order of rows


@dataclass(frozen=True)
class Order:
    """What the rows are sorted by. `reverse` is against the column's first direction."""

    column: str = "age"
    reverse: bool = False

    @property
    def descending(self) -> bool:
        """Whether the largest value is on top."""
        return BY_NAME[self.column].descending != self.reverse

    def chosen(self, column: str) -> Order:
        """The order after the user chose a column: choosing the same one again reverses it."""
        return Order(column, not self.reverse) if column == self.column else Order(column)


NEWEST = Order()


def parse_order(text: str) -> Order:
    """The order that `key` (ascending) or `-key` (descending) means. Raises UsageError for an unknown key."""
    key = text.removeprefix("-")
    name = _ALIASES.get(key, key)
    if name not in BY_NAME:
        near = nearest(key, SORT_KEYS)
        hint = (
            f"did you mean {near}?" if near else f"choose one of {', '.join(SORT_KEYS)}; - before it reverses the order"
        )
        raise UsageError(f"unknown sort key {plain(key)}; {hint}", kind="unknown-sort-key")
    descending = text.startswith("-") != (key == "created")
    return Order(name, reverse=descending != BY_NAME[name].descending)


@dataclass(frozen=True)
class Arranged:
    """The rows to show, and how many runs the filter and hiding leave out."""

    rows: tuple[RunEntry, ...] = ()
    filtered: int = 0
    hidden: int = 0


def arrange(
    entries: Sequence[RunEntry], where: RunFilter, order: Order, marks: Marks, now: float, *, show_hidden: bool = False
) -> Arranged:
    """Runs filtered and sorted: pinned ones first, those without a value last. Equal ones stay newest first."""
    seen: list[RunEntry] = list(entries)
    if marks.hidden and not show_hidden:
        seen = [entry for entry in seen if entry.id not in marks.hidden]
    hidden = len(entries) - len(seen)
    passed = [entry for entry in seen if where.matches(entry, marks, now)] if where.tests else seen
    filtered = len(seen) - len(passed)
    key = BY_NAME[order.column].key
    valued = [(value, entry) for entry in passed if (value := key(entry)) is not None]
    ordered = sorted(valued, key=lambda pair: pair[0], reverse=order.descending)
    without = [entry for entry in passed if key(entry) is None] if len(valued) < len(passed) else []
    rows = [*(entry for _, entry in ordered), *without]
    if marks.pinned:
        rows = [e for e in rows if e.id in marks.pinned] + [e for e in rows if e.id not in marks.pinned]
    return Arranged(tuple(rows), filtered, hidden)


def appeared(before: RunsSnapshot, after: RunsSnapshot) -> RunEntry | None:
    """The newest run that is new in a snapshot or has left its queue since; None in the first snapshot."""
    if not before.revision:
        return None
    known = {entry.id: entry.state for entry in before.entries}
    fresh = [
        entry
        for entry in after.entries
        if entry.status is not None and entry.state != "queued" and known.get(entry.id, "queued") == "queued"
    ]
    return max(fresh, key=_start, default=None)


def ended(before: RunsSnapshot, after: RunsSnapshot) -> list[RunEntry]:
    """The runs that were in progress in a snapshot and are no more in the next; none in the first snapshot."""
    at_work = {entry.id for entry in before.entries if entry.state in IN_PROGRESS}
    return [entry for entry in after.entries if entry.id in at_work and entry.state not in IN_PROGRESS]


def _start(entry: RunEntry) -> float:
    assert entry.status is not None
    return max(entry.status.started or 0.0, entry.status.created)


# -- the width of columns


def column_widths(rows: Sequence[RunEntry], width: int, order: Order = NEWEST) -> dict[str, int]:
    """The columns that fit into `width` cells of the dashboard, in their order, with their widths.

    Columns without any value are left out. State and run are always there; the run's name shrinks when nothing else
    can give way, and the note takes what is left.
    """
    room = width - GUTTER
    widths = natural(rows, order)
    if "note" in widths:
        widths["note"] = min(widths["note"], 12)
    _leave_out(widths, room, shortest_id=COMFORTABLE_ID)
    widths["run"] = max(widths["run"] - max(_total(widths) - room, 0), min(widths["run"], SHORTEST_ID))
    if "note" in widths:
        widths["note"] += max(room - _total(widths), 0)
    elif room - _total(widths) > BAR and "done" in widths and any(row.state in ACTIVE for row in rows):
        widths["done"] += BAR + 1
    return widths


def natural(rows: Sequence[RunEntry], order: Order = NEWEST) -> dict[str, int]:
    """The widths that the columns would like to have, without looking at a text twice."""
    widths = {}
    for column in COLUMNS:
        texts = _widest(column, rows)
        if texts or column.rank <= 1:
            heading = len(column.name) + (column.name == order.column)
            widest = max((cells(one_line(text)) for text in texts), default=0)
            shortest = 10 if column.name == "state" else 3
            widths[column.name] = min(max(widest, heading, shortest), column.widest)
    return widths


def whole_widths(table: Sequence[Mapping[str, str]], width: int | None) -> dict[str, int]:
    """The columns of which every cell fits whole into `width` cells (None: all), in their order, with their widths.

    Columns without any value are left out. State and run are always there, however narrow the terminal.
    """
    widths = {}
    for column in COLUMNS:
        texts = {row[column.name] for row in table} - {"", formatting.NONE}
        if texts or column.rank <= 1:
            widths[column.name] = max(len(column.name), *map(cells, texts))
    if width is not None:
        _leave_out(widths, width, shortest_id=widths["run"])
    return widths


def _leave_out(widths: dict[str, int], room: int, *, shortest_id: int) -> None:
    """Leave out columns until the rest fits, or would if the run's name shrinks to `shortest_id`."""
    for column in sorted(COLUMNS, key=lambda column: -column.rank):
        spare = widths["run"] - shortest_id if column.rank <= CORE else 0  # a shorter name is then the smaller loss
        if _total(widths) - room <= max(spare, 0) or column.rank <= 1:
            break
        widths.pop(column.name, None)


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _widest(column: Column, rows: Sequence[RunEntry]) -> set[str]:
    """Texts of a column among which is the widest."""
    if column.name in ("done", "age"):
        return {"0" * column.widest} if rows else set()
    if column.name == "state":
        return {label_of(state) for state in {row.state for row in rows}}
    sample = rows[:: max(len(rows) // SAMPLE, 1)]
    values = {value for row in sample if (value := column.key(row)) is not None}
    if column.name in METRICS and values:
        numbers = [value for value in values if isinstance(value, float)]
        marked = MARK if any(column.text(row, 0.0).endswith(MARK) for row in sample) else ""
        write = formatting.difference if column.key is to_teacher else formatting.metric
        return {f"{write(extreme)}{marked}" for extreme in (min(numbers), max(numbers))}
    return {str(value) for value in values}


def cell(column: Column, entry: RunEntry, width: int, now: float) -> str:
    """The text of a cell, as wide as its column."""
    text = column.text(entry, now)
    if column.name == "done" and width > BAR:
        share = progress(entry) if entry.state in ACTIVE else None
        return f"{' ' * BAR if share is None else ''.join(bar(share, BAR))} {fit(text, width - BAR - 1, right=True)}"
    return fit_name(text, width) if column.name in NAMES else fit(text, width, right=column.right)
