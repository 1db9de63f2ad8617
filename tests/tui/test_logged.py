"""Everything that was logged: which charts there are, how they are laid out, and what keys do to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual import events

from crild_tui.charts.grid import LEAST_HEIGHT, LEAST_WIDTH, fitted, matches, moved
from crild_tui.charts.legend import value_text
from crild_tui.charts.logged import label_gap, logged, loss_gap
from crild_tui.charts.run_figures import Look, Source, TraceCache
from crild_tui.monitor.curves import Curves
from crild_tui.runs.run_facts import read_facts
from crild_tui.screens.live import LiveScreen
from crild_tui.widgets.logged_view import LoggedView
from crild_tui.widgets.panels import Panels
from tests.cli.samples import make_run
from tests.tui import curves_samples as samples
from tests.tui.screen_driver import Driven, drive, screen_text, until


def everything() -> Curves:
    """A run that logged all there is."""
    curves = samples.ordinary()
    steps, student = curves.steps, curves.evaluations["student"]
    ones = np.ones(len(steps))
    values = {**steps.values, "learning rate": ones * 2e-5, "gradient norm": ones, "examples/s": ones * 90,
              "tokens/s": ones * 900, "memory": ones * 4e9}  # fmt: skip
    labels = np.where(np.isfinite(student.values["loss"]), np.nan, 0.5)
    on_dev = replace(student, values={**student.values, "label loss": labels}, terms={"hidden": student.values["loss"]})
    on_train = replace(student, values={"accuracy": student.values["accuracy"] + 0.1})
    evaluations = {**curves.evaluations, "student": on_dev, "student (train)": on_train}
    return replace(curves, steps=replace(steps, values=values), evaluations=evaluations)


def charts_of(*sources: Source) -> dict[str, Any]:
    return {chart.name: chart.figure for chart in logged(sources, Look(), TraceCache())}


# -- which charts


def test_every_logged_figure_has_a_chart() -> None:
    shown = charts_of(Source(samples.snapshot(everything()), "a run", 0))
    assert list(shown) == [
        "dev/accuracy", "dev/label loss", "loss/total", "loss/attention", "loss/hidden", "loss/logits", "loss/labels",
        "consistency/term", "consistency/weight", "learning rate", "gradient norm", "examples/s", "tokens/s",
        "memory, GB", "gap/loss, dev - train", "gap/accuracy, train - dev",
    ]  # fmt: skip
    assert [line.label for line in shown["loss/hidden"].lines] == ["train", "dev"]
    models = ["student", "self-teacher", "baseline", "teacher's curve", "student (train)"]
    assert [line.label for line in shown["dev/accuracy"].lines] == models
    assert shown["memory, GB"].lines[0].last == pytest.approx(4.0)
    gap = shown["gap/accuracy, train - dev"].lines[0].trace.y
    assert np.nanmax(np.abs(gap - 0.1)) < 1e-6
    assert int(np.isfinite(gap).sum()) == 8, "not in the stage whose classifier is not trained"


def test_figures_are_written_as_beside_the_panels() -> None:
    shown = charts_of(Source(samples.snapshot(everything()), "a run", 0))
    for name, text in (
        ("learning rate", "2e-05"), ("gradient norm", "1"), ("examples/s", "90"), ("tokens/s", "900"),
        ("memory, GB", "4.0 GB"),
    ):  # fmt: skip
        assert value_text(shown[name], shown[name].lines[0]) == text


def test_a_chart_has_the_figures_of_the_newest_stage_that_it_knows() -> None:
    shown = charts_of(Source(samples.snapshot(everything()), "a run", 0))
    assert all(value_text(shown["loss/hidden"], line) != "-" for line in shown["loss/hidden"].lines)
    assert [value_text(shown["loss/total"], line) for line in shown["loss/total"].lines][1] == "-", (
        "of an earlier stage"
    )


def test_several_runs_have_a_curve_each() -> None:
    sources = [Source(samples.snapshot(everything(), f"r{n}"), f"run {n}", n) for n in range(3)]
    shown = charts_of(*sources)
    assert [line.label for line in shown["loss/hidden"].lines] == ["run 0", "run 1", "run 2"]
    assert [line.color for line in shown["gap/loss, dev - train"].lines] == [0, 1, 2]
    assert charts_of() == {}


def test_the_gap_is_between_losses_of_the_same_stage() -> None:
    steps = samples.table(np.array([1.0, 2.0, 3.0, 4.0]), loss=np.array([1.0, 0.8, 0.5, 0.4]),
                          consistency=np.array([2.0, 2.0, np.nan, np.nan]), weight=np.array([0.1, 0.1, np.nan, np.nan]),
                          term_labels=np.array([np.nan, np.nan, 0.5, 0.4]))  # fmt: skip
    student = samples.table(np.array([2.0, 4.0]), loss=np.array([0.9, np.nan]), accuracy=np.array([0.1, 0.6]))
    student = replace(student, values={**student.values, "label loss": np.array([3.0, 0.7])})
    curves = Curves(steps, {"student": student}, (samples.border("ild", 0), samples.border("kd", 2)))
    assert loss_gap(curves) == pytest.approx([0.9 - (0.8 - 0.2), np.nan], nan_ok=True)
    assert label_gap(curves) == pytest.approx([np.nan, 0.3], nan_ok=True)


@pytest.mark.parametrize("name", list(samples.hostile()))
def test_hostile_curves_have_charts_or_none(name: str) -> None:
    charts_of(Source(samples.snapshot(samples.hostile()[name]), name, 0))


# -- the layout


@pytest.mark.parametrize("size", [(1, 1), (36, 7), (80, 21), (120, 37), (160, 42), (200, 47)])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 17, 60])
def test_charts_fill_the_area_and_never_overlap(size: tuple[int, int], count: int) -> None:
    grid = fitted(count, *size)
    cells = [grid.cell(index) for index in range(grid.size)]
    covered = [(x, y) for c in cells for x in range(c.left, c.left + c.width) for y in range(c.top, c.top + c.height)]
    assert len(covered) == len(set(covered))
    assert all(x < size[0] and y < size[1] for x, y in covered)
    if size[0] > LEAST_WIDTH and size[1] >= LEAST_HEIGHT:
        assert all(cell.width >= LEAST_WIDTH and cell.height >= LEAST_HEIGHT for cell in cells)
    assert grid.pages(count) * grid.size >= count


def test_a_terminal_holds_as_many_as_are_readable() -> None:
    assert fitted(100, 80, 21).size == 6
    assert fitted(100, 114, 42).size >= 9, "at 160×45, with the pane of settings beside it"
    assert fitted(100, 160, 42).size == 24
    assert (fitted(4, 160, 42).size, fitted(1, 160, 42).size) == (4, 1), "fewer charts are larger"


def test_arrows_move_in_the_grid_and_stay_at_its_edges() -> None:
    assert [moved(4, 8, 3, key) for key in ("left", "right", "up", "down")] == [3, 5, 1, 7]
    assert [moved(0, 8, 3, key) for key in ("left", "up")] == [0, 0]
    assert moved(5, 8, 3, "down") == 7, "the last row is shorter"
    assert moved(7, 8, 3, "down") == 7
    assert moved(0, 0, 3, "down") == 0


@pytest.mark.parametrize(
    ("name", "pattern", "found"),
    [
        ("loss/hidden", "", True), ("loss/hidden", "HID", True), ("loss/hidden", "loss/*", True),
        ("loss/hidden", "hid*", False), ("dev/f1", "loss f1", True), ("dev/f1", "loss mem", False),
        ("dev/f1", "d?v/*", True), ("a [x", "[x", False),
    ],
)  # fmt: skip
def test_patterns(name: str, pattern: str, found: bool) -> None:
    assert matches(name, pattern) is found


# -- facts


def test_settings_and_environment_are_lines(tmp_path: Path) -> None:
    facts = read_facts(make_run(tmp_path))
    assert ("stage.ild.epochs", "4.0") in facts.settings
    assert ("command", "crild") in facts.environment
    assert facts.problems == ()
    assert len(read_facts(tmp_path / "gone").problems) == 2


# -- the view


def viewed(
    monkeypatch: pytest.MonkeyPatch,
    runs: Path,
    do: Callable[[Driven, Any, LoggedView], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
) -> None:
    """Open all charts of a run in Live."""
    make_run(runs)

    async def go(app: Driven, pilot: Any) -> None:
        screen = app.screen
        assert isinstance(screen, LiveScreen)
        await until(pilot, lambda: screen.snapshot is not None and screen.snapshot.revision > 0)
        await until(pilot, lambda: not screen.query_one(Panels).waiting)
        await pilot.press("g")
        view = screen.query_one(LoggedView)
        await until(pilot, lambda: bool(view.grid.charts) and view.grid.has_focus)
        await do(app, pilot, view)

    drive(monkeypatch, runs, go, mode="live", size=size)


def test_the_view_is_one_key_away_and_leaves_by_escape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any, view: LoggedView) -> None:
        await until(pilot, lambda: "loss/total" in screen_text(app) and "dev/accuracy" in screen_text(app))
        assert "charts · " in screen_text(app)
        assert "enter Enlarge" in screen_text(app)
        first = view.grid.chosen
        await pilot.press("right", "enter")
        assert view.grid.enlarged
        assert view.grid.chosen is not first
        await until(pilot, lambda: "loss/total" in screen_text(app))
        assert "dev/accuracy" not in screen_text(app)
        await pilot.press("escape")
        assert [view.grid.enlarged] == [False]
        for key in ("x", "l", ">", "pagedown", "pageup", "i", "i"):
            await pilot.press(key)
        await pilot.press("escape")
        assert app.screen.query_one(Panels).display
        assert not view.opened

    viewed(monkeypatch, tmp_path, do)


def test_a_pattern_typed_at_once_leaves_what_it_finds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any, view: LoggedView) -> None:
        for key in ("slash", "d", "e", "v"):
            app.post_message(events.Key(key, {"slash": "/"}.get(key, key)))
        await until(pilot, lambda: view.pattern == "dev" and view.line.has_focus)
        assert view.grid.charts
        assert all("dev" in chart.name for chart in view.grid.charts)
        await pilot.press("enter")
        await until(pilot, lambda: view.grid.has_focus)
        await pilot.press("escape")
        assert "loss/total" in [chart.name for chart in view.grid.charts]

    viewed(monkeypatch, tmp_path, do)


def test_a_chart_moves_into_a_panel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any, view: LoggedView) -> None:
        view.grid.choose([chart.name for chart in view.grid.charts].index("loss/total"))
        await pilot.press("p")
        await until(pilot, lambda: "in place of which panel" in screen_text(app))
        await pilot.press("down", "enter")
        panels = app.screen_stack[0].query_one(Panels)
        await until(pilot, lambda: panels.charts[1].figure.title == "loss/total")
        panels.put(None, "")
        assert panels.charts[1].figure.title == "consistency"

    viewed(monkeypatch, tmp_path, do)


def test_settings_in_place_of_the_charts_have_no_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any, view: LoggedView) -> None:
        assert "page 1 of" in screen_text(app)
        await pilot.press("i")
        await until(pilot, lambda: "Summary" in screen_text(app))
        assert " page " not in screen_text(app)
        await pilot.press("i")
        await until(pilot, lambda: "page 1 of" in screen_text(app))

    viewed(monkeypatch, tmp_path, do, (60, 14))


def test_settings_stand_beside_the_charts_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any, view: LoggedView) -> None:
        for words in ("Summary", "Settings", "stage.ild.epochs", "loss/total"):
            await until(pilot, lambda words=words: words in screen_text(app))  # type: ignore[misc]
        await pilot.press("i")
        await until(pilot, lambda: "Settings" not in screen_text(app).replace("i Settings", ""))

    viewed(monkeypatch, tmp_path, do, (160, 45))
