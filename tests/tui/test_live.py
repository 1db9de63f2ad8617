"""What the Live mode shows of a run, in every state and at every size."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from textual.command import CommandPalette

from crild_tui.monitor.alarms import Alarm
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.snapshots import EngineMessage, RunSnapshot
from crild_tui.runs.summary import RunSummary
from crild_tui.widgets.notice import NoticeBox
from crild_tui.widgets.panels import Panels
from crild_tui.widgets.run_header import RunHead, SideColumn
from engine.record.owner import Owner
from engine.record.paths import queue_file
from engine.record.run import RunEntry, update_status
from engine.record.status import Fault
from engine.sweep.record import CellRecord, SweepRecord, write_sweep_record
from engine.sweep.slots import Slot
from engine.user.settings import Dashboard
from tests.cli.samples import make_run
from tests.tui import live_driver
from tests.tui.live_driver import (
    head,
    live,
    loading,
    said,
    tell,
    until,
    working,
)
from tests.tui.screen_driver import screen_text as shown

watchers, runs = live_driver.watchers, live_driver.runs


def test_a_working_run_at_80_columns(runs: Path) -> None:
    run_dir = make_run(runs, state="running")
    update_status(run_dir, done=220, total=840, started=time.time())

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir))
            title, where, stages, figures = head(screen).splitlines()
            assert title.startswith("▶ running  rte-crild-s1")
            assert "26 %  ETA 5:12  elapsed" in title
            assert where == "crild+rte · rte · seed 1 · 94 ex/s · lr 2e-05 · grad 19"
            assert stages.endswith("120/480  · kd")
            assert figures == "accuracy 67.50 · best 68.10 · teacher 69.40"
            assert screen.query_one(Panels).size.height >= 17
            assert not screen.query_one(SideColumn).display

    asyncio.run(act())


def test_there_is_a_side_column_at_200_columns(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs, size=(200, 50)) as (pilot, screen):
            await tell(pilot, working(run_dir))
            await pilot.pause()
            text = shown(screen.app)
            for words in ("Progress", "gradient norm", "learning rate", "inputs were cut", "accuracy, last"):
                assert words in text
            await pilot.press("m")
            await pilot.pause()
            assert screen.query_one(Panels).size.height > 10
            assert not screen.query_one("#messages").display

    asyncio.run(act())


STATES = ("created", "queued", "running", "stopping", "failed", "lost", "stalled", "finished", "stopped", "preempted",
          "unreadable")  # fmt: skip


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (80, 24), (200, 50)])
def test_every_state_is_drawn_at_every_size(runs: Path, size: tuple[int, int]) -> None:
    run_dir = make_run(runs, "x", state="running")

    async def act() -> None:
        async with live(runs, size=size) as (pilot, screen):
            for state in STATES:
                for snapshot in (loading(run_dir, state), working(run_dir, state)):
                    await tell(pilot, snapshot)
                    if size[0] >= 40:
                        assert state in shown(screen.app)
            await pilot.press("m", "slash", "a", "enter", "escape", "m")

    asyncio.run(act())


def test_a_run_that_becomes_unreadable_says_why(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            torn = RunEntry(run_dir, None, "unreadable", "status.json holds no JSON [/] \x1b[2J")
            await tell(pilot, RunSnapshot(run_dir, torn, RunSummary(), Curves()))
            assert "holds no JSON [/] \\x1b[2J" in shown(screen.app)

    asyncio.run(act())


def test_while_the_engine_loads_a_sign_moves_and_its_last_message_shows(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, loading(run_dir, messages=(EngineMessage(0.0, "info", "downloading the teacher"),)))
            first = shown(screen.app)
            assert "starting the engine..." in first
            assert "downloading the teacher" in first
            assert not screen.query_one(Panels).display
            screen.query_one(NoticeBox).tick()
            await pilot.pause()
            assert shown(screen.app) != first

    asyncio.run(act())


def test_a_resumed_run_keeps_its_curves_while_it_loads(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            snapshot = working(run_dir)
            await tell(pilot, replace(snapshot, summary=replace(snapshot.summary, stage=None)))
            assert "loading data and models" in shown(screen.app)
            assert screen.query_one(Panels).display

    asyncio.run(act())


def test_a_queued_run_says_what_it_waits_for(runs: Path) -> None:
    run_dir = make_run(runs, state="queued")
    update_status(run_dir, queue="q1")
    queue_file(runs, "q1").parent.mkdir()
    other = make_run(runs, "other", state="running", owner=Owner.current(), heartbeat=time.time())
    cells = tuple(CellRecord(run, {}, 0, None) for run in (other.name, run_dir.name))
    record = SweepRecord("q1", "", time.time(), {}, cells, (Slot("auto", 0),), waiting="for a free GPU")
    write_sweep_record(queue_file(runs, "q1"), record)

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            screen.show_run(run_dir)
            await tell(pilot, loading(run_dir, "queued"))
            await until(
                pilot, lambda: f"1 run is ahead of it; {other.name} is running" in shown(screen.app).replace("\n", "")
            )
            queue_file(runs, "q1").unlink()
            await tell(pilot, loading(run_dir, "queued"))

    asyncio.run(act())


def test_a_failure_is_said_large_with_its_place_and_what_to_press(runs: Path) -> None:
    run_dir = make_run(
        runs, state="failed", error=Fault("data", "there is no column [b]", "/d/train.tsv", 3, "task.columns")
    )

    async def act() -> None:
        async with live(runs, settings=Dashboard(keys={"live.resume": "f8"})) as (pilot, screen):
            await tell(pilot, loading(run_dir, "failed"))
            text = shown(screen.app)
            assert "there is no column [b]" in text
            assert "/d/train.tsv, line 3, key task.columns" in text
            assert "press f8" in text
            await tell(pilot, working(run_dir, "failed"))
            assert "there is no column [b]" in shown(screen.app)
            assert screen.query_one(Panels).size.height >= 8

    asyncio.run(act())


def test_alarms_are_announced_once_and_stay_while_they_last(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    def alarm(rate: int) -> Alarm:
        return Alarm("slow", "warning", f"throughput fell to {rate} examples/s [bold]")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir, alarms=(alarm(12),)))
            assert said(screen) == ["throughput fell to 12 examples/s [bold]"]
            await tell(
                pilot, working(run_dir, alarms=(alarm(11), Alarm("no-number", "error", "the loss is no number")))
            )
            assert said(screen) == ["throughput fell to 12 examples/s [bold]", "the loss is no number"]
            assert " ! throughput fell to 11" in head(screen)
            await tell(pilot, working(run_dir))
            assert "!" not in head(screen)
            await tell(pilot, working(run_dir, alarms=(alarm(9),)))
            assert len(said(screen)) == 3

    asyncio.run(act())


def test_alarms_of_a_run_that_has_ended_are_not_announced(runs: Path) -> None:
    run_dir = make_run(runs, state="stopped")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await tell(pilot, working(run_dir, "stopped", alarms=(Alarm("overfitting", "warning", "overfitting"),)))
            assert said(screen) == []
            assert "overfitting" in head(screen)

    asyncio.run(act())


def test_hostile_names_are_text(runs: Path) -> None:
    run_dir = make_run(runs, state="running")
    strange = run_dir.with_name("[bold]x\x1b[2J\n")
    run_dir.rename(strange)
    update_status(strange, preset="[@click=app.quit]p[/]", task="\x1b]0;t\x07")

    async def act() -> None:
        async with live(runs, size=(200, 50)) as (pilot, screen):
            hostile = RunSummary(
                names=("[red]\x1b", "b"), stage="[red]\x1b", steps=3, metric_name="[m]\x1b", metric=0.5
            )
            await tell(pilot, working(strange, summary=hostile, messages=(EngineMessage(0.0, "x", "[/][/]\x1b[0m"),)))
            for key in ("o", "c", "m"):
                await pilot.press(key)
            await pilot.pause()
            text = shown(screen.app)
            assert "\x1b" not in text
            assert "[bold]x\\x1b[2J" in text
            assert "[@click=app.quit]p[/]" in text

    asyncio.run(act())


def test_without_colour_and_in_ascii_it_still_says_everything(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs, settings=Dashboard(ascii=True)) as (pilot, screen):
            await tell(pilot, working(run_dir, alarms=(Alarm("silence", "warning", "it stalls"),)))
            bar = next(line for line in head(screen).splitlines() if "120/480" in line)
            from crild_tui.text import ascii_text

            assert "##" in ascii_text(bar)
            assert "--" in ascii_text(bar)
            assert "> running" in ascii_text(head(screen))

    asyncio.run(act())


def test_the_panels_take_the_keys_as_soon_as_they_are_shown(runs: Path) -> None:
    run_dir = make_run(runs, state="running")

    async def act() -> None:
        async with live(runs, size=(200, 50)) as (pilot, screen):
            panels = screen.query_one(Panels)
            await tell(pilot, loading(run_dir))
            await tell(pilot, working(run_dir))
            await until(pilot, lambda: panels.has_focus_within)
            await pilot.press("x")
            assert panels.look.axis == "epoch"
            await pilot.press("z")
            await pilot.pause()
            assert not screen.query_one(RunHead).display
            await pilot.press("escape")
            await pilot.pause()
            assert screen.query_one(RunHead).display
            await pilot.press("m", "m")
            assert panels.has_focus_within

    asyncio.run(act())


def test_a_click_above_the_panels_offers_everything(runs: Path) -> None:
    make_run(runs, state="running")

    async def act() -> None:
        async with live(runs) as (pilot, screen):
            await until(pilot, lambda: screen.run_dir)
            await pilot.click("#head")
            await pilot.pause()
            assert isinstance(screen.app.screen, CommandPalette)

    asyncio.run(act())
