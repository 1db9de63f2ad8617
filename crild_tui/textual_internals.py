"""Textual's driver of a terminal, with a thread of input that ends when it is asked to instead of at its next look."""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from typing import Any

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

LOOK_EVERY = 0.1
"""Seconds without input after which a lone Escape counts as a key."""
_MOST = 4096


class QuickDriver(LinuxDriver):
    """Leaves at once: Textual's own thread of input ends up to 0.2 s after it was asked, and quitting waits for it."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._woken, self._wake = os.pipe()

    def disable_input(self) -> None:
        """Wake the thread of input, and wait until it has ended."""
        if self._key_thread is not None and self._key_thread.is_alive():
            os.write(self._wake, b"!")
        super().disable_input()

    def run_input_thread(self) -> None:
        """Turn what is typed into events, until input is disabled."""
        parser, decode = XTermParser(self._debug), getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                for key, _ in selector.select(LOOK_EVERY):
                    if key.fd == self._woken:
                        os.read(self._woken, _MOST)
                        return
                    if text := decode(os.read(self.fileno, _MOST)):  # the first half of a letter is nothing yet
                        for event in parser.feed(text):
                            self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
