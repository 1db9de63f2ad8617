"""Opens the Live mode in tests, with watchers that tell it what a test hands them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual.pilot import Pilot

from crild_tui.app import CrildApp
from crild_tui.monitor.curves import Border, Curves, Table
from crild_tui.monitor.snapshots import EngineMessage, RunSnapshot
from crild_tui.runs.summary import RunSummary, StageSummary
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.live import LiveScreen
from crild_tui.widgets.run_header import RunHead
from crild_tui.widgets.text_view import TextView
from engine.record.run import read_run
from tests.conftest import PATIENCE

Act = Callable[[Pilot[None], CrildApp], Coroutine[Any, Any, None]]


class Watcher:
    """Tells what a test hands it."""

    made: ClassVar[list[Watcher]]

    def __init__(self, run_dir: Path, tell: Callable[[Any], object]) -> None:
        self.run_dir, self.tell = run_dir, tell
        self.started = self.stopped = 0
        type(self).made.append(self)

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        self.stopped += 1


class RunWatcher(Watcher):
    made: ClassVar[list[Watcher]] = []


class LogWatcher(Watcher):
    made: ClassVar[list[Watcher]] = []


@pytest.fixture(autouse=True)
def watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    RunWatcher.made, LogWatcher.made = [], []
    monkeypatch.setattr("crild_tui.screens.run_watch.RunWatcher", RunWatcher)
    monkeypatch.setattr("crild_tui.screens.run_watch.LogWatcher", LogWatcher)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def working(run_dir: Path, state: str = "running", **more: Any) -> RunSnapshot:
    """A snapshot in the midst of training."""
    entry = replace(read_run(run_dir), state=state)
    summary = RunSummary(
        names=("teacher", "ild", "kd"),
        stages=(StageSummary("teacher", 100, 100, finished=True), StageSummary("ild", 120, 480)),
        stage="ild", step=120, steps=480, loss=0.43, rate=94.0, metric_name="accuracy", metric=0.675, best=0.681,
        teacher=0.694, eta=312.0, state=state, learning_rate=2e-5, gradient_norm=19.0,
    )  # fmt: skip
    import numpy as np

    at = np.arange(20.0)
    curves = Curves(
        Table(at, at / 10, at, {"loss": 1 / (1 + at)}),
        {"student": Table(at[:2], at[:2], at[:2], {"accuracy": at[:2] / 2})},
        (Border("ild", 0.0, 0.0, 0.0),),
    )
    known: dict[str, Any] = {"messages": (EngineMessage(time.time(), "warning", "3 of 100 inputs were cut"),), **more}
    return RunSnapshot(run_dir, entry, known.pop("summary", summary), known.pop("curves", curves), **known)


def loading(run_dir: Path, state: str = "running", **more: Any) -> RunSnapshot:
    return working(run_dir, state, summary=RunSummary(state=state), curves=Curves(), **more)


@contextlib.asynccontextmanager
async def live(
    runs: Path, *, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[tuple[Pilot[None], LiveScreen]]:
    app = CrildApp(runs, **options)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("2")
        screen = app.screen_stack[0]
        assert isinstance(screen, LiveScreen)
        await until(pilot, lambda: app.runs.revision > 0)
        yield pilot, screen


async def until(pilot: Pilot[None], true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        await pilot.pause(0.01)
    await pilot.pause()


async def tell(pilot: Pilot[None], snapshot: RunSnapshot) -> None:
    RunWatcher.made[-1].tell(snapshot)
    await pilot.pause()
    await pilot.pause()


def head(screen: LiveScreen) -> str:
    return "\n".join(line.plain for line in screen.query_one(RunHead).lines)


def asks(screen: LiveScreen) -> bool:
    """Whether a question stands before the screen."""
    return isinstance(screen.app.screen, Confirm | Ask)


def follows(screen: LiveScreen) -> bool:
    """Whether the log follows its end."""
    return screen.query_one("#log", TextView).following


def said(screen: LiveScreen) -> list[str]:
    """The notifications so far."""
    return [notification.message for notification in screen.app._notifications]
