"""Break an engine at a chosen change of the file system: kill it, signal it, or let the system refuse.

A child process is the engine. `Saboteur` counts every change that it makes to files below a folder: opening for writing,
write, fsync, rename, mkdir, remove, and what libraries do (Python reports these as audit events). At the n-th it strikes.
Needs a process that has loaded torch once: each engine is a fork of it, so that a kill costs a second and not ten.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHANGES = frozenset(("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"))
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ERRORS = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "EMFILE": errno.EMFILE,
    "EROFS": errno.EROFS,
    "EACCES": errno.EACCES,
}
PATIENCE = 300.0
"""Seconds until an engine that has not ended counts as hanging, on a busy machine."""


@dataclass(frozen=True)
class Strike:
    """What happens at the n-th change (from 0): a signal to the engine, or a system error from there on.

    `lasting` is how many changes in a row fail; an error that passes again finds other faults than one that stays.
    """

    at: int
    signal: int | None = None
    error: str | None = None
    lasting: int = 1_000_000

    def __str__(self) -> str:
        what = signal.Signals(self.signal).name if self.signal else f"{self.error} x{self.lasting}"
        return f"{what} at change {self.at}"


class Saboteur:
    """Counts changes of files below `folder` in this process and carries out `strike`."""

    def __init__(self, folder: Path, strike: Strike | None) -> None:
        self.folder = str(folder.resolve())
        self.strike = strike
        self.changes = 0
        self.process = os.getpid()
        self.last = ""

    def install(self) -> None:
        """Watch this process from now on; there is no way back."""
        for name in ("fsync", "write", "pwrite"):
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        sys.addaudithook(self._hook)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(handle: int, *arguments: Any) -> Any:
            if handle > 2:
                try:
                    path = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - no audit event, no Path
                except OSError:
                    path = ""
                self._count(path, name)
            return call(handle, *arguments)

        return wrapper

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._count(path, event)
        elif event in _CHANGES:
            self._count(arguments[0], event)

    def _count(self, path: Any, event: str) -> None:
        if os.getpid() != self.process or not isinstance(path, str | bytes):
            return
        text = os.fsdecode(path)
        if text.startswith("/") and not text.startswith(self.folder):
            return  # a name without a folder is relative to a descriptor: crild deletes that way
        number, self.changes = self.changes, self.changes + 1
        strike = self.strike
        if strike is None or number < strike.at:
            return
        self.last = f"{event} {text}"
        if strike.signal is not None and number == strike.at:
            os.kill(os.getpid(), strike.signal)
            if strike.signal == signal.SIGKILL:
                time.sleep(60)
        if strike.error is not None and number < strike.at + strike.lasting:
            code = ERRORS[strike.error]
            raise OSError(code, os.strerror(code), text)


@dataclass(frozen=True)
class Outcome:
    """How an engine ended: its exit code (negative: the signal), its output, and the changes that it made."""

    code: int
    output: str
    changes: int


def engine(run_dir: Path, cache: Path, *, watched: Path, strike: Strike | None = None) -> Outcome:
    """Be the engine of a run in a child process, with a cache of its own; waits for its end."""
    log = watched.parent / f"output-{os.getpid()}.txt"
    tally = watched.parent / f"changes-{os.getpid()}.json"
    tally.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _be_engine(run_dir, cache, Saboteur(watched, strike), log, tally)
    code = _wait(child)
    changes = json.loads(tally.read_text()) if tally.exists() else 0
    output = log.read_text(errors="replace")
    log.unlink()
    return Outcome(code, output, changes)


def _wait(child: int) -> int:
    until = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"the engine did not end within {PATIENCE:g} seconds")
        time.sleep(0.01)


def _be_engine(run_dir: Path, cache: Path, saboteur: Saboteur, log: Path, tally: Path) -> None:
    code = 99
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
        os.environ["CRILD_CACHE_DIR"] = str(cache)
        from engine.worker import main

        saboteur.install()
        code = main(["train", str(run_dir)])
    except BaseException:  # noqa: BLE001 - what an engine process would print and end with
        traceback.print_exc()
        code = 98
    finally:
        saboteur.strike = None
        tally.write_text(json.dumps(saboteur.changes))
        os._exit(code)
