"""The closing table of a finished run, as `crild show` prints it."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from engine.errors import RunError
from engine.preset.text import plain
from engine.record.files import read_json
from engine.record.paths import PRESET, RESULTS, STUDENT
from engine.report.closing_table import Closing, closing


def read_closing(run_dir: Path) -> Closing:
    """The closing table of a run, from its files. Raises RunError that says why there is none."""
    results = read_json(run_dir / RESULTS)
    if results is None:
        raise RunError(f"{run_dir.name} has no {RESULTS} that can be read: it has not finished")
    return closing(results)


def closing_lines(found: Closing, run_dir: Path, *, student: bool, took: str | None) -> Group:
    """Tables and sentences; `student` says that the saved model is there, `took` how long it all took."""
    from crild_tui.cli.closing_table import models_table, stages_table

    models, stages = models_table(found), stages_table(found)
    models.box = stages.box = box.SIMPLE_HEAD  # the application itself maps everything to ASCII where that is wanted
    parts: list[RenderableType] = [
        Text(plain(f"{found.run or run_dir.name}: {found.task}, {found.split}"), "bold"),
        Text(),
        models,
        Text(),
        *(Text(plain(statement)) for statement in found.statements),
    ]
    if found.stages:
        parts += [Text(), stages]
    parts.append(Text())
    if student:
        parts.append(Text(plain(f"student: {run_dir / STUDENT}")))
    if took is not None:
        parts.append(Text(f"took:    {took}"))
    again = found.command or f"crild run {shlex.quote(str(run_dir / PRESET))}"
    parts.append(Text(plain(f"repeat:  {again}")))
    return Group(*parts)


class ClosingView(VerticalScroll):
    """Shows the closing table in place of the panels."""

    DEFAULT_CSS = """
    ClosingView { display: none; height: 1fr; padding: 0 1; Static { width: 100%; height: auto; } }
    """

    def __init__(self) -> None:
        super().__init__(Static(id="closing-text"), id="closing")

    def show(self, content: RenderableType) -> None:
        """Show tables, or a sentence that says why there are none."""
        self.query_one("#closing-text", Static).update(content)
