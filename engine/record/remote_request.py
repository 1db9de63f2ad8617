"""Ask the engine of a run on another host to stop: by a file in the run directory, which that engine's heartbeat reads.

A signal reaches only processes of the same host. The file names the engine that it is for, so that a request which comes
too late does not stop the next attempt.
"""

from __future__ import annotations

import signal
from pathlib import Path

from engine.record.files import read_json, write_json
from engine.record.owner import Owner
from engine.record.paths import REQUEST

SCHEMA_VERSION = 1
_SIGNALS = {number.name: number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL)}


def send_request(run_dir: Path, owner: Owner, number: signal.Signals) -> None:
    """Ask an engine elsewhere to act as if it had received this signal. Raises RunError when the file cannot be written."""
    write_json(run_dir / REQUEST, {"schema": SCHEMA_VERSION, "signal": number.name, "engine": owner.tag()})


def read_request(run_dir: Path, owner: Owner) -> signal.Signals | None:
    """The signal that another host requests of this engine; None without a request, or for one to another attempt."""
    request = read_json(run_dir / REQUEST)
    if request is None or request.get("engine") != owner.tag():
        return None
    return _SIGNALS.get(str(request.get("signal")))
