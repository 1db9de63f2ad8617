"""A terminal that hangs up during `crild run`: the engine and the queue go on, and `crild attach` shows it all."""

from __future__ import annotations

import itertools
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.record.events import read_events
from engine.record.run import list_runs, read_status
from tests.train.tiny_run import materials

PATIENCE = 240.0
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
