from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult

from crild_tui.runs import listing
from crild_tui.runs.filter import RunFilter, parse
from crild_tui.runs.listing import NEWEST, Order, appeared, arrange, column_widths, ended
from crild_tui.runs.marks import Marks
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.widgets.run_table import RunTable
from engine.record.run import RunEntry
from engine.record.status import Job
from tests.tui.run_entries import HOSTILE, NOW, entry

RUNS = tuple(entry(f"run-{n:02d}-s1", age=60.0 * n, last=n / 100, seed=n) for n in range(40))
Do = Callable[["Sample", Any], Awaitable[None]]


class Sample(App[None]):
    """A table alone, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []

    def compose(self) -> ComposeResult:
        yield RunTable()

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    def show(self, rows: Sequence[RunEntry], kept: Marks | None = None, order: Order = NEWEST) -> None:
        self.table.show(rows, kept or Marks(), order)

    def on_run_table_activated(self, event: RunTable.Activated) -> None:
        self.said.append(("watch", event.entry.id))

    def on_run_table_heading_clicked(self, event: RunTable.HeadingClicked) -> None:
        self.said.append(("sort", event.column))

    @property
    def lines(self) -> list[str]:
        return [self.table.render_line(y).text for y in range(self.table.size.height)]


def drive(do: Do, rows: Sequence[RunEntry] = RUNS, size: tuple[int, int] = (80, 12)) -> None:
    async def run() -> None:
        app = Sample()
        async with app.run_test(size=size) as pilot:
            app.show(rows)
            app.table.focus()
            await pilot.pause()
            await do(app, pilot)

    asyncio.run(run())


# -- drawing


def test_twenty_thousand_runs_draw_only_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(entry(f"run-{n}", age=float(n)) for n in range(20_000))
    drawn: set[str] = set()
    cell = listing.cell

    def counted(column: listing.Column, run: RunEntry, width: int, now: float) -> str:
        drawn.add(run.id)
        return cell(column, run, width, now)

    monkeypatch.setattr(listing, "cell", counted)

    async def do(app: Sample, pilot: Any) -> None:
        assert 0 < len(drawn) <= 12
        await pilot.press("end")
        await pilot.pause()
        assert app.table.selected is many[-1]
        assert "run-19999" in app.lines[-1]
        await pilot.press("pageup", "up", "home")
        await pilot.pause()
        assert app.table.selected is many[0]
        assert len(drawn) <= 60

    drive(do, many)


def test_the_heading_stays_while_rows_scroll() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        assert "▲age" in app.lines[0]
        await pilot.press("end")
        await pilot.pause()
        assert "▲age" in app.lines[0]
        assert "run-39-s1" in app.lines[-1]

    drive(do)


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 120, 200, 300])
def test_lines_are_as_wide_as_the_table(width: int) -> None:
    runs = (
        *RUNS[:3],
        entry("名前" * 30, note="長い" * 40),
        entry(HOSTILE),
        entry("x", "unreadable"),
        entry("y", "lost"),
    )

    async def do(app: Sample, pilot: Any) -> None:
        assert {cell_len(line) for line in app.lines} == {width - 1}  # the scrollbar's place is always free
        assert all(line.isprintable() for line in app.lines)

    drive(do, runs, (width, 12))


def test_narrow_terminals_keep_what_matters_and_wide_ones_show_all() -> None:
    rows = [entry("rte-crild-20260101-120000-s1", tags=("a",), note="a note of some length")]
    assert list(column_widths(rows, 79)) == ["state", "run", "best", "teacher", "done", "age"]
    assert list(column_widths(rows, 39)) == ["state", "run", "best"]
    assert list(column_widths(rows, 10)) == ["state", "run"]
    shown = [column.name for column in listing.COLUMNS if column.name != "job"]
    assert list(column_widths(rows, 199)) == shown
    taken = sum(column_widths(rows, 199).values()) + listing.GAP * (len(shown) - 1) + listing.GUTTER
    assert taken == 199  # the note takes what is left
    assert "job" in column_widths([with_job(rows[0], "7")], 199)


def with_job(entry: RunEntry, job: str) -> RunEntry:
    assert entry.status is not None
    return replace(entry, status=replace(entry.status, job=Job(job)))


def test_columns_that_say_nothing_are_left_out() -> None:
    assert list(column_widths([entry("a", "unreadable")], 200)) == ["state", "run", "done", "age"]
    assert "run" in column_widths([], 80)


def test_a_bar_stands_beside_the_per_cent_where_there_is_room() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        assert "▄▄▄▄▄▁▁▁▁▁  50 %" in app.lines[1]

    drive(do, [entry("a", "running")], (140, 12))


def test_states_say_sign_and_word_and_marks_have_signs() -> None:
    rows = [entry(state, state) for state in ("running", "lost", "failed", "unreadable", "finished")]

    async def do(app: Sample, pilot: Any) -> None:
        app.show(rows, Marks(frozenset({"running"}), frozenset({"failed"}), frozenset({"lost"})))
        await pilot.pause()
        assert [line[:18].rstrip() for line in app.lines[1:6]] == [
            "▸ ▲ ▶ running", " ●  ? lost", "  – ✗ failed", "    ? unreadable", "    ✓ finished",
        ]  # fmt: skip

    drive(do, rows)


# -- moving


def test_keys_move_the_cursor_and_it_stays_in_view() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        for key, row in (("down", 1), ("j", 2), ("k", 1), ("up", 0), ("up", 0), ("pagedown", 11), ("pageup", 0),
                         ("end", 39), ("down", 39), ("home", 0), ("G", 39), ("g", 0)):  # fmt: skip
            await pilot.press(key)
            assert app.table.selected is RUNS[row], key
            assert any(RUNS[row].id in line and line.startswith("▸") for line in app.lines), key
        await pilot.press("enter")
        assert app.said == [("watch", "run-00-s1")]

    drive(do)


def test_the_mouse_selects_opens_sorts_and_scrolls() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        await pilot.click(RunTable, offset=(10, 4))
        assert app.table.selected is RUNS[3]
        await pilot.double_click(RunTable, offset=(10, 5))
        await pilot.click(RunTable, offset=(app.lines[0].index("teacher"), 0))
        await pilot.click(RunTable, offset=(0, 0))  # no column
        assert app.said == [("watch", "run-04-s1"), ("sort", "teacher")]
        await pilot._post_mouse_events([events.MouseScrollDown], RunTable, offset=(10, 5))
        await pilot.pause(0.5)
        top = app.table.scroll_offset.y
        assert top > 0
        await pilot.click(RunTable, offset=(10, 1))
        assert app.table.selected is RUNS[top]

    drive(do)


def test_an_empty_table_takes_every_key() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        await pilot.press("down", "up", "end", "home", "pagedown", "pageup", "enter")
        await pilot.click(RunTable, offset=(10, 4))
        assert app.table.selected is None
        assert app.said == []

    drive(do, ())


# -- changes


def test_the_selected_run_stays_selected_when_rows_come_go_and_move() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        await pilot.press("end", "up")
        chosen = RUNS[38]
        y = next(y for y, line in enumerate(app.lines) if line.startswith("▸"))
        app.show((entry("new-s1"), *RUNS))
        await pilot.pause()
        assert app.table.selected is chosen
        assert next(y for y, line in enumerate(app.lines) if line.startswith("▸")) == y  # it does not jump
        app.show(RUNS[::-1])
        await pilot.pause()
        assert app.table.selected is chosen
        app.show(())
        assert app.table.selected is None

    drive(do)


def test_a_run_near_takes_the_place_of_one_that_is_gone() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        await pilot.press("down", "down")
        app.show([run for run in RUNS if run is not RUNS[2]])
        assert app.table.selected is RUNS[3]
        app.show(RUNS[:1])
        assert app.table.selected is RUNS[0]

    drive(do)


def test_new_runs_are_seen_at_the_top() -> None:
    async def do(app: Sample, pilot: Any) -> None:
        await pilot.press("down")
        app.show((entry("new-s1"), *RUNS))
        await pilot.pause()
        assert "new-s1" in app.lines[1]
        assert app.table.selected is RUNS[1]

    drive(do)


# -- the order


def ids(rows: Sequence[RunEntry], order: Order, kept: Marks | None = None, where: RunFilter | None = None) -> list[str]:
    return [run.id for run in arrange(rows, where or RunFilter(), order, kept or Marks(), NOW).rows]


def test_every_column_sorts_both_ways_with_missing_figures_last() -> None:
    rows = [
        entry("b", last=0.6, best=0.6, teacher=0.7, done=1, age=2.0, seed=2, task="b", method="b", preset="b",
              metric_name="b", tags=("b",), note="b"),
        entry("a", "failed", last=0.4, best=0.5, teacher=0.6, done=0, age=1.0, seed=1, task="a", method="a", preset="a",
              metric_name="a", tags=("a",), note="a"),
        entry("z", "unreadable"),
    ]  # fmt: skip
    rows = [with_job(rows[0], "b"), with_job(rows[1], "a"), rows[2]]
    for column in listing.COLUMNS:
        rising = ids(rows, Order(column.name, reverse=column.descending))
        falling = ids(rows, Order(column.name, reverse=not column.descending))
        if column.name == "state" or column.name == "run":
            assert (rising, falling) == (["a", "b", "z"], ["z", "b", "a"])
        else:
            assert (rising, falling) == (["a", "b", "z"], ["b", "a", "z"]), column.name


def test_a_metric_of_zero_is_no_missing_figure() -> None:
    rows = [entry("none", last=None), entry("zero", last=0.0, seed=0), entry("more", last=0.1)]
    assert ids(rows, Order("last")) == ["more", "zero", "none"]
    assert ids(rows, Order("seed"))[0] == "zero"


def test_choosing_a_column_again_turns_it_round() -> None:
    order = NEWEST.chosen("last")
    assert (order.column, order.descending) == ("last", True)
    assert not order.chosen("last").descending
    assert order.chosen("last").chosen("run") == Order("run")


def test_pinned_runs_come_first_and_hidden_ones_not_at_all() -> None:
    rows = [entry(name) for name in "abcd"]
    kept = Marks(pinned=frozenset("cz"), hidden=frozenset("b"))
    found = arrange(rows, parse("!id:=d"), Order("run"), kept, NOW)
    assert [run.id for run in found.rows] == ["c", "a"]
    assert (found.filtered, found.hidden) == (1, 1)
    shown = arrange(rows, RunFilter(), Order("run", reverse=True), kept, NOW, show_hidden=True)
    assert [run.id for run in shown.rows] == ["c", "d", "b", "a"]


def test_what_appeared_is_new_or_left_its_queue() -> None:
    before = RunsSnapshot(RUNS[0].path, (entry("a", age=50.0), entry("q", "queued", age=40.0)), revision=1)

    def newest(*entries: RunEntry) -> str | None:
        found = appeared(before, RunsSnapshot(RUNS[0].path, entries, revision=2))
        return None if found is None else found.id

    assert newest(*before.entries) is None
    assert newest(*before.entries, entry("b", "created", age=1.0), entry("old", age=90.0)) == "b"
    assert newest(entry("q", "running", age=40.0)) == "q"
    assert newest(entry("a", "failed"), entry("r", "queued"), entry("x", "unreadable")) is None
    assert appeared(RunsSnapshot(RUNS[0].path), RunsSnapshot(RUNS[0].path, RUNS, revision=1)) is None


def test_what_ended_was_in_progress_before() -> None:
    folder, run = RUNS[0].path, replace(RUNS[0], state="running")
    before = RunsSnapshot(folder, (run, *RUNS[1:]), revision=1)
    assert ended(before, before) == []
    for state in ("finished", "failed", "stopped", "lost"):
        after = RunsSnapshot(folder, (replace(run, state=state), *RUNS[1:]), revision=2)
        assert [entry.state for entry in ended(before, after)] == [state]
    assert ended(before, RunsSnapshot(folder, (replace(run, state="stalled"), *RUNS[1:]), revision=2)) == []
    assert ended(RunsSnapshot(folder), before) == []
