"""Background processes that start engines: detached from the terminal, ignoring SIGHUP, tracked by their record file."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from engine.errors import RunError
from engine.launch.start import engine_environment, process_command, reap, track
from engine.preset.toml_file import read_plain
from engine.record.files import cause, read_json
from engine.record.lock import held
from engine.record.logs import last_lines
from engine.record.owner import Owner
from engine.record.paths import PRESET
from engine.record.run import RunEntry, read_run
from engine.record.states import ACTIVE, ENDED
from engine.user.consent import NONE, Consent

RELEASE_WITHIN = 60.0
"""Seconds that an engine may take to exit after its last status before the next run is started."""
START_WITHIN = 10.0
"""Seconds that a starter waits for a background process."""


class StopSignals:
    """Counts how often this process was asked to stop (SIGTERM, SIGINT), and makes it ignore SIGHUP."""

    def __init__(self) -> None:
        self.count = 0

    def install(self) -> Self:
        """Install the signal handlers. Only the main thread can."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.count += 1

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self


def start_detached(what: str, file: Path, command: Sequence[str] | None, consent: Consent = NONE) -> None:
    """Start the process of a sweep, queue or search in a session of its own, and wait until the record in `file` names it
    as owner.

    `what` is "sweep", "queue" or "search", also in messages. It prints to a log next to its record. `command`, an engine's command line, is
    passed on as JSON, and `consent` as words of the command line. Raises RunError with the last line that it printed when
    it exits before it owns its record.
    """
    line = process_command("sweep" if what == "queue" else what, *consent.words(), str(file))
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
        sentence = f"cannot start the {what}'s process: {cause(error)}"
        raise RunError(sentence, kind="cannot-start-process", file=str(file)) from error
    track(child)
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        exited = child.poll() is not None
        owner = Owner.of(read_json(file))
        if owner is not None and owner.pid == child.pid:
            return
        if exited:
            lines = last_lines(log, 1)
            sentence = f"the {what}'s process exited at once: {lines[0] if lines else 'it printed nothing'}"
            raise RunError(sentence, kind="process-exited-at-start", file=str(file))
        time.sleep(0.02)


def releasing_device(entry: RunEntry) -> bool:
    """Whether the engine of a run that has ended is still exiting, and may hold memory of its device."""
    if entry.status is None or entry.status.state not in ENDED:
        return False
    owner, ended = entry.status.owner, entry.status.ended or 0.0
    return owner is not None and owner.state() == "alive" and time.time() - ended < RELEASE_WITHIN


def is_engine_alive(run_dir: Path) -> bool:
    """Whether the engine of a run that was started is running, about to start, or still releasing its device.

    An engine on another host counts as running until its heartbeat has been silent for long.
    """
    reap()
    if held(run_dir):
        return True
    entry = read_run(run_dir)
    return releasing_device(entry) or entry.state == "created" or _runs_elsewhere(entry)


def _runs_elsewhere(entry: RunEntry) -> bool:
    owner = entry.status.owner if entry.status is not None else None
    return entry.state in ACTIVE and owner is not None and owner.state() == "elsewhere"


def device_of(run_dir: Path) -> str:
    """The device that the preset of a run asks for; "auto" where the preset cannot be read."""
    try:
        train = read_plain(run_dir / PRESET).get("train", {})
    except (OSError, ValueError):
        return "auto"
    device = train.get("device", "auto") if isinstance(train, dict) else "auto"
    return device if isinstance(device, str) else "auto"
