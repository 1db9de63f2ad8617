"""Makes the pictures of the dashboard in README and docs, from runs that are there.

    python benchmarks/pictures.py RUNS_DIR [--out docs/pictures] [--size 132x38] [--theme crild-dark]
    python benchmarks/pictures.py RUNS_DIR --all --size 80x24 --out looks

Each mode is opened on the newest finished run (Compare on the two newest), or on those of --runs, and written as SVG, and
so is the newest sweep, as the last. With --all, every screen and dialog is drawn as well, and Live on the newest run of each
state.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import source_tree  # noqa: F401 - before the product's packages
from textual.pilot import Pilot

from crild_tui.app import CrildApp
from crild_tui.messages import CompareRuns, WatchRun
from crild_tui.screens.sweep import SweepScreen
from crild_tui.widgets.text_view import TextView
from engine.record.run import RunEntry, list_runs
from engine.sweep.record import list_sweeps
from engine.user.settings import Dashboard

QUIET, LONGEST = 1.0, 4.0
"""Seconds in which a screen must not have changed before it is saved, and the most that it is waited for."""
SCREENS: dict[str, dict[str, tuple[str, ...]]] = {
    "launch": {
        "launch": (),
        "launch-form": ("right",),
        "launch-folded": ("right", "F"),
        "launch-setting": ("right", "slash", *"rate"),
        "launch-preset": ("slash", *"crild"),
        "launch-toml": ("v",),
        "launch-save": ("w",),
        "launch-help": ("question_mark",),
    },
    "live": {
        "live": (),
        "live-enlarged": ("z",),
        "live-charts": ("g",),
        "live-chart": ("g", "enter"),
        "live-settings": ("g", "i"),
        "live-pattern": ("g", "slash", *"dev"),
        "live-panel": ("g", "p"),
        "live-messages": ("m",),
        "live-table": ("t",),
        "live-mistakes": ("e",),
        "live-probe": ("b",),
        "live-help": ("question_mark",),
    },
    "runs": {
        "runs": (),
        "runs-filter": ("slash", *"state:finished"),
        "runs-mistakes": ("e",),
        "runs-tags": ("t",),
        "runs-help": ("question_mark",),
    },
    "compare": {
        "compare": (),
        "compare-charts": ("g",),
        "compare-settings": ("t",),
        "compare-help": ("question_mark",),
    },
}
"""For each mode its pictures, each with the keys that lead to it."""


async def draw(
    app: CrildApp, size: tuple[int, int], runs: list[RunEntry], shown: list[Path], out: Path, every: bool
) -> None:
    """Open each screen and save what it shows: Live the first of the runs `shown`, Compare all of them."""
    async with app.run_test(size=size) as pilot:
        for mode, pictures in SCREENS.items():
            if mode == "live":
                app.post_message(WatchRun(shown[0]))
            elif mode == "compare":
                app.post_message(CompareRuns(tuple(shown)))
            else:
                app.action_mode(mode)
            for name, keys in pictures.items():
                if name == mode or every:
                    await settled(pilot)
                    await pilot.press(*keys)
                    await settled(pilot)
                    save(app, out / f"{name}.svg")
                    await back(pilot)
        for run in newest_of_each_state(runs) if every else ():
            app.post_message(WatchRun(run.path))
            await settled(pilot)
            save(app, out / f"live-{run.state}.svg")
        if sweeps := list_sweeps(app.runs_dir):
            app.push_screen(SweepScreen(app, sweeps[0].name))
            await settled(pilot)
            save(app, out / "sweep.svg")


async def settled(pilot: Pilot[None]) -> None:
    """Wait until the screen has not changed for a while, or for as long as is allowed."""
    end = time.monotonic() + LONGEST
    shown, since = "", time.monotonic()
    while time.monotonic() < min(since + QUIET, end):
        await pilot.pause(0.1)
        now = pilot.app.export_screenshot()
        if now != shown:
            shown, since = now, time.monotonic()


async def back(pilot: Pilot[None]) -> None:
    """Close what keys have opened."""
    while len(pilot.app.screen_stack) > 1:
        await pilot.press("escape")
    for _ in range(4):
        await pilot.press("escape")
    if (screen := pilot.app.screen).has_class("-closing"):
        await pilot.press("t")
    if any(view.has_focus for view in screen.query(TextView)):
        await pilot.press("escape")


def newest_of_each_state(runs: list[RunEntry]) -> Iterator[RunEntry]:
    """The newest run of each state but finished."""
    seen = {"finished"}
    for run in runs:
        if run.state not in seen:
            seen.add(run.state)
            yield run


def save(app: CrildApp, file: Path) -> None:
    """Write the screen as it is.

    White space at the edges of a text is kept by every reader of SVG only when it is told to.
    """
    picture = app.export_screenshot(title="crild").replace("<text ", '<text xml:space="preserve" ')
    file.write_text(picture, encoding="utf-8")


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(description="Pictures of the dashboard.")
    parser.add_argument("runs_dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--size", default="132x38", help="columns x rows")
    parser.add_argument("--theme", default="crild-dark")
    parser.add_argument("--runs", nargs="+", metavar="ID", help="for Live (the first) and Compare (all)")
    parser.add_argument("--all", action="store_true", help="every screen and dialog, not only those in the docs")
    options = parser.parse_args()
    runs = list_runs(options.runs_dir.absolute())
    shown = [entry.path for entry in runs if entry.state == "finished"][:2]
    if options.runs:
        paths = {entry.id: entry.path for entry in runs}
        shown = [paths[run] for run in options.runs if run in paths]
    if not shown:
        parser.error(f"{options.runs_dir} holds no such run: crild run quickstart makes one")
    out = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    columns, rows = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # marks of one's own do not belong into the pictures
        app = CrildApp(options.runs_dir.absolute(), settings=Dashboard(theme=options.theme))
        asyncio.run(draw(app, (columns, rows), runs, shown, out, options.all))
    print(*sorted(out.glob("*.svg")), sep="\n")


if __name__ == "__main__":
    main()
