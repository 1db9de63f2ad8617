"""What the screens leave out: keys that do nothing, bars of runs that have ended, figures that mean nothing yet."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Input

from crild_tui.charts.drawing import draw
from crild_tui.charts.run_figures import Look, Source, TraceCache, figures
from crild_tui.launch_form.checks import FieldView
from crild_tui.launch_form.fields import field
from crild_tui.runs import actions
from crild_tui.runs.summary import RunSummary, apply_events, with_status
from crild_tui.screens.live import LiveScreen
from crild_tui.widgets.field_line import FieldLine
from crild_tui.widgets.messages_pane import LogPane
from crild_tui.widgets.progress import Stage, stage_rows
from crild_tui.widgets.run_details import scores
from crild_tui.widgets.text_view import TextLine, TextView
from engine.record.run import update_status
from engine.record.status import Status
from engine.sweep.record import CellRecord, SweepRecord, sweep_file, write_sweep_record
from engine.sweep.slots import Slot
from tests.cli.samples import make_run
from tests.tui import curves_samples as samples
from tests.tui.run_entries import entry
from tests.tui.screen_driver import Driven, drive, screen_text, select, until


def burst(app: App[Any], *keys: str) -> None:
    """Keys that arrive together, as over a slow line."""
    for key in keys:
        app.post_message(events.Key(key, {"slash": "/"}.get(key, key if len(key) == 1 else None)))


def footer(app: App[Any]) -> str:
    return screen_text(app).splitlines()[-1]


# -- keys


def test_the_footer_of_runs_has_the_keys_of_the_selected_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any) -> None:
        runs = [entry("works", "running", sweep="study"), entry("over", "finished"), entry("broken", "failed")]
        await app.see(pilot, runs)
        for run, there, absent in (
            ("works", ("s Stop", "m Matrix"), ("r Resume", "c Compare", "d Trash")),
            ("over", ("d Trash",), ("s Stop", "r Resume", "m Matrix")),
            ("broken", ("r Resume",), ("s Stop",)),
        ):
            select(app, run)
            await until(pilot, lambda there=there: all(key in footer(app) for key in there))  # type: ignore[misc]
            assert not [key for key in absent if key in footer(app)], footer(app)
        await pilot.press("s")
        assert "nothing to stop" in app.told[-1], "a key that the footer leaves out explains itself"

    drive(monkeypatch, tmp_path, do)


def test_while_a_filter_is_typed_the_footer_has_no_key_that_would_be_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def do(app: Driven, pilot: Any) -> None:
        await app.see(pilot, [entry("one-s1"), entry("two-s1")])
        await until(pilot, lambda: "/ Filter" in footer(app))
        await pilot.press("slash", *"one")
        await until(pilot, lambda: "esc Show all" in footer(app))
        assert "/ Filter" not in footer(app)
        await pilot.press("escape")
        await until(pilot, lambda: "/ Filter" in footer(app) and "Show all" not in footer(app))

    drive(monkeypatch, tmp_path, do)


def test_the_footer_of_a_finished_run_offers_its_mistakes_and_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_run(tmp_path)

    async def do(app: Driven, pilot: Any) -> None:
        await until(pilot, lambda: "e Mistakes" in footer(app) and "t Table" in footer(app))
        assert "h Hold" not in footer(app)

    drive(monkeypatch, tmp_path, do, mode="live")


def test_what_is_typed_with_the_key_of_a_search_reaches_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any) -> None:
        await app.see(pilot, [entry(f"{name}-s1", age=float(age)) for age, name in enumerate(("kind", "tick", "more"))])
        before = app.theme
        burst(app, "slash", "t", "i", "c", "k")
        line = app.screen.query_one("#filter", Input)
        await until(pilot, lambda: line.value == "tick" and line.has_focus)
        await pilot.press("s", "backspace", "enter")
        assert (line.value, app.screen.query_one("#table").has_focus, app.theme) == ("tick", True, before)
        burst(app, "slash", "m", "o", "enter", "j")
        await until(pilot, lambda: line.value == "mo" and app.screen.query_one("#table").has_focus)

    drive(monkeypatch, tmp_path, do)


def test_what_is_typed_at_once_reaches_the_search_of_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_run(tmp_path)

    async def do(app: Driven, pilot: Any) -> None:
        screen = app.screen
        assert isinstance(screen, LiveScreen)
        await until(pilot, lambda: screen.snapshot is not None and screen.snapshot.revision > 0)
        pane = screen.query_one(LogPane)
        burst(app, "slash", "t", "z", "n")
        await until(pilot, lambda: pane.words == "tzn" and pane.search_line.has_focus)
        assert not screen.query_one("Panels").enlarged  # type: ignore[attr-defined]
        await pilot.press("escape")
        assert (pane.searching, pane.typing) == (False, False)

    drive(monkeypatch, tmp_path, do, mode="live")


# -- bars


def test_only_what_is_running_has_a_bar() -> None:
    stages = (Stage("ild", "done", 9, 9), Stage("kd", "present", 3, 9), Stage("baseline", "to come"))
    done, present, waiting = (row.plain for row in stage_rows(stages, 60))
    assert ("▄" in done, "▄" in present, "▄" in waiting) == (False, True, False)
    assert done.endswith("9/9")


def test_a_finished_run_has_no_bar_in_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def do(app: Driven, pilot: Any) -> None:
        await app.see(pilot, [entry("works", "running"), entry("over", "finished")])
        lines = {sign: line for line in screen_text(app).splitlines() for sign in "▶✓" if f"{sign} " in line}
        assert "▄" in lines["▶"]
        assert "▄" not in lines["✓"]
        assert "100 %" in lines["✓"]

    drive(monkeypatch, tmp_path, do, size=(140, 20))


# -- figures


def evaluation(stage: str, model: str, value: float, **more: Any) -> dict[str, Any]:
    primary = model == "student"
    return {"kind": "evaluation", "stage": stage, "step": 1, "model": model, "primary": primary,
            "metrics": {"accuracy": value}, **more}  # fmt: skip


def test_a_metric_of_an_untrained_classifier_is_not_shown() -> None:
    events: list[dict[str, Any]] = [
        {"kind": "run_started", "stages": ["ild", "kd"]},
        {"kind": "stage_started", "stage": "ild", "steps": 9},
        evaluation("ild", "student", 0.11, loss=1.5),
        evaluation("ild", "self-teacher", 0.03),
    ]
    status = Status(id="r", created=0.0, state="running", last=0.11, self_teacher=0.03, teacher=0.9)
    summary = with_status(apply_events(RunSummary(), events), status, "running")
    facts = [fact.short for fact in scores(samples.snapshot(**{**vars(summary), "state": "running"}))]
    assert facts == ["dev loss 1.5000", "teacher 90.00"]
    events += [
        {"kind": "stage_started", "stage": "kd", "steps": 9},
        evaluation("kd", "student", 0.8),
        evaluation("kd", "self-teacher", 0.7),
    ]
    trained = apply_events(RunSummary(), events)
    assert (trained.metric, trained.self_teacher) == (0.8, 0.7)


def test_a_chart_says_that_its_curves_are_smoothed() -> None:
    source = Source(samples.snapshot(samples.ordinary()), "a run", 0)

    def heading(smoothing: float) -> str:
        loss = figures([source], Look(smoothing=smoothing), TraceCache())[0]
        return "".join(text for text, _ in draw(loss, 100, 12).canvas.spans()[0])

    assert "smoothed 0.6" in heading(0.6)
    assert "smoothed" not in heading(0.0)


# -- text


def test_a_view_without_a_width_cuts_lines_and_never_wraps_them_to_a_letter() -> None:
    class Hidden(App[None]):
        CSS = "TextView { display: none; height: 5; }"

        def compose(self) -> ComposeResult:
            yield TextView(id="view")

    async def go() -> None:
        app = Hidden()
        async with app.run_test(size=(60, 10)) as pilot:
            view = app.query_one(TextView)
            view.show([TextLine("some words that are longer than a letter")] * 3)
            assert view.virtual_size.height == 3
            view.display = True
            await pilot.pause()
            assert view.virtual_size.height == 3
            assert "some words that are longer than a letter" in screen_text(app)

    asyncio.run(go())


@pytest.mark.parametrize("width", [24, 40])
def test_a_long_path_in_the_form_is_cut_and_not_empty(width: int) -> None:
    path = "/data/models/" + "a-folder-with-a-long-name/" * 4 + "minilm"
    shown = FieldView(field("teacher.model", "teacher"), path)

    async def go() -> None:
        class Form(App[None]):
            def compose(self) -> ComposeResult:
                yield FieldLine(shown)

        app = Form()
        async with app.run_test(size=(width, 5)) as pilot:
            await pilot.pause()
            line = screen_text(app).splitlines()[0]
            assert line.endswith("ilm")
            assert "…" in line
            assert len(line) <= width

    asyncio.run(go())


# -- sentences


def test_stopping_a_run_of_a_sweep_says_that_the_sweep_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, "study-a", state="running")
    update_status(run_dir, sweep="study")
    monkeypatch.setattr("engine.launch.signals.stop", lambda _: None)
    cells = (CellRecord("study-a", {"method": "kd", "task": "rte"}, 1, 0),)
    record = SweepRecord("study", "study.toml", time.time(), {}, cells, (Slot("cpu", 1),), state="active")
    sweep_file(tmp_path, "study").parent.mkdir()
    write_sweep_record(sweep_file(tmp_path, "study"), record)
    monkeypatch.setattr(SweepRecord, "alive", lambda *_: True)
    assert "sweep study goes on" in actions.stop(run_dir)
    monkeypatch.setattr(SweepRecord, "alive", lambda *_: False)
    assert "sweep" not in actions.stop(run_dir)


def test_a_screenshot_is_saved_from_the_palette(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    async def do(app: Driven, pilot: Any) -> None:
        (command,) = [each for each in app.get_system_commands(app.screen) if "Screenshot" in each.title]
        command.callback()
        await until(pilot, lambda: any("<svg" in path.read_text()[:200] for path in tmp_path.glob("crild-*.svg")))

    drive(monkeypatch, tmp_path / "runs", do)
