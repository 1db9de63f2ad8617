"""`crild run` in a terminal of its own: keys, hang-ups, and what is drawn."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.record.events import read_events
from engine.record.run import read_run, read_status
from tests.conftest import PATIENCE, REPOSITORY

SEQUENCE = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process on a terminal of 80 columns."""

    def __init__(self, words: list[str], env: dict[str, str]):
        self.raw = ""
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "tests.cli.driver", *words], env)
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    @property
    def text(self) -> str:
        """What was written, without the terminal's own sequences."""
        return SEQUENCE.sub("", self.raw).replace("\r\n", "\n")

    def read(self, seconds: float) -> bool:
        """Take in what comes within a while; False once the terminal is closed."""
        ready, _, _ = select.select([self.handle], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.handle, 65536)
        except OSError:
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, words: str, seconds: float = PATIENCE) -> None:
        until = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < until, self.text
            assert self.read(0.1) or words in self.text, self.text

    def press(self, keys: bytes) -> None:
        os.write(self.handle, keys)

    def end(self, seconds: float = PATIENCE) -> int:
        """The exit code."""
        until = time.monotonic() + seconds
        while self.read(0.1):
            assert time.monotonic() < until, self.text
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def hang_up(self) -> int:
        os.close(self.handle)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", "LANG": "C.UTF-8"}


@contextlib.contextmanager
def _terminal(words: list[str], env: dict[str, str], **behaviour: object) -> Iterator[Terminal]:
    terminal = Terminal(words, {**env, "FAKE_ENGINE": json.dumps(behaviour)})
    try:
        yield terminal
    finally:
        with contextlib.suppress(OSError):
            os.kill(terminal.pid, signal.SIGKILL)


def _until_ended(run_dir: Path) -> str:
    until = time.monotonic() + PATIENCE
    while (state := read_run(run_dir).state) in ("created", "queued", "running", "stopping"):
        assert time.monotonic() < until
        time.sleep(0.05)
    return state


def test_progress_redraws_itself_and_the_bell_rings_at_the_end(env: dict[str, str], preset: Path) -> None:
    with _terminal(["run", str(preset), "--name", "mine"], env, pause=0.05, steps=20) as terminal:
        assert terminal.end() == 0
    text = terminal.text
    for words in ("stage 1/2 ild", "stage 2/2 kd", "▄", "loss 0.", "consistency 0.2500 (weight", "100 examples/s",
                  "teacher 90.00", "majority guess"):  # fmt: skip
        assert words in text
    assert "\x1b]2;crild: finished accuracy 70.00 mine-s1\x1b\\\a" in terminal.raw
    drawn = [line for part in text.split("\r") for line in part.split("\n") if "loss" in line or "▄" in line]
    assert drawn
    assert all(len(line) <= 80 for line in drawn)


def test_without_colour_and_unicode_it_is_still_drawn(env: dict[str, str], preset: Path) -> None:
    env = {**env, "NO_COLOR": "1", "CRILD_ASCII": "1"}
    with _terminal(["run", str(preset)], env, pause=0.05, steps=10) as terminal:
        assert terminal.end() == 0
    assert "##" in terminal.text
    assert terminal.text.isascii()
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.raw)


def test_a_dumb_terminal_gets_plain_lines(env: dict[str, str], preset: Path) -> None:
    with _terminal(["run", str(preset)], {**env, "TERM": "dumb"}, pause=0.02) as terminal:
        assert terminal.end() == 0
    assert "\x1b" not in terminal.raw
    assert "stage kd, 3 steps" in terminal.text


def test_ctrl_c_stops_with_a_checkpoint(env: dict[str, str], preset: Path, runs_dir: Path) -> None:
    with _terminal(["run", str(preset), "--name", "mine"], env, hold=2) as terminal:
        terminal.wait_for("stage 1/2")
        terminal.press(b"\x03")
        assert terminal.end() == 130
    assert "press Ctrl-C again to kill" in terminal.text
    assert "with a checkpoint; run `crild resume mine-s1`" in terminal.text
    assert "\x1b[?25h" in terminal.raw  # the cursor is given back
    assert read_status(runs_dir / "mine-s1").state == "stopped"


def test_ctrl_c_twice_kills(env: dict[str, str], preset: Path, runs_dir: Path) -> None:
    with _terminal(["run", str(preset), "--name", "mine"], env, end="mute") as terminal:
        terminal.wait_for("loading data and models")
        terminal.press(b"\x03")
        terminal.wait_for("stopping before the next step")
        terminal.press(b"\x03")
        assert terminal.end() == 130
    owner = read_status(runs_dir / "mine-s1").owner
    assert owner is not None
    assert owner.state() == "gone"


def test_ctrl_c_in_attach_leaves_the_run_going(env: dict[str, str], preset: Path, runs_dir: Path) -> None:
    with _terminal(["run", str(preset), "--name", "mine", "--detach"], env, hold=2) as terminal:
        assert terminal.end() == 0
    with _terminal(["attach", "mine"], env) as terminal:
        terminal.wait_for("stage 1/2")
        terminal.press(b"\x03")
        assert terminal.end() == 0
    assert "detached; the run keeps going" in terminal.text
    assert read_run(runs_dir / "mine-s1").state == "running"
    (runs_dir / "go").touch()
    assert _until_ended(runs_dir / "mine-s1") == "finished"


def test_a_hang_up_ends_crild_quietly_and_the_engine_goes_on(env: dict[str, str], preset: Path, runs_dir: Path) -> None:
    with _terminal(["run", str(preset), "--name", "mine"], env, hold=2) as terminal:
        terminal.wait_for("stage 1/2")
        assert terminal.hang_up() == 129
    assert read_run(runs_dir / "mine-s1").state == "running"
    (runs_dir / "go").touch()
    with _terminal(["attach", "mine"], env) as terminal:
        assert terminal.end() == 0
    assert "ild: step" in terminal.text
    steps = [(event["stage"], event["step"]) for event in read_events(runs_dir / "mine-s1", {"step"})]
    assert steps == [(stage, step) for stage in ("ild", "kd") for step in range(1, 4)]


def test_a_hang_up_leaves_a_queue_of_seeds_going(env: dict[str, str], preset: Path, runs_dir: Path) -> None:
    words = ["run", str(preset), "--name", "mine", "--seeds", "1,2"]
    with _terminal(words, env, hold=2) as terminal:
        terminal.wait_for("stage 1/2")
        assert terminal.hang_up() == 129
    (runs_dir / "go").touch()
    assert [_until_ended(runs_dir / f"mine-s{seed}") for seed in (1, 2)] == ["finished", "finished"]


def test_deleting_asks_on_the_terminal(env: dict[str, str], runs_dir: Path) -> None:
    from tests.cli.samples import make_run

    run_dir = make_run(runs_dir)
    with _terminal(["delete", "rte-crild"], env) as terminal:
        terminal.wait_for("[y/N]")
        terminal.press(b"n\n")
        assert terminal.end() == 0
    assert run_dir.exists()
    with _terminal(["delete", "rte-crild"], env) as terminal:
        terminal.wait_for("[y/N]")
        terminal.press(b"y\n")
        assert terminal.end() == 0
    assert not run_dir.exists()
