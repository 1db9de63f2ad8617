"""Fixtures of the dashboard's tests."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import textual.pilot
from textual._context import active_app
from textual._wait import wait_for_idle
from textual.app import App

QUIET = 3
"""Turns in a row without anything to do after which a screen has settled."""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough to stand in a line whole (that of `tmp_path` grows with parallel tests)."""
    with tempfile.TemporaryDirectory(prefix="crild-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def settled_screens(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pilot.pause()` waits until the application has nothing left to do.

    Textual waits until the process uses little of the processor, which is also the case on a busy machine that gives
    it none.
    """
    monkeypatch.setattr(textual.pilot, "wait_for_idle", settled)


@pytest.fixture(autouse=True)
def lasting_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications stay: on a busy machine, seconds can pass before a test looks at them."""
    notify = App.notify

    def lasting(self: App[Any], *texts: Any, **options: Any) -> None:
        notify(self, *texts, **{**options, "timeout": 3600.0})

    monkeypatch.setattr(App, "notify", lasting)


async def settled(min_sleep: float = 0.02, max_sleep: float = 1.0) -> None:
    """Wait as Textual does, then until no widget has a message, callback, layout or repaint to come."""
    await wait_for_idle(min_sleep, max_sleep)
    quiet, until = 0, time.monotonic() + 30.0
    while quiet < QUIET and time.monotonic() < until:
        await asyncio.sleep(0.002)
        quiet = 0 if _has_work(active_app.get()) else quiet + 1


def _has_work(app: Any) -> bool:
    if not app.is_running or not app._screen_stack:
        return False
    screen = app.screen
    pumps = [app, *screen.walk_children(with_self=True)]
    return bool(
        screen._callbacks
        or screen._dirty_widgets
        or screen._layout_required
        or any(pump._message_queue.qsize() or pump._next_callbacks for pump in pumps if pump._running)
    )
