"""Makes the pictures of the dashboard in README and docs, from runs that are there.

    python benchmarks/pictures.py RUNS_DIR [--out docs/pictures] [--size 132x38] [--theme crild-dark]

Each mode is opened on the newest finished run (Compare on the two newest) and written as SVG; where that run is part of
a sweep, so is the sweep's matrix, as the last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

import source_tree  # noqa: F401 - before the product's packages

from crild_tui.app import CrildApp
from crild_tui.messages import CompareRuns, WatchRun
from crild_tui.screens.sweep import SweepScreen
from engine.record.run import list_runs, read_run
from engine.user.settings import Dashboard

SETTLE = 2.5
"""Seconds that a mode is given to read what it shows."""


async def draw(app: CrildApp, size: tuple[int, int], out: Path, runs: list[Path]) -> None:
    """Open each mode and write what stands on the screen."""
    async with app.run_test(size=size) as pilot:
        for name in ("launch", "live", "runs", "compare"):
            if name == "live":
                app.post_message(WatchRun(runs[0]))
            elif name == "compare":
                app.post_message(CompareRuns(tuple(runs[:2])))
            else:
                app.action_mode(name)
            await pilot.pause(SETTLE)
            save(app, out / f"{name}.svg")
        if (status := read_run(runs[0]).status) is not None and status.sweep:
            app.push_screen(SweepScreen(app, status.sweep))
            await pilot.pause(SETTLE)
            save(app, out / "sweep.svg")


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
    options = parser.parse_args()
    runs = [entry.path for entry in list_runs(options.runs_dir.absolute()) if entry.state == "finished"]
    if not runs:
        parser.error(f"{options.runs_dir} holds no finished run: crild run quickstart makes one")
    options.out.mkdir(parents=True, exist_ok=True)
    columns, rows = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # marks of one's own do not belong into the pictures
        app = CrildApp(options.runs_dir.absolute(), settings=Dashboard(theme=options.theme))
        asyncio.run(draw(app, (columns, rows), options.out, runs))
    print(*sorted(options.out.glob("*.svg")), sep="\n")


if __name__ == "__main__":
    main()
