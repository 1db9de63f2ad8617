"""The matrix of a sweep in the dashboard: what it shows, each of its keys, and what comes from others' files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from crild_tui.app import READONLY
from crild_tui.messages import SweepChanged
from crild_tui.monitor.poller import Poller
from crild_tui.monitor.sweep import SweepWatcher
from crild_tui.runs import sweeps
from crild_tui.runs.filter import exactly, parse
from crild_tui.runs.marks import Marks
from crild_tui.runs.sweeps import SweepReader
from crild_tui.screens.dialogs import Confirm
from crild_tui.screens.help import HelpScreen
from crild_tui.screens.runs import RunsScreen
from crild_tui.screens.sweep import SweepScreen
from crild_tui.widgets.choice_list import WordList
from crild_tui.widgets.run_table import RunTable
from engine.record.owner import Owner
from engine.record.run import read_run, update_status
from engine.record.status import Fault
from engine.sweep.record import CellRecord, SweepRecord, sweep_file, write_sweep_record
from engine.user.settings import Dashboard
from tests.cli.samples import make_run
from tests.tui.screen_driver import Driven, drive, screen_text, select, until
from tests.tui.snapshots import Snapshots

METHODS, TASKS = ("kd", "crild"), ("rte", "mrpc")


def make_sweep(
    runs: Path, name: str = "study", methods: Sequence[str] = METHODS, tasks: Sequence[str] = TASKS, **more: Any
) -> SweepRecord:
    """Two seeds of each method on each task: the first task's are finished, of the second one failed, the rest are left."""
    cells = []
    for seed in (1, 2):
        for m, method in enumerate(methods):
            for t, task in enumerate(tasks):
                cell = {"method": method, "task": task, "seed": str(seed)}
                base = f"{name}-t{t}-m{m}"
                run = f"{base}-s{seed}"
                fields: dict[str, Any] = {"task": task, "method": method, "sweep": name, "cell": cell, "seed": seed}
                figure = 0.6 + 0.1 * m + 0.02 * seed
                if t == 0:
                    results = {"student": {"metrics": {"accuracy": figure}}}
                    made = make_run(runs, base, results=results, **fields)
                    update_status(made, last=0.1)  # the saved student is the best one, and counts
                elif (m, seed) == (0, 1):
                    fault = Fault("data", "a label [b]is[/b] missing\x1b[2J", "train.tsv", 7)
                    make_run(runs, base, state="failed", error=fault, **fields)
                cells.append(CellRecord(run, cell, seed, 0))
    axes = {"method": tuple(methods), "task": tuple(tasks), "seed": ("1", "2")}
    record = SweepRecord(name, "study.toml", 1.0, axes, tuple(cells), (), state="ended")
    record = replace(record, **more)
    file = sweep_file(runs, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_sweep_record(file, record)
    return record


async def opened(app: Driven, pilot: Pilot[None]) -> SweepScreen:
    """The matrix, once it is drawn."""
    await pilot.press("m")
    await until(
        pilot, lambda: isinstance(app.screen, SweepScreen) and (app.screen.seen.found or app.screen.seen.problem)
    )
    screen = app.screen
    assert isinstance(screen, SweepScreen)
    await until(pilot, lambda: screen.seen.problem or screen.position[0])
    await pilot.pause()
    return screen


async def closed(app: Driven, pilot: Pilot[None]) -> RunsScreen:
    await until(pilot, lambda: isinstance(app.screen, RunsScreen))
    screen = app.screen
    assert isinstance(screen, RunsScreen)
    return screen


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_the_matrix_has_means_states_and_why_runs_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        text = screen_text(app)
        assert "sweep study" in text
        assert "4 of 8 runs finished, 1 failed, 3 left" in text
        assert "63.00 ± 1.41  2/2" in text
        assert "73.00 ± 1.41  2/2" in text
        assert "-  0/2 ✗1" in text
        for row in ("teacher  ", "majority guess"):
            assert any(row in line and re.search(r"\d\d\.\d\d", line) for line in text.splitlines()), row
        assert "-6.43" in text, "the distance to the teacher"
        assert "kd on rte" in text
        assert "✓ finished, seed 1 62.00" in text
        assert "a label [b]is[/b] missing" in text
        assert "\x1b" not in text

    drive(monkeypatch, tmp_path, look, size=size)


def test_it_works_where_there_is_little_room_and_no_more_than_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        text = "\n".join("".join(s.text for s in line) for line in _lines(app))
        assert text.isascii()
        assert "-6.43" not in text, "there is no room for the distance"
        assert "ended, 58 %, 4/8 x1" in text
        assert "63.00 ~ 1.41  2/2" in text
        assert "kd on rte" in text
        await pilot.press("down", "right")
        await pilot.pause()
        assert "crild on mrpc" in screen_text(app)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert "crild on mrpc" in screen_text(app)

    drive(monkeypatch, tmp_path, look, size=(40, 10), settings=Dashboard(ascii=True))


def _lines(app: Driven) -> list[Any]:
    background = app.screen.background_colors[1]
    found = []
    for strip in app.screen._compositor.render_strips():
        line = list(strip)
        for each in app.get_line_filters():
            line = each.apply(line, background)
        found.append(line)
    return found


def test_news_are_drawn_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_sweep(tmp_path, owner=Owner.current(), state="active")

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        assert screen.seen.found is not None
        assert screen.seen.found.alive
        cell = next(cell for cell in record.cells if cell.cell == {"method": "crild", "task": "mrpc", "seed": "1"})
        running: dict[str, Any] = {"method": "crild", "task": "mrpc", "sweep": "study", "cell": cell.cell}
        made = make_run(tmp_path, "new", state="running", owner=Owner.current(), heartbeat=2e10, **running)
        made.rename(tmp_path / cell.run)
        await until(pilot, lambda: "▶1 35 %" in screen_text(app))
        assert "1 running" in screen_text(app)

    drive(monkeypatch, tmp_path, look, size=(100, 30))


def test_a_cell_that_grows_is_drawn_whole_even_if_it_is_drawn_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_sweep(tmp_path, owner=Owner.current(), state="active")
    monkeypatch.setattr(Poller, "start", lambda _: None)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        app.push_screen(screen := SweepScreen(app, "study"))
        await pilot.pause()
        reader = SweepReader(tmp_path, "study")
        screen.post_message(SweepChanged(reader.read(2.0)))
        await pilot.pause()
        cell = next(cell for cell in record.cells if cell.cell == {"method": "crild", "task": "mrpc", "seed": "1"})
        running: dict[str, Any] = {"method": "crild", "task": "mrpc", "sweep": "study", "cell": cell.cell}
        made = make_run(tmp_path, "new", state="running", owner=Owner.current(), heartbeat=2e10, **running)
        made.rename(tmp_path / cell.run)
        screen._sweep_changed(SweepChanged(reader.read(3.0)))
        screen_text(app)  # as on a busy machine, before the table has time to measure its cells
        await pilot.pause()
        assert "▶1 35 %" in screen_text(app)

    drive(monkeypatch, tmp_path, look, size=(100, 30))


def test_enter_shows_the_runs_of_a_place_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path)
    make_run(tmp_path, "another", task="rte", method="crild", seed=1)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        select(app, "study-t0-m0-s1")
        await opened(app, pilot)
        await pilot.press("j", "enter")
        screen = await closed(app, pilot)
        table = screen.query_one(RunTable)
        await until(pilot, lambda: len(table.rows) == 2)
        assert {entry.id for entry in table.rows} == {"study-t0-m1-s1", "study-t0-m1-s2"}
        assert screen.query_one("#filter", Input).value == "sweep:=study cell:=method=crild cell:=task=rte"
        assert table.has_focus
        await pilot.press("escape")
        await until(pilot, lambda: len(table.rows) == 6)

    drive(monkeypatch, tmp_path, look)


