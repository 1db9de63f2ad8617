"""The Live mode: one run, while it is running and after it has ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual import events, work
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from crild_tui.messages import LogChanged, RunChanged
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs import formatting
from crild_tui.runs.run_facts import RunFacts, read_facts
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.summary import RunSummary, with_status
from crild_tui.runs.tables import closing_parts, read_closing
from crild_tui.screens.chart_screen import ChartScreen
from crild_tui.screens.probe import ProbeScreen
from crild_tui.screens.run_actions import RunActions
from crild_tui.screens.student_errors import StudentErrorsScreen
from crild_tui.widgets.closing_table import ClosingView, closing_lines
from crild_tui.widgets.logged_view import LoggedView
from crild_tui.widgets.messages_pane import LogPane
from crild_tui.widgets.notice import Notice, NoticeBox, fills, how_to_start, notice_of, waiting
from crild_tui.widgets.panels import Panels, Source
from crild_tui.widgets.run_header import HIGH, LOW, WIDE, RunHead, SideColumn, head_lines
from engine.errors import CrildError
from engine.preset.text import plain
from engine.record.paths import PRESET, queue_file
from engine.record.run import RunEntry
from engine.record.states import IN_PROGRESS, STARTED
from engine.sweep.record import read_sweep_record

TICK = 0.5
"""Seconds between two ticks of clocks and moving signs."""


@dataclass
class FileRead(Message, bubble=False):
    """A file of a run was read in a thread: `what` is `closing` or `queue`."""

    run_dir: Path
    what: str
    content: RenderableType


class LiveScreen(ChartScreen):
    """Shows a run and what is wrong with it; its keys stop, kill and resume it."""

    MODE = "live"
    OPENING = frozenset({"search", "pattern"})
    AUTO_FOCUS = ""
    """Nothing: the panels get the focus when they are shown."""
    DEFAULT_CSS = """
    LiveScreen {
        #body { height: 1fr; }
        #main { width: 1fr; }
        Panels { height: 1fr; }
        #empty { display: none; height: 1fr; padding: 1 2; }
        &.-empty { #head, #body { display: none; } #empty { display: block; } }
        &.-low NoticeBox { border: none; padding: 0 1; }
        &.-enlarged { #head, NoticeBox { display: none; } }
        &.-wide SideColumn { display: block; }
        &.-wide.-enlarged SideColumn { display: none; }
        &.-closing { Panels { display: none; } ClosingView { display: block; } }
        &.-fills Panels { display: none; }
        &.-log LogPane { display: block; }
        &.-log.-small { Panels, ClosingView, NoticeBox { display: none; } }
        &.-log.-fills NoticeBox { height: auto; max-height: 50%; }
        &.-logged { #head, Panels, ClosingView, LogPane, SideColumn { display: none; } }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "on_run('stop')", "Stop", id="live.stop", tooltip="Ask the engine to save a checkpoint and end"),
        Binding(
            "K", "on_run('kill')", "Kill", id="live.kill", tooltip="End the engine at once, without a checkpoint",
            show=False,
        ),
        Binding("r", "on_run('resume')", "Resume", id="live.resume", tooltip="Resume from the last checkpoint"),
        Binding("o", "folder", "Copy the path of the run directory", id="live.folder", show=False),
        Binding("c", "command", "Copy the command to repeat the run", id="live.command", show=False),
        Binding("p", "previous", "Newer run", id="live.previous", show=False),
        Binding("n", "next", "Older run, or next match", id="live.next", show=False),
        Binding("m", "messages", "Log", id="live.messages", tooltip="Open or close messages and log"),
        Binding("slash", "search", "Search messages and log", id="live.search", key_display="/", show=False),
        Binding("t", "closing", "Table", tooltip="Closing table", id="live.closing"),
        Binding("b", "probe", "Overfitting: the run's probe", id="live.probe", show=False),
        Binding("e", "errors", "Mistakes", id="live.errors", tooltip="What the student gets wrong"),
        Binding("N", "previous_match", "Previous match while searching", id="live.previous_match", show=False),
        Binding("escape", "back", "Close search, log or table", id="live.back", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.run_dir: Path | None = None
        """The run that is shown."""
        self.snapshot: RunSnapshot | None = None
        """What is known about it."""
        self.actions = RunActions(
            self, lambda: self.selected, stop_changed=self._draw_head, last_stage=self._last_stage
        )
        self._is_chosen = False  # by the user
        self._waits = ""
        self._announced: dict[Path, set[str]] = {}
        self._ticks = 0

    def content(self) -> ComposeResult:
        """Lines above, panels, log, side column; without runs a page that explains how to start one."""
        yield Static(id="empty")
        yield RunHead()
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield NoticeBox()
                yield Panels(self.host.settings.smoothing, keys=self.host.keys)
                yield LoggedView(self.host.settings.smoothing, keys=self.host.keys)
                yield ClosingView()
                yield LogPane(self.host.keys)
            yield SideColumn()

    def on_mount(self) -> None:
        """Start the clock."""
        self.set_interval(TICK, self._tick)

    def applies(self, action: str) -> bool:
        """Whether an action does something to the run that is shown."""
        _, name, arguments = parse(action)
        if name == "on_run":
            return self.actions.offers(str(arguments[0]))
        if name in ("closing", "errors"):
            return self.selected is not None and self.selected.state == "finished"
        if name in ("axis", "enlarge", "hold", "logged") and self.has_class("-fills"):
            return False
        if name == "hold":
            return self.selected is not None and self.selected.state in IN_PROGRESS
        return name not in ("messages", "logged") or self.run_dir is not None

    @property
    def typing(self) -> Input | None:
        """The line of the search, or of the charts' pattern, from the key that opens it until it is left."""
        pane = self.query_one(LogPane)
        return pane.search_line if pane.typing else super().typing

    # -- which run

    @property
    def selected(self) -> RunEntry | None:
        """The run that keys act on."""
        return None if self.snapshot is None else self.snapshot.entry

    @property
    def chosen(self) -> Path | None:
        """The run that is shown, if the user chose it."""
        return self.run_dir if self._is_chosen else None

    def _last_stage(self) -> str | None:
        """The last stage of the student."""
        names = self.snapshot.summary.names if self.snapshot is not None else ()
        return next((name for name in reversed(names) if name not in ("teacher", "baseline")), None)

    def show_run(self, run_dir: Path) -> None:
        """Show a run that the user chose."""
        self._is_chosen = True
        self._show(run_dir)

    def _show(self, run_dir: Path) -> None:
        if run_dir != self.run_dir:
            self.watch_only(())
            self.run_dir, self.snapshot = run_dir, None
            self._clear(next((entry for entry in self.host.runs.entries if entry.path == run_dir), None))
        self._watch_run()

    def _clear(self, entry: RunEntry | None) -> None:
        """Clear what was drawn for another run; show what the list of runs knows about this one."""
        self._waits = ""
        self.remove_class("-closing", "-empty")
        self.close_logged()
        self.query_one(LogPane).forget()
        panels = self.query_one(Panels)
        if panels.enlarged:
            panels.action_enlarge()
        self.show_sources([])
        if entry is not None:
            self._take(unread(entry))
        elif self.run_dir is not None:
            self.query_one(RunHead).show([Content(plain(self.run_dir.name))])
            self._show_notice(Notice("info", "reading the run", moves=True), True)

    def show_list(self, snapshot: RunsSnapshot) -> None:
        """Show a run if none is shown yet."""
        self.actions.seen(snapshot.entries)
        if self.run_dir is None:
            self._choose()

    def _choose(self) -> None:
        """Show the newest run that is running, else the newest, else how to start one."""
        run_dir = newest(self.host.runs.entries)
        if run_dir is not None:
            self._show(run_dir)
        elif self.run_dir is None:
            self.add_class("-empty")
            self.query_one("#empty", Static).update(how_to_start(self.host.runs.runs_dir, self.host.keys))

    def action_previous(self) -> None:
        """Show the next newer run."""
        self._go(-1)

    def _go(self, by: int) -> None:
        """Show the run that is `by` lines further down the list, which has the newest first."""
        paths = [entry.path for entry in self.host.runs.entries]
        if not paths:
            self.host.tell("there is no other run", "warning")
        elif self.run_dir not in paths:
            self.show_run(paths[0])
        elif 0 <= (index := paths.index(self.run_dir) + by) < len(paths):
            self.show_run(paths[index])
        else:
            self.host.tell("this is the oldest run" if by > 0 else "this is the newest run", "warning")

    # -- watching it

    def _watch_run(self) -> None:
        """Watch the run, and its log while that is open; nothing while another mode is shown."""
        if self.run_dir is not None and self.is_present:
            self.watch_only([self.run_dir], self.run_dir if self.has_class("-log") else None)

    def on_screen_resume(self) -> None:
        """Watch again."""
        if not self._is_chosen and not self.watching:
            self._choose()
        self._watch_run()

    def on_run_changed(self, message: RunChanged) -> None:
        """Show the run as it is now; a message about another run is late."""
        if message.snapshot.run_dir == self.run_dir:
            self._take(message.snapshot)

    def on_log_changed(self, message: LogChanged) -> None:
        """Show the end of the log as it is now."""
        if message.run_dir == self.run_dir:
            self.query_one(LogPane).show_log(message.tail)

    # -- drawing it

    def on_panels_enlarged(self, message: Panels.Enlarged) -> None:
        """Hide the other widgets while one panel fills the screen."""
        message.stop()
        self.set_class(message.enlarged, "-enlarged")

    def _take(self, snapshot: RunSnapshot) -> None:
        self.snapshot = snapshot
        self.actions.seen([snapshot.entry])
        self.show_sources([Source(snapshot, plain(snapshot.run_dir.name), 0)])
        if snapshot.entry.state == "queued":
            self._look_at_queue()
        self._draw()
        self._announce(snapshot)

    def _draw(self) -> None:
        snapshot, now = self.snapshot, time.time()
        if snapshot is None:
            return
        self._draw_head()
        self._draw_notice(snapshot, now)
        self.renew_footer()  # after it is known whether the panels are shown
        if self.has_class("-wide"):
            self.query_one(SideColumn).show(snapshot, now)
        self.query_one(LogPane).show_messages(snapshot.messages, now)

    def _draw_notice(self, snapshot: RunSnapshot, now: float) -> None:
        notice = None if self.has_class("-logged") else notice_of(snapshot, self.host.keys, self._waits, now)
        low = self.size.height < LOW
        self._show_notice(notice, notice is not None and (fills(snapshot) or (low and notice.level == "error")))

    def _show_notice(self, notice: Notice | None, full: bool) -> None:
        shown_now = not full and (self.has_class("-fills") or self.focused is None)
        self.set_class(full, "-fills")
        self.query_one(NoticeBox).show(notice, fills=full)
        if shown_now and not any(map(self.has_class, ("-log", "-closing", "-logged"))):
            self.call_after_refresh(self.query_one(Panels).chosen.focus)

    def _draw_head(self) -> None:
        if self.snapshot is None:
            return
        hidden = "curves" if self.has_class("-closing") else "closing table"
        hint = f"press {self.host.keys['live.closing']} for the {hidden}"
        lines = head_lines(
            self.snapshot,
            max(1, self.size.width - 2),
            time.time(),
            asked=self.actions.stop_requested == self.run_dir,
            low=self.size.height < LOW,
            wide=self.has_class("-wide"),
            hint=hint if self.snapshot.entry.state == "finished" else "",
        )
        self.query_one(RunHead).show(lines)

    def _announce(self, snapshot: RunSnapshot) -> None:
        """Show each new alarm of an active run once."""
        known = self._announced.get(snapshot.run_dir, set())
        present = {alarm.kind: alarm for alarm in snapshot.alarms}
        self._announced[snapshot.run_dir] = set(present)
        if snapshot.entry.state in IN_PROGRESS:
            for kind, alarm in present.items():
                if kind not in known:
                    self.host.tell(alarm.text, "error" if alarm.level == "error" else "warning")

    def on_resize(self, event: events.Resize) -> None:
        """Lay the screen out for the new size."""
        wide = event.size.width >= WIDE and event.size.height >= HIGH
        self.set_class(wide, "-wide")
        self.set_class(event.size.height < HIGH, "-small")
        self.set_class(event.size.height < LOW, "-low")
        self.query_one(LogPane).set_class(wide, "-log-only")
        self._draw()
        if wide:
            self.call_after_refresh(self._draw)  # the side column knows its width by then

    def _tick(self) -> None:
        """Move the sign of the notice; redraw the clock of an active run every second, and its queue every two."""
        if not self.is_present:
            return
        self._ticks += 1
        self.query_one(NoticeBox).tick()
        if self.snapshot is None or self.snapshot.entry.state not in IN_PROGRESS:
            return
        if self._ticks % 2 == 0:
            self._draw_head()
            if self.snapshot.summary.phase is not None:
                self._draw_notice(self.snapshot, time.time())
        if self._ticks % 4 == 0 and self.snapshot.entry.state == "queued":
            self._look_at_queue()

    # -- reading in threads

    @work(thread=True, exclusive=True, group="queue")
    def _look_at_queue(self) -> None:
        run_dir, entry = self.run_dir, self.selected
        status = entry.status if entry is not None else None
        if run_dir is None or status is None or status.queue is None:
            return
        try:
            record = read_sweep_record(queue_file(run_dir.parent, status.queue))
        except CrildError:
            return  # the queue is gone: the next look at the run says what became of it
        states = {entry.id: entry.state for entry in self.host.runs.entries}
        self.post_message(FileRead(run_dir, "queue", waiting(record, run_dir.name, states)))

    @work(thread=True, exclusive=True, group="closing")
    def _read_closing(self, run_dir: Path, took: str | None) -> None:
        try:
            content: RenderableType = closing_lines(closing_parts(read_closing(run_dir), run_dir, took))
        except CrildError as error:
            content = Text(plain(str(error)))
        self.post_message(FileRead(run_dir, "closing", content))

    def on_file_read(self, message: FileRead) -> None:
        """Show what a thread has read."""
        if message.run_dir != self.run_dir:
            return
        if message.what == "closing":
            self.query_one(ClosingView).show(message.content)
        elif self._waits != str(message.content):
            self._waits = str(message.content)
            self._draw()

    def logged_changed(self) -> None:
        """Show or hide what explains the state of the run; read its settings, which stand beside all charts."""
        self._draw()
        if self.run_dir is not None and self.has_class("-logged"):
            self._read_facts(self.run_dir)

    @work(thread=True, exclusive=True, group="facts")
    def _read_facts(self, run_dir: Path) -> None:
        facts = read_facts(run_dir)
        self.later(lambda: self._facts_read(facts))

    def _facts_read(self, facts: RunFacts) -> None:
        if facts.run_dir == self.run_dir:
            self.query_one(LoggedView).show_facts(facts)

    # -- keys

    def _run_or_warning(self) -> Path | None:
        if self.run_dir is None:
            self.host.tell("there is no run here", "warning")
        return self.run_dir

    def action_on_run(self, action: str) -> None:
        """Stop, kill or resume the run."""
        self.actions.do(action)

    def action_folder(self) -> None:
        """Copy the path of the run directory."""
        if (run_dir := self._run_or_warning()) is not None:
            self.host.copy(str(run_dir))

    def action_command(self) -> None:
        """Copy the command line that repeats the run."""
        if (run_dir := self._run_or_warning()) is not None:
            self.host.copy(f"crild run {shlex.quote(str(run_dir / PRESET))}")

    def action_messages(self) -> None:
        """Open or close messages and log."""
        self._open_log(not self.has_class("-log"))

    def _open_log(self, opened: bool) -> None:
        if self._run_or_warning() is None:
            return
        self.close_logged()
        self.set_class(opened, "-log")
        self._watch_run()
        pane = self.query_one(LogPane)
        if opened:
            pane.log_view.focus()
        else:
            if pane.searching:
                pane.end_search()
            self.query_one(Panels).chosen.focus()

    def action_search(self) -> None:
        """Search messages and log."""
        self._open_log(True)
        if self.run_dir is not None:
            self.query_one(LogPane).ask()

    def action_next(self) -> None:
        """Go to the next match while searching, else to the next older run."""
        pane = self.query_one(LogPane)
        if pane.searching and pane.words:
            pane.step(1)
        else:
            self._go(1)

    def action_previous_match(self) -> None:
        """Go to the previous match."""
        pane = self.query_one(LogPane)
        if pane.searching and pane.words:
            pane.step(-1)
        else:
            search = self.host.keys["live.search"]
            self.host.tell(f"no search yet: press {search} to search messages and log", "warning")

    def action_closing(self) -> None:
        """Open or close the closing table."""
        if self.snapshot is None or self.run_dir is None:
            self.host.tell("there is no run here", "warning")
            return
        state = self.snapshot.entry.state
        if not self.has_class("-closing") and state != "finished":
            self.host.tell(f"{self.run_dir.name} is {state}: only a finished run has a closing table", "warning")
            return
        self.close_logged()
        self.toggle_class("-closing")
        self._draw_head()
        if self.has_class("-closing"):
            self.query_one(ClosingView).show(Text("reading the results..."))
            self.query_one(ClosingView).focus()
            self._read_closing(self.run_dir, formatting.took(self.snapshot.entry.status))
        else:
            self.query_one(Panels).chosen.focus()

    def action_probe(self) -> None:
        """Show the probe of the run."""
        if (run_dir := self._run_or_warning()) is not None:
            self.app.push_screen(ProbeScreen(run_dir))

    def action_errors(self) -> None:
        """Show what the run's student gets wrong."""
        if (run_dir := self._run_or_warning()) is not None:
            self.app.push_screen(StudentErrorsScreen(run_dir))

    def action_back(self) -> None:
        """Close what was opened last."""
        pane = self.query_one(LogPane)
        if pane.searching:
            pane.end_search()
        elif self.has_class("-log"):
            self._open_log(False)
        elif self.has_class("-closing"):
            self.action_closing()


def newest(entries: Sequence[RunEntry]) -> Path | None:
    """The first running run of a list that has the newest first, else its first."""
    running = (entry for entry in entries if entry.state in STARTED)
    entry = next(running, entries[0] if entries else None)
    return None if entry is None else entry.path


def unread(entry: RunEntry) -> RunSnapshot:
    """What the list of runs knows about a run, until its files are read."""
    summary = RunSummary(state=entry.state)
    if entry.status is not None:
        summary = with_status(summary, entry.status, entry.state)
    return RunSnapshot(entry.path, entry, summary, Curves(), read=False)
