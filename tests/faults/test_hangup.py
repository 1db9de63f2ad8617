"""A terminal that hangs up during `crild run`: the engine and the queue go on, and `crild attach` shows it all."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crild_tui.monitor.run import RunWatcher
from crild_tui.monitor.snapshots import RunSnapshot
from engine.record.events import read_events
from engine.record.run import list_runs, read_status
from tests.conftest import PATIENCE
from tests.train.tiny_run import materials

CRILD = [sys.executable, "-P", "-c", "import sys; from crild_tui.cli import main; sys.exit(main())"]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def in_terminal(*words: str) -> tuple[int, int]:
    """Start crild in a terminal of its own; returns its process id and the terminal's other end."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(CRILD[0], [*CRILD, *words])
    os.set_blocking(terminal, False)
    return process, terminal


def read(terminal: int) -> None:
    """Take what was printed, or the writer would wait."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def hang_up(process: int, terminal: int) -> None:
    """Close the line; wait until crild is gone."""
    os.close(terminal)
    os.waitpid(process, 0)


def crild(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CRILD, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)


def reached(run_dir: Path, stage: str) -> bool:
    return any(e["stage"] == stage for e in read_events(run_dir, {"step"}))


def runs() -> list[Path]:
    return sorted(entry.path for entry in list_runs(Path(os.environ["CRILD_RUNS_DIR"])))


@pytest.fixture
def preset(tmp_path: Path) -> str:
    file = tmp_path / "tiny.toml"
    file.write_text(materials(tmp_path / "data"))
    return str(file)


def test_a_run_goes_on_without_its_terminal(preset: str) -> None:
    process, terminal = in_terminal("run", preset, "--name", "alone", "--set", "stage.ild.epochs=40")

    def in_ild() -> bool:
        read(terminal)
        return bool(runs()) and reached(runs()[0], "ild")

    wait_for(in_ild, "the first stage")
    hang_up(process, terminal)
    (run_dir,) = runs()
    assert read_status(run_dir).state == "running"
    seen = crild("attach", "alone-s7")
    assert seen.returncode == 0, seen.stderr
    assert read_status(run_dir).state == "finished"
    steps = [(e["stage"], e["step"]) for e in read_events(run_dir, {"step"})]
    assert len(steps) == len(set(steps))
    assert [step for stage, step in steps if stage == "ild"] == list(range(1, 161))
    for stage in ("teacher", "ild", "kd", "baseline"):
        assert stage in seen.stderr + seen.stdout


@pytest.mark.slow
def test_a_queue_goes_on_without_its_terminal(preset: str) -> None:
    process, terminal = in_terminal("run", preset, "--name", "queue", "--seeds", "1,2,3")

    def started() -> bool:
        read(terminal)
        return any(read_status(run_dir).state == "running" for run_dir in runs())

    wait_for(started, "the first run of the queue")
    hang_up(process, terminal)
    assert len(runs()) == 3
    wait_for(lambda: all(read_status(run_dir).state == "finished" for run_dir in runs()), "the end of the queue")
    times = [(read_status(run_dir).started or 0.0, read_status(run_dir).ended or 0.0) for run_dir in runs()]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
    seen = crild("attach", "queue-s3")
    assert seen.returncode == 0
    assert "kd" in seen.stderr + seen.stdout


def in_dashboard() -> tuple[int, int]:
    """Open the dashboard in a terminal of 80 by 24; returns its process id and the terminal's other end."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color")
        os.execv(CRILD[0], CRILD)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(terminal, False)
    return process, terminal


def drawn(terminal: int, words: str) -> None:
    """Wait until some words were drawn."""
    found = b""

    def there() -> bool:
        nonlocal found
        with contextlib.suppress(OSError):
            found += os.read(terminal, 65536)
        return words.encode() in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", found)

    wait_for(there, words)


def watched(run_dir: Path) -> RunSnapshot:
    """What a dashboard that is opened now knows of a run."""
    seen: list[RunSnapshot] = []
    watcher = RunWatcher(run_dir, seen.append, every=0.05)
    watcher.start()
    wait_for(lambda: bool(seen) and seen[-1].curves.complete and seen[-1].summary.names != (), "the run's curves")
    watcher.stop()
    return seen[-1]


@pytest.mark.slow
def test_a_run_started_in_the_dashboard_goes_on_without_its_terminal(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(preset)
    file.write_text(file.read_text().replace('name = "ild"\nepochs = 2', 'name = "ild"\nepochs = 40'))
    process, terminal = in_dashboard()
    drawn(terminal, "quickstart")
    os.write(terminal, b"/tiny.toml\r")
    drawn(terminal, "tiny.toml")
    os.write(terminal, b"\r")
    drawn(terminal, "crild run tiny.toml")
    os.write(terminal, b"\x1b[15~")  # f5

    def in_ild() -> bool:
        read(terminal)
        return bool(runs()) and reached(runs()[0], "ild")

    wait_for(in_ild, "the first stage")
    hang_up(process, terminal)
    (run_dir,) = runs()
    assert read_status(run_dir).state == "running"
    half = watched(run_dir)
    assert half.entry.state == "running"
    wait_for(lambda: read_status(run_dir).state == "finished", "the end of the run")
    whole = watched(run_dir)
    told = list(read_events(run_dir, {"step"}))
    assert whole.summary.state == "finished"
    assert len(whole.curves.steps) == len(told)
    assert (np.diff(whole.curves.steps.step) > 0).all()
    ild = [event["step"] for event in told if event["stage"] == "ild"]
    assert ild == list(range(1, 161))


@pytest.mark.slow
def test_a_headless_run_is_watched_stopped_and_resumed_in_the_dashboard(preset: str) -> None:
    file = Path(preset)
    file.write_text(file.read_text().replace('name = "ild"\nepochs = 2', 'name = "ild"\nepochs = 400'))
    assert crild("run", preset, "--name", "alone", "--detach").returncode == 0
    (run_dir,) = runs()
    wait_for(lambda: reached(run_dir, "ild"), "the first stage")
    process, terminal = in_dashboard()

    def at_last(condition: Callable[[], bool], what: str) -> None:
        def there() -> bool:
            read(terminal)
            return condition()

        wait_for(there, what)

    drawn(terminal, "alone-s7")
    os.write(terminal, b"2")
    drawn(terminal, "attention")
    os.write(terminal, b"s")
    at_last(lambda: read_status(run_dir).state == "stopped", "the stop that the dashboard asked for")
    time.sleep(2)  # the dashboard looks twice a second
    os.write(terminal, b"r")
    at_last(lambda: (read_status(run_dir).attempt, read_status(run_dir).state) == (2, "running"), "the second attempt")
    os.write(terminal, b"q")
    at_last(lambda: os.waitpid(process, os.WNOHANG)[0] == process, "the dashboard's end")
    os.close(terminal)
    assert read_status(run_dir).state == "running"
    assert crild("stop", "alone-s7").returncode == 0  # what the dashboard started, the command line stops
    assert read_status(run_dir).state == "stopped"