def test_c_compares_the_runs_of_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("down", "k", "c")
        await until(pilot, lambda: app.asked)
        assert app.asked == [("study-t0-m0-s1", "study-t0-m0-s2")]

    drive(monkeypatch, tmp_path, look)


def test_a_place_without_runs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("down", "right")
        for key in ("enter", "c"):
            await pilot.press(key)
            await pilot.pause()
            assert app.told.pop() == "none of its runs exists yet"
        assert isinstance(app.screen, SweepScreen)

    drive(monkeypatch, tmp_path, look)


def test_the_cursor_stays_off_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("left", "left")
        await until(pilot, lambda: screen.table.cursor_column == 1)
        assert screen.position[0] == ("kd", "rte")

    drive(monkeypatch, tmp_path, look)


def test_s_stops_the_sweep_after_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path, owner=Owner.current(), state="active")
    stopped: list[tuple[Path, str]] = []
    monkeypatch.setattr("engine.sweep.submit.stop_sweep", lambda runs_dir, name: stopped.append((runs_dir, name)))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n", "s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert not stopped
        await pilot.press("y")
        await until(pilot, lambda: stopped)
        assert stopped == [(tmp_path, "study")]
        await until(pilot, lambda: app.told)
        assert app.told == [
            "study: each run stops at its next step, with a checkpoint; run `crild sweep` to continue it"
        ]

    drive(monkeypatch, tmp_path, look)


def test_what_has_ended_or_may_not_be_changed_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("s")
        await pilot.pause()
        assert app.told == ["no run of study is running: there is nothing to stop"]

    async def reading(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("s")
        await pilot.pause()
        assert app.told == [READONLY]

    drive(monkeypatch, tmp_path, look)
    drive(monkeypatch, tmp_path, reading, readonly=True)


def test_a_sweep_is_finished_when_all_its_runs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path, tasks=TASKS[:1], state="stopped")

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        assert "finished, 100 %" in screen_text(app)

    drive(monkeypatch, tmp_path, look)


