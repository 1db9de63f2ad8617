from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot

from crild_tui.app import READONLY, CrildApp
from crild_tui.messages import WatchRun
from crild_tui.monitor.alarms import Alarm
from crild_tui.monitor.curves import Border, Curves, Table
from crild_tui.monitor.log import LogTail
from crild_tui.monitor.snapshots import EngineMessage, RunSnapshot
from crild_tui.runs import actions
from crild_tui.runs.summary import RunSummary, StageSummary
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.screens.live import LiveScreen, newest
from crild_tui.widgets.closing_table import ClosingView
from crild_tui.widgets.messages_pane import LogPane
from crild_tui.widgets.notice import NoticeBox
from crild_tui.widgets.panels import Panels, Source
from crild_tui.widgets.run_header import RunHead, SideColumn
from crild_tui.widgets.text_view import TextView
from engine.errors import RunError
from engine.record.owner import Owner
from engine.record.paths import queue_file
from engine.record.run import RunEntry, read_run, update_status
from engine.record.status import Fault
from engine.sweep.record import CellRecord, SweepRecord, write_sweep_record
from engine.sweep.slots import Slot
from engine.user.own_code import OwnCode, OwnCodeError
from engine.user.settings import Dashboard
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.record.own_files import checkpoint
from tests.tui.screen_driver import SENT
from tests.tui.screen_driver import screen_text as shown

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


# -- which run


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


# -- what is shown


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
            from crild_tui.theme import ascii_text

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


# -- acting


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


# -- messages and log


def log(*lines: str, **more: Any) -> LogTail:
    return LogTail(lines, **{"attempt": 1, "generation": 1, **more})


async def tell_log(pilot: Pilot[None], tail: LogTail) -> None:
    LogWatcher.made[-1].tell(tail)
    await pilot.pause()
    await pilot.pause()


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
