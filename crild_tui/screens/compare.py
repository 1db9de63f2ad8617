"""The Compare mode: the curves of several runs, their final metrics, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static
from textual.worker import get_current_worker

from crild_tui.messages import RunChanged, WatchRun
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs import comparison
from crild_tui.runs.states import KeyNames
from crild_tui.runs.table_file import named_file, write_file
from crild_tui.screens.chart_screen import ChartScreen
from crild_tui.screens.dialogs import Ask, Confirm, ask, confirm
from crild_tui.screens.probe import ProbeScreen
from crild_tui.screens.text_dialog import TextScreen
from crild_tui.widgets.logged_view import LoggedView
from crild_tui.widgets.panels import Panels, Source
from crild_tui.widgets.row_list import RowList
from engine.errors import UsageError
from engine.preset.text import one_line
from engine.report.final_metrics import FinalMetrics, metrics_table, read_final_metrics
from engine.report.result_table import ResultDocument
from engine.report.writers import FORMATS, Format, format_of_file

EVERY = 0.5
"""Seconds between two redraws of the curves, at least."""
LOW = 16
"""Lines below which either the curves or the tables are shown."""
WIDE, HIGH = 150, 30
"""Columns and lines from which the differences are next to the table."""
VIEWS = ("both", "tables", "curves")
COPIED = ("markdown", "csv", "latex")
"""Formats of the table, in the order of the key that changes it."""

STEPS = (
    ("mode.runs", "go to Runs"),
    ("runs.mark", "mark the runs to compare, up to a dozen"),
    ("runs.compare", "compare them here"),
)
"""How to get runs to compare: bindings, and what their keys do."""


def how_to_compare(keys: KeyNames) -> Text:
    """The page to show while there is nothing to compare."""
    width = max(len(keys[binding]) for binding, _ in STEPS) + 2
    text = Text.assemble(("Nothing to compare yet\n\n", "bold"))
    for binding, purpose in STEPS:
        text.append(keys[binding].ljust(width), "bold").append(f"{purpose}\n")
    return text.append("\nRuns that differ only in their seed are averaged: mean and standard deviation.", "dim")


class CompareScreen(ChartScreen):
    """The curves of several runs in one chart. Each run keeps its colour and marker while it is compared."""

    MODE = "compare"
    DEFAULT_CSS = """
    CompareScreen {
        #page { padding: 1 2; height: 1fr; display: none; }
        Panels { height: 1fr; }
        #tables { height: 40%; border-top: solid $panel; }
        #finals { width: 3fr; }
        #differences { width: 2fr; display: none; border-left: solid $panel; }
        &.-wide #differences { display: block; }
        &.-tables Panels { display: none; }
        &.-tables #tables { height: 1fr; border-top: none; }
        &.-low #tables { display: none; }
        &.-low.-tables #tables { display: block; }
        &.-curves #tables, &.-enlarged #tables { display: none; }
        &.-page #page { display: block; }
        &.-page Panels, &.-page #tables { display: none; }
        &.-logged Panels, &.-logged #tables { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", tooltip="Copy the table", id="compare.copy"),
        Binding("w", "write", "Write", tooltip="Write the table to a file", id="compare.write"),
        Binding("f", "format", "Format", tooltip="Copy and write the table in another format", id="compare.format"),
        Binding("space,delete,backspace", "drop", "Drop and unmark the run", id="compare.drop", show=False),
        Binding("up,k", "row(-1)", "Run up", id="compare.up", show=False),
        Binding("down,j", "row(1)", "Run down", id="compare.down", show=False),
        Binding("enter", "watch", "Watch", id="compare.watch", show=False),
        Binding("b", "probe", "Overfitting: the chosen run's probe", id="compare.probe", show=False),
        Binding("v", "view", "Curves, tables or both", id="compare.view", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[Path, int] = {}
        """The compared runs in their order, each with the number that its colour and marker come from."""
        self._snapshots: dict[Path, RunSnapshot] = {}
        self._finals: list[FinalMetrics] = []
        self._table = metrics_table([])
        self._format = FORMATS[COPIED[0]]
        self._view = VIEWS[0]
        self._stale = False

    def content(self) -> ComposeResult:
        """The curves, and tables below them."""
        yield Static(how_to_compare(self.host.keys), id="page")
        yield Panels(self.host.settings.smoothing, keys=self.host.keys)
        yield LoggedView(self.host.settings.smoothing, keys=self.host.keys)
        with Horizontal(id="tables"):
            yield RowList(id="finals")
            yield RowList(id="differences")

    def on_mount(self) -> None:
        """Redraw at a steady pace, however often a run changes."""
        self.set_interval(EVERY, self._draw_curves)
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw_tables())
        self._arrange()

    def applies(self, action: str) -> bool:
        """Without runs, only what every mode has."""
        return bool(self.numbers) or parse(action)[1] in ("help", "quit")

    @property
    def runs(self) -> tuple[Path, ...]:
        """The runs that are compared, in their order."""
        return tuple(self.numbers)

    # -- which runs

    def show_runs(self, run_dirs: Sequence[Path]) -> None:
        """Compare these runs; those that are compared already keep their colours and are not read again."""
        count = len(set(run_dirs))
        if count > comparison.MOST:
            self.host.tell(f"comparing the first {comparison.MOST} of {count} runs, the most that fit", "warning")
        self.numbers = comparison.assigned(self.numbers, run_dirs)
        self._snapshots = {run_dir: seen for run_dir, seen in self._snapshots.items() if run_dir in self.numbers}
        self.watch_only(self.numbers)
        self._stale = True
        self._arrange()
        self._draw_curves()
        self._draw_tables()
        self._read_finals(self.runs)

    def on_screen_resume(self) -> None:
        """Watch again; if no run was chosen yet, compare those that are marked in Runs."""
        if not self.numbers:
            marked = [entry.path for entry in self.host.runs.entries if entry.id in self.host.marks.marked]
            if marked:
                self.show_runs(marked)
        elif not self.watching:
            self.watch_only(self.numbers)
            self._read_finals(self.runs)

    def action_drop(self) -> None:
        """Remove the chosen run from the comparison, and unmark it in Runs."""
        dropped = self._finals_list.chosen
        if dropped is not None:
            self.host.mark("marked", [dropped.name], on=False)
            self.show_runs([run_dir for run_dir in self.numbers if run_dir != dropped])

    # -- curves

    @on(RunChanged)
    def _run_changed(self, message: RunChanged) -> None:
        snapshot = message.snapshot
        if snapshot.run_dir not in self.numbers:
            return
        before = self._snapshots.get(snapshot.run_dir)
        self._snapshots[snapshot.run_dir] = replace(snapshot, curves=snapshot.curves.without_teacher())
        self._stale = True
        if before is not None and _reached(before) != _reached(snapshot):
            self._read_finals(self.runs)

    def _draw_curves(self) -> None:
        if not self._stale or not self.is_present:
            return
        self._stale = False
        named = zip(self.numbers.items(), comparison.labels(self.runs), strict=True)
        self.show_sources(
            [
                Source(self._snapshots[run_dir], label, number)
                for (run_dir, number), label in named
                if run_dir in self._snapshots
            ]
        )

    # -- tables

    @property
    def _finals_list(self) -> RowList:
        return self.query_one("#finals", RowList)

    @work(thread=True, exclusive=True, group="finals")
    def _read_finals(self, run_dirs: Sequence[Path]) -> None:
        finals, worker = [read_final_metrics(run_dir) for run_dir in run_dirs], get_current_worker()

        def show() -> None:
            if not worker.is_cancelled:
                self._finals = finals
                self._draw_tables()

        self.later(show)

    def _draw_tables(self) -> None:
        finals = [final for final in self._finals if final.run_dir in self.numbers]
        numbers = [self.numbers[final.run_dir] for final in finals]
        self._table = metrics_table(finals)
        dark = self.app.current_theme.dark
        table = comparison.metrics_lines(self._table, finals, numbers, dark=dark) if finals else []
        different = comparison.difference_lines(finals, numbers, dark=dark)
        heading = comparison.RunLine(Text("Inputs, and settings that differ", "bold underline"))
        self.query_one("#differences", RowList).show([heading, *different] if different else [])
        below = [] if self.has_class("-wide") or not different else [comparison.RunLine(Text()), heading, *different]
        self._finals_list.show([*table, *below])

    def on_resize(self, event: events.Resize) -> None:
        """Show the differences next to the table if there is room."""
        self.set_class(event.size.width >= WIDE and event.size.height >= HIGH, "-wide")
        self.set_class(event.size.height < LOW, "-low")
        self._draw_tables()

    def _arrange(self) -> None:
        self.set_class(not self.numbers, "-page")
        self.renew_footer()
        if not self.numbers:
            self.close_logged()
        for view in VIEWS[1:]:
            self.set_class(self._view == view, f"-{view}")
        if self.numbers and self._view == "tables":
            self._finals_list.focus()
        elif self.numbers:
            self.query_one(Panels).chosen.focus()

    @on(Panels.Enlarged)
    def _enlarged(self, event: Panels.Enlarged) -> None:
        self.set_class(event.enlarged, "-enlarged")

    def action_row(self, by: int) -> None:
        """Choose another run in the table, while the curves keep the focus."""
        self._finals_list.action_move(by)

    def action_view(self) -> None:
        """Curves and tables, tables alone, curves alone."""
        self.close_logged()
        self._view = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)]
        self._arrange()

    def action_watch(self) -> None:
        """Show the chosen run in Live."""
        if (run_dir := self._finals_list.chosen) is not None:
            self.post_message(WatchRun(run_dir))

    def action_probe(self) -> None:
        """Show the probe of the chosen run."""
        if (run_dir := self._finals_list.chosen) is None:
            self.host.tell("there is no run here", "warning")
        else:
            self.app.push_screen(ProbeScreen(run_dir))

    @on(RowList.Activated)
    def _activated(self, event: RowList.Activated) -> None:
        self.post_message(WatchRun(event.run_dir))

    # -- copy and write the table

    def action_format(self) -> None:
        """Choose the next format."""
        self._format = FORMATS[COPIED[(COPIED.index(self._format.name) + 1) % len(COPIED)]]
        copy, write = (self.host.keys[f"compare.{action}"] for action in ("copy", "write"))
        self.host.tell(f"{copy} copies and {write} writes the table as {self._format.title}")

    @property
    def table(self) -> str:
        """The table in the chosen format."""
        return str(self._format.write(ResultDocument((self._table,))))

    def action_copy(self) -> None:
        """Copy the table, and show it, since not every terminal supports the clipboard."""
        if not self._table.rows:
            self.host.tell("there is no table to copy yet", "warning")
            return
        self.app.copy_to_clipboard(self.table)
        self.app.push_screen(
            TextScreen(
                self.table,
                f"{self._format.title} table",
                "Sent to the terminal's clipboard (OSC 52); tmux needs `set -g set-clipboard on`. If that doesn't work, "
                "select it with Shift and the mouse, or write it to a file. Arrows scroll, Escape closes.",
            )
        )

    def action_write(self) -> None:
        """Ask for a file and write the table to it; send it to a browser."""
        if not self.host.served and self.host.refuse_readonly():
            return
        if not self._table.rows:
            self.host.tell("there is no table to write yet", "warning")
            return
        if self.host.served:
            self.host.deliver(f"comparison{self._format.endings[0]}", self.table)
            return
        chosen, document = self._format, ResultDocument((self._table,))
        question = Ask(f"Write the {chosen.title} table to which file?", f"comparison{chosen.endings[0]}")
        ask(self.app, question, lambda name: self._write(name, chosen, document))

    @work(thread=True, group="write")
    def _write(self, name: str, chosen: Format, document: ResultDocument) -> None:
        try:
            path = named_file(name)
            text = str(format_of_file(path, chosen, {name: FORMATS[name] for name in COPIED}).write(document))
        except UsageError as error:
            sentence = str(error)
            self.later(lambda: self.host.tell(sentence, "error"))
            return
        if not path.exists():
            self.later(lambda: self.host.act(lambda: write_file(path, text)))
            return
        question = Confirm(f"{one_line(str(path))} exists already. Overwrite it?", "Overwrite")
        overwrite = partial(self.host.act, lambda: write_file(path, text, overwrite=True))
        self.later(lambda: confirm(self.app, question, overwrite))


def _reached(snapshot: RunSnapshot) -> tuple[object, ...]:
    status = snapshot.entry.status
    return (snapshot.entry.state, *((status.last, status.teacher, status.attempt) if status else ()))
