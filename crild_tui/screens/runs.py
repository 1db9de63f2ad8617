"""The Runs mode: every run of the folder, found, sorted, marked, annotated, stopped and taken away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.timer import Timer
from textual.widgets import Input, Label, Static
from textual.worker import get_current_worker

from crild_tui import acts, filtering, listing, wording
from crild_tui.about_run import About, detail, panel, read_about
from crild_tui.kept import Kept, KeptFile, Kind, read_kept
from crild_tui.messages import CompareRuns, WatchRun
from crild_tui.screens.base import ModeScreen
from crild_tui.screens.dialogs import Ask, Confirm
from crild_tui.watch.snapshots import RunsSnapshot
from crild_tui.widgets.run_table import RunTable
from engine.errors import CrildError
from engine.record.run import RunEntry

WIDE, HIGH = 150, 24
"""Cells and lines from which a panel stands beside the list."""
LOW = 16
"""Lines below which only one line is said about the selected run."""
PAUSE = 0.15
"""Seconds that the cursor must rest before the files of a run are read."""
MANY = 3000
"""Runs from which a filter works in a thread."""
TICK = 5.0
"""Seconds between two looks at the clock, for the ages."""
WORKING = ("running", "stopping", "stalled", "queued")


class RunsScreen(ModeScreen):
    """The list of runs, a filter above it, and what is known of the selected one below or beside it."""

    MODE = "runs"
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
        #side { display: none; width: 30%; max-width: 84; padding: 0 1; border-left: solid $panel; }
        #detail { height: 3; padding: 0 1; background: $surface; }
        &.-low #detail { height: 1; }
        &.-wide #detail { display: none; }
        &.-wide #side { display: block; }
        &.-page #page { display: block; }
        &.-page #body, &.-page #detail { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", id="runs.filter"),
        Binding("escape", "clear", "Clear the filter", id="runs.clear", show=False),
        Binding("space", "mark", "Mark", id="runs.mark"),
        Binding("c", "compare", "Compare", id="runs.compare"),
        Binding("u", "unmark", "Unmark all", id="runs.unmark", show=False),
        Binding("o", "sort", "Sort", id="runs.sort"),
        Binding("O", "reverse", "Sort the other way", id="runs.reverse", show=False),
        Binding("p", "pin", "Pin to the top", id="runs.pin", show=False),
        Binding("h", "hide", "Hide", id="runs.hide", show=False),
        Binding("H", "show_hidden", "Show hidden runs", id="runs.show_hidden", show=False),
        Binding("n", "note", "Write a note", id="runs.note", show=False),
        Binding("t", "tags", "Change tags", id="runs.tags", show=False),
        Binding("s", "stop", "Stop with a checkpoint", id="runs.stop", show=False),
        Binding("K", "kill", "Kill at once", id="runs.kill", show=False),
        Binding("r", "resume", "Resume", id="runs.resume", show=False),
        Binding("d", "trash", "Move to the trash", id="runs.trash", show=False),
        Binding("f", "follow", "Follow the newest", id="runs.follow", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._where = filtering.RunFilter()
        self._wrong: str | None = None
        self._order = listing.Order()
        self._show_hidden = False
        self._about: About | None = None
        self._read_for: tuple[object, ...] = ()
        self._rest: Timer | None = None
        self._file: KeptFile | None = None

    def content(self) -> ComposeResult:
        """The filter, the list, and what is said about the selected run."""
        with Horizontal(id="filter-line"):
            yield Label("/")
            yield Input(placeholder=filtering.HELP, compact=True, id="filter")
        yield Static(id="summary")
        yield Static(id="page")
        with Horizontal(id="body"):
            yield RunTable(id="table")
            with VerticalScroll(id="side", can_focus=True):
                yield Static(id="about")
        yield Static(id="detail")

    def on_mount(self) -> None:
        """Read what was kept for this folder, and keep ages true."""
        self._file = KeptFile(self.crild.runs_dir)
        self._table.focus()
        self._read_kept()
        self.set_interval(TICK, self._tick)

    @property
    def _table(self) -> RunTable:
        return self.query_one("#table", RunTable)

    @property
    def selected(self) -> RunEntry | None:
        """The run under the cursor."""
        return self._table.selected

    # -- what is shown

    def runs_seen(self, snapshot: RunsSnapshot) -> None:
        """Show the list as it is now."""
        super().runs_seen(snapshot)
        self._arrange()

    def on_resize(self, event: events.Resize) -> None:
        """A panel beside the list where there is room, one line below it where there is little."""
        width, height = event.size
        self.set_class(width >= WIDE and height >= HIGH, "-wide")
        self.set_class(height < LOW, "-low")
        self.call_after_refresh(self._say)

    def _arrange(self) -> None:
        """Filter, sort and show; in a thread where a filter has so many runs to go through that a key would wait."""
        runs, now = self.crild.runs, time.time()

        def arranged() -> listing.Arranged:
            return listing.arrange(
                runs.entries, self._where, self._order, self.crild.kept, now, show_hidden=self._show_hidden
            )

        if self._where.tests and len(runs.entries) > MANY:
            self._arrange_many(arranged)
        else:
            self.workers.cancel_group(self, "arrange")
            self._show(arranged())

    @work(thread=True, exclusive=True, group="arrange")
    def _arrange_many(self, arranged: Callable[[], listing.Arranged]) -> None:
        found, worker = arranged(), get_current_worker()

        def show() -> None:
            if not worker.is_cancelled:
                self._show(found)

        self.app.call_from_thread(show)

    def _show(self, found: listing.Arranged) -> None:
        runs, kept = self.crild.runs, self.crild.kept
        self._table.show(found.rows, kept, self._order)
        page = self._page(runs, found)
        if self.has_class("-page") != (page is not None):
            self.set_class(page is not None, "-page")
            if page is None and not self.query_one("#filter", Input).has_focus:
                self._table.focus()
        if page is not None:
            self.query_one("#page", Static).update(page)
        self._summarize(found)
        self._say()

    def _page(self, runs: RunsSnapshot, found: listing.Arranged) -> Text | None:
        """What stands in place of a list without rows."""
        if found.rows:
            return None
        folder = listing.one_line(str(runs.runs_dir))
        if runs.problem is not None:
            return Text.assemble(
                ("These runs cannot be read\n\n", "bold"), f"{folder}: ", listing.one_line(runs.problem)
            )
        if not runs.revision:
            return Text(f"looking into {folder} ...", "dim")
        if runs.entries:
            left_out = [f"{found.filtered} by the filter (Escape clears it)"] if found.filtered else []
            left_out += [f"{found.hidden} hidden (H shows them)"] if found.hidden else []
            return Text(f"No run to show: {', '.join(left_out)}")
        there = "holds no runs yet" if runs.exists else "does not exist yet; the first run makes it"
        return Text.assemble(
            ("No runs yet\n\n", "bold"),
            f"{folder} {there}.\n\n",
            ("1", "bold"), "  choose a preset and start a run\n\n",
            "or in a shell:\n",
            ("   crild run quickstart\n\n", "bold"),
            ("It trains a small teacher and distils a student in a few minutes on a CPU, and shows up here by itself.\n"
             "Runs that lie elsewhere: crild --runs-dir FOLDER.", "dim"),
        )  # fmt: skip

    def _summarize(self, found: listing.Arranged) -> None:
        line = self.query_one("#summary", Static)
        line.set_class(self._wrong is not None, "-problem")
        if self._wrong is not None:
            line.update(Text(f"{self._wrong}", no_wrap=True, overflow="ellipsis"))
            return
        words = [wording.plural(len(found.rows), "run")] if self.crild.runs.entries else []
        words += [f"{found.filtered:,} filtered out"] if found.filtered else []
        words += [f"{found.hidden:,} hidden"] if found.hidden else []
        marked = sum(entry.id in self.crild.kept.marked for entry in self.crild.runs.entries)
        words += [f"{marked} marked"] if marked else []
        words += [f"filter {listing.one_line(self._where.text)}"] if self._where.tests else []
        words += ["following the newest"] if self.crild.following else []
        text = Text("  ".join(words), no_wrap=True, overflow="ellipsis")
        if self.size.width >= 100:
            text.append(f"   in {listing.one_line(str(self.crild.runs_dir))}", "dim")
        line.update(text)

    def _tick(self) -> None:
        """Ages grow."""
        if self.is_current and not self.has_class("-page"):
            self._table.refresh()
            self._say()

    # -- about the selected run

    @on(RunTable.Selected)
    def _selected(self) -> None:
        self._say()

    def _say(self) -> None:
        entry = self.selected
        if not self.has_class("-wide"):
            below = self.query_one("#detail", Static)
            width, height = below.content_size
            below.update(Text() if entry is None else detail(entry, time.time(), width, height))
            return
        about = self._about if entry is not None and self._about and self._about.run_dir == entry.path else None
        width = max(self.query_one("#side").size.width - 3, 20)
        self.query_one("#about", Static).update(Text() if entry is None else panel(entry, about, time.time(), width))
        wanted = () if entry is None else (entry.path, entry.state, entry.status.attempt if entry.status else 0)
        if wanted and wanted != self._read_for:
            self._read_for = wanted
            if self._rest is not None:
                self._rest.stop()
            self._rest = self.set_timer(PAUSE, self._read_selected)

    def _read_selected(self) -> None:
        if self.selected is not None:
            self._read_about(self.selected.path)

    @work(thread=True, exclusive=True, group="about")
    def _read_about(self, run_dir: Path) -> None:
        about = read_about(run_dir)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._about_read, about)

    def _about_read(self, about: About) -> None:
        self._about = about
        self._say()

    # -- filter and order

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one("#filter-line").add_class("-shown")
        self.query_one("#filter", Input).focus()

    def action_clear(self) -> None:
        """Let every run be seen again."""
        self.query_one("#filter", Input).value = ""
        self.query_one("#filter-line").remove_class("-shown")
        self._table.focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        try:
            self._where, self._wrong = filtering.parse(event.value), None
        except filtering.FilterError as problem:
            self._where, self._wrong = filtering.RunFilter(), str(problem)
        self._arrange()

    @on(Input.Submitted, "#filter")
    def _taken(self) -> None:
        if not self.query_one("#filter", Input).value:
            self.query_one("#filter-line").remove_class("-shown")
        self._table.focus()

    def on_key(self, event: events.Key) -> None:
        """From the filter, down goes to the list."""
        if event.key == "down" and self.query_one("#filter", Input).has_focus:
            event.stop()
            self._table.focus()

    def action_sort(self) -> None:
        """Sort by the next column that is shown."""
        shown = list(self._table.columns)
        if shown:
            at = shown.index(self._order.column) if self._order.column in shown else -1
            self._sort(listing.Order(shown[(at + 1) % len(shown)]))

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._sort(self._order.chosen(self._order.column))

    @on(RunTable.HeadingClicked)
    def _heading(self, event: RunTable.HeadingClicked) -> None:
        self._sort(self._order.chosen(event.column))

    def _sort(self, order: listing.Order) -> None:
        self._order = order
        self._arrange()

    # -- pin, hide, mark

    @work(thread=True, group="kept")
    def _read_kept(self) -> None:
        kept = read_kept(self.crild.runs_dir)
        self.app.call_from_thread(self._kept_read, kept)

    def _kept_read(self, kept: Kept) -> None:
        self.crild.kept = kept
        self._arrange()

    def _keep(self, kind: Kind, ids: Iterable[str], on: bool) -> None:
        """Change what is kept: at once on the screen, and soon in the file."""
        change = (kind, tuple(ids), on)
        self.crild.kept = self.crild.kept.put(*change)
        self._arrange()
        if self._file is not None and not self.crild.readonly:
            self._file.take(change)
            self._write_kept(self._file)

    @work(thread=True, group="kept")
    def _write_kept(self, file: KeptFile) -> None:
        try:
            file.write()
        except CrildError as error:
            self.app.call_from_thread(self.crild.tell, str(error), "warning")

    def _toggle(self, kind: Kind) -> None:
        if self.selected is not None:
            self._keep(kind, [self.selected.id], self.selected.id not in self.crild.kept.of(kind))

    def action_mark(self) -> None:
        """Mark or unmark, and go on to the next row."""
        self._toggle("marked")
        self._table.action_move(1)

    def action_unmark(self) -> None:
        """Unmark every run."""
        self._keep("marked", self.crild.kept.marked, on=False)

    def action_pin(self) -> None:
        """Keep a run at the top, or let it go."""
        self._toggle("pinned")

    def action_hide(self) -> None:
        """Take a run out of sight, or back."""
        self._toggle("hidden")

    def action_show_hidden(self) -> None:
        """Show hidden runs too, or no more."""
        self._show_hidden = not self._show_hidden
        self._arrange()

    def action_compare(self) -> None:
        """Compare the marked runs."""
        kept = self.crild.kept
        marked = [entry.path for entry in self._table.rows if entry.id in kept.marked]
        marked += [e.path for e in self.crild.runs.entries if e.id in kept.marked and e.path not in marked]
        if marked:
            self.post_message(CompareRuns(tuple(marked)))
        else:
            self.crild.tell("mark the runs to compare with space first", "warning")

    def action_follow(self) -> None:
        """Show each new run in Live as it appears, or no more."""
        self.crild.following = not self.crild.following
        self.crild.tell(
            "each new run will be shown in Live" if self.crild.following else "new runs are no longer followed"
        )
        self._arrange()

    # -- acting on a run

    @on(RunTable.Activated)
    def _activated(self, event: RunTable.Activated) -> None:
        self.post_message(WatchRun(event.entry.path))

    def action_stop(self) -> None:
        """Ask the engine of the selected run for a checkpoint and its end."""
        if (entry := self.selected) is not None:
            self.crild.act(lambda: acts.stop(entry.path))

    def action_resume(self) -> None:
        """Go on with the selected run."""
        if (entry := self.selected) is not None:
            self.crild.act(lambda: acts.resume(entry.path))

    def action_kill(self) -> None:
        """End the engine of the selected run at once, after asking."""
        self._sure("Kill {}? What it did since its last checkpoint is lost.", "Kill", acts.kill)

    def action_trash(self) -> None:
        """Move the selected run to the trash folder, after asking; never one that works."""
        entry = self.selected
        if entry is not None and entry.state in WORKING:
            self.crild.tell(f"{entry.id} is {entry.state}: stop it first", "warning")
            return
        self._sure(f"Move {{}} to the folder {acts.TRASH} beside it?", "Move", acts.trash)

    def _sure(self, question: str, yes: str, act: Callable[[Path], str]) -> None:
        entry = self.selected
        if entry is None or self._only_reads():
            return

        def answered(sure: bool | None) -> None:
            if sure:
                self.crild.act(lambda: act(entry.path))

        self.app.push_screen(Confirm(question.format(listing.one_line(entry.id)), yes), answered)

    def _only_reads(self) -> bool:
        """Whether nothing may be changed, said before anything is asked."""
        if self.crild.readonly:
            self.crild.act(str)
        return self.crild.readonly

    def action_note(self) -> None:
        """Write a note on the selected run."""
        from crild_tui.annotating import note_in_field, write_note

        entry = self.selected
        if entry is None or self._only_reads():
            return

        def answered(text: str | None) -> None:
            if text is not None:
                self.crild.act(lambda: write_note(entry, text))

        question = f"Note on {listing.one_line(entry.id)}"
        self.app.push_screen(Ask(question, note_in_field(entry.note), "an empty one removes it"), answered)

    def action_tags(self) -> None:
        """Change the tags of the selected run."""
        from crild_tui.annotating import write_tags

        entry = self.selected
        if entry is None or self._only_reads():
            return

        def answered(text: str | None) -> None:
            if text is not None:
                self.crild.act(lambda: write_tags(entry, text))

        question = f"Tags of {listing.one_line(entry.id)}, with spaces between them"
        self.app.push_screen(Ask(question, listing.one_line(" ".join(entry.tags)), "words"), answered)
