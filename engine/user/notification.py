"""Run the user's own command when a run ends: `[notify] command` of settings.toml, never anything of a preset."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from engine.errors import CrildError
from engine.preset.text import printable
from engine.record.run import read_status

SECONDS = 60
"""How long the command may take."""
MOST_OUTPUT = 64 * 2**10
"""Bytes of its output that go to the run's log."""
PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "TMPDIR", "LANG", "LANGUAGE", "DISPLAY", "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
"""Variables that the command gets of the engine's, besides LC_*: enough to find programs and the desktop, no secrets."""
_UNUSUAL = re.compile(r"[^\w.+=:@-]", re.ASCII)


def announce_end(run_dir: Path) -> None:
    """Run the user's command at the end of a run, with the result in its environment.

    Not when a finished run stays finished as it was: its end was announced before. A failure here doesn't change how the
    run ended.
    """
    from engine.user.settings import Notify, read_settings

    try:
        command = read_settings(Notify).command
        if not command:
            return
        status = read_status(run_dir)
        if status.state == "finished" and status.error is not None:
            return
        facts = facts_of(run_dir)
    except (OSError, ValueError, CrildError) as error:
        print(f"the notification command was not run: {error}", flush=True)
        return
    environment = {**minimum(os.environ), **facts}
    folder = environment.get("HOME", "/")  # not the run directory: it may hold programs of strangers
    try:
        outcome = _run(command, environment, folder if Path(folder).is_dir() else "/")
    except (OSError, ValueError) as error:  # no shell; a null character
        outcome = f"could not be run: {error}"
    print(f"the notification command {outcome}", flush=True)


def _run(command: str, environment: Mapping[str, str], folder: str) -> str:
    """Run a shell command and print the beginning of its output; returns how it ended. Raises OSError or ValueError."""
    process = subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, cwd=folder, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    output = _Output(process.stdout)
    try:
        code = process.wait(SECONDS)
        outcome = f"ended with exit code {code}"
    except subprocess.TimeoutExpired:
        outcome = f"was ended after {SECONDS} seconds"
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print(output.beginning(), end="")
    return outcome if not output.is_cut else f"{outcome}; it printed more than the {MOST_OUTPUT:,} bytes shown here"


class _Output:
    """What a process prints: the beginning in memory, the rest discarded, so that it neither waits nor fills a disk."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._beginning = bytearray()
        self.is_cut = False
        self._thread = threading.Thread(target=self._read, name="notification", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._pipe.fileno(), 2**16):
            room = MOST_OUTPUT - len(self._beginning)
            self._beginning += chunk[:room]
            self.is_cut = self.is_cut or len(chunk) > room
        self._pipe.close()

    def beginning(self) -> str:
        """The beginning, as whole lines. Waits a moment for what is still in the pipe, which another process may hold."""
        self._thread.join(1.0)
        text = printable(bytes(self._beginning).decode(errors="replace"))
        return text if not text or text.endswith("\n") else f"{text}\n"


def facts_of(run_dir: Path) -> dict[str, str]:
    """What the command learns: CRILD_RUN, CRILD_RUN_DIR, CRILD_STATE, CRILD_METRIC. Raises RunError without a status.

    The run's name, state and metric hold letters, digits and `.+=:@_-` alone, so that a command that passes them on to
    another shell does not run what they say.
    """
    status = read_status(run_dir)
    metric = "" if status.last is None else f"{status.metric_name}={status.last:.4f}"
    facts = {"CRILD_RUN": run_dir.name, "CRILD_STATE": status.state, "CRILD_METRIC": metric}
    return {"CRILD_RUN_DIR": str(run_dir), **{name: _UNUSUAL.sub("_", value) for name, value in facts.items()}}


def minimum(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are passed on; of PATH, its absolute folders."""
    passed = {name: value for name, value in environment.items() if name in PASSED_ON or name.startswith("LC_")}
    if "PATH" in passed:
        passed["PATH"] = absolute_folders(passed["PATH"])
    return passed


def absolute_folders(path: str) -> str:
    """A list of folders as in $PATH without relative ones, which mean other folders in another working directory."""
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if Path(folder).is_absolute())
