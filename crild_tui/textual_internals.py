"""All of Textual's private API that crild uses, each with its reason; written against Textual 8.2.8.

- `QuickDriver` imports `textual._xterm_parser`: Textual's thread of input looks only every 0.1 s, twice, whether it should
  end, and quitting waits for it.
- `QuietApp` overrides `App._handle_exception` and uses what that uses: Textual would print a traceback over the terminal,
  while crild writes it to a file and prints one sentence. `App._running` tells it what is only a consequence of closing.
- `Palette` overrides `CommandPalette._start_no_matches_countdown` and `._refresh_command_list`, and `QuietApp` the two
  actions that open a palette: in Textual's own, a click that closes it twice, or what comes after it was closed (half a
  second that ends, commands that were gathered), ends the application.
- `Options`, and `Palette._action_command_list`, ignore paging in a list that is not laid out yet, which Textual's does not
  expect.
- `QuietApp.send` writes to `App._driver`, as Textual's own bell does: it has no call for other control sequences.
- `FooterKey` is what `textual.widgets.Footer` is made of: the footer shows whole labels only and those of a dialog too,
  so it measures and creates them.
"""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import Any

from rich.traceback import Traceback
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.css.query import NoMatches
from textual.drivers.linux_driver import LinuxDriver
from textual.theme import ThemeProvider
from textual.widgets import OptionList
from textual.widgets._footer import FooterKey
from textual.worker import WorkerFailed

__all__ = ["FooterKey", "Options", "Palette", "QuickDriver", "QuietApp"]

LOOK_EVERY = 0.1
"""Seconds without input after which a lone Escape counts as a key."""
_MOST = 4096


class QuickDriver(LinuxDriver):
    """Textual's driver of a terminal, with a thread of input that ends as soon as it is asked to."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)

    def disable_input(self) -> None:
        """Wake the thread of input, and wait until it has ended."""
        os.write(self._wake, b"!")
        super().disable_input()

    def run_input_thread(self) -> None:
        """Turn what is typed into events, until input is disabled."""
        with suppress(BlockingIOError):
            os.read(self._woken, _MOST)  # what woke an earlier thread, if that had ended already
        parser, decode = XTermParser(), getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                for key, _ in selector.select(LOOK_EVERY):
                    if key.fd == self._woken:
                        return
                    if text := decode(os.read(self.fileno, _MOST)):  # the first half of a letter is nothing yet
                        for event in parser.feed(text):
                            self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)


class Palette(CommandPalette):
    """Textual's command palette, which may be closed at any moment."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the palette; nothing once it is closed."""
        if self.app.screen is self:
            return super().dismiss(result)
        return AwaitComplete.nothing()  # type: ignore[no-any-return, no-untyped-call]

    def _action_command_list(self, action: str) -> None:
        with suppress(LookupError):
            super()._action_command_list(action)

    def _refresh_command_list(self, *arguments: Any) -> None:
        with suppress(NoMatches):  # the list of a palette that was closed while its commands were gathered
            super()._refresh_command_list(*arguments)

    def _start_no_matches_countdown(self, search_value: str) -> None:
        super()._start_no_matches_countdown(search_value)
        timer: Any = self._no_matches_timer
        show = timer._callback
        timer._callback = lambda: show() if self.app.screen is self else None


class Options(OptionList):
    """Textual's list, which may be paged before it is laid out."""

    def action_page_up(self) -> None:
        """Move up a page; nothing before the list is laid out."""
        with suppress(LookupError):
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """Move down a page; nothing before the list is laid out."""
        with suppress(LookupError):
            super().action_page_down()  # type: ignore[no-untyped-call]


class QuietApp(App[None]):
    """An application that prints nothing when an error ends it; `fault` holds the error."""

    def action_command_palette(self) -> None:
        """Show the command palette."""
        if self.use_command_palette and not CommandPalette.is_open(self):  # type: ignore[arg-type]
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        """Show a palette of the themes."""
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def _handle_exception(self, error: Exception) -> None:
        if isinstance(error, NoMatches) and not self._running:
            return  # a widget that was being mounted when the application closed has no children any more
        self._return_code = 1
        if self._exception is None:
            inner = error.error if isinstance(error, WorkerFailed) else error
            self._exception = inner if isinstance(inner, Exception) else error
            self._exception_event.set()
        self._close_messages_no_wait()

    def panic(self, *renderables: Any) -> None:
        """Treat what Textual would print before it ends as any other fault: its thread of input has failed, say."""
        traces = [each.trace.stacks[-1] for each in renderables if isinstance(each, Traceback) and each.trace.stacks]
        errors = "; ".join(f"{stack.exc_type}: {stack.exc_value}" for stack in traces)
        self._handle_exception(RuntimeError(errors or "the dashboard has given up"))

    def send(self, sequence: str) -> None:
        """Send a control sequence to the terminal; nothing where there is none, as in tests and in a browser."""
        if self._driver is not None and not self.is_headless and not self.is_web:
            self._driver.write(sequence)

    @property
    def fault(self) -> Exception | None:
        """The error that has ended the application, if one has."""
        return self._exception
