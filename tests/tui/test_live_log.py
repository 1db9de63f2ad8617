"""The messages and the log of a run in the Live mode."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from crild_tui.monitor.log import LogTail
from crild_tui.monitor.snapshots import EngineMessage
from crild_tui.screens.live import LiveScreen
from crild_tui.widgets.messages_pane import LogPane
from crild_tui.widgets.panels import Panels
from crild_tui.widgets.text_view import TextView
from tests.cli.samples import make_run
from tests.tui import live_driver
from tests.tui.live_driver import (
    LogWatcher,
    follows,
    live,
    said,
    tell,
    until,
    working,
)
from tests.tui.screen_driver import screen_text as shown

watchers, runs = live_driver.watchers, live_driver.runs


def log(*lines: str, **more: Any) -> LogTail:
    return LogTail(lines, **{"attempt": 1, "generation": 1, **more})


async def tell_log(pilot: Pilot[None], tail: LogTail) -> None:
    LogWatcher.made[-1].tell(tail)
    await pilot.pause()
    await pilot.pause()


def test_a_message_does_not_stand_in_the_log_again(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            snapshot = working(run_dir)
            await tell(pilot, snapshot)
            await pilot.press("m")
            text = snapshot.messages[-1].text
            await tell_log(pilot, log("attempt 1: loading", f"{snapshot.messages[-1].level}: {text}"))
            assert shown(screen.app).count(text) == 1
            assert "attempt 1: loading" in shown(screen.app)
            assert "without the messages" in shown(screen.app)

    asyncio.run(act())


def test_the_log_opens_over_the_panels_and_closes(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            assert LogWatcher.made == []
            await pilot.press("m")
            assert not screen.query_one(Panels).display
            await tell_log(pilot, log("[bold]one[/]", "two \\x1b"))
            text = shown(screen.app)
            assert "3 of 100 inputs were cut" in text
            assert "[bold]one[/]" in text
            assert "log.1.txt" in text
            await pilot.press("tab")
            assert screen.query_one("#messages").has_focus
            await pilot.press("tab")
            assert screen.query_one("#log").has_focus
            await pilot.press("m")
            assert screen.query_one(Panels).display
            assert LogWatcher.made[0].stopped == 1
            await pilot.press("m", "escape")
            assert not screen.query_one(LogPane).display

    asyncio.run(act())


def test_a_log_that_is_missing_is_said(runs: Path) -> None:
    make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir)
            await pilot.press("m")
            await tell_log(pilot, LogTail(problem="there is no log yet"))
            assert "there is no log yet" in shown(screen.app)

    asyncio.run(act())


def test_the_log_follows_its_end_unless_scrolled_away(runs: Path) -> None:
    make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir)
            await pilot.press("m")
            view = screen.query_one("#log", TextView)
            await tell_log(pilot, log(*(f"line {n}" for n in range(100))))
            await until(pilot, lambda: "line 99" in shown(screen.app))
            await tell_log(pilot, log(*(f"line {n}" for n in range(200))))
            await until(pilot, lambda: "line 199" in shown(screen.app))
            await pilot.press("pageup")
            await until(pilot, lambda: "End follows it again" in shown(screen.app))
            assert not follows(screen)
            top = view.scroll_offset.y
            await tell_log(pilot, log(*(f"line {n}" for n in range(300))))
            assert view.scroll_offset.y == top
            await tell_log(pilot, log(*(f"line {n}" for n in range(50, 400)), first=50))
            assert view.scroll_offset.y == top - 50
            await pilot.press("home", "up", "down", "pagedown")
            await pilot.press("end")
            assert follows(screen)
            await until(pilot, lambda: "line 399" in shown(screen.app))
            await pilot.press("home")
            await tell_log(pilot, log("anew", generation=2))
            assert follows(screen)

    asyncio.run(act())


def test_search_marks_counts_and_goes_from_match_to_match(runs: Path) -> None:
    run_dir = make_run(runs, state="running")
    other = make_run(runs, "other", state="finished")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            screen.show_run(run_dir)
            await tell(pilot, working(run_dir, messages=(EngineMessage(0.0, "info", "needle in a message"),)))
            await pilot.press("slash")
            await tell_log(pilot, log(*("a needle" if n % 50 == 10 else f"line {n}" for n in range(200))))
            await pilot.press(*"needle")
            await pilot.pause()
            assert "5/5" in shown(screen.app)
            await pilot.press("enter")
            assert screen.query_one("#log").has_focus
            await pilot.press("n")
            assert "1/5" in shown(screen.app)
            assert screen.query_one("#messages", TextView).current == 0
            await pilot.press("N")
            assert "5/5" in shown(screen.app)
            await pilot.press("N", "N")
            await pilot.pause()
            assert "3/5" in shown(screen.app)
            assert screen.query_one("#log", TextView).current == 1
            assert "a needle" in shown(screen.app)
            await tell_log(pilot, log(*("a needle" if n % 50 == 10 else f"line {n}" for n in range(5, 205)), first=5))
            assert "3/5" in shown(screen.app)
            assert screen.run_dir == run_dir
            await pilot.press("slash")
            await pilot.press(*"xyz")
            await pilot.pause()
            assert "not found" in shown(screen.app)
            await pilot.press("enter", "n", "N")
            await pilot.press("escape")
            assert not screen.query_one(LogPane).searching
            await pilot.press("N")
            assert "press / to search" in said(screen)[-1]
            await pilot.press("p")
            await pilot.press("n")
            assert screen.run_dir in (run_dir, other)

    asyncio.run(act())


def test_an_empty_search_ends_itself(runs: Path) -> None:
    make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir)
            await pilot.press("slash", "enter")
            assert not screen.query_one(LogPane).searching

    asyncio.run(act())


def test_resizing_keeps_everything(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            await pilot.press("m")
            await tell_log(pilot, log(*(f"line {n} {'x' * 200}" for n in range(100))))
            for size in ((200, 50), (40, 10), (1, 1), (120, 40), (80, 24)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
            assert "line 99" in shown(screen.app)

    asyncio.run(act())


def test_every_key_has_an_id_and_a_description() -> None:
    from textual.binding import Binding

    for cls in (*LiveScreen.__mro__, TextView, LogPane):
        for binding in vars(cls).get("BINDINGS", []) if cls.__module__.startswith("crild_tui") else ():
            assert isinstance(binding, Binding)
            assert binding.id
            assert binding.description
