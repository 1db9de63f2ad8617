"""What every mode looks like, letter by letter and style by style, at three sizes, in colours and without.

After a change that is meant: `python -m pytest tests/tui/test_screens.py --snapshot-update`, and read the difference.
The words are kept once for each size (a theme changes none, which is tested), the styles for each theme.
"""

from __future__ import annotations

import asyncio
import time
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from syrupy.assertion import SnapshotAssertion
from textual.filter import LineFilter, Monochrome
from textual.pilot import Pilot

from crild_tui.app import CrildApp
from crild_tui.messages import CompareRuns, MachineSeen, WatchRun
from crild_tui.screens.live import LiveScreen
from crild_tui.settings import Settings
from crild_tui.watch.snapshots import MachineSnapshot
from engine.record.owner import Owner
from engine.record.run import update_status
from engine.record.status import Fault
from tests.cli.samples import make_run
from tests.tui.screen_driver import Driven, screen_text, until

NOW = 1_800_000_000.0
STATES = ("running", "finished", "failed", "lost")
SIZES = ((80, 24), (120, 40), (200, 50))
LOOKS = ("dark", "light", "NO_COLOR")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
Pictures = dict[str, tuple[str, str]]
Screens = dict[str, Pictures]


class Shown(Driven):
    """The application with lists that the test gives it, and Live and Compare as they are."""

    def watch_run(self, run_dir: Path) -> None:
        CrildApp.watch_run(self, run_dir)


@pytest.fixture
def world(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a test moves, no machine, a current folder with a run in each state; `empty` has none."""
    moment = [NOW - 3600]
    monkeypatch.setattr(time, "time", lambda: moment[0])
    monkeypatch.chdir(short_path)
    for seed, state in enumerate(STATES):
        fields: dict[str, Any] = (
            {"error": Fault("data", "a label is missing", "train.tsv", 7)} if state == "failed" else {}
        )
        moment[0] += 600
        run_dir = make_run(
            Path("runs"), state, seed=seed, state="running" if state == "lost" else state, started=moment[0] - 90,
            ended=None if state in ("running", "lost") else moment[0], **fields,
        )  # fmt: skip
        if state == "running":
            update_status(run_dir, owner=Owner.current(), heartbeat=NOW)
    moment[0] = NOW
    monkeypatch.setattr("crild_tui.screens.live.TICK", 3600.0)  # what moves stands still
    monkeypatch.setattr("crild_tui.app.RunsWatcher", _Still)
    monkeypatch.setattr("crild_tui.app.MachineWatcher", _Still)
    return


class _Still:
    """A watcher that sees nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


def lines(app: CrildApp, *more: LineFilter) -> list[list[Segment]]:
    """What the terminal gets, line by line, through the application's filters."""
    background = app.screen.background_colors[1]
    found = []
    for strip in app.screen._compositor.render_strips():
        line = list(strip)
        for each in (*app.get_line_filters(), *more):
            line = each.apply(line, background)
        found.append(line)
    return found


def picture(app: CrildApp, *more: LineFilter) -> tuple[str, str]:
    """The words of the screen, and its styles: for each line letters and how many cells, and what the letters mean."""
    drawn = lines(app, *more)
    words = "\n".join("".join(segment.text for segment in line).rstrip() for line in drawn)
    legend: dict[str, str] = {}
    rows = []
    for line in drawn:
        cells = [str(segment.style or "none") for segment in line for _ in range(segment.cell_length)]
        runs = [(style, len(list(run))) for style, run in groupby(_plain(cell) for cell in cells)]
        for style, _ in runs:
            legend.setdefault(style, LETTERS[len(legend)])
        rows.append("".join(f"{legend[style]}{count}" for style, count in runs))
    shown = [f"{rows[0]}"]
    for above, row in pairwise(rows):
        shown.append("=" if row == above else row)
    return words, "\n".join([*shown, *(f"{letter}: {style}" for style, letter in legend.items())])


def _plain(style: str) -> str:
    """A style without what is of Textual's events."""
    return " ".join(word for word in style.split() if not word.startswith(("meta", "not"))) or "none"


async def settled(app: CrildApp, pilot: Pilot[None], *expected: str) -> Pictures:
    """Pictures in every look, once some words are there and nothing has changed for a while."""
    await until(pilot, lambda: all(words in screen_text(app) for words in expected))
    found = {}
    for look in LOOKS:
        app.theme = "crild-light" if look == "light" else "crild-dark"
        app.clear_notifications()
        seen, same = picture(app), 0
        while same < (5 if look == LOOKS[0] else 2):
            await pilot.pause(0.04)
            now = picture(app)
            same, seen = (same + 1 if now == seen else 0), now
        found[look] = seen if look != "NO_COLOR" else picture(app, Monochrome())  # as Textual does on NO_COLOR
    app.theme = "crild-dark"
    return found


async def tour(app: Shown, pilot: Pilot[None]) -> Screens:
    """Every mode over runs in every state."""
    found: Screens = {}
    app.post_message(MachineSeen(MachineSnapshot(0.25, 4 * 2**30, 16 * 2**30)))
    await pilot.press("f1")
    found["launch"] = await settled(app, pilot, "quickstart", "Editor", "crild run", "Two minutes")
    for run_dir in sorted(Path("runs").iterdir()):
        app.post_message(WatchRun(run_dir))
        await until(pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.snapshot is not None)
        found[f"live {run_dir.name}"] = await settled(app, pilot, run_dir.name, "x X axis")
    await pilot.press("f3")
    found["runs"] = await settled(app, pilot, f"{len(STATES)} runs", "failed-s2")
    app.post_message(CompareRuns(tuple(sorted(Path("runs").iterdir())[:3])))
    found["compare"] = await settled(app, pilot, "consistency", "Copy")
    return found


async def tour_of_nothing(app: Shown, pilot: Pilot[None]) -> Screens:
    """The modes that say how to start where there is nothing to show."""
    found: Screens = {}
    app.post_message(MachineSeen(MachineSnapshot(0.25, 4 * 2**30, 16 * 2**30)))
    for mode, key, words in (("live", "f2", "no run"), ("runs", "f3", "Keys"), ("compare", "f4", "Nothing to compare")):
        await pilot.press(key)
        found[f"{mode} empty"] = await settled(app, pilot, words)
    return found


def visit(size: tuple[int, int]) -> Screens:
    """All screens at a size."""
    found: Screens = {}

    async def go() -> None:
        for folder, way in (("runs", tour), ("empty", tour_of_nothing)):
            app = Shown(Path(folder), follow_messages=True, settings=Settings(theme="crild-dark"))
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await app.see(pilot)
                found.update(await way(app, pilot))

    asyncio.run(go())
    return found


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(size, id=f"{size[0]}x{size[1]}", marks=[pytest.mark.slow] if size != SIZES[0] else [])
        for size in SIZES
    ],
)
def test_every_screen_looks_as_it_did(snapshot: SnapshotAssertion, size: tuple[int, int]) -> None:
    for name, pictures in visit(size).items():
        assert len({words for words, _ in pictures.values()}) == 1, f"{name}: a theme changes no words"
        assert pictures["dark"][0] == snapshot(name=f"{name}, words")
        for look, (_, styles) in pictures.items():
            assert styles == snapshot(name=f"{name}, {look}")
