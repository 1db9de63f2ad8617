"""The three panels of runs as lines of text, for a terminal without the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.style import Style
from rich.text import Text

from crild_tui.charts import canvas as looks
from crild_tui.charts.drawing import draw
from crild_tui.charts.figure import Figure
from crild_tui.charts.palette import curve_color, curve_marker
from crild_tui.charts.run_figures import Look, Source, TraceCache, figures
from crild_tui.monitor.curves import Axis
from crild_tui.monitor.run_curves import read_curves
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.summary import RunSummary, with_status
from crild_tui.text import ascii_text
from engine.preset.text import plain
from engine.record.run import read_run

HEIGHT = 14
"""Rows of a panel."""


def panels(run_dirs: Sequence[Path], axis: Axis = "step", *, log: bool = False) -> tuple[Figure, Figure, Figure]:
    """Loss, consistency and dev metric of runs, as the dashboard has them, over the whole of each run. Reads their files."""
    sources = [Source(_snapshot(run_dir), run_dir.name, index) for index, run_dir in enumerate(run_dirs)]
    return figures(sources, Look(axis, log=log, stage=False), TraceCache())


def _snapshot(run_dir: Path) -> RunSnapshot:
    entry = read_run(run_dir)
    summary = RunSummary() if entry.status is None else with_status(RunSummary(), entry.status, entry.state)
    return RunSnapshot(run_dir, entry, summary, read_curves(run_dir))


def printed(
    figure: Figure, width: int, height: int = HEIGHT, *, dark: bool = True, ascii_only: bool = False
) -> list[Text]:
    """A figure in `width` × `height` cells."""
    drawing = draw(figure, width, height, aligned=True, button=False)
    rows = []
    for spans in drawing.canvas.spans():
        row = Text(no_wrap=True)
        for text, look in spans:
            row.append(ascii_text(text) if ascii_only else text, _style(look, dark=dark))
        row.rstrip()
        rows.append(row)
    return rows


def legend(names: Sequence[str], *, dark: bool = True) -> list[Text]:
    """The marker of each of several runs, with its name."""
    return [
        Text(f"  {curve_marker(index)} {plain(name)}", Style(color=curve_color(index, dark)))
        for index, name in enumerate(names)
    ]


def _style(look: int, *, dark: bool) -> Style:
    """The style of a look on the terminal's own ground and ink: only curves have colours of their own."""
    kind = look & looks.KIND
    return Style(
        color=curve_color(kind - looks.CURVE, dark) if kind >= looks.CURVE else None,
        bold=bool(look & (looks.BOLD | looks.BAR)) or kind == looks.TITLE,
        dim=kind == looks.MUTED or bool(look & looks.DIM),
        reverse=bool(look & looks.REVERSE),
    )
