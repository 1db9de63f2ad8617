"""What the Live mode does to a run: stop, kill, resume, copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from crild_tui.app import READONLY
from crild_tui.runs import actions
from crild_tui.screens.dialogs import Confirm
from crild_tui.widgets.closing_table import ClosingView
from crild_tui.widgets.panels import Panels
from engine.errors import RunError
from engine.user.own_code import OwnCode, OwnCodeError
from tests.cli.samples import make_run
from tests.record.own_files import checkpoint
from tests.tui import live_driver
from tests.tui.live_driver import (
    asks,
    head,
    live,
    said,
    tell,
    until,
    working,
)
from tests.tui.screen_driver import SENT
from tests.tui.screen_driver import screen_text as shown

watchers, runs = live_driver.watchers, live_driver.runs


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was done to runs."""
    found: list[tuple[Any, ...]] = []

    def note(verb: str) -> Callable[..., str]:
        def act(*words: Any) -> str:
            found.append((verb, *words))
            return f"{verb} it is"

        return act

    for verb in ("stop", "kill", "resume"):
        monkeypatch.setattr(actions, verb, note(verb))
    return found


def test_resuming_a_run_whose_model_has_code_asks_first(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(runs, state="stopped")
    resumed: list[bool] = []

    def resume(run_dir: Path, changes: Sequence[str] = (), *, trust: bool = False) -> str:
        if not trust:
            code = OwnCode(runs, ("conf.Config",))
            raise OwnCodeError(
                "it has code", kind="model-code-not-trusted", model="a/b", code=code, key="teacher.model"
            )
        resumed.append(trust)
        return "resumed"

    monkeypatch.setattr(actions, "resume", resume)

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir, "stopped"))
            for answer, expected in (("escape", []), ("y", [True])):
                await pilot.press("r")
                await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
                assert all(fact in shown(pilot.app) for fact in ("a/b", "conf.py"))
                await pilot.press(answer)
                await until(pilot, lambda: pilot.app.screen is screen)
                await until(pilot, lambda answer=answer: bool(resumed) or answer == "escape")  # type: ignore[misc]
                assert resumed == expected

    asyncio.run(act())


def test_stop_is_said_at_once_and_once(runs: Path, done: list[tuple[Any, ...]]) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            screen.actions.stop()
            assert "◼ asked to stop" in head(screen)
            await until(pilot, lambda: done)
            await pilot.press("s")
            await pilot.pause()
            assert done == [("stop", run_dir)]
            assert any("is already stopping; press K" in sentence for sentence in said(screen))
            await tell(pilot, working(run_dir, "stopping"))
            assert "◼ stopping" in head(screen)
            await pilot.press("s")
            assert done == [("stop", run_dir)]
            await tell(pilot, working(run_dir, "stopped"))
            await pilot.press("s")
            assert said(screen)[-1].endswith("is stopped: there is nothing to stop; press r to continue")

    asyncio.run(act())


def test_a_stop_that_fails_takes_its_word_back(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(runs, state="running")

    def fail(_: Path) -> str:
        raise RunError("the engine is out of reach from here")

    monkeypatch.setattr(actions, "stop", fail)

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            await pilot.press("s")
            await until(pilot, lambda: "the engine is out of reach from here" in said(screen))
            assert "▶ running" in head(screen)

    asyncio.run(act())


def test_kill_asks_first(runs: Path, done: list[tuple[Any, ...]]) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            await pilot.press("K")
            assert asks(screen)
            await pilot.press("n")
            assert done == []
            await pilot.press("K")
            await pilot.press("y")
            await until(pilot, lambda: done == [("kill", run_dir)])
            await tell(pilot, working(run_dir, "finished"))
            await pilot.press("K")
            assert not asks(screen)
            assert said(screen)[-1].endswith("is finished: there is nothing to kill")

    asyncio.run(act())


def test_resume_goes_on_and_asks_a_finished_run_for_more(runs: Path, done: list[tuple[Any, ...]]) -> None:
    run_dir = make_run(runs, state="stopped")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir, "running"))
            await pilot.press("r")
            assert said(screen)[-1].endswith("is running: there is nothing to resume")
            await tell(pilot, working(run_dir, "stopped"))
            await pilot.press("r")
            await until(pilot, lambda: done == [("resume", run_dir, ())])
            await tell(pilot, working(run_dir, "finished"))
            await pilot.press("r")
            assert not asks(screen)
            assert "train.keep_for_extending" in said(screen)[-1]
            checkpoint(run_dir, "001-kd-00000010")
            await pilot.press("r")
            assert asks(screen)
            await pilot.press("escape")
            await pilot.press("r")
            await pilot.press("8", "enter")
            await until(pilot, lambda: len(done) == 2)
            assert done[1] == ("resume", run_dir, ("stage.kd.epochs=8",))

    asyncio.run(act())


def test_a_dashboard_that_only_reads_changes_nothing(runs: Path, done: list[tuple[Any, ...]]) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs, readonly=True) as (pilot, screen):
            await tell(pilot, working(run_dir))
            for key in ("s", "K", "r"):
                await pilot.press(key)
            assert said(screen) == [READONLY]  # what is said again stands once
            assert "asked to stop" not in head(screen)
            assert not asks(screen)
            assert done == []

    asyncio.run(act())


def test_paths_and_commands_are_copied_and_shown(runs: Path) -> None:
    runs = runs / "with space"
    run_dir = make_run(runs, state="finished")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir)
            await pilot.press("o")
            assert screen.app.clipboard == str(run_dir)
            assert said(screen)[-1] == f"{SENT}{run_dir}"
            await pilot.press("c")
            assert screen.app.clipboard == f"crild run '{run_dir / 'preset.toml'}'"
            assert said(screen)[-1] == f"{SENT}crild run '{run_dir / 'preset.toml'}'"

    asyncio.run(act())


def test_the_closing_table_comes_when_a_run_has_finished(runs: Path) -> None:
    run_dir = make_run(runs, state="finished", started=1000.0, ended=1075.0)

    async def act() -> None:
        async with live(runs, size=(100, 40)) as (pilot, screen):
            await tell(pilot, working(run_dir, "running"))
            await pilot.press("t")
            assert said(screen)[-1].endswith("only a finished run has a closing table")
            await tell(pilot, working(run_dir, "finished"))
            await pilot.press("t")
            await until(pilot, lambda: "student, 6 layers" in shown(screen.app))
            assert "crild run crild rte" in shown(screen.app)
            assert "took:    1:15" in shown(screen.app)
            assert not screen.query_one(Panels).display
            await pilot.press("escape")
            assert not screen.query_one(ClosingView).display
            (run_dir / "results.json").write_text("{")
            await pilot.press("t")
            await until(pilot, lambda: "is not complete JSON" in shown(screen.app))
            (run_dir / "results.json").write_text('{"schema": 99}')
            await pilot.press("t", "t")
            await until(pilot, lambda: "update crild" in shown(screen.app))

    asyncio.run(act())
