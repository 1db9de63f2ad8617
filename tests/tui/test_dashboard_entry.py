"""`crild` with no arguments: the terminal's side of the dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.css.query import NoMatches
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

import crild_tui.cli.app
from crild_tui import textual_internals
from crild_tui.app import CrildApp
from crild_tui.cli import dashboard
from crild_tui.textual_internals import QuietApp
from engine.errors import UsageError
from tests.cli.conftest import Call, crild
from tests.cli.test_terminal_sessions import SEQUENCE, Terminal, env
from tests.conftest import PATIENCE, REPOSITORY

__all__ = ["crild", "env"]

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"

FAULTY = """
import sys
from textual import events
from crild_tui.app import CrildApp
from crild_tui.cli import main

def fail(app, event):
    raise ValueError("[bold]boom\\x1b[2J")

def work(app, event):
    app.run_worker(lambda: 1 / 0, thread=True)

CrildApp.on_key = {"key": fail, "worker": work}[sys.argv.pop()]
sys.exit(main())
"""
EDITING = """
import subprocess, sys
from crild_tui.app import CrildApp
from crild_tui.cli import main

def edit(app, event):
    if event.key == "x":
        with app.suspend():
            subprocess.run(["sh", "-c", "echo in the editor; kill -INT $PPID; sleep 0.3"])
        app.notify("back again")

