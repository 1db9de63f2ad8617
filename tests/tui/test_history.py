"""The course of the dev metric beside each run, and how far runs and cells of a sweep are from the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crild_tui.charts.logged import Logged
from crild_tui.charts.sparkline import dev_history, sparkline
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.run_curves import read_curves
from crild_tui.runs.listing import BY_NAME, parse_order, to_teacher
from crild_tui.runs.sweeps import References, distance_of, range_text
from crild_tui.screens.runs import RunsScreen
from crild_tui.widgets.logged_view import ChartGrid
from crild_tui.widgets.run_table import RunTable
from engine.sweep.matrix import MatrixCell
from tests.cli.samples import make_run
from tests.tui import curves_samples as samples
from tests.tui.run_entries import entry
from tests.tui.screen_driver import Driven, drive, screen_text, until


def test_a_sparkline_is_between_majority_and_teacher() -> None:
    assert sparkline([0.5, 0.6, 0.7], 12) == "▁▅█"
    assert sparkline([0.6, 0.6], 12, (0.5, 0.7)) == "▅▅"
    assert sparkline([0.7, 0.7], 12, (None, float("nan"))) == "▅▅"
    assert sparkline([], 12) == sparkline([1.0], 0) == ""
    assert len(sparkline([float(n) for n in range(100)], 12)) == 12
    assert sparkline([float(n) for n in range(100)], 12)[-1] == "█", "the newest is there"


def test_the_history_is_of_stages_that_train_the_classifier() -> None:
    curves = samples.ordinary()
    assert len(dev_history(curves, "accuracy")) == 8
    assert dev_history(curves, "f1") == dev_history(Curves(), None) == ()


def test_curves_are_read_once_and_damage_is_left_out(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    assert len(read_curves(run_dir).steps) == 4
    (run_dir / "events.1.jsonl").write_bytes(b"\0\xff garbage")
    assert len(read_curves(run_dir).steps) == 0
    assert len(read_curves(tmp_path / "gone").steps) == 0


def test_the_list_has_the_course_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_run(tmp_path)

    async def do(app: Driven, pilot: Any) -> None:
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await until(pilot, lambda: not screen.reading and bool(screen._table.sparks))
        await until(pilot, lambda: any(block in screen_text(app) for block in "▁▂▃▄▅▆▇█"))
        assert "dev metric" in screen_text(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "dev metric" not in screen_text(app)

    drive(monkeypatch, tmp_path, do, size=(140, 24))


def test_the_curves_of_the_selected_run_are_below_the_list_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for seed in (1, 2):
        make_run(tmp_path, seed=seed)
    show = ChartGrid.show
    numbers: list[int] = []

    def counting(grid: ChartGrid, charts: Sequence[Logged], empty: str) -> None:
        numbers.append(len(charts))
        show(grid, charts, empty)

    monkeypatch.setattr(ChartGrid, "show", counting)

    async def do(app: Driven, pilot: Any) -> None:
        preview = app.screen.query_one(ChartGrid)
        await until(pilot, lambda: "loss" in [chart.name for chart in preview.charts])
        assert app.focused is app.screen.query_one(RunTable)
        numbers.clear()
        await pilot.press("down")
        await until(pilot, lambda: bool(numbers) and numbers[-1] > 0)
        assert numbers[0] == 0, "the curves of the run before go first"
        await pilot.resize_terminal(200, 30)
        await until(pilot, lambda: not preview.display)

    drive(monkeypatch, tmp_path, do, size=(200, 50))


def test_runs_are_sorted_by_their_distance_to_the_teacher() -> None:
    assert to_teacher(entry(last=0.67, teacher=0.69)) == pytest.approx(-0.02)
    assert to_teacher(entry(teacher=None)) is None
    assert BY_NAME["to-teacher"].text(entry(last=0.7, teacher=0.69), 0.0) == "+1.00"
    assert parse_order("gap").column == "to-teacher"


def test_a_cell_is_near_the_teacher_between_or_not_above_the_majority() -> None:
    cell = MatrixCell({"finished": 2}, (0.6, 0.7), 1.0, "accuracy")
    for teacher, majority, place in (
        (0.66, 0.5, "near the teacher"), (0.9, 0.5, "between"), (0.9, 0.65, "not above the majority"),
        (0.6, None, "near the teacher"), (0.9, None, "between"),
    ):  # fmt: skip
        known = References((teacher, teacher), None if majority is None else (majority, majority))
        found = distance_of(cell, known)
        assert found is not None
        assert found[0] == pytest.approx(0.65 - teacher)
        assert found[1] == place
    assert distance_of(cell, References()) is None
    assert distance_of(replace(cell, values=()), References((0.9, 0.9))) is None
    assert [range_text(ends) for ends in (None, (0.5, 0.5), (0.5, 0.6))] == ["-", "50.00", "50.00 to 60.00"]
