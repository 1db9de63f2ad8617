"""What a run's student gets wrong, in the dashboard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from crild_tui.screens.student_errors import StudentErrorsScreen
from tests.cli.samples import make_run
from tests.report.test_query_errors import STUDENT, TEACHER
from tests.report.test_query_errors import write as write_ranking
from tests.report.test_student_errors import ANSWERS, GOLD, sure, write
from tests.tui.screen_driver import Driven, drive, screen_text, until


def shown(app: Driven) -> str:
    return "".join(str(static.render()) for static in app.screen.query("#content").results(Static))


def in_one(text: str) -> str:
    """Without the ends of lines, which may stand within a command."""
    return re.sub(r"[\s│]", "", text)


async def opened(app: Driven, pilot: Pilot[None]) -> str:
    """What the screen shows after e, once the list of runs is read."""
    await until(pilot, lambda: bool(app.runs.entries))
    await pilot.pause()
    await pilot.press("e")
    await until(pilot, lambda: isinstance(app.screen, StudentErrorsScreen) and "reading the" not in shown(app))
    await pilot.pause()
    return screen_text(app)


@pytest.mark.parametrize("mode", ["live", "runs"])
def test_e_shows_classes_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    runs = tmp_path / "runs"
    run_dir = make_run(runs)
    write(run_dir, "student", GOLD, [sure(answer) for answer in ANSWERS])
    write(run_dir, "teacher", GOLD, [sure(answer) for answer in GOLD])

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        text = await opened(app, pilot)
        assert "mistakes of rte-crild-s1" in text
        assert "recall" in text
        assert "-orows.csv" in in_one(text)
        await pilot.press("end")
        await pilot.pause()
        assert "dev-2" in screen_text(app)
        await pilot.press("e")
        assert not isinstance(app.screen, StudentErrorsScreen)

    drive(monkeypatch, runs, look, mode=mode)


def test_queries_come_first_and_the_command_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    run_dir = make_run(runs)
    write_ranking(run_dir, "student", STUDENT)
    write_ranking(run_dir, "teacher", TEACHER)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        text = await opened(app, pilot)
        assert text.index("mean reciprocal rank") < text.index("above: dev-0")
        assert "recall" not in text.partition("above: dev-0")[0]
        assert "all queries in a file" in text
        assert "-oqueries.csv" in in_one(text)

    drive(monkeypatch, runs, look, mode="runs")


def test_without_predictions_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    make_run(runs, state="stopped")

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        assert "no predictions yet" in await opened(app, pilot)

    drive(monkeypatch, runs, look, mode="live")
