"""Opens the Launch mode in tests, and works with its fields."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

import crild_tui.screens.launch
from crild_tui.app import CrildApp
from crild_tui.screens.launch import LaunchScreen
from crild_tui.widgets.field_line import Editor, FieldLine
from tests.cli import conftest
from tests.tui.screen_driver import until

fake_engine = conftest.fake_engine

Body = Callable[[Pilot[None], LaunchScreen], Awaitable[None]]

Behave = Callable[..., None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no time lost on waiting for the end of typing."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(crild_tui.screens.launch, "SETTLES", 0.01)
    monkeypatch.setattr(crild_tui.screens.launch, "devices", lambda: ["cpu"])
    return here


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Open the dashboard, wait for Launch, and do something there."""
    shown: list[str] = []

    def go(body: Body, size: tuple[int, int] = (80, 24), **options: Any) -> None:
        async def main() -> None:
            app = CrildApp(tmp_path / "runs", **options)
            monkeypatch.setattr(app, "tell", lambda sentence, *_: shown.append(sentence))
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
                screen = app.screen
                assert isinstance(screen, LaunchScreen)
                await until(pilot, lambda: bool(screen.form.lines and screen.entries))
                await pilot.pause()
                await body(pilot, screen)

        asyncio.run(main())

    go.said = shown  # type: ignore[attr-defined]
    return go


def said(launch: Callable[..., None]) -> str:
    return "\n".join(launch.said)  # type: ignore[attr-defined]


async def examined(pilot: Pilot[None], screen: LaunchScreen) -> None:
    """Wait until what is chosen and typed was checked and is shown."""
    await pilot.pause()
    await until(pilot, lambda: screen.examined.draft == screen.draft)
    await pilot.pause()


async def to_field(pilot: Pilot[None], screen: LaunchScreen, key: str) -> FieldLine:
    line = screen.form.line(key)
    assert line is not None, key
    screen.inside = True
    screen.form.focus()
    screen.form.go(line)
    await pilot.pause()
    return line


async def put(pilot: Pilot[None], screen: LaunchScreen, key: str, text: str) -> FieldLine:
    """Type a text into a field, in the place of what is there."""
    line = await to_field(pilot, screen, key)
    await pilot.press("enter")
    await until(pilot, lambda: bool(line.query(Editor)) and line.query_one(Editor).has_focus)
    line.query_one(Editor).value = text  # as pasting does
    await pilot.press("enter")
    await examined(pilot, screen)
    return line


def words(screen: LaunchScreen, name: str) -> str:
    return str(screen.query_one(f"#{name}", Static).render())


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Keys that arrive together, as over a slow line."""
    for key in keys:
        pilot.app.post_message(events.Key(key, {"slash": "/"}.get(key, key if len(key) == 1 else None)))
