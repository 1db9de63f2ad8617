"""From the list of runs to a sweep, and back to its runs."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from crild_tui.messages import CompareRuns
from crild_tui.screens.run_annotations import KeepingScreen
from crild_tui.screens.sweep import Chosen, SweepScreen
from crild_tui.widgets.choice_list import WordList
from engine.preset.text import one_line
from engine.sweep.record import SweepRecord, list_sweeps


class SweepingScreen(KeepingScreen):
    """A screen from which sweeps are looked at. Subclasses take a filter in `show_filter`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "sweep", "Matrix of the run's sweep, or of another", id="runs.sweep", show=False),
    ]

    def show_filter(self, text: str) -> None:
        """Leave only the runs that a filter finds."""

    def action_sweep(self) -> None:
        """Show the sweep of the selected run; where it has none, ask which."""
        status = self.selected.status if self.selected is not None else None
        if status is not None and status.sweep:
            self._open(status.sweep)
        else:
            self._list_sweeps()

    @work(thread=True, exclusive=True, group="sweeps")
    def _list_sweeps(self) -> None:
        found = list_sweeps(self.crild.runs_dir)
        self.later(lambda: self._choose_sweep(found))

    def _choose_sweep(self, found: list[SweepRecord]) -> None:
        if not self.is_current:
            return
        if not found:
            self.crild.tell("there is no sweep in this folder: crild sweep FILE starts one", "warning")
            return
        named = {
            one_line(f"{record.name}  {len(record.cells):,} runs, {record.state}"): record.name for record in found
        }

        def chosen(words: str | None) -> None:
            if words is not None:
                self._open(named[words])

        self.app.push_screen(WordList("Sweeps", list(named), ""), chosen)

    def _open(self, name: str) -> None:
        self.app.push_screen(SweepScreen(self.crild.runs_dir, name), self._sweep_closed)

    def _sweep_closed(self, chosen: Chosen | None) -> None:
        if chosen is not None and chosen.compare:
            self.post_message(CompareRuns(chosen.compare))
        elif chosen is not None:
            self.show_filter(chosen.filter)
