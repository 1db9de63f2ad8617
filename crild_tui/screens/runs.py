"""The Runs mode: the list of all runs, to filter, sort, mark, annotate, stop and delete them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Input, Label, Static
from textual.worker import get_current_worker

from crild_tui.charts.logged import Logged
from crild_tui.charts.run_figures import Look, Source, TraceCache, figures
from crild_tui.charts.sparkline import dev_history
from crild_tui.messages import CompareRuns, WatchRun
from crild_tui.monitor.run_curves import read_curves
from crild_tui.runs import filter, formatting, listing, searches
from crild_tui.runs.details import About, detail, panel, read_about
from crild_tui.runs.marks import Kind, Marks, read_marks
from crild_tui.runs.overview import page_instead, summary
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.screens.dialogs import ask
from crild_tui.screens.live import unread
from crild_tui.screens.mode_screen import ModeScreen
from crild_tui.screens.run_actions import RunActions
from crild_tui.screens.search import SearchScreen
from crild_tui.screens.student_errors import StudentErrorsScreen
from crild_tui.screens.sweep import SweepScreen
from crild_tui.screens.sweep_dialog import Chosen
from crild_tui.widgets.choice_list import WordList
from crild_tui.widgets.logged_view import ChartGrid
from crild_tui.widgets.run_table import RunTable
from engine.preset.text import one_line
from engine.record.run import RunEntry
from engine.record.states import ACTIVE
from engine.sweep.record import SweepRecord, list_sweeps

WIDE, HIGH = 150, 24
"""Columns and lines from which there is a panel next to the list."""
PREVIEW = 40
"""Lines from which the curves of the selected run are below the list."""
LOW = 16
"""Lines below which the selected run gets only one line."""
PAUSE = 0.15
"""Seconds without a move of the cursor after which the files of the selected run are read."""
MANY = 3000
"""Runs from which a filter runs in a thread."""
TICK = 5.0
"""Seconds between two updates of the ages."""


class RunsScreen(ModeScreen):
    """The list of runs with a filter above it, and details of the selected run below or next to it."""

    MODE = "runs"
    OPENING = frozenset({"filter"})
    AUTO_FOCUS = "RunTable"
    """Not the filter, which would take the first keys for text."""
    DEFAULT_CSS = """
    RunsScreen {
        #filter-line { height: 1; display: none; background: $surface; }
        #filter-line.-shown { display: block; }
        #filter-line Label { width: auto; color: $accent; text-style: bold; }
        #filter { width: 1fr; }
        #summary { height: 1; padding: 0 1; color: $foreground-muted; }
        #summary.-problem { color: $error; text-style: bold; }
        #page { display: none; height: 1fr; padding: 1 2; }
        #body { height: 1fr; }
        #list { width: 1fr; }
        #preview { display: none; height: 16; border-top: solid $panel; }
        #side { display: none; width: 30%; max-width: 84; padding: 0 1; border-left: solid $panel; }
        #detail { height: 3; padding: 0 1; background: $surface; }
        &.-low #detail { height: 1; }
        &.-wide #detail { display: none; }
        &.-wide #side { display: block; }
        &.-wide.-high #preview { display: block; }
        &.-page #page { display: block; }
        &.-page #body, &.-page #detail { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "on_run('stop')", "Stop", tooltip="Stop with a checkpoint", id="runs.stop"),
        Binding("r", "on_run('resume')", "Resume", tooltip="Resume from the last checkpoint", id="runs.resume"),
        Binding("K", "on_run('kill')", "Kill at once", id="runs.kill", show=False),
        Binding("slash", "filter", "Filter", key_display="/", id="runs.filter"),
        Binding("space", "mark", "Mark", tooltip="Mark or unmark, then a row down", id="runs.mark"),
        Binding("c", "compare", "Compare", tooltip="Compare the marked runs", id="runs.compare"),
        Binding("m", "sweep", "Matrix", tooltip="Matrix of the run's sweep, or of another", id="runs.sweep"),
        Binding("o", "sort", "Sort", id="runs.sort"),
        Binding("n", "on_run('note')", "Note", tooltip="Write a note", id="runs.note"),
        Binding("t", "on_run('tags')", "Tags", tooltip="Change tags", id="runs.tags"),
        Binding("d", "on_run('trash')", "Trash", tooltip="Move to the trash", id="runs.trash"),
        Binding("e", "errors", "Mistakes", tooltip="What the student gets wrong", id="runs.errors"),
        Binding("escape", "clear", "Show all", tooltip="Clear the filter", id="runs.clear"),
        Binding("u", "unmark", "Unmark all", id="runs.unmark", show=False),
        Binding("O", "reverse", "Sort the other way", id="runs.reverse", show=False),
        Binding("p", "pin", "Pin to the top", id="runs.pin", show=False),
        Binding("h", "hide", "Hide", id="runs.hide", show=False),
        Binding("H", "show_hidden", "Show hidden runs", id="runs.show_hidden", show=False),
        Binding("f", "follow", "Follow the newest", id="runs.follow", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.actions = RunActions(self, lambda: self.selected)
        self._where = filter.RunFilter()
        self._wrong: str | None = None
        self._order = listing.Order()
        self._show_hidden = False
        self._filtering = False  # whether what is typed belongs to the filter
        self._about: About | None = None
        self._read_for: tuple[object, ...] = ()
        self._rest: Timer | None = None
        self._versions: dict[Path, object] = {}  # of the runs whose dev metrics were read
        self._histories_asked = self._histories_read = 0

    def content(self) -> ComposeResult:
        """The filter, the list, and details of the selected run."""
        with Horizontal(id="filter-line"):
            yield Label("/")
            yield Input(placeholder=filter.HELP, compact=True, id="filter")
        yield Static(id="summary")
        yield Static(id="page")
        with Horizontal(id="body"):
            with Vertical(id="list"):
                yield RunTable(id="table")
                preview = ChartGrid(id="preview")
                preview.can_focus = False
                yield preview
            with VerticalScroll(id="side", can_focus=True):
                yield Static(id="about")
        yield Static(id="detail")

    def on_mount(self) -> None:
        """Read the marks of this folder; keep the ages current."""
        self._table.focus()
        self._read_marks()
        self.set_interval(TICK, self._tick)

    @property
    def _table(self) -> RunTable:
        return self.query_one("#table", RunTable)

    @property
    def selected(self) -> RunEntry | None:
        """The run under the cursor."""
        return self._table.selected

    @property
    def chosen(self) -> RunEntry | None:
        """The run under the cursor, if the user put the cursor on it or filtered the list."""
        return self._table.selected if self.query_one("#filter", Input).value else self._table.chosen

    def choose(self, run_dir: Path) -> None:
        """Put the cursor on a run, if the list shows it."""
        self._table.choose(run_dir)

    def applies(self, action: str) -> bool:
        """Whether an action does something to the selected run, or to the list as it is."""
        _, name, arguments = parse(action)
        if name == "on_run":
            return self.actions.offers(str(arguments[0]))
        if name == "errors":
            return self.selected is not None and self.selected.state == "finished"
        if name == "clear":
            return self._filtering or bool(self._where.tests)
        if name == "compare":
            return bool(self.host.marks.marked)
        if name == "sweep":
            status = self.selected.status if self.selected is not None else None
            return status is not None and bool(status.sweep)
        return name not in ("filter", "mark", "sort", "activate") or bool(self.host.runs.entries)

    @property
    def typing(self) -> Input | None:
        """The filter, from the key that opens it until it is left."""
        return self.query_one("#filter", Input) if self._filtering else None

    # -- what is shown

    def show_list(self, snapshot: RunsSnapshot) -> None:
        """Show the list as it is now."""
        self.actions.seen(snapshot.entries)
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """Show a panel next to the list on a large terminal, and one line below it on a low one."""
        width, height = event.size
        self.set_class(width >= WIDE and height >= HIGH, "-wide")
        self.set_class(height < LOW, "-low")
        if self.has_class("-high") != (height >= PREVIEW):
            self.set_class(height >= PREVIEW, "-high")
            self._read_for = ()
        self.call_after_refresh(self._describe)

    def _arrange(self) -> None:
        """Filter, sort and show; in a thread if a filter has so many runs to test that keys would be delayed."""
        runs, now = self.host.runs, time.time()

        def arranged() -> listing.Arranged:
            return listing.arrange(
                runs.entries, self._where, self._order, self.host.marks, now, show_hidden=self._show_hidden
            )

        if self._where.tests and len(runs.entries) > MANY:
            self._arrange_many(arranged)
        else:
            self.workers.cancel_group(self, "arrange")
            self._show(arranged())

    @work(thread=True, exclusive=True, group="arrange")
    def _arrange_many(self, arranged: Callable[[], listing.Arranged]) -> None:
        result, worker = arranged(), get_current_worker()
        self.later(lambda: None if worker.is_cancelled else self._show(result))

    def _show(self, arranged: listing.Arranged) -> None:
        self._table.show(arranged.rows, self.host.marks, self._order)
        page = page_instead(self.host.runs, arranged, self.host.keys)
        if self.has_class("-page") != (page is not None):
            self.set_class(page is not None, "-page")
            self.call_after_refresh(self._describe)  # the details have their size by then
            if page is None and not self.query_one("#filter", Input).has_focus:
                self._table.focus()
        if page is not None:
            self.query_one("#page", Static).update(page)
        self._summarize(arranged)
        self._describe()

    def _summarize(self, arranged: listing.Arranged) -> None:
        host, line = self.host, self.query_one("#summary", Static)
        problem = self._wrong or (host.runs.problem if arranged.rows else None)
        line.set_class(problem is not None, "-problem")
        if problem is not None:
            line.update(Text(one_line(problem), no_wrap=True, overflow="ellipsis"))
        else:
            width, following = self.size.width, host.following
            line.update(summary(host.runs, arranged, host.marks, self._where, width, following=following))

    def _tick(self) -> None:
        """Update the ages."""
        if self.is_current and not self.has_class("-page"):
            self._read_histories(again=True)
            if self.selected is not None and self.selected.state in ACTIVE:
                self._read_preview(self.selected)
            self._table.refresh()
            self._describe()

    # -- details of the selected run

    @on(RunTable.Selected)
    def _describe(self) -> None:
        entry = self.selected
        self.renew_footer()
        self._read_histories()
        if not self.has_class("-wide"):
            below = self.query_one("#detail", Static)
            width, height = below.content_size
            below.update(Text() if entry is None else detail(entry, self.host.keys, time.time(), width, height))
            return
        about = self._about if entry is not None and self._about and self._about.run_dir == entry.path else None
        width = max(self.query_one("#side").size.width - 3, 20)
        self.query_one("#about", Static).update(
            Text() if entry is None else panel(entry, about, self.host.keys, time.time(), width)
        )
        version = () if entry is None else (entry.path, entry.state, entry.status.attempt if entry.status else 0)
        if version and version != self._read_for:
            self._read_for = version
            if self._rest is not None:
                self._rest.stop()
            self._rest = self.set_timer(PAUSE, self._read_selected)
            self.query_one(ChartGrid).show((), "")

    def _read_selected(self) -> None:
        """Read the files of the selected run."""
        self._read_about(self.selected)
        if self.selected is not None:
            self._read_preview(self.selected)

    @work(thread=True, exclusive=True, group="about")
    def _read_about(self, entry: RunEntry | None) -> None:
        about = None if entry is None else read_about(entry.path)
        if about is not None and not get_current_worker().is_cancelled:
            self.later(lambda: self._about_read(about))

    def _about_read(self, about: About) -> None:
        self._about = about
        self._describe()

    @work(thread=True, exclusive=True, group="preview")
    def _read_preview(self, entry: RunEntry) -> None:
        """Read and draw loss and dev metric of a run as they were logged, if there is room for them."""
        if not self.has_class("-wide") or not self.has_class("-high"):
            return
        snapshot = replace(unread(entry), curves=read_curves(entry.path), read=True)
        loss, _, dev = figures([Source(snapshot, one_line(entry.id), 0)], Look(), TraceCache())
        if not get_current_worker().is_cancelled:
            self.later(lambda: self._preview_read(entry, (Logged("loss", loss), Logged("dev", dev))))

    def _preview_read(self, entry: RunEntry, charts: tuple[Logged, ...]) -> None:
        if self.selected is not None and self.selected.path == entry.path:
            drawn = [chart for chart in charts if chart.figure.lines]
            self.query_one(ChartGrid).show(drawn, "no curves yet" if entry.state in ACTIVE else "no curves")

    # -- the course of the dev metric

    @property
    def reading(self) -> bool:
        """Whether the dev metrics of runs on the screen are still being read."""
        return self._histories_read < self._histories_asked

    def _read_histories(self, *, again: bool = False) -> None:
        """Read the dev metrics of the runs on the screen that were not read, or whose state changed; of those that go on,
        too, if `again`."""
        if not self._table.has_sparks or self.reading:
            return
        stale = [
            entry for entry in self._table.rows_in_view if self._versions.get(entry.path) != _version(entry, again)
        ]
        if stale:
            self._histories_asked += 1
            self._read_curves(stale, again)

    @work(thread=True, group="histories")
    def _read_curves(self, entries: Sequence[RunEntry], again: bool) -> None:
        read = {}
        for entry in entries:
            name = entry.status.metric_name if entry.status is not None else None
            read[entry.path] = dev_history(read_curves(entry.path), name)
        versions = {entry.path: _version(entry, again) for entry in entries}
        self.later(lambda: self._curves_read(read, versions))

    def _curves_read(self, read: Mapping[Path, Sequence[float]], versions: Mapping[Path, object]) -> None:
        self._histories_read += 1
        self._versions |= versions
        self._table.show_sparks({**self._table.sparks, **read})

    # -- filter and order

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one("#filter-line").add_class("-shown")
        line = self.query_one("#filter", Input)
        line.select_on_focus = self._filtering = True
        line.focus()

    @on(Input.Blurred, "#filter")
    def _filter_left(self) -> None:
        self._filtering = False

    def show_filter(self, text: str) -> None:
        """Show only the runs that match a filter; Escape shows all again."""
        self._filtering = False
        self.query_one("#filter-line").set_class(bool(text), "-shown")
        self.query_one("#filter", Input).value = text
        self._table.focus()

    def action_clear(self) -> None:
        """Show every run again; the cursor stays on its run."""
        if (entry := self.chosen) is not None:
            self._table.choose(entry.path)
        self.show_filter("")

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        try:
            self._where, self._wrong = filter.parse(event.value), None
        except filter.FilterError as problem:
            self._where, self._wrong = filter.RunFilter(), str(problem)
        self._arrange()

    @on(Input.Submitted, "#filter")
    def _submitted(self, event: Input.Submitted) -> None:
        self.show_filter(event.value)

    async def on_key(self, event: events.Key) -> None:
        """Go from the filter to the list with Down."""
        if event.key == "down" and self.query_one("#filter", Input).has_focus:
            event.stop()
            self._filtering = False
            self._table.focus()

    def action_sort(self) -> None:
        """Sort by the next visible column."""
        columns = list(self._table.columns)
        if columns:
            index = columns.index(self._order.column) if self._order.column in columns else -1
            self._sort(listing.Order(columns[(index + 1) % len(columns)]))

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._sort(self._order.chosen(self._order.column))

    @on(RunTable.HeadingClicked)
    def _heading(self, event: RunTable.HeadingClicked) -> None:
        self._sort(self._order.chosen(event.column))

    def _sort(self, order: listing.Order) -> None:
        self._order = order
        self._arrange()

    # -- pin, hide, mark

    @work(thread=True, group="marks")
    def _read_marks(self) -> None:
        marks = read_marks(self.host.runs_dir)
        self.later(lambda: self._marks_read(marks))

    def _marks_read(self, marks: Marks) -> None:
        self.host.marks = marks
        self._arrange()

    def _put_marks(self, kind: Kind, ids: Iterable[str], on: bool) -> None:
        self.host.mark(kind, ids, on=on)
        self._arrange()

    def _toggle(self, kind: Kind) -> None:
        if self.selected is not None:
            self._put_marks(kind, [self.selected.id], self.selected.id not in self.host.marks.of(kind))

    def action_mark(self) -> None:
        """Mark or unmark, and move to the next row."""
        self._toggle("marked")
        self._table.action_move(1)

    def action_unmark(self) -> None:
        """Unmark every run."""
        self._put_marks("marked", self.host.marks.marked, on=False)

    def action_pin(self) -> None:
        """Pin a run to the top of the list, or unpin it."""
        self._toggle("pinned")

    def action_hide(self) -> None:
        """Hide a run, or show it again."""
        self._toggle("hidden")

    def action_show_hidden(self) -> None:
        """Show hidden runs too, or hide them again."""
        self._show_hidden = not self._show_hidden
        self._arrange()

    def action_compare(self) -> None:
        """Compare the marked runs."""
        marks = self.host.marks
        marked = [entry.path for entry in self._table.rows if entry.id in marks.marked]
        marked += [e.path for e in self.host.runs.entries if e.id in marks.marked and e.path not in marked]
        if marked:
            self.post_message(CompareRuns(tuple(marked)))
        else:
            self.host.tell(f"mark the runs to compare first: press {self.host.keys['runs.mark']}", "warning")

    def action_follow(self) -> None:
        """Start or stop showing each new run in Live."""
        self.host.following = not self.host.following
        self.host.tell("each new run will be shown in Live" if self.host.following else "no longer following new runs")
        self._arrange()

    # -- acting on a run

    def action_on_run(self, action: str) -> None:
        """Stop, kill, resume, annotate or trash the selected run."""
        self.actions.do(action)

    def action_errors(self) -> None:
        """Show what the selected run's student gets wrong."""
        if self.selected is None:
            self.host.tell("there is no run here", "warning")
        else:
            self.app.push_screen(StudentErrorsScreen(self.selected.path))

    @on(RunTable.Activated)
    def _activated(self, event: RunTable.Activated) -> None:
        self.post_message(WatchRun(event.entry.path))

    # -- its sweep

    def action_sweep(self) -> None:
        """Show the sweep of the selected run; if it has none, ask which."""
        status = self.selected.status if self.selected is not None else None
        if status is not None and status.sweep:
            self._find_sweep(status.sweep)
        else:
            self._list_sweeps()

    @work(thread=True, exclusive=True, group="sweeps")
    def _find_sweep(self, name: str) -> None:
        is_search = searches.is_search(self.host.runs_dir, name)
        self.later(lambda: self._open_sweep(name, is_search=is_search))

    @work(thread=True, exclusive=True, group="sweeps")
    def _list_sweeps(self) -> None:
        records = list_sweeps(self.host.runs_dir)
        self.later(lambda: self._choose_sweep(records))

    def _choose_sweep(self, records: Sequence[SweepRecord]) -> None:
        if not self.is_current:
            return
        if not records:
            self.host.tell("no sweep in this folder: run `crild sweep FILE` to start one", "warning")
            return
        names = {
            one_line(f"{each.name}  {formatting.plural(len(each.cells), 'run')}, {each.state}"): each
            for each in records
        }

        def opened(line: str) -> None:
            self._open_sweep(names[line].name, is_search=names[line].search is not None)

        ask(self.app, WordList("Sweeps", list(names), ""), opened)

    def _open_sweep(self, name: str, *, is_search: bool) -> None:
        screen = SearchScreen(self.host, name) if is_search else SweepScreen(self.host, name)
        ask(self.app, screen, self._show_chosen)

    def _show_chosen(self, chosen: Chosen) -> None:
        if chosen.compare:
            self.post_message(CompareRuns(chosen.compare))
        else:
            self.show_filter(chosen.filter)


def _version(entry: RunEntry, steps: bool) -> object:
    """What changes when the dev metrics of a run must be read again; `steps`: also with each step."""
    status = entry.status
    if status is None:
        return entry.state
    return (entry.state, status.attempt, status.done if steps and entry.state in ACTIVE else None)
