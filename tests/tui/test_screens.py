"""What every mode looks like, letter by letter and style by style, at three sizes, in colours and without.

After a change that is meant: `python -m pytest tests/tui/test_screens.py --snapshot-update`, and read the difference.
The words are kept once for each size (a theme changes none, which is tested), the styles for each theme.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.segment import Segment
from syrupy.assertion import SnapshotAssertion
from textual.color import Color
from textual.filter import LineFilter, Monochrome
from textual.pilot import Pilot
from textual.screen import Screen

from crild_tui.app import CrildApp
from crild_tui.launch_form.catalog import Entry, Kind
from crild_tui.messages import CompareRuns, MachineChanged, WatchRun
from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.screens.compare import CompareScreen
from crild_tui.screens.launch import LaunchScreen
from crild_tui.screens.live import LiveScreen
from crild_tui.screens.runs import RunsScreen
from crild_tui.widgets.chart import Chart
from crild_tui.widgets.choice_list import Choices
from crild_tui.widgets.panels import Panels
from crild_tui.widgets.run_table import RunTable
from engine.preset.shipped import folder
from engine.record.owner import Owner
from engine.record.run import update_status
from engine.record.status import Fault
from engine.user.settings import Dashboard
from tests.cli.samples import make_run
from tests.tui.screen_driver import Driven, Still, screen_text, until

NOW = 1_800_000_000.0
STATES = ("running", "finished", "failed", "lost")
SIZES = ((80, 24), (120, 40), (200, 50))
LOOKS = ("dark", "light", "NO_COLOR")
COMPARED = 3
"""Runs of `STATES` that Compare shows."""
PRESETS: tuple[tuple[str, Kind, str], ...] = (
    ("quickstart", "run", "A minute on a CPU: a toy task, a teacher from scratch, CR-ILD, then KD"),
    ("crild", "method", "CR-ILD on attention and hidden states, then KD"),
    ("kd", "method", "Logits of the teacher and labels"),
    ("rte", "task", "GLUE RTE: does one sentence follow from the other"),
    ("few-sample", "variant", "1,000 examples"),
)
"""What Launch lists here, whatever comes with crild."""
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
Pictures = dict[str, tuple[str, str]]
Screens = dict[str, Pictures]
S = TypeVar("S", bound=Screen[Any])


class Shown(Driven):
    """The application with lists that the test gives it, Live and Compare as they are, and no toasts, which go by
    themselves."""

    def tell(self, sentence: str, level: str = "information") -> None:
        self.told.append(sentence)

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
    monkeypatch.setattr("crild_tui.app.RunsWatcher", Still)
    monkeypatch.setattr("crild_tui.app.MachineWatcher", Still)
    monkeypatch.setattr("crild_tui.screens.launch.catalog", _presets)


def _presets(_: Path) -> list[Entry]:
    return [Entry(name, kind, words, folder() / f"{name}.toml", own=False) for name, kind, words in PRESETS]


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
        pieces = [(_plain(str(each.style or "none")), each.cell_length) for each in line if each.cell_length]
        runs = [(style, sum(cells for _, cells in alike)) for style, alike in groupby(pieces, key=itemgetter(0))]
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


# -- when a screen is complete


def launched(screen: LaunchScreen) -> bool:
    """The presets are listed, the draft is loaded into the form, and the cursor is in the list."""
    examined = screen.examined
    loaded = examined.draft == screen.draft and examined.preset is not None and len(screen.form.lines) > 0
    return len(screen.entries) == len(PRESETS) and loaded and isinstance(screen.focused, Choices)


def drawn(screen: LiveScreen | CompareScreen, runs: int) -> bool:
    """The panels have the curves of so many runs as read from their files, and the focus."""
    panels = screen.query_one(Panels)
    read = [source.snapshot for source in panels.sources if source.snapshot.revision > 0]
    return len(read) == runs and not panels.waiting and isinstance(screen.focused, Chart)


def watched(screen: LiveScreen, run_dir: Path) -> bool:
    """The run was read from its files, not from the list alone, and is drawn."""
    known = screen.snapshot is not None and screen.snapshot.run_dir == run_dir and screen.snapshot.revision > 0
    return known and drawn(screen, 1) and screen.query_one(Panels).sources[0].snapshot is screen.snapshot


def listed(screen: RunsScreen) -> bool:
    """The table has its rows, and what stands beside it is about the selected one."""
    table = screen.query_one(RunTable)
    about = screen._about is not None and screen._about.run_dir == screen.selected.path if screen.selected else False
    read = not screen.reading and (not table.has_sparks or set(table.sparks) == {row.path for row in table.rows})
    return len(table.rows) == len(STATES) and table.has_focus and read and (about or not screen.has_class("-wide"))


def compared(screen: CompareScreen) -> bool:
    """Curves and finals of every run are there."""
    return len(screen._finals) == COMPARED and not screen._stale and drawn(screen, COMPARED)


async def rest(app: CrildApp, pilot: Pilot[None]) -> None:
    """Let every message take its way and every change be drawn: nothing of it is left for a clock to do."""
    for _ in range(3):
        await pilot.pause()
        await app.animator.wait_for_idle()
        screen = app.screen
        await until(pilot, lambda screen=screen: not screen._callbacks and not screen._dirty_widgets)  # type: ignore[misc]


async def settled(app: CrildApp, pilot: Pilot[None], complete: Callable[[], object], *expected: str) -> Pictures:
    """Pictures in every look, once the screen is complete and some words are there."""
    found = {}
    for look in LOOKS:
        app.theme = "crild-light" if look == "light" else "crild-dark"
        ground = Color.parse(app.current_theme.background or "")
        await until(pilot, lambda ground=ground: app.screen.styles.background == ground and complete())  # type: ignore[misc]
        await until(pilot, lambda: all(words in screen_text(app) for words in expected))
        await rest(app, pilot)
        found[look] = picture(app, *([Monochrome()] if look == "NO_COLOR" else []))  # as Textual does on NO_COLOR
    return found


async def tour(app: Shown, pilot: Pilot[None]) -> Screens:
    """Every mode over runs in every state."""
    found: Screens = {}
    app.post_message(MachineChanged(MachineSnapshot(0.25, 4 * 2**30, 16 * 2**30)))
    await pilot.press("f1")
    launch = await present(app, pilot, LaunchScreen)
    found["launch"] = await settled(app, pilot, lambda: launched(launch), "Editor", "crild run", "A minute")
    run_dirs = sorted(Path("runs").iterdir())
    for run_dir in run_dirs:
        app.post_message(WatchRun(run_dir))
        live = await present(app, pilot, LiveScreen)
        here = partial(watched, live, run_dir)
        found[f"live {run_dir.name}"] = await settled(app, pilot, here, run_dir.name, "x Axis")
    await pilot.press("f3")
    runs = await present(app, pilot, RunsScreen)
    await until(pilot, lambda: runs.chosen is not None and runs.chosen.path.name == run_dirs[-1].name)
    found["runs"] = await settled(app, pilot, lambda: listed(runs), f"{len(STATES)} runs", "failed-s2")
    app.post_message(CompareRuns(tuple(run_dirs[:COMPARED])))
    compare = await present(app, pilot, CompareScreen)
    found["compare"] = await settled(app, pilot, lambda: compared(compare), "dev accuracy", "Copy")
    return found


async def tour_of_nothing(app: Shown, pilot: Pilot[None]) -> Screens:
    """The modes that say how to start where there is nothing to show."""
    found: Screens = {}
    app.post_message(MachineChanged(MachineSnapshot(0.25, 4 * 2**30, 16 * 2**30)))
    for mode, key, words in (("live", "f2", "no run"), ("runs", "f3", "Keys"), ("compare", "f4", "Nothing to compare")):
        await pilot.press(key)
        found[f"{mode} empty"] = await settled(app, pilot, lambda mode=mode: app.current_mode == mode, words)  # type: ignore[misc]
    return found


async def present(app: CrildApp, pilot: Pilot[None], kind: type[S]) -> S:
    """The screen of this kind, once it is shown."""
    await until(pilot, lambda: isinstance(app.screen, kind))
    screen = app.screen
    assert isinstance(screen, kind)
    return screen


def visit(size: tuple[int, int]) -> Screens:
    """All screens at a size."""
    found: Screens = {}

    async def go() -> None:
        for runs_dir, way in (("runs", tour), ("empty", tour_of_nothing)):
            app = Shown(Path(runs_dir), follow_messages=True, settings=Dashboard(theme="crild-dark"))
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await app.see(pilot)
                found.update(await way(app, pilot))

    asyncio.run(go())
    return found


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen_looks_as_it_did(snapshot: SnapshotAssertion, size: tuple[int, int]) -> None:
    for name, pictures in visit(size).items():
        assert len({words for words, _ in pictures.values()}) == 1, f"{name}: a theme changes no words"
        assert pictures["dark"][0] == snapshot(name=f"{name}, words")
        for look, (_, styles) in pictures.items():
            assert styles == snapshot(name=f"{name}, {look}")
