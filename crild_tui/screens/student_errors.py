"""A dialog with what a run's student gets wrong: classes, confusions, calibration, disagreements with the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.binding import Binding, BindingType

from crild_tui.runs import formatting
from crild_tui.runs.error_parts import full_parts
from crild_tui.screens.reading_dialog import ReadingDialog, drawn
from engine.errors import CrildError
from engine.preset.text import plain
from engine.report.student_errors import has_predictions, student_errors

ROWS = 50
"""Disagreements that are listed; the command lists and writes all of them."""


class StudentErrorsScreen(ReadingDialog):
    """Shows what a student gets wrong; e closes it too."""

    WHAT = "mistakes"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("e", "dismiss", "Close", show=False)]

    def content(self, run_dir: Path) -> RenderableType:
        """Tables and sentences about the mistakes, or a sentence in their place."""
        if not has_predictions(run_dir):
            return Text(plain(f"{run_dir.name} has no predictions yet: a run saves them when it finishes"))
        try:
            found = student_errors(run_dir)
        except CrildError as error:
            return Text(plain(str(error)))
        listed = "rows" if found.ranking is None else "queries"
        hint = Text(plain(f"all {listed} in a file: {formatting.command('errors', run_dir)} -o {listed}.csv"), "dim")
        return drawn(full_parts(found, most=ROWS, width=self.room), hint)
