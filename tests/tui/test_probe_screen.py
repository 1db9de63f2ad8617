"""A run's probe in the dashboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from crild_tui.screens.live import LiveScreen
from crild_tui.screens.probe import ProbeScreen
from engine.record.probe import PROBE, write_probe
from engine.record.student import student_hash
from tests.cli.samples import make_run
from tests.record.probe_samples import sample
from tests.tui.screen_driver import Driven, drive, screen_text, until


def probed(runs: Path, *, stale: bool = False) -> Path:
    run_dir = make_run(runs)
    for name in ("config.json", "model.safetensors"):
        (run_dir / "student" / name).write_text("{}")
    found = student_hash(run_dir)
    assert found is not None
    write_probe(run_dir, replace(sample(), student="another" if stale else found))
    return run_dir


async def opened(app: Driven, pilot: Pilot[None]) -> str:
    """What Live shows after b."""
    live = app.screen
    assert isinstance(live, LiveScreen)
    await until(pilot, lambda: live.run_dir is not None)
    await pilot.press("b")
    await until(pilot, lambda: isinstance(app.screen, ProbeScreen) and "reading the probe" not in shown(app))
    await pilot.pause()
    return screen_text(app)


def shown(app: Driven) -> str:
    found = app.screen.query("#content").results(Static)
    return "".join(str(static.render()) for static in found)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_b_shows_tables_and_bars_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    runs = tmp_path / "runs"
    probed(runs)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        text = await opened(app, pilot)
        assert "probe of rte-crild-s1" in text
        assert "student accuracy" in text
        assert "-24.00" in text
        assert "newer student" not in text
        if size[1] < 50:
            for _ in range(40):
                await pilot.press("j")
            text = screen_text(app)
        assert "▄" * 14 in text
        assert "sharpness: noise of 0.1" in text
        await pilot.press("escape")
        assert isinstance(app.screen, LiveScreen)

    drive(monkeypatch, runs, look, mode="live", size=size)


def test_without_a_probe_it_says_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    make_run(runs)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        text = " ".join((await opened(app, pilot)).split())
        assert "no probe of rte-crild-s1" in text
        assert "crild probe rte-crild-s1" in text

    drive(monkeypatch, runs, look, mode="live")


def test_a_probe_of_an_older_student_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    probed(runs, stale=True)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        assert "the run has a newer student" in await opened(app, pilot)

    drive(monkeypatch, runs, look, mode="live")


def test_a_damaged_probe_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    (make_run(runs) / PROBE).write_text('{"schema": 99}')

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        assert "was written by a newer crild (schema 99" in shown(app)

    drive(monkeypatch, runs, look, mode="live", size=(160, 24))


def test_where_there_is_no_run_b_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await pilot.press("b")
        assert app.told[-1] == "there is no run here"

    for mode in ("live", "compare"):
        drive(monkeypatch, tmp_path / "none", look, mode=mode)


def test_compare_shows_the_probe_of_the_chosen_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    run_dir = probed(runs)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        from crild_tui.screens.compare import CompareScreen
        from crild_tui.widgets.row_list import RowList

        screen = app.screen
        assert isinstance(screen, CompareScreen)
        screen.show_runs([run_dir])
        await until(pilot, lambda: screen.query_one("#finals", RowList).chosen)
        await pilot.press("b")
        await until(pilot, lambda: "reading the probe" not in shown(app) and isinstance(app.screen, ProbeScreen))
        await pilot.pause()
        assert "student accuracy" in screen_text(app)

    drive(monkeypatch, runs, look, mode="compare")
