"""`crild curves --image` in terminals that show pictures, and in one that doesn't."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.samples import make_run
from tests.cli.test_terminal_sessions import Terminal, env
from tests.conftest import PATIENCE

pytest.importorskip(
    "textual_image", reason="textual-image is not installed: pip install -c constraints.txt '.[images]'"
)
__all__ = ["env"]

ATTRIBUTES = "\x1b[c"
"""What asks a terminal for its attributes; 4 among them means sixel."""


def drawn(env: dict[str, str], answers: dict[str, bytes]) -> tuple[int, str]:
    """The exit code and what is written to a terminal that answers each question so."""
    terminal = Terminal(["curves", "latest", "--image"], env)
    waiting, until = dict(answers), time.monotonic() + PATIENCE
    try:
        while terminal.read(0.02):
            assert time.monotonic() < until, terminal.raw
            for question in [question for question in waiting if question in terminal.raw]:
                terminal.press(waiting.pop(question))
        return terminal.end(), terminal.raw
    finally:
        with contextlib.suppress(OSError):
            os.kill(terminal.pid, signal.SIGKILL)


def test_a_terminal_with_sixel_gets_a_picture(env: dict[str, str], runs_dir: Path) -> None:
    make_run(runs_dir)
    code, raw = drawn(env, {ATTRIBUTES: b"\x1b[?62;4;22c"})
    assert code == 0
    assert "\x1bP" in raw
    assert raw.count("#") > 1, "the colours of a sixel picture"
    assert "dev accuracy" not in raw, "no text"


def test_a_terminal_without_gets_text(env: dict[str, str], runs_dir: Path) -> None:
    make_run(runs_dir)
    code, raw = drawn(env, {ATTRIBUTES: b"\x1b[?62;22c"})
    assert code == 0
    assert "\x1bP" not in raw
    assert "dev accuracy" in raw
