"""What the four modes share: the header, the footer, and messages about runs and machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

from crild_tui.messages import MachineChanged, RunsChanged
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.screens.host import Host
from crild_tui.widgets.footer import KeyFooter
from crild_tui.widgets.header import Header


class ModeScreen(Screen[None]):
    """A mode. Subclasses yield their widgets in `content`, and draw the list of runs in `show_list`."""

    MODE: ClassVar[str]

    @property
    def host(self) -> Host:
        """The application."""
        return cast(Host, self.app)

    @property
    def is_present(self) -> bool:
        """Whether this mode is the present one, even if a dialog covers it."""
        return self.app.current_mode == self.MODE

    def compose(self) -> ComposeResult:
        """Header, content, footer."""
        yield Header(self.MODE, self.host.keys)
        yield from self.content()
        yield KeyFooter()

    def content(self) -> ComposeResult:
        """The widgets of the mode."""
        yield from ()

    def on_screen_resume(self) -> None:
        """Catch up with what changed while another mode was shown."""
        self.on_runs_changed(RunsChanged(self.host.runs))
        self.on_machine_changed(MachineChanged(self.host.machine))

    def on_runs_changed(self, message: RunsChanged) -> None:
        """Show the list of runs as it is now, unless the screen is being closed."""
        for header in self.query(Header):
            header.runs = message.snapshot
            self.show_list(message.snapshot)

    def show_list(self, snapshot: RunsSnapshot) -> None:
        """Show the list of runs in the mode's own widgets."""

    def on_machine_changed(self, message: MachineChanged) -> None:
        """Show the machine's load in the header."""
        for header in self.query(Header):
            header.machine = message.snapshot

    def later(self, callback: Callable[[], object]) -> None:
        """Call back in the application's thread, from whichever thread; not once the screen is being closed."""

        def unless_closed() -> None:
            if self.query(Header):
                callback()

        self.call_later(unless_closed)
