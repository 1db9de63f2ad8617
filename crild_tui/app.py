"""The dashboard: four modes over one runs folder. It reads run directories and sends signals, nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.traceback import Traceback
from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import WorkerFailed

from crild_tui import theme
from crild_tui.keys import key_names
from crild_tui.messages import CompareRuns, MachineSeen, RunsSeen, WatchRun
from crild_tui.monitor.machine import MachineWatcher
from crild_tui.monitor.runs import RunsWatcher
from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.runs.formatting import printable
from crild_tui.runs.listing import appeared
from crild_tui.runs.marks import Kept, KeptFile, Kind
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.screens.compare import CompareScreen
from crild_tui.screens.help import HelpScreen
from crild_tui.screens.launch import LaunchScreen
from crild_tui.screens.live import LiveScreen
from crild_tui.screens.runs import RunsScreen
from crild_tui.settings import Settings
from engine.errors import CrildError

MODE_NAMES = ("launch", "live", "runs", "compare")
READONLY = "this dashboard only reads: it was started with --readonly"


class CrildApp(App[None]):
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

    def __init__(self, runs_dir: Path, *, readonly: bool = False, settings: Settings | None = None) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.readonly = readonly
        self.settings = Settings() if settings is None else settings
        self.runs = RunsSnapshot(runs_dir)
        self.machine = MachineSnapshot()
        self.kept = Kept()
        self._kept_file = KeptFile(runs_dir)
        self.following = False
        self.away = False
        """Whether an editor has the terminal."""
        self._said = ("", "")
        self._watchers: list[RunsWatcher | MachineWatcher] = []
        for each in theme.ALL:
            self.register_theme(each)
        self.theme = self.settings.theme
        self._filters.append(theme.Ascii(enabled=self.settings.ascii))
        self.set_keymap(self.settings.keys)
        self.keys = key_names(self, self.settings.keys)

    def on_mount(self) -> None:
        """Begin to watch; show what is there."""
        self.app_suspend_signal.subscribe(self, lambda _: setattr(self, "away", True), immediate=True)
        self.app_resume_signal.subscribe(self, lambda _: setattr(self, "away", False), immediate=True)
        self._watchers = [
            RunsWatcher(self.runs_dir, lambda seen: self.post_message(RunsSeen(seen))),
            MachineWatcher(lambda seen: self.post_message(MachineSeen(seen))),
        ]
        for watcher in self._watchers:
            watcher.start()
        self.switch_mode("runs" if any(self.runs_dir.glob("[!.]*")) else "launch")

    def on_unmount(self) -> None:
        """Let the watchers end by themselves."""
        for watcher in self._watchers:
            watcher.stop()

    # -- the world

    def on_runs_seen(self, message: RunsSeen) -> None:
        """Keep the list of runs and tell the screens that show it; a new run is shown where the newest is followed."""
        new = appeared(self.runs, message.snapshot) if self.following else None
        self.runs = message.snapshot
        if new is not None and self.current_mode in ("runs", "live") and len(self.screen_stack) == 1:
            self.watch_run(new.path)
        self._tell(lambda screen: screen.runs_seen(message.snapshot))

    def on_machine_seen(self, message: MachineSeen) -> None:
        """Keep the machine's figures and tell the header."""
        self.machine = message.snapshot
        self._tell(lambda screen: screen.machine_seen(message.snapshot))

    def _tell(self, what: Callable[[Any], None]) -> None:
        """Tell the screen of the present mode; another one reads `runs` and `machine` when it is shown."""
        from crild_tui.screens.base import ModeScreen

        for screen in self.screen_stack:
            if isinstance(screen, ModeScreen) and screen.is_attached:
                what(screen)

    # -- what can be done from everywhere

    def action_mode(self, name: str) -> None:
        """Go to another mode."""
        if name != self.current_mode:
            self.switch_mode(name)

    def action_help(self) -> None:
        """All keys that count here."""
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

    def watch_run(self, run_dir: Path) -> None:
        """Show a run in Live."""
        self.switch_mode("live")
        self.call_later(lambda: self._live().show_run(run_dir))

    def _live(self) -> LiveScreen:
        screen = self.screen_stack[0]
        assert isinstance(screen, LiveScreen)
        return screen

    def on_watch_run(self, message: WatchRun) -> None:
        """A screen asks to see a run."""
        self.watch_run(message.run_dir)

    def on_compare_runs(self, message: CompareRuns) -> None:
        """A screen asks to compare runs."""
        self.switch_mode("compare")

        def show() -> None:
            screen = self.screen_stack[0]
            assert isinstance(screen, CompareScreen)
            screen.show_runs(message.run_dirs)

        self.call_later(show)

    # -- changing something

    def act(self, what: Callable[[], str], then: Callable[[], None] | None = None) -> None:
        """Do something to a run in a thread, and show the sentence that comes back, or the error.

        `then` is called in the application's thread when it went well. With --readonly nothing is done.
        """
        if self.readonly:
            self.tell(READONLY, "warning")
            return
        self._act(what, then)

    @work(thread=True, group="acts")
    def _act(self, what: Callable[[], str], then: Callable[[], None] | None) -> None:
        try:
            sentence = what()
        except (CrildError, OSError) as error:  # a disk that fails is no fault of the dashboard's
            self.call_later(self.tell, str(error), "error")
            return
        self.call_later(self.tell, sentence)
        if then is not None:
            self.call_later(then)

    def keep(self, kind: Kind, ids: Iterable[str], *, on: bool) -> None:
        """Pin, hide or mark runs, or take that back: known at once, and soon in the file, unless this only reads."""
        change = (kind, tuple(ids), on)
        self.kept = self.kept.put(*change)
        if not self.readonly:
            self._kept_file.take(change)
            self._write_kept()

    @work(thread=True, group="kept")
    def _write_kept(self) -> None:
        try:
            self._kept_file.write()
        except CrildError as error:
            self.call_later(self.tell, str(error), "warning")

    def tell(self, sentence: str, level: str = "information") -> None:
        """Show a sentence for some seconds: as text, whatever is in it."""
        severity: Any = level
        said, self._said = self._said, (sentence, level)
        if said[0] == sentence or said[1] == "information":  # a pile of them hides what one looks at
            self.clear_notifications()
        self.notify(printable(sentence), severity=severity, markup=False, timeout=8 if level == "error" else 4)

    def copy(self, text: str) -> None:
        """Send a text to the terminal's clipboard, and show it: not every terminal takes it."""
        self.copy_to_clipboard(text)
        self.tell(f"sent to the terminal's clipboard (OSC 52): {text}")

    # -- faults of its own

    def _handle_exception(self, error: Exception) -> None:
        """End, and leave the error to whoever has started the application: Textual would print a traceback."""
        self._return_code = 1
        if self._exception is None:
            inner = error.error if isinstance(error, WorkerFailed) else error
            self._exception = inner if isinstance(inner, Exception) else error
            self._exception_event.set()
        self._close_messages_no_wait()

    def panic(self, *renderables: Any) -> None:
        """Treat what Textual would print before it ends as any other fault: its thread of input has failed, say."""
        traces = [each.trace.stacks[-1] for each in renderables if isinstance(each, Traceback) and each.trace.stacks]
        said = "; ".join(f"{stack.exc_type}: {stack.exc_value}" for stack in traces)
        self._handle_exception(RuntimeError(said or "the dashboard has given up"))

    @property
    def fault(self) -> Exception | None:
        """The error that has ended the application, if one has."""
        return self._exception

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Leave out what a dashboard that only reads cannot do."""
        return True
