"""What accompanies the engine of one run on a node of a Ray cluster: starts it, waits for it, ends it with Ray's worker.

`crild/process.py node WORKER VERSION RUN [ENGINE COMMAND AS JSON]`, with `--consent MODELS` before the run: WORKER is the
process of Ray's worker, VERSION the sweep's version of crild. Prints one JSON document: {"exited": true} once the engine
has ended, or {"problem": sentence} when it could not be started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from engine.errors import CrildError, RunError
from engine.launch.start import reap, start_engine
from engine.record.environment import crild_version
from engine.record.home import provide_home
from engine.record.owner import start_time
from engine.record.run import is_run
from engine.record.session import ENDS_WITH
from engine.record.standard_streams import open_standard_streams
from engine.user.consent import Consent, split_words

POLL = 0.2
"""Seconds between two looks at the engine and at Ray's worker."""


def main(words: Sequence[str]) -> int:
    """Run the engine of a run until it ends; returns 0 once its end, or why it did not start, is printed."""
    open_standard_streams()
    provide_home()
    rest, consent = split_words(words)
    if len(rest) not in (3, 4):
        print("usage: crild/process.py node WORKER VERSION [--consent MODELS] RUN [COMMAND]", file=sys.stderr)
        return 2
    answer: dict[str, Any] = {"exited": True}
    try:
        command = json.loads(rest[3]) if len(rest) == 4 else None
        _run(int(rest[0]), rest[1], Path(rest[2]), consent, command)
    except CrildError as error:
        answer = {"problem": str(error)}
    print(json.dumps(answer), flush=True)
    return 0


def _run(worker: int, version: str, run_dir: Path, consent: Consent, command: Sequence[str] | None) -> None:
    """Start the engine and wait for it. Raises RunError when it cannot be started here."""
    host = socket.gethostname()
    if version != (here := str(crild_version())):
        sentence = f"the node {host!r} has crild {here}, and the sweep is run by {version}: install the same"
        raise RunError(sentence, kind="crild-version-of-node")
    if not is_run(run_dir):
        sentence = f"the node {host!r} does not see the run: the runs folder must be on storage that all nodes share"
        raise RunError(sentence, kind="run-not-on-node", file=str(run_dir))
    asked: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)
    os.environ[ENDS_WITH] = str(os.getpid())  # Ray kills the processes that its workers started
    pid = start_engine(run_dir, resume=True, consent=consent, command=command)
    started = start_time(pid)
    while started is not None and start_time(pid) == started:
        if asked or os.getppid() != worker:  # Ray took the resources back: another run may get them at once
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(POLL)
    reap()
