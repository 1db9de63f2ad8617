"""A search over the whole screen: its best trial so far, a chart of its trials or front, and their table."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import DataTable, Static

from crild_tui.messages import SearchChanged
from crild_tui.monitor.search import SearchWatcher
from crild_tui.runs import actions, formatting, searches
from crild_tui.runs.filter import exactly
from crild_tui.runs.searches import SearchSnapshot
from crild_tui.screens.dialogs import Confirm, confirm
from crild_tui.screens.host import Host
from crild_tui.screens.sweep import Chosen
from crild_tui.widgets.dialog import Dialog
from crild_tui.widgets.search_chart import SearchChart
from engine.preset.text import one_line
from engine.search.trials import TrialRecord

LOW = 16
"""Lines below which there is room for the table alone."""


class SearchScreen(Dialog[Chosen | None]):
    """The live trials of one search. Its lower border shows its keys."""

    DEFAULT_CSS = """
    SearchScreen {
        align: center middle;
        #box {
            width: 100%; height: 100%;
            padding: 0 1; border: round $primary; background: $surface;
        }
        #standing { height: auto; max-height: 3; text-style: bold; }
        #importance { height: auto; max-height: 2; color: $foreground-muted; }
        #chart { height: 1fr; min-height: 5; background: $surface; }
        #table { height: 1fr; background: $surface; scrollbar-size: 1 1; }
        #table:focus { background-tint: $foreground 0%; }
        #below { height: auto; max-height: 6; scrollbar-size: 1 1; border-top: solid $panel; }
        #about { height: auto; }
        &.-low #box { padding: 0; }
        &.-low #chart, &.-low #importance { display: none; }
        &.-low #standing { max-height: 1; }
        &.-low #below { max-height: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,m", "dismiss", "Close", id="search.close"),
        Binding("c", "compare", "Compare with the starting preset", id="search.compare"),
        Binding("s", "stop", "Stop the search", id="search.stop"),
        Binding("j", "move(1)", "Row down", id="search.down", show=False),
        Binding("k", "move(-1)", "Row up", id="search.up", show=False),
        Binding("question_mark", "app.help", "Keys", id="search.help", show=False),
    ]

    def __init__(self, host: Host, name: str) -> None:
        super().__init__()
        self._host, self._search = host, name
        self.seen = SearchSnapshot(name)
        self.rows: list[TrialRecord] = []
        self._watcher = SearchWatcher(host.runs_dir, name, lambda seen: self.post_message(SearchChanged(seen)))

    @property
    def table(self) -> DataTable[Text]:
        """The trials."""
        return self.query_one("#table", DataTable)

    def compose(self) -> ComposeResult:
        """The best so far, importance, a chart, the trials, and details of the one under the cursor."""
        keys = self._host.keys
        named = {"enter": "runs"} | {keys[f"search.{action}"]: action for action in ("compare", "stop", "close")}
        with Vertical(id="box") as box:
            box.border_title = Text(one_line(f"search {self._search}")).markup
            box.border_subtitle = ", ".join(f"{key} {action}" for key, action in named.items())
            yield Static(Text("reading the search..."), id="standing")
            yield Static(id="importance")
            yield SearchChart(id="chart")
            yield DataTable(id="table", cursor_type="row", zebra_stripes=False)
            with VerticalScroll(id="below", can_focus=False):
                yield Static(id="about")

    def on_mount(self) -> None:
        """Start watching."""
        self.table.focus()
        self._watcher.start()

    def on_unmount(self) -> None:
        """Let the watcher end."""
        self._watcher.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the dialog to the screen."""
        self.set_class(event.size.height < LOW, "-low")

    # -- drawing

    @on(SearchChanged)
    def _search_changed(self, message: SearchChanged) -> None:
        self.seen = message.snapshot
        self._draw()

    def _draw(self) -> None:
        """Redraw everything; trials change rarely."""
        seen, theme = self.seen, self.app.current_theme
        if not self.query("#about"):
            return
        standing = self.query_one("#standing", Static)
        if seen.problem is not None:
            standing.update(Text(one_line(seen.problem), Style(color=theme.error)))
        elif seen.record is not None:
            standing.update(Text(one_line(searches.progress(seen.record, seen.trials))))
        if seen.trials is None:
            return
        weighed = searches.importance_text(seen.trials)
        self.query_one("#importance", Static).update(Text(one_line(f"importance: {weighed}" if weighed else "")))
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
            results = trial.results or (None,) * len(trials.aims)
            table.add_row(
                Text(f"{trial.number}{'*' * is_best}", "bold" if is_best else ""),
                Text(searches.state_text(trial)),
                *(Text(searches.result_text(aim, value)) for aim, value in zip(trials.aims, results, strict=False)),
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
        self.query_one("#about", Static).update(Text("\n").join(lines))

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
                Chosen(filter=" ".join([exactly("sweep", self._search), exactly("cell", f"trial={trial.number}")]))
            )

    def action_compare(self) -> None:
        """Compare the runs of this trial with those of the starting preset."""
        trials, trial = self.seen.trials, self.selected
        if trials is None or trial is None:
            return
        start = trials.trial(0)
        runs = dict.fromkeys((*trial.runs, *(start.runs if start is not None else ())))
        self.dismiss(Chosen(compare=tuple(self._host.runs_dir / run for run in runs)))

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self.table.move_cursor(row=self.table.cursor_row + rows, animate=False)

    def action_stop(self) -> None:
        """Stop the search, after a question."""
        if self._host.refuse_readonly():
            return
        record = self.seen.record
        if record is None or not record.alive():
            self._host.tell(f"{one_line(self._search)} is not running: there is nothing to stop", "warning")
            return
        question = f"Stop {one_line(self._search)}? Its runs write checkpoints; run `crild search` to continue it."
        stop = partial(actions.stop_sweep, self._host.runs_dir, self._search)
        confirm(self.app, Confirm(question, "Stop"), lambda: self._host.act(stop))
