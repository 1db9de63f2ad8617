"""Which run the Live mode watches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from crild_tui.messages import WatchRun
from crild_tui.monitor.curves import Curves
from crild_tui.screens.live import newest
from crild_tui.widgets.panels import Panels, Source
from crild_tui.widgets.run_table import RunTable
from engine.record.run import RunEntry, update_status
from tests.cli.samples import make_run
from tests.tui import live_driver
from tests.tui.live_driver import (
    LogWatcher,
    RunWatcher,
    asks,
    head,
    live,
    said,
    tell,
    until,
    working,
)
from tests.tui.screen_driver import screen_text as shown

watchers, runs = live_driver.watchers, live_driver.runs


def test_without_runs_it_says_how_to_start(runs: Path) -> None:
    async def act() -> None:
        async with live(runs) as (pilot, screen):
            assert "There is no run to watch yet" in shown(screen.app)
            assert "crild run quickstart" in shown(screen.app)
            heard: set[str] = set()
            for key in ("s", "K", "r", "m", "slash", "t", "o", "c", "n", "p", "N", "escape"):
                await pilot.press(key)
                heard.update(said(screen))
            assert RunWatcher.made == []
            assert {"there is no run here", "there is no run here to act on"} <= heard
            run_dir = make_run(runs, "first", state="running")
            await until(pilot, lambda: RunWatcher.made)
            assert screen.run_dir == run_dir
            assert "There is no run" not in shown(screen.app)

    asyncio.run(act())


def test_it_takes_the_newest_run_that_works(runs: Path) -> None:
    def entry(name: str, state: str) -> RunEntry:
        return RunEntry(Path(name), None, state)

    assert newest(()) is None
    assert newest((entry("a", "finished"), entry("b", "running"), entry("c", "stalled"))) == Path("b")
    assert newest((entry("a", "queued"), entry("b", "lost"))) == Path("a")


def test_a_run_that_was_asked_for_is_watched(runs: Path) -> None:
    make_run(runs, "one", state="running")
    other = make_run(runs, "two", state="finished")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            pilot.app.post_message(WatchRun(other))
            await until(pilot, lambda: screen.run_dir == other)
            (*before, last) = RunWatcher.made
            assert last.run_dir == other
            assert (last.started, last.stopped) == (1, 0)
            assert all(watcher.stopped == 1 for watcher in before)
            assert "✓ finished  two-s1" in head(screen)
            await until(pilot, lambda: "reading..." in shown(screen.app))
            await tell(pilot, working(other, "finished", curves=Curves()))
            await until(pilot, lambda: "reading..." not in shown(screen.app))

    asyncio.run(act())


def test_a_run_outside_the_list_is_read_first(runs: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "elsewhere", "far", state="failed")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            screen.show_run(other)
            await pilot.pause()
            assert "reading the run" in shown(screen.app)
            for key in ("s", "K", "r", "t"):
                await pilot.press(key)
            await tell(pilot, working(other, "failed"))
            assert "✗ failed  far-s1" in head(screen)

    asyncio.run(act())


def test_next_and_previous_run(runs: Path) -> None:
    paths = [make_run(runs, name, state="finished") for name in ("a", "b", "c")]
    for number, path in enumerate(paths):
        update_status(path, created=float(number))

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir == paths[2])
            await pilot.press("p")
            assert "this is the newest run" in said(screen)
            await pilot.press("n")
            assert screen.run_dir == paths[1]
            await pilot.press("n", "n")
            assert screen.run_dir == paths[0]
            assert "this is the oldest run" in said(screen)
            await pilot.press("p")
            assert screen.run_dir == paths[1]
            assert RunWatcher.made[-1].run_dir == paths[1]
            assert sum(watcher.started - watcher.stopped for watcher in RunWatcher.made) == 1

    asyncio.run(act())


def test_leaving_the_mode_ends_the_watching_and_coming_back_begins_it_anew(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run(runs, state="running")
    showing: list[Source] = []
    show = Panels.show

    def noted(panels: Panels, sources: Sequence[Source]) -> None:
        showing.extend(sources)
        show(panels, sources)

    monkeypatch.setattr(Panels, "show", noted)

    async def act() -> None:
        async with live(runs) as (pilot, _screen):
            await until(pilot, lambda: RunWatcher.made)
            await tell(pilot, working(run_dir))
            await pilot.press("m")
            await pilot.press("3")
            await until(pilot, lambda: RunWatcher.made[0].stopped)
            assert LogWatcher.made[0].stopped == 1
            await pilot.press("2")
            await until(pilot, lambda: len(RunWatcher.made) == 2)
            assert (RunWatcher.made[1].started, RunWatcher.made[1].stopped) == (1, 0)
            assert len(LogWatcher.made) == 2
            again = replace(working(run_dir), revision=9)
            await tell(pilot, again)
            source = showing[-1]
            assert source.snapshot is again

    asyncio.run(act())


def test_after_coming_back_the_curve_is_whole(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crild_tui.monitor.run import RunWatcher as Real
    from engine.record.events import EventWriter
    from engine.record.paths import events_file

    monkeypatch.setattr("crild_tui.screens.run_watch.RunWatcher", Real)
    run_dir = make_run(runs, state="running")
    update_status(run_dir, state="stopped")

    def write(attempt: int, first: int, last: int) -> None:
        events = EventWriter(events_file(run_dir, attempt), attempt)
        if attempt > 1 and first:
            events.write("run_started", attempt=attempt, stages=["ild", "kd"], stage="kd", step=first)
            events.write("stage_started", stage="kd", step=first, steps=40)
        for step in range(first + 1, last + 1):
            events.write("step", stage="kd", step=step, loss=1.0)
        events.close()

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            panels = screen.query_one(Panels)

            def steps() -> list[float]:
                return [float(step) for step in panels.sources[0].snapshot.curves.steps.step] if panels.sources else []

            await until(pilot, lambda: len(steps()) == 4)
            write(1, 10, 20)
            await until(pilot, lambda: len(steps()) == 14)
            await pilot.press("3")
            await pilot.pause()
            write(2, 15, 30)
            await pilot.press("2")
            await until(pilot, lambda: len(steps()) == 24)
            assert steps() == [5, 10, 15, 20, *range(21, 41)]

    asyncio.run(act())


def test_a_run_that_vanishes_is_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from crild_tui.monitor.run import RunWatcher as Real

    monkeypatch.setattr("crild_tui.screens.run_watch.RunWatcher", Real)
    run_dir = make_run(runs, state="finished")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: "finished" in head(screen))
            shutil.rmtree(run_dir)
            await until(pilot, lambda: "the run directory is gone" in shown(screen.app))
            for key in ("s", "r", "K", "escape", "m", "t", "o", "c", "n", "p"):
                await pilot.press(key)

    asyncio.run(act())


def test_a_question_does_not_end_the_watching(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            await pilot.press("K")
            assert asks(screen)
            await tell(pilot, working(run_dir))
            await pilot.press("escape")
            assert len(RunWatcher.made) == 1
            assert RunWatcher.made[0].stopped == 0

    asyncio.run(act())


def test_news_of_another_run_come_too_late(runs: Path) -> None:
    one, two = make_run(runs, "one", state="finished"), make_run(runs, "two", state="finished")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            screen.show_run(one)
            first = RunWatcher.made[-1]
            screen.show_run(two)
            first.tell(working(one, "running"))
            await pilot.pause()
            assert "two-s1" in head(screen)
            assert "running" not in head(screen)

    asyncio.run(act())


def test_from_the_list_to_live_and_back_the_chosen_run_stays(runs: Path) -> None:
    paths = {name: make_run(runs, name, state="finished") for name in ("one", "two", "three")}
    for created, path in enumerate(paths.values()):
        update_status(path, created=float(created))  # the list has the newest first

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir == paths["three"])
            await pilot.press("3")
            table = pilot.app.screen_stack[0].query_one(RunTable)
            await until(pilot, lambda: table.rows)
            await pilot.press("down")
            await until(pilot, lambda: table.selected is not None and table.selected.path == paths["two"])
            await pilot.press("2")
            await until(pilot, lambda: screen.run_dir == paths["two"])
            await pilot.press("n")
            await until(pilot, lambda: screen.run_dir == paths["one"])
            await pilot.press("3")
            await until(pilot, lambda: table.selected is not None and table.selected.path == paths["one"])
            await pilot.press("2")
            await pilot.pause()
            assert screen.run_dir == paths["one"]

    asyncio.run(act())
