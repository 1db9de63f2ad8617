"""Engine processes without torch: each is a few lines over a real session, and does what a test asks of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.launch.signals import kill
from engine.launch.start import reap
from engine.record.lock import held
from engine.record.run import create_run, list_runs, read_status
from tests.conftest import PATIENCE

WORKER = """
import os, sys, time
from pathlib import Path
from typing import Any
from engine.record.session import RunSession
from engine.record.status import Job
run = Path(sys.argv[-1])
ask = (run / "preset.toml").read_text().split()
print("begin", flush=True)
if "crash" in ask:
    raise SystemExit("torch cannot be imported")
if "slow" in ask:
    time.sleep(0.7)
with RunSession(run, job=Job("77") if "job" in ask else None) as session:
    print("at work", flush=True)
    session.events.write("run_started", attempt=session.attempt, stages=["kd"], stage="kd", step=0)
    if "fork" in ask and os.fork() == 0:
        time.sleep(60)                       # a data loading worker
        os._exit(0)
    if "fail" in ask:
        session.finish("failed", 3)
        sys.exit(3)
    if "deaf" in ask:
        time.sleep(60)
    until = time.monotonic() + (0.0 if "quick" in ask else 60.0)
    step = 0
    while time.monotonic() < until and session.request.state is None:
        step += 1
        session.update(step=step)
        time.sleep(0.01)
    state = session.request.state
    session.finish(state or "finished", session.request.exit_code if state else 0)
    if "linger" in ask:
        time.sleep(60)                       # a library that does not let go
    sys.exit(session.status.exit_code)
"""
COMMAND = [sys.executable, "-P", "-c", WORKER]
ELSEWHERE = """
import socket
import engine.record.owner
socket.gethostname = lambda: "node-7"
engine.record.owner.boot_id = lambda: "the uptime of node-7"
"""
"""Before the code of an engine: it takes itself to be on another host."""
COMMAND_ELSEWHERE = [sys.executable, "-P", "-c", ELSEWHERE + WORKER]


def make(folder: Path, name: str, behaviour: str = "quick", **fields: Any) -> Path:
    """A run whose engine behaves so: quick, long, slow (to begin), crash, fail, deaf, fork, linger."""
    return create_run(folder, f"# {behaviour}\n", name=name, environment={}, **fields)


def clear(folder: Path) -> None:
    """End the engines of a folder of runs."""
    for entry in list_runs(folder):
        with contextlib.suppress(RunError):  # it is ending by itself in this moment
            if held(entry.path):
                kill(entry.path)
    reap()


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether a condition comes true within this time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def reached(run: Path, *states: str) -> bool:
    """Whether a run gets into one of these written states."""
    return wait_for(lambda: read_status(run).state in states)