CrildApp.on_key = edit
sys.exit(main())
"""
IGNORING = (
    "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from crild_tui.cli import main; sys.exit(main())"
)


class Session(Terminal):
    """`crild`, or other code, on a terminal."""

    def __init__(self, env: dict[str, str], *words: str, code: str | None = None):
        if code is None:
            super().__init__(list(words), env)
            return
        import fcntl
        import pty
        import struct
        import termios

        self.raw = ""
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-c", code, *words], env)
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def wait_for_dashboard(self) -> None:
        self.wait_for("Launch")
        self.wait_for("Quit")


@pytest.fixture
def session(env: dict[str, str]) -> Iterator[Callable[..., Session]]:
    made: list[Session] = []

    def start(*words: str, code: str | None = None, **more: str | None) -> Session:
        changed = {key: value for key, value in {**env, **more}.items() if value is not None}
        made.append(Session(changed, *words, code=code))
        return made[-1]

    yield start
    for one in made:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
        with contextlib.suppress(OSError):
            os.close(one.handle)


def test_without_arguments_in_a_terminal_there_is_the_dashboard(session: Callable[..., Session]) -> None:
    terminal = session()
    terminal.wait_for_dashboard()
    assert ALTERNATE in terminal.raw
    terminal.press(b"q")
    assert terminal.end() == 0
    assert NORMAL in terminal.raw
    assert "\x1b[?25h" in terminal.raw


def test_the_folder_and_reading_only_are_options(session: Callable[..., Session], short_path: Path) -> None:
    terminal = session("--runs-dir", str(short_path / "others"), "--readonly")
    terminal.wait_for_dashboard()
    terminal.press(b"2")
    terminal.wait_for("There is no run to watch yet")
    terminal.wait_for("others")
    terminal.press(b"q")
    assert terminal.end() == 0


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_that_cannot_move_its_cursor_is_refused(session: Callable[..., Session], term: str | None) -> None:
    terminal = session(TERM=term)
    assert terminal.end() == 2
    assert "needs a terminal that can move its cursor" in terminal.text
    assert "crild attach RUN" in terminal.text
    assert "\x1b" not in terminal.raw


def test_without_a_terminal_there_is_the_help(crild: Call) -> None:
    said = crild("--readonly")
    assert said.code == 0
    assert said.out.startswith("Usage: crild")
    assert "the dashboard" in said.out


def test_options_of_the_dashboard_are_not_lost_before_a_command(crild: Call, tmp_path: Path) -> None:
    said = crild("--runs-dir", str(tmp_path), "runs")
    assert said.code == 2
    assert "write `crild runs ... --runs-dir FOLDER`" in said.err
    assert "crild runs" in crild("--readonly", "runs").err


def test_a_faulty_configuration_is_a_sentence(crild: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "dashboard.toml"
    config.write_text('theme = "pink"\ncolour = 1\n')
    monkeypatch.setenv("CRILD_CONFIG", str(config))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(crild_tui.cli.app, "in_terminal", lambda: True)
    monkeypatch.setattr(dashboard, "_check_terminal", lambda: None)
    said = crild()
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert str(config) in said.err
    assert "theme" in said.err
    assert "colour" in said.err


@pytest.mark.parametrize("how", ["key", "worker"])
def test_a_fault_of_the_dashboard_leaves_the_terminal_clean_and_a_file(
    session: Callable[..., Session], tmp_path: Path, how: str
) -> None:
    terminal = session(how, code=FAULTY)
    terminal.wait_for_dashboard()
    terminal.press(b"x")
    assert terminal.end() == 1
    last = SEQUENCE.sub("", terminal.raw.rpartition(NORMAL)[2])
    assert "something went wrong inside crild" in last
    assert "Traceback" not in last
    (crash,) = (tmp_path / "cache" / "crashes").iterdir()
    text = crash.read_text()
    assert {"key": "boom", "worker": "ZeroDivisionError"}[how] in text
    assert "Traceback" in text


def test_the_error_of_a_fault_is_kept_for_whoever_runs_the_application(tmp_path: Path) -> None:
    async def act() -> None:
        app = CrildApp(tmp_path)
        with contextlib.suppress(UsageError):
            async with app.run_test():
                app._handle_exception(UsageError("first"))
                app.panic()
        assert str(app.fault) == "first"

    asyncio.run(act())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_the_terminal_as_it_was(
    session: Callable[..., Session], number: signal.Signals, code: int
) -> None:
    terminal = session()
    terminal.wait_for_dashboard()
    os.kill(terminal.pid, number)
    assert terminal.end() == code
    assert NORMAL in terminal.raw


def test_ctrl_c_in_an_editor_does_not_end_it(session: Callable[..., Session]) -> None:
    terminal = session(code=EDITING)
    terminal.wait_for_dashboard()
    terminal.press(b"x")
    terminal.wait_for("in the editor")
    terminal.wait_for("back again")
    terminal.press(b"q")
    assert terminal.end() == 0


def test_a_hang_up_ends_it(session: Callable[..., Session]) -> None:
    terminal = session()
    terminal.wait_for_dashboard()
    assert terminal.hang_up() in (-signal.SIGHUP, 129)


def test_a_hang_up_that_is_ignored_ends_it_too(session: Callable[..., Session], tmp_path: Path) -> None:
    terminal = session(code=IGNORING)
    terminal.wait_for_dashboard()
    assert terminal.hang_up() == 129
    assert not (tmp_path / "cache" / "crashes").exists()


def test_the_help_does_not_load_the_dashboard() -> None:
    code = (
        "import sys; from crild_tui.cli import main; main(['--help']); "
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'textual', 'numpy', 'rich'}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert "textual" not in done.stderr


def test_what_was_begun_is_finished_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "QUIET", 0.0)
    go_on = threading.Event()
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        go_on.set()

    monkeypatch.setattr("crild_tui.cli.terminal.say", say)
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    dashboard.finish()
    assert not thread.is_alive()
    assert said == ["finishing what was started..."]


def test_the_thread_of_input_ends_when_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual_internals, "LOOK_EVERY", 3600.0)
    master, slave = os.openpty()
    keys: list[str | None] = []
    come = threading.Event()

    def take(message: Message) -> None:
        if isinstance(message, events.Key):
            keys.append(message.character)
            come.set()

    async def act() -> None:
        one = textual_internals.QuickDriver(CrildApp(tmp_path))
        one.fileno = slave
        monkeypatch.setattr(one, "process_message", take)
        monkeypatch.setattr(one, "write", lambda _: None)
        one._key_thread = threading.Thread(target=one.run_input_thread, daemon=True)
        one._key_thread.start()
        for half in ("é".encode()[:1], "é".encode()[1:]):
            os.write(master, half)
            time.sleep(0.05)
        assert come.wait(PATIENCE)
        ending = threading.Thread(target=one.disable_input, daemon=True)
        ending.start()
        ending.join(PATIENCE)
        assert not one._key_thread.is_alive()

    tty.setraw(slave)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # only a main thread may
    try:
        asyncio.run(act())
    finally:
        os.close(master)
        os.close(slave)
    assert keys == ["é"]


class Parent(Widget):
    """Looks for its child when it is mounted."""

    def compose(self) -> ComposeResult:
        yield Static(id="child")

    def on_mount(self) -> None:
        self.query_one("#child")


class Grandparent(Widget):
    """Is still being mounted when the application closes."""

    def compose(self) -> ComposeResult:
        yield Parent()


def test_a_widget_that_closing_has_left_without_children_is_no_fault() -> None:
    async def close(application: type[App[None]]) -> App[None]:
        app = application()
        async with app.run_test():
            app.screen.mount(Grandparent(), Grandparent())
        return app

    with pytest.raises(NoMatches):
        asyncio.run(close(App))
    app = asyncio.run(close(QuietApp))
    assert isinstance(app, QuietApp)
    assert app.fault is None
