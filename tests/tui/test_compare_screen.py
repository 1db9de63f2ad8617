from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual.containers import ScrollableContainer
from textual.pilot import Pilot
from textual.widgets import Input

from crild_tui.app import READONLY
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.comparison import labels
from crild_tui.runs.marks import read_marks
from crild_tui.runs.summary import RunSummary
from crild_tui.screens.compare import CompareScreen
from crild_tui.screens.dialogs import Confirm
from crild_tui.screens.text_dialog import TextScreen
from crild_tui.widgets.panels import Panels
from crild_tui.widgets.row_list import RowList
from engine.record.run import read_run, update_status
from tests.cli.samples import PRESET, make_run
from tests.tui.curves_samples import ordinary
from tests.tui.run_entries import HOSTILE
from tests.tui.screen_driver import Driven, drive, screen_text, until


class Watcher:
    """A watcher that tells what a test wants it to."""

    all: ClassVar[list[Watcher]] = []

    def __init__(self, run_dir: Path, tell: Callable[[RunSnapshot], object], **_: Any) -> None:
        self.run_dir, self._tell, self.begun, self.ended = run_dir, tell, 0, 0
        Watcher.all.append(self)

    def start(self) -> None:
        self.begun += 1
        self.tell()

    def stop(self) -> None:
        self.ended += 1

    def tell(self, revision: int = 1) -> None:
        self._tell(RunSnapshot(self.run_dir, read_run(self.run_dir), RunSummary(), Curves(), revision=revision))

    @classmethod
    def working(cls) -> list[str]:
        return sorted(each.run_dir.name for each in cls.all if each.begun and not each.ended)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two seeds of one method, and a third run of another."""
    Watcher.all = []
    monkeypatch.setattr("crild_tui.screens.run_watch.RunWatcher", Watcher)
    monkeypatch.chdir(tmp_path)
    folder, made = tmp_path / "runs", []
    for name, seed, accuracy, layers in (("a", 1, 0.6, 2), ("a", 2, 0.7, 2), ("b", 3, 0.65, 3)):
        preset = PRESET.replace("seed = 1", f"seed = {seed}").replace("layers = 2", f"layers = {layers}")
        results = {"student": {"metrics": {"accuracy": accuracy}}, "baseline": None}
        made.append(make_run(folder, name, seed=seed, method=name, preset=preset, results=results, last=accuracy))
    return made


def screen(app: Driven) -> CompareScreen:
    found = app.screen_stack[0]
    assert isinstance(found, CompareScreen)
    return found


def finals(app: Driven) -> RowList:
    return screen(app).query_one("#finals", RowList)


def plain(rows: RowList) -> str:
    return "\n".join(line.text.plain for line in rows.lines)


async def compared(app: Driven, pilot: Pilot[None], runs: list[Path]) -> None:
    screen(app).show_runs(runs)
    await until(pilot, lambda: all(run.name in plain(finals(app)) for run in runs))


def show(monkeypatch: pytest.MonkeyPatch, runs: list[Path], do: Any, **more: Any) -> None:
    """Compare runs and do something with the screen."""

    async def begin(app: Driven, pilot: Pilot[None]) -> None:
        await compared(app, pilot, runs)
        await until(pilot, lambda: finals(app).lines)  # keys act on the table's rows, which a thread reads
        await do(app, pilot)

    drive(monkeypatch, runs[0].parent, begin, mode="compare", **more)


# -- what is shown


def test_without_runs_a_page_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        text = screen_text(app)
        assert "Nothing to compare yet" in text
        assert "mark the runs to compare" in text
        for key in ("f", "y", "w", "space", "delete", "enter", "v", "v", "v", "up", "down"):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, CompareScreen)

    drive(monkeypatch, tmp_path / "none", do, mode="compare")


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 10)])
def test_runs_stand_under_their_markers_with_spread_and_differences(
    monkeypatch: pytest.MonkeyPatch, runs: list[Path], size: tuple[int, int]
) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        text = plain(finals(app))
        rows = {line.split()[1]: line for line in text.splitlines() if len(line.split()) > 2}
        assert rows["a-s1"].split()[0] == "o"
        assert rows["b-s3"].split()[0] == "+"
        assert "a: mean of 2 seeds" in text
        assert "65.00 ± 7.07" in text
        assert "teacher" in text
        assert "majority guess" in text
        assert "★" in rows["a-s2"]
        beside = screen(app).query_one("#differences", RowList)
        different = plain(beside) if size[0] == 200 else text
        assert beside.display == (size[0] == 200)
        assert "student.layers" in different
        assert "settings that differ" in different
        assert "task.name" not in different
        panels = screen(app).query_one(Panels)
        await until(pilot, lambda: len(panels.sources) == 3)
        assert [(source.label, source.index) for source in panels.sources] == [("a-s1", 0), ("a-s2", 1), ("b-s3", 2)]

    show(monkeypatch, runs, do, size=size)


def test_unfinished_runs_say_so_and_move_on(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    update_status(runs[1], state="stopped")

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        assert "stopped" in plain(finals(app))
        assert "mean of 1 of 2 seeds" in plain(finals(app))
        update_status(runs[1], state="finished")
        Watcher.all[1].tell(2)
        await until(pilot, lambda: "mean of 2 seeds" in plain(finals(app)))

    show(monkeypatch, runs, do)


def test_runs_that_cannot_be_read_are_shown_with_their_reason(
    monkeypatch: pytest.MonkeyPatch, runs: list[Path]
) -> None:
    hostile = runs[0].parent / "[bold]x[red]\x1b[31m"
    hostile.mkdir()
    (hostile / "status.json").write_text("{")
    (runs[1] / "preset.toml").write_text("= x")
    update_status(runs[2], method=HOSTILE, task=HOSTILE)

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        screen(app).show_runs([*runs, hostile, runs[0].parent / "gone"])
        await until(pilot, lambda: "gone" in plain(finals(app)))
        text = plain(finals(app)) + screen_text(app)
        assert "\x1b" not in text
        assert "unreadable" in text
        assert "[bold]x[red]\\x1b[31m: status.json" in text
        assert "the run's preset cannot be read" in text

    show(monkeypatch, runs, do)


# -- which runs


def test_a_run_that_trained_its_teacher_begins_where_one_with_a_stored_teacher_does() -> None:
    trained = ordinary()
    teacher, ild, *_ = trained.borders
    assert teacher.stage == "teacher"
    compared = trained.without_teacher()
    assert [border.stage for border in compared.borders] == [border.stage for border in trained.borders[1:]]
    first = compared.borders[0]
    assert (first.step, first.epoch, first.time) == (0, 0, 0)
    kept = trained.steps.step > ild.step
    assert compared.steps.step.tolist() == (trained.steps.step[kept] - ild.step).tolist()
    assert compared.steps.values["loss"].tolist() == trained.steps.values["loss"][kept].tolist()
    assert all((table.step > 0).all() for table in compared.evaluations.values())
    assert compared.without_teacher() is compared
    alone = replace(trained, borders=trained.borders[:1])
    assert alone.without_teacher() is alone, "until the student trains"


def test_a_run_keeps_its_colour_while_others_come_and_go(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        assert screen(app).numbers == {runs[0]: 0, runs[1]: 1, runs[2]: 2}
        await pilot.press("space")
        assert screen(app).numbers == {runs[1]: 1, runs[2]: 2}
        await until(pilot, lambda: "a-s1" not in plain(finals(app)))
        assert Watcher.working() == ["a-s2", "b-s3"]
        screen(app).show_runs([runs[2], runs[0], runs[1]])
        assert screen(app).numbers == {runs[2]: 2, runs[0]: 0, runs[1]: 1}
        assert Watcher.working() == ["a-s1", "a-s2", "b-s3"]

    show(monkeypatch, runs, do)


def test_the_last_run_dropped_brings_the_page_back(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for key, left in (("space", 2), ("delete", 1), ("backspace", 0)):
            await pilot.press(key)
            await pilot.pause()
            assert len(screen(app).runs) == left
        assert "Nothing to compare yet" in screen_text(app)
        assert Watcher.working() == []

    show(monkeypatch, runs, do)


def test_a_dozen_runs_at_most(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    many = [make_run(runs[0].parent, f"m{n}", seed=n) for n in range(14)]

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        screen(app).show_runs(many)
        assert len(screen(app).runs) == 12
        assert "the first 12 of 14 runs" in app.told[-1]

    show(monkeypatch, runs, do)


def test_watchers_end_when_the_mode_is_left_and_begin_again(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("y")  # a dialog is no leaving
        await pilot.pause()
        assert len(Watcher.working()) == 3
        await pilot.press("escape")
        await pilot.pause()
        assert len(Watcher.all) == 3
        app.switch_mode("launch")
        await until(pilot, lambda: Watcher.working() == [])
        app.switch_mode("compare")
        await until(pilot, lambda: Watcher.working() == ["a-s1", "a-s2", "b-s3"])
        assert screen(app).numbers[runs[2]] == 2

    show(monkeypatch, runs, do)
    assert Watcher.working() == []  # the application has ended


def test_marked_runs_come_from_the_list(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def by_key(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("space", "space", "c")
        await until(pilot, lambda: app.current_mode == "compare" and len(screen(app).runs) == 2)

    async def by_mode(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("space", "4")
        await until(pilot, lambda: app.current_mode == "compare" and len(screen(app).runs) == 1)

    drive(monkeypatch, runs[0].parent, by_key, follow_messages=True)
    drive(monkeypatch, runs[0].parent, by_mode, readonly=True)


def test_a_run_can_be_watched(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.asked == ["a-s2"]
        assert "▸ x a-s2" in screen_text(app)
        await pilot.press("k", "enter", "j", "up")
        await pilot.pause()
        assert app.asked == ["a-s2", "a-s1"]
        assert finals(app).chosen == runs[0]
        y = next(y for y, line in enumerate(finals(app).lines) if line.run_dir == runs[2])
        await pilot.press("v")
        await pilot.pause()
        await pilot.double_click("#finals", offset=(6, y))
        await pilot.pause()
        assert app.asked[-1] == "b-s3"

    show(monkeypatch, runs, do)


def test_the_view_goes_round(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        panels, tables = screen(app).query_one(Panels), screen(app).query_one("#tables")
        for curves, table in ((False, True), (True, False), (True, True)):
            await pilot.press("v")
            await pilot.pause()
            assert (panels.display, tables.display) == (curves, table)
        await pilot.press("z")
        await pilot.pause()
        assert not tables.display  # a panel that is enlarged has all the room
        await pilot.press("z")
        await pilot.pause()
        assert tables.display

    show(monkeypatch, runs, do)


def test_the_terminal_may_take_any_size_at_any_time(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for width, height in ((1, 1), (40, 10), (200, 50), (10, 60), (300, 5), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.press("down")
            await pilot.pause()
        assert finals(app).chosen == runs[2]
        assert "mean of 2 seeds" in screen_text(app)

    show(monkeypatch, runs, do)


def test_lines_scroll_both_ways(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("v")
        await pilot.pause()
        lines = finals(app)
        assert lines.has_focus
        await pilot.press("right", "down", "down", "down", "pagedown")
        await pilot.pause()
        assert (lines.scroll_offset.x, lines.scroll_offset.y > 0) == (8, True)
        await pilot.press("left", "pageup", "pageup", "up")
        await pilot.pause()
        assert lines.scroll_offset == (0, 0)

    show(monkeypatch, runs, do, size=(36, 10))


# -- taking the table away


def test_the_table_is_copied_and_shown_in_each_format(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for name, words in (
            ("Markdown", "| a-s1                   |    1 |"),
            ("CSV", "run,rte,a-s1,1,"),
            ("LaTeX", r"\begin{tabular}"),
        ):
            await pilot.press("y")
            await pilot.pause()
            assert isinstance(app.screen, TextScreen)
            assert words in app.clipboard
            assert words in screen_text(app)
            assert f"{name} table" in screen_text(app)
            assert "Sent to the terminal's clipboard (OSC 52)" in screen_text(app)
            await pilot.press("escape", "f")
            await pilot.pause()
        assert app.told[0] == "y copies and w writes the table as CSV"

    show(monkeypatch, runs, do, size=(160, 40))


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
def test_all_of_the_copied_table_can_be_scrolled_to(
    monkeypatch: pytest.MonkeyPatch, runs: list[Path], size: tuple[int, int]
) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("y")
        await pilot.pause()
        if size == (80, 24):
            said = " ".join(screen_text(app).replace("│", " ").split())
            assert "select it with Shift and the mouse" in said
            assert "Escape closes" in said
        box = app.screen.query_one(ScrollableContainer)
        assert box.has_focus
        region = box.region
        assert app.screen.region.contains_region(region)
        for keys, words in (("end", app.clipboard.splitlines()[-1][:20]), ("home", app.clipboard.splitlines()[0][:20])):
            await pilot.press(keys)
            await until(pilot, lambda words=words: words in screen_text(app))  # type: ignore[misc]
        last = app.clipboard.splitlines()[0][-8:]
        for _ in range(200):
            if last in screen_text(app):
                break
            await pilot.press("right")
        assert last in screen_text(app)

    show(monkeypatch, runs, do, size=size)


def test_a_dropped_run_is_no_longer_marked(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        app.mark("marked", [run_dir.name for run_dir in runs], on=True)
        finals(app).focus()
        await pilot.press("space")
        await pilot.pause()
        (gone,) = {run_dir.name for run_dir in runs} - {run_dir.name for run_dir in screen(app).runs}
        assert app.marks.marked == {run_dir.name for run_dir in runs} - {gone}
        await until(pilot, lambda: read_marks(app.runs_dir).marked == app.marks.marked)

    show(monkeypatch, runs, do)


def test_the_table_is_written_and_nothing_overwritten_unasked(
    monkeypatch: pytest.MonkeyPatch, runs: list[Path], tmp_path: Path
) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("w")
        await pilot.pause()
        assert app.screen.query_one(Input).value == "comparison.md"
        await pilot.press("enter")
        target = tmp_path / "comparison.md"
        await until(pilot, lambda: app.told == [f"written to {target}"])
        assert target.read_text().startswith("| run ")
        target.write_text("mine")
        await pilot.press("w", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "Overwrite (y)" in screen_text(app)
        await pilot.press("n")
        await pilot.pause()
        assert target.read_text() == "mine"
        await pilot.press("w", "enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: len(app.told) == 2)
        assert target.read_text().startswith("| run ")

    show(monkeypatch, runs, do)


def test_a_file_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        for name, fact in (
            ("no/such/folder.md", "no/such/folder.md"),
            ("runs", "runs"),
            ("a.pdf", ".csv or .tex"),
            (" ", "name"),
        ):
            await pilot.press("w")
            await pilot.pause()
            app.screen.query_one(Input).value = name
            app.told.clear()
            await pilot.press("enter")
            await until(pilot, lambda: app.told)
            assert fact in app.told[-1]

    show(monkeypatch, runs, do)


def test_the_ending_of_the_file_tells_the_format(
    monkeypatch: pytest.MonkeyPatch, runs: list[Path], tmp_path: Path
) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("w")
        await pilot.pause()
        app.screen.query_one(Input).value = "table.csv"
        await pilot.press("enter")
        target = tmp_path / "table.csv"
        await until(pilot, lambda: app.told == [f"written to {target}"])
        assert target.read_text().startswith("kind,task,run,")

    show(monkeypatch, runs, do)


def test_readonly_writes_nothing(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("w")
        await pilot.pause()
        assert app.told == [READONLY]
        assert isinstance(app.screen, CompareScreen)

    show(monkeypatch, runs, do, readonly=True)


@pytest.mark.parametrize("readonly", [False, True])
def test_in_a_browser_the_table_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, runs: list[Path], tmp_path: Path, readonly: bool
) -> None:
    sent: dict[str, str] = {}
    monkeypatch.setattr(
        Driven, "deliver_text", lambda _, file, *, save_filename: sent.update({save_filename: file.read()})
    )

    async def do(app: Driven, pilot: Pilot[None]) -> None:
        before = sorted(tmp_path.rglob("*"))
        await pilot.press("w")
        await until(pilot, lambda: sent)
        assert isinstance(app.screen, CompareScreen)
        assert sorted(tmp_path.rglob("*")) == before
        ((name, table),) = sent.items()
        assert name == "comparison.md"
        assert table.startswith("|")

    show(monkeypatch, runs, do, served=True, readonly=readonly)


def test_another_theme_redraws_the_markers(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    async def do(app: Driven, pilot: Pilot[None]) -> None:
        def colour() -> str:
            line = next(line for line in finals(app).lines if line.run_dir == runs[0])
            return str(line.text.spans[0].style)

        before = colour()
        app.theme = "crild-light"
        await until(pilot, lambda: colour() != before)

    show(monkeypatch, runs, do)


def test_a_legend_leaves_out_what_long_names_begin_with() -> None:
    runs = [Path("runs", f"toy-study-{task}-finetune-s1") for task in ("sentiment", "switch")]
    assert labels(runs) == ["…sentiment-finetune-s1", "…switch-finetune-s1"]
    assert labels(runs[:1]) == [runs[0].name]
    assert labels([Path("rte-crild-s1"), Path("rte-crild-s2")]) == ["rte-crild-s1", "rte-crild-s2"], "short enough"
    long = [Path("a" * 30), Path("b" * 30)]
    assert labels(long) == [path.name for path in long]
