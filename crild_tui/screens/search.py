"""A search over the whole screen: its best trial so far, a chart of its trials or front, and their table."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import on
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Static

from crild_tui.messages import SearchChanged
from crild_tui.monitor.search import SearchWatcher
from crild_tui.runs import formatting, searches
from crild_tui.runs.filter import exactly
from crild_tui.runs.searches import SearchSnapshot
from crild_tui.screens.host import Host
from crild_tui.screens.sweep_dialog import Chosen, SweepDialog, Watcher, bindings
from crild_tui.widgets.search_chart import SearchChart
from engine.preset.text import one_line
from engine.search.trials import TrialRecord


class SearchScreen(SweepDialog):
    """The live trials of one search."""

    WHAT = "search"

    DEFAULT_CSS = """
    SearchScreen {
        #standing { max-height: 3; }
        #importance { height: auto; max-height: 2; color: $foreground-muted; }
        #chart { height: 1fr; min-height: 5; background: $surface; }
        #table { height: 1fr; min-height: 1; }
        #below { height: auto; max-height: 50%; }
        &.-low #chart, &.-low #importance { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("search", "Compare with the starting preset")

    def __init__(self, host: Host, name: str) -> None:
        super().__init__(host, name)
        self.seen = SearchSnapshot(name)
        self.rows: list[TrialRecord] = []

    def watcher(self) -> Watcher:
        """What watches the search."""
        return SearchWatcher(self._host.runs_dir, self._watched, lambda seen: self.post_message(SearchChanged(seen)))

    def parts(self) -> list[Widget]:
        """Importance, a chart, and the trials."""
        table: DataTable[Text] = DataTable(id="table", cursor_type="row", zebra_stripes=False)
        return [Static(id="importance"), SearchChart(id="chart"), table]

    # -- drawing

    @on(SearchChanged)
    def _search_changed(self, message: SearchChanged) -> None:
        self.seen = message.snapshot
        self.draw()

    def draw(self) -> None:
        """Redraw everything; trials change rarely."""
        seen, theme = self.seen, self.app.current_theme
        if not self.query("#about"):
            return
        if seen.problem is not None:
            self.put("standing", Text(one_line(seen.problem), Style(color=theme.error)))
        elif seen.record is not None:
            self.put("standing", Text(one_line(searches.progress(seen.record, seen.trials))))
        if seen.trials is None:
            return
        weighed = searches.importance_text(seen.trials)
        signs = searches.signs_text(seen.trials, short=True)
        lines = [signs] if seen.trials.front or signs != searches.star_text(seen.trials) else []
        lines += [f"importance: {weighed}"] if weighed else []
        self.put("importance", Text("\n").join(Text(one_line(line)) for line in lines))
        self.query_one("#chart", SearchChart).show_trials(seen.trials)
        self._draw_table(seen)
        self._describe()

    def _draw_table(self, seen: SearchSnapshot) -> None:
        trials, table = seen.trials, self.table
        assert trials is not None
        under = self.selected
        self.rows = searches.ranked(trials)
        names = list(dict.fromkeys(name for trial in trials.trials for name in trial.values))
        table.clear(columns=True)
        table.add_columns("trial", "state", *trials.aims, *(Text(one_line(name)) for name in names))
        for trial in self.rows:
            is_best = trial.number == trials.best or trial.number in trials.front
            table.add_row(
                Text(f"{trial.number}{'*' * is_best}", "bold" if is_best else ""),
                Text(searches.state_text(trial)),
                *map(Text, searches.result_texts(trials, trial)),
                *(Text(one_line(searches.value_text(trial.values.get(name, formatting.NONE)))) for name in names),
            )
        numbers = [trial.number for trial in self.rows]
        if under is not None and under.number in numbers:
            table.move_cursor(row=numbers.index(under.number), animate=False)

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._describe()

    def _describe(self) -> None:
        """Describe the trial under the cursor, then how far dev flatters the winner, once that is known."""
        trial, trials = self.selected, self.seen.trials
        lines = []
        if trial is not None and trials is not None:
            results = searches.results_text(trials, trial)
            words = f"{searches.state_text(trial)}{f', {results}' if results else ''}"
            lines.append(
                Text.assemble((f"trial {trial.number}", "bold"), one_line(f"  {words}: {searches.values_text(trial)}"))
            )
            if trial.why:
                lines.append(Text(one_line(trial.why), Style(color=self.app.current_theme.error)))
        if trials is not None:
            lines += [Text(one_line(sentence)) for sentence in searches.flattery(trials)]
            lines += [Text(one_line(searches.run_command(path)), "bold") for path in trials.presets[:1]]
        self.put("about", Text("\n").join(lines))

    # -- choosing

    @property
    def selected(self) -> TrialRecord | None:
        """The trial under the cursor."""
        row = self.table.cursor_row
        return self.rows[row] if 0 <= row < len(self.rows) else None

    @on(DataTable.RowSelected)
    def _selected(self) -> None:
        if (trial := self.selected) is not None:
            self.dismiss(
                Chosen(filter=" ".join([exactly("sweep", self._watched), exactly("cell", f"trial={trial.number}")]))
            )

    def action_compare(self) -> None:
        """Compare the runs of this trial with those of the starting preset."""
        trials, trial = self.seen.trials, self.selected
        if trials is None or trial is None:
            return
        start = trials.trial(0)
        runs = dict.fromkeys((*trial.runs, *(start.runs if start is not None else ())))
        self.dismiss(Chosen(compare=tuple(self._host.runs_dir / run for run in runs)))

    def why_not_stop(self) -> str | None:
        """Why there is nothing to stop, if there isn't."""
        record = self.seen.record
        return None if record is not None and record.alive() else f"{one_line(self._watched)} is not running"
