"""Drives the application with lists of runs that a test gives it, instead of threads that look for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

import crild_tui.app
from crild_tui.app import CrildApp
from crild_tui.messages import CompareRuns, RunsChanged
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.widgets.run_table import RunTable
from engine.record.run import RunEntry, list_runs
from tests.conftest import PATIENCE

SENT = "sent to the terminal's clipboard (OSC 52): "
"""What is said before a text that was copied."""
Do = Callable[["Driven", Pilot[None]], Awaitable[None]]


class Still:
    """A watcher that sees nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Driven(CrildApp):
    """The application; what screens ask of it is kept in `asked`, and so is what it tells in `told`."""

    CSS_PATH = str(Path(crild_tui.app.__file__).with_name("crild.tcss"))

    def __init__(self, runs_dir: Path, *, follow_messages: bool = False, **more: Any) -> None:
        super().__init__(runs_dir, **more)
        self.asked: list[object] = []
        self.told: list[str] = []
        self._follow_messages = follow_messages

    def tell(self, sentence: str, level: str = "information") -> None:
        self.told.append(sentence)
        super().tell(sentence, level)

    def watch_run(self, run_dir: Path) -> None:
        self.asked.append(run_dir.name)

    def on_compare_runs(self, message: CompareRuns) -> None:
        self.asked.append(tuple(run_dir.name for run_dir in message.run_dirs))
        if not self._follow_messages:
            message.prevent_default()  # else the application's own handler follows

    async def see(self, pilot: Pilot[None], entries: Sequence[RunEntry] | None = None, **more: Any) -> None:
        """Give it a list of runs; that of its folder where none is given."""
        found = tuple(list_runs(self.runs_dir)) if entries is None else tuple(entries)
        known = {"exists": self.runs_dir.exists(), **more}
        self.post_message(RunsChanged(RunsSnapshot(self.runs_dir, found, revision=self.runs.revision + 1, **known)))
        await pilot.pause()
        await pilot.pause()  # the application passes the list on to the screen


def drive(
    monkeypatch: pytest.MonkeyPatch, runs_dir: Path, do: Do, *, mode: str = "runs",
    size: tuple[int, int] = (80, 24), **more: Any,
) -> None:  # fmt: skip
    """Open the application in a mode and do something with it."""
    monkeypatch.setattr("crild_tui.app.RunsWatcher", Still)
    monkeypatch.setattr("crild_tui.app.MachineWatcher", Still)

    async def run() -> None:
        app = Driven(runs_dir, **more)
        async with app.run_test(size=size) as pilot:
            app.switch_mode(mode)
            await pilot.pause()
            await app.see(pilot)
            await do(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something that a thread brings about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        await pilot.pause(0.02)


def screen_text(app: App[Any]) -> str:
    """What the terminal shows, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join(line.text.rstrip() for line in lines)


def select(app: App[Any], run_id: str) -> None:
    """Move the cursor of the list of runs to a run."""
    table = app.screen.query_one(RunTable)
    table.action_edge(0)
    table.action_move([row.id for row in table.rows].index(run_id))
