"""What the four modes share: the header, the footer, and messages about runs and machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input

from crild_tui.messages import MachineChanged, RunsChanged
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.screens.host import Host
from crild_tui.widgets.footer import KeyFooter
from crild_tui.widgets.header import Header
from crild_tui.widgets.type_ahead import type_ahead


class ModeScreen(Screen[None]):
    """A mode. Subclasses yield their widgets in `content`, and draw the list of runs in `show_list`."""

    MODE: ClassVar[str]
    OPENING: ClassVar[frozenset[str]] = frozenset()
    """Actions that open a line to type in; `typing` returns that line."""

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
        yield KeyFooter(self.applies)

    def content(self) -> ComposeResult:
        """The widgets of the mode."""
        yield from ()

    # -- keys

    def applies(self, action: str) -> bool:  # noqa: ARG002 - for subclasses
        """Whether an action does something in the present state, so that the footer names its key.

        A key that the footer leaves out still works, and explains why its action isn't available.
        """
        return True

    def renew_footer(self) -> None:
        """Show the keys of the present state."""
        for footer in self.query(KeyFooter):
            footer.fit()

    @property
    def typing(self) -> Input | None:
        """The line that takes what is typed, even before it has the focus; None while none is open."""
        return None

    async def on_key(self, event: events.Key) -> None:
        """Give a line that was just opened the keys that another widget still got, instead of taking them for commands.

        Textual looks for what a key means only when it has bubbled up to the application; the keys after it are on their
        way to the old focus by then.
        """
        line = self.typing
        if line is not None:
            if await type_ahead(line, event):
                event.stop()
            return
        active = self.active_bindings.get(event.key) if self.OPENING else None
        if active is not None and active.binding.action in self.OPENING:
            event.stop()
            await self.app.run_action(active.binding.action, active.node)

    # -- news

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
