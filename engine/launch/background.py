"""Processes that start engines for others: detached from the terminal, deaf to hang-ups, known by their record."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from engine.errors import RunError
from engine.launch.start import engine_environment, keep, reap
from engine.record.files import cause
from engine.record.lock import held
from engine.record.logs import last_lines
from engine.record.owner import Owner
from engine.record.paths import PRESET
from engine.record.run import RunEntry, read_run
from engine.record.states import ENDED

LETTING_GO = 60.0
"""Seconds that an engine may take to end after its last status, until the next run is started."""
START_WITHIN = 10.0
"""Seconds that a starter waits for such a process."""


class Asked:
    """How often this process was asked to end (SIGTERM, SIGINT); a hang-up is none of its business."""

    def __init__(self) -> None:
        self.times = 0

    def install(self) -> Self:
        """Catch the signals. Only the main thread can."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            self.times += 1

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self


def start_detached(
    what: str, file: Path, words: Sequence[str], owner: Callable[[], Owner | None], command: Sequence[str] | None
) -> None:
    """Start `python -P -m <words>` in a session of its own and wait until it has put itself down as `owner`.

    `what` names it in sentences ("queue"), `file` is its record; it prints into the log beside that. `command`, an
    engine's command line, is handed on as JSON. Raises RunError with what it printed when it ended before it began.
    """
    line = [sys.executable, "-P", "-m", *words]
    if command is not None:
        line.append(json.dumps(list(command)))
    log = file.with_suffix(".log")
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                cwd=file.parent, env=engine_environment(),
            )  # fmt: skip
    except OSError as error:
        raise RunError(f"the {what} cannot be started: {cause(error)}", file=str(file)) from error
    keep(child)
    until = time.monotonic() + START_WITHIN
    while time.monotonic() < until:
        ended = child.poll() is not None
        present = owner()
        if present is not None and present.pid == child.pid:
            return
        if ended:
            lines = last_lines(log, 1)
            raise RunError(
                f"the {what} ended before it began: {lines[0] if lines else 'it said nothing'}", file=str(file)
            )
        time.sleep(0.02)


def letting_go(entry: RunEntry) -> bool:
    """Whether the engine of a run that has ended is still there, letting go of its device after its last word."""
    if entry.status is None or entry.status.state not in ENDED:
        return False
    owner, ended = entry.status.owner, entry.status.ended or 0.0
    return owner is not None and owner.state() == "alive" and time.time() - ended < LETTING_GO


def works(run_dir: Path) -> bool:
    """Whether the engine of a run that was started is at work, about to begin, or still letting go of its device."""
    reap()
    if held(run_dir):
        return True
    entry = read_run(run_dir)
    return letting_go(entry) or entry.state == "created"


def device_of(run: Path) -> str:
    """The device that the preset of a run asks for; "auto" where it cannot be read."""
    try:
        train = tomllib.loads((run / PRESET).read_text(encoding="utf-8")).get("train", {})
    except (OSError, ValueError):
        return "auto"
    device = train.get("device", "auto") if isinstance(train, dict) else "auto"
    return device if isinstance(device, str) else "auto"
