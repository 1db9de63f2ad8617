"""`crild` with no arguments: the dashboard, the terminal's part."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from crild_tui.cli import terminal
from engine.errors import UsageError

if TYPE_CHECKING:
    from crild_tui.app import CrildApp

LOOK_EVERY = 0.5
"""Seconds between two checks that the terminal still exists."""
QUIET = 0.5
"""Seconds to wait for unfinished work without a message."""
HUNG_UP = 128 + signal.SIGHUP
INSTEAD = (
    "without it, use `crild run PRESET`, `crild runs`, `crild attach RUN`, `crild show RUN`, "
    "`crild compare RUN RUN` or `crild stop RUN`"
)


def open_dashboard(option: str | None, *, readonly: bool) -> NoReturn:
    """Open the dashboard over a runs folder (`--runs-dir`); once it is closed the process ends with its exit code.

    Raises UsageError for a terminal or a configuration that cannot be used, and whatever error has ended the dashboard.
    """
    from engine.record.paths import runs_dir
    from engine.record.run import check_runs_dir

    folder = runs_dir(option)
    check_runs_dir(folder)
    _check_terminal()
    app = make_app(folder, readonly=readonly)
    _end_with_the_terminal()
    code = run(app)
    finish()
    _leave(code)


def make_app(runs_dir: Path, *, readonly: bool, served: bool = False) -> CrildApp:
    """The application with the user's configuration, for a browser if `served`. Raises UsageError for one that cannot be used."""
    from crild_tui.app import CrildApp
    from engine.user.settings import Dashboard, read_settings

    settings = read_settings(Dashboard)
    if terminal.ascii_only():
        settings = settings.model_copy(update={"ascii": True})
    app = CrildApp(runs_dir, readonly=readonly, served=served, settings=settings)
    if "TEXTUAL_DRIVER" not in os.environ:
        from crild_tui.textual_internals import QuickDriver

        app.driver_class = QuickDriver
    return app


def run(app: CrildApp) -> int:
    """Run the application until it ends; returns the exit code. Raises the error that has ended it."""
    loop = asyncio.new_event_loop()
    try:
        _leave_on_signals(app, loop)
        app.run(loop=loop)
    finally:
        loop.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the handlers speak to the loop
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not _terminal_exists():
        os._exit(HUNG_UP)
    if app.fault is not None:
        raise app.fault
    return app.return_code or 0


def _leave_on_signals(app: CrildApp, loop: asyncio.AbstractEventLoop) -> None:
    """Exit cleanly on signals and restore the terminal; Ctrl-C in an external editor is left to the editor."""

    def leave(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM or not app.away:
            loop.call_soon_threadsafe(partial(app.exit, return_code=128 + number))

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def _check_terminal() -> None:
    """Raise UsageError for a terminal that cannot show the dashboard."""
    name = os.environ.get("TERM", "")
    if not terminal.is_screen(sys.stdout):
        shown = f"TERM is {name!r}" if name else "TERM is not set"
        sentence = f"the dashboard needs a terminal that can move its cursor, but {shown}; {INSTEAD}"
        raise UsageError(sentence, kind="unusable-terminal")
    if not terminal.is_screen(sys.stderr):
        sentence = f"the dashboard is drawn on stderr, which is not a terminal; {INSTEAD}"
        raise UsageError(sentence, kind="stderr-not-a-terminal")


def _terminal_exists() -> bool:
    """Whether the terminal still exists."""
    try:
        termios.tcgetattr(sys.__stdin__.fileno() if sys.__stdin__ else 0)
    except (termios.error, OSError, ValueError):
        return False
    return True


def _end_with_the_terminal() -> None:
    """Exit at once when the terminal is gone; if SIGHUP is ignored, reads from it would return immediately forever."""

    def look() -> None:
        while _terminal_exists():
            time.sleep(LOOK_EVERY)
        os._exit(HUNG_UP)

    threading.Thread(target=look, name="terminal", daemon=True).start()


def finish() -> None:
    """Wait for unfinished work, so that no run is left half started; print a sentence if that takes a while."""
    until = time.monotonic() + QUIET
    others = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        terminal.say("finishing what was started...")
        for thread in others:
            thread.join()


def _leave(code: int) -> NoReturn:
    """Exit without tearing down the interpreter, which would take longer than everything before."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