@pytest.mark.parametrize("key", ["escape", "q", "m"])
def test_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    make_sweep(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press(key)
        await closed(app, pilot)
        assert app.is_running

    drive(monkeypatch, tmp_path, look)


def test_a_run_without_a_sweep_asks_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "alone")

    async def none(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("m")
        await until(pilot, lambda: app.told)
        assert app.told == ["no sweep in this folder: run `crild sweep FILE` to start one"]

    async def several(app: Driven, pilot: Pilot[None]) -> None:
        select(app, "alone-s1")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, WordList))
        await until(pilot, lambda: "older  8 runs, ended" in screen_text(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen))
        await until(pilot, lambda: "sweep older" in screen_text(app))

    drive(monkeypatch, tmp_path, none)
    make_sweep(tmp_path)
    make_sweep(tmp_path, "older", created=0.5)
    drive(monkeypatch, tmp_path, several)


# -- from others' files


HOSTILE = ("[red]x[/red]", "\x1b[31mred\x07", "日本語の方法", 'a "b" c', "a,b=c", "e\u0301" * 60, "[/]", "{}")


def test_hostile_names_are_shown_as_text_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sweep(tmp_path, methods=HOSTILE, tasks=("a [b] task\x1b", "t 2"))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        select(app, "study-t0-m0-s1")
        screen = await opened(app, pilot)
        text = screen_text(app)
        assert "[red]x[/red]" in text
        assert "\x1b" not in text
        assert "\x07" not in text
        for row in range(len(HOSTILE)):
            screen.table.move_cursor(row=row, column=1)
            position, cells = screen.position
            assert position is not None
            assert screen.seen.record is not None
            where = parse(sweeps.filter_of(screen.seen.record, cells))
            found = [cell.run for cell in screen.seen.record.cells if _passes(where, tmp_path / cell.run)]
            expected = {cell.run for cell in cells}
            exact = not set(',"') & set("".join(position))
            assert set(found) == expected if exact else set(found) >= expected, position
        await pilot.press("enter")
        await closed(app, pilot)
        await until(pilot, lambda: len(app.screen.query_one(RunTable).rows) == 2)

    drive(monkeypatch, tmp_path, look, size=(120, 40))


def _passes(where: Any, run_dir: Path) -> bool:
    return run_dir.exists() and bool(where.matches(read_run(run_dir), Marks(), 0.0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such sweep"),
        ("{", "study.json"),
        ('{"schema": 99}', "newer crild"),
        ('{"schema": 1}', "complete record"),
    ],
)
def test_a_record_that_cannot_be_read_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, said: str
) -> None:
    make_run(tmp_path, "alone", sweep="study")
    file = sweep_file(tmp_path, "study")
    file.parent.mkdir()
    if content is not None:
        file.write_text(content)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        assert said in f"{screen.seen.problem} {file}"
        assert (screen.seen.problem or "x")[:30] in " ".join(screen_text(app).split())
        await pilot.press("enter", "c", "s", "j", "escape")
        await closed(app, pilot)

    drive(monkeypatch, tmp_path, look, size=(120, 30))


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "x\x1b[2J", ".."])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_run(tmp_path, "alone", sweep=name)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        assert "name of a sweep" in (screen.seen.problem or "") or name == ".."
        assert "\x1b" not in screen_text(app)

    drive(monkeypatch, tmp_path, look)


def test_the_watcher_goes_on_when_the_record_is_damaged_and_mended(tmp_path: Path) -> None:
    make_sweep(tmp_path)
    file = sweep_file(tmp_path, "study")
    seen: Snapshots[sweeps.SweepSnapshot] = Snapshots()
    watcher = SweepWatcher(tmp_path, "study", seen, every=0.01)
    watcher.start()
    try:
        whole = seen.until(lambda snapshot: snapshot.found is not None)
        assert whole.problem is None
        text = file.read_text()
        axes = json.loads(text)
        del axes["cells"][0]["cell"]["task"]
        for damaged in ("{", json.dumps(axes)):
            file.write_text(damaged)
            broken = seen.until(lambda snapshot: snapshot.problem is not None)
            assert broken.found == whole.found
            file.write_text(text)
            seen.until(lambda snapshot: snapshot.problem is None)
        count = len(seen.all)
        (tmp_path / "not-of-it").mkdir()
        assert len(seen.all) == count
    finally:
        watcher.stop()


def test_terms_of_the_filter() -> None:
    assert exactly("cell", "method=kd") == "cell:=method=kd"
    assert exactly("cell", "method=a b") == 'cell:"=method=a b"'
    assert exactly("cell", "method=a,b") == "cell:method=a,b"
    assert exactly("cell", '"') == ""
