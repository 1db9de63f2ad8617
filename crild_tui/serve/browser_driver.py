"""Textual's driver for browsers, which ends the dashboard when the server is gone."""

from __future__ import annotations

import os
import threading
import time

from textual import messages
from textual.drivers.web_driver import WebDriver

PATIENCE = 30.0
"""Seconds for unfinished work, such as starting a run, once nobody looks any more."""


class BrowserDriver(WebDriver):
    """Reads what the server sends. The end of that is the end of the dashboard, also where the server was killed."""

    def run_input_thread(self) -> None:
        """Pass on keys, clicks and sizes until the server closes the pipe or the dashboard ends."""
        super().run_input_thread()
        self._app.post_message(messages.ExitApp())
        threading.Thread(target=_end, name="end", daemon=True).start()


def _end() -> None:
    """End the process although something in it does not."""
    time.sleep(PATIENCE)
    os._exit(1)
