"""What the four modes share: the header, the footer, and the news that they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.screen import Screen

from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import KeyNames
from crild_tui.widgets.footer import Keys
from crild_tui.widgets.header import Header

if TYPE_CHECKING:
    from crild_tui.app import CrildApp


class ModeScreen(Screen[None]):
    """A mode. Subclasses yield their content in `content`, and may take `runs_seen`."""

    MODE = ""

    @property
    def crild(self) -> CrildApp:
        """The application, with its own type."""
        app: Any = self.app
        return app  # type: ignore[no-any-return]

    def compose(self) -> ComposeResult:
        """Header, content, footer."""
        yield Header(self.MODE, self.keys())
        yield from self.content()
        yield Keys()

    def content(self) -> ComposeResult:
        """The widgets of the mode."""
        yield from ()

    def on_screen_resume(self) -> None:
        """Catch up with what was seen while another mode was shown."""
        self.runs_seen(self.crild.runs)
        self.machine_seen(self.crild.machine)

    def keys(self) -> KeyNames:
        """The name of each key, by the id of its binding."""
        return self.crild.keys

    def later(self, what: Callable[[], object]) -> None:
        """Do something in the application's thread, from whichever thread; nothing once the screen is being closed."""

        def unless_closed() -> None:
            if self.query(Header):
                what()

        self.call_later(unless_closed)

    def runs_seen(self, snapshot: RunsSnapshot) -> None:
        """The list of runs changed. Subclasses that show it call this too."""
        for header in self.query(Header):
            header.runs = snapshot

    def machine_seen(self, snapshot: MachineSnapshot) -> None:
        """The machine's figures changed."""
        for header in self.query(Header):
            header.machine = snapshot
