"""The dashboard: four modes over one runs folder. It reads run directories and sends signals, nothing more."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from crild_tui import theme
from crild_tui.keys import key_names, key_problems
from crild_tui.messages import CompareRuns, MachineChanged, RunsChanged, WatchRun
from crild_tui.monitor.machine import MachineWatcher
from crild_tui.monitor.runs import RunsWatcher
from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.runs.attention import sequence
from crild_tui.runs.browser_limits import refuse_outside
from crild_tui.runs.listing import appeared, ended
from crild_tui.runs.marks import Kind, Marks, MarksFile
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.table_file import named_file, write_file
from crild_tui.screens.compare import CompareScreen
from crild_tui.screens.help import HelpScreen
from crild_tui.screens.launch import LaunchScreen
from crild_tui.screens.live import LiveScreen
from crild_tui.screens.runs import RunsScreen
from crild_tui.textual_internals import QuietApp
from engine.errors import CrildError
from engine.preset.text import printable
from engine.record.run import RunEntry
from engine.user.settings import Dashboard

S = TypeVar("S", bound=Screen[Any])
MODE_NAMES = ("launch", "live", "runs", "compare")
CLOSES = 0.1
"""Seconds in which the command palette has closed."""
READONLY = "this dashboard only reads: it was started with --readonly"


class CrildApp(QuietApp):
    """The application. What it knows of the world comes in snapshots; what it does goes through `act`."""

    TITLE = "crild"
    CSS_PATH = "crild.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "launch": LaunchScreen,
        "live": LiveScreen,
        "runs": RunsScreen,
        "compare": CompareScreen,
    }
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1,f1", "mode('launch')", "Launch", id="mode.launch", show=False),
        Binding("2,f2", "mode('live')", "Live", id="mode.live", show=False),
        Binding("3,f3", "mode('runs')", "Runs", id="mode.runs", show=False),
        Binding("4,f4", "mode('compare')", "Compare", id="mode.compare", show=False),
        Binding("question_mark", "help", "Keys", key_display="?", id="app.help"),
        Binding("q", "quit", "Quit", id="app.quit"),
        Binding("ctrl+t", "next_theme", "Theme", id="app.theme", show=False),
    ]

    def __init__(
        self, runs_dir: Path, *, readonly: bool = False, served: bool = False, settings: Dashboard | None = None
    ) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.readonly = readonly
        self.served = served
        self.settings = Dashboard() if settings is None else settings
        self.runs = RunsSnapshot(runs_dir)
        self.machine = MachineSnapshot()
        self.marks = Marks()
        self._marks_file = MarksFile(runs_dir)
        self.following = False
        self.away = False
        """Whether an editor has the terminal."""
        self._last_notification = ("", "")  # sentence and level
        self._watchers: list[RunsWatcher | MachineWatcher] = []
        for each in theme.ALL:
            self.register_theme(each)
        self.theme = self.settings.theme
        self.set_keymap(self.settings.keys)
        self.keys = key_names(self, self.settings.keys)

    def on_mount(self) -> None:
        """Start watching, and show the first mode."""
        self.app_suspend_signal.subscribe(self, lambda _: setattr(self, "away", True), immediate=True)
        self.app_resume_signal.subscribe(self, lambda _: setattr(self, "away", False), immediate=True)
        self._watchers = [
            RunsWatcher(self.runs_dir, lambda seen: self.post_message(RunsChanged(seen))),
            MachineWatcher(lambda seen: self.post_message(MachineChanged(seen))),
        ]
        for watcher in self._watchers:
            watcher.start()
        self.switch_mode("runs" if any(self.runs_dir.glob("[!.]*")) else "launch")
        for problem in key_problems(self.settings.keys):
            self.notify(f"settings, dashboard.keys: {problem}", severity="warning")

    def on_unmount(self) -> None:
        """Let the watchers end by themselves."""
        for watcher in self._watchers:
            watcher.stop()

    # -- watching

    def on_runs_changed(self, message: RunsChanged) -> None:
        """Keep the list of runs and pass it on; show a new run if the newest is followed."""
        new = appeared(self.runs, message.snapshot) if self.following else None
        if over := ended(self.runs, message.snapshot):
            self._announce_end(over)
        self.runs = message.snapshot
        if new is not None and self.current_mode in ("runs", "live") and len(self.screen_stack) == 1:
            self.watch_run(new.path)
        self._pass_on(RunsChanged(self.runs))

    def _announce_end(self, over: Sequence[RunEntry]) -> None:
        """Ask for attention, as the user's settings say, because runs have ended."""
        first = f"crild: {over[0].id} {over[0].state}"
        self.send(sequence(first if len(over) == 1 else f"{first} and {len(over) - 1} more"))

    def on_machine_changed(self, message: MachineChanged) -> None:
        """Keep the machine's load and pass it on."""
        self.machine = message.snapshot
        self._pass_on(MachineChanged(self.machine))

    def _pass_on(self, message: RunsChanged | MachineChanged) -> None:
        """Pass a message on to the present mode; another mode reads `runs` and `machine` when it is shown."""
        for screen in self.screen_stack[:1]:
            screen.post_message(message)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own filters, and the one for ASCII."""
        return [*super().get_line_filters(), *([theme.Ascii()] if self.settings.ascii else [])]

    # -- actions of every mode

    def action_mode(self, name: str) -> None:
        """Go to another mode. Between Runs and Live, the run that the user chose stays the same."""
        if name == self.current_mode:
            return
        before = self.screen_stack[0]
        if name == "live" and isinstance(before, RunsScreen) and (entry := before.chosen) is not None:
            self.watch_run(entry.path)
            return
        self.switch_mode(name)
        if name == "runs" and isinstance(before, LiveScreen) and (run_dir := before.chosen) is not None:
            self.call_later(lambda: (runs := self._mode_screen("runs", RunsScreen)).call_later(runs.choose, run_dir))

    def action_help(self) -> None:
        """Show all keys of the current screen."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_next_theme(self) -> None:
        """Dark, light, high contrast, and dark again."""
        names = [each.name for each in theme.ALL]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The command palette: the modes, and every action of the screen that has a key."""
        for name in MODE_NAMES:
            yield SystemCommand(f"Go to {name.title()}", f"Switch to the {name} mode", partial(self.action_mode, name))
        yield SystemCommand("Screenshot", "Save what is shown as an SVG file", self._screenshot_soon)
        seen = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.description and binding.action not in seen and not binding.system:
                seen.add(binding.action)
                yield SystemCommand(
                    binding.description,
                    binding.tooltip or f"Key: {self.get_key_display(binding)}",
                    partial(self.run_action, binding.action, active.node),
                )

    def _screenshot_soon(self) -> None:
        self.set_timer(CLOSES, self.save_picture)

    def save_picture(self) -> None:
        """Save what is shown as an SVG file in the current folder, or send it to the browser."""
        name = time.strftime("crild-%Y%m%d-%H%M%S.svg")
        picture = self.export_screenshot(title=f"crild {self.current_mode}")
        if self.served:
            self.deliver(name, picture)
            return
        self.act(lambda: write_file(named_file(name), picture))

    def watch_run(self, run_dir: Path) -> None:
        """Show a run in Live."""
        self.switch_mode("live")
        self.call_later(lambda: (live := self._mode_screen("live", LiveScreen)).call_later(live.show_run, run_dir))

    def _mode_screen(self, mode: str, kind: type[S]) -> S:
        """The screen of a mode: perhaps not mounted yet, perhaps not shown any more, if another key followed at once."""
        screen = self.get_screen_stack(mode)[0]
        assert isinstance(screen, kind)
        return screen

    def on_watch_run(self, message: WatchRun) -> None:
        """Show the run that a screen asks for."""
        self.watch_run(message.run_dir)

    def on_compare_runs(self, message: CompareRuns) -> None:
        """Compare the runs that a screen asks for."""
        self.switch_mode("compare")
        runs = message.run_dirs
        self.call_later(
            lambda: (compare := self._mode_screen("compare", CompareScreen)).call_later(compare.show_runs, runs)
        )

    # -- changing something

    def refuse_readonly(self) -> bool:
        """Whether this dashboard is read-only; shows a warning if it is."""
        if self.readonly:
            self.tell(READONLY, "warning")
        return self.readonly

    def act(self, action: Callable[[], str], then: Callable[[], None] | None = None) -> None:
        """Run an action in a thread and show the sentence that it returns, or its error.

        `then` runs in the application's thread after success. With --readonly it only shows a warning.
        """
        if not self.refuse_readonly():
            self._act(action, then)

    @work(thread=True, group="act")
    def _act(self, action: Callable[[], str], then: Callable[[], None] | None) -> None:
        try:
            sentence = action()
        except (CrildError, OSError) as error:  # a disk that fails is no fault of the dashboard's
            self.call_later(self.tell, str(error), "error")
            return
        self.call_later(self.tell, sentence)
        if then is not None:
            self.call_later(then)

    def mark(self, kind: Kind, ids: Iterable[str], *, on: bool) -> None:
        """Pin, hide or mark runs, or undo that: shown at once, and soon written, unless this dashboard only reads."""
        change = (kind, tuple(ids), on)
        self.marks = self.marks.put(*change)
        if not self.readonly:
            self._marks_file.take(change)
            self._write_marks()

    @work(thread=True, group="marks")
    def _write_marks(self) -> None:
        try:
            self._marks_file.write()
        except CrildError as error:
            self.call_later(self.tell, str(error), "warning")

    # -- in a browser

    def refuse_served(self, sentence: str) -> bool:
        """Whether this dashboard is in a browser; shows `sentence`, which says what isn't possible there, if it is."""
        if self.served:
            self.tell(sentence, "warning")
        return self.served

    def check_paths(self, texts: Mapping[str, str]) -> None:
        """Raise UsageError if this dashboard is in a browser and one of the texts, by their keys, names a file elsewhere."""
        if self.served:
            refuse_outside(texts)

    def deliver(self, name: str, text: str) -> None:
        """Send a file to the browser that shows this dashboard."""
        self.deliver_text(io.StringIO(text), save_filename=name)
        self.tell(f"{name} is sent to the browser")

    # -- telling

    def tell(self, sentence: str, level: str = "information") -> None:
        """Show a sentence for some seconds: as text, whatever is in it."""
        severity: Any = level
        last, self._last_notification = self._last_notification, (sentence, level)
        if last[0] == sentence or last[1] == "information":  # a pile of them hides what one looks at
            self.clear_notifications()
        self.notify(printable(sentence), severity=severity, markup=False, timeout=8 if level == "error" else 4)

    def copy(self, text: str) -> None:
        """Send a text to the terminal's clipboard, and show it: not every terminal takes it."""
        self.copy_to_clipboard(text)
        self.tell(f"sent to the terminal's clipboard (OSC 52): {text}")
