"""How a sweep's process starts and ends the engines of its runs: on this machine, or as tasks of a Ray cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from engine.errors import RunError
from engine.launch import signals
from engine.launch.background import is_engine_alive
from engine.launch.gpu import busy_gpu
from engine.launch.launcher import Launcher
from engine.launch.start import start_engine
from engine.record.lock import held
from engine.record.owner import start_time
from engine.record.run import read_run, update_status
from engine.record.states import ACTIVE, ENDED
from engine.record.status import Fault
from engine.sweep.slots import Slot
from engine.user.consent import NONE, Consent

GPU_POLL = 10.0
"""Seconds between two checks of a busy GPU."""


class Engines(Protocol):
    """Starts the engines of a sweep's runs, and knows which are running. Run directories name runs."""

    def open(self) -> None:
        """Get ready, before any other call. Raises RunError when no run can be started."""

    def reason_to_wait(self, slot: Slot, device: str, *, alone: bool) -> str | None:
        """Why no run can be started in a slot now, as "for the GPU: ..."; None when one can be.

        `device` is what the run's preset asks for; `alone` tells whether no other slot has the slot's device. Raises RunError
        when none can be started any more.
        """

    def start(self, run_dir: Path, slot: Slot) -> None:
        """Start or resume a run.

        Raises RunError, after recording it in the run's status; UsageError where what starts engines takes no run at
        present: `reason_to_wait` then says more.
        """

    def has_engine(self, run_dir: Path) -> bool:
        """Whether an earlier process left a run with an engine, or with one that will start or has yet to exit."""

    def is_busy(self, run_dir: Path, *, alone: bool) -> bool:
        """Whether a run's engine is starting, running, or still exiting where the next run may need its device.

        Raises RunError when it turns out that the engine could not be started.
        """

    def stop(self, run_dir: Path) -> None:
        """Ask for a checkpoint and the end of the run. Raises RunError when there is nothing to stop."""

    def kill(self, run_dir: Path) -> None:
        """End the run at once, without a checkpoint. Raises RunError as `stop`."""

    def close(self) -> None:
        """Release what `open` took; no run is running by then."""


class LocalEngines:
    """Engine processes on this machine, which outlive this one. `command` replaces their command line (for tests); the
    `launcher` forks them, where it can."""

    def __init__(
        self,
        command: Sequence[str] | None = None,
        consent: Consent = NONE,
        *,
        runs_dir: Path,
        launcher: Launcher | None = None,
    ) -> None:
        self._command, self._consent, self._runs_dir = command, consent, runs_dir
        self._launcher = launcher
        self._pids: dict[Path, int] = {}
        self._gpu_checks: dict[str, tuple[float, str | None]] = {}

    def open(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """End the launcher."""
        if self._launcher is not None:
            self._launcher.close()

    def reason_to_wait(self, slot: Slot, device: str, *, alone: bool) -> str | None:  # noqa: ARG002
        """The launcher, while it is loading; the GPU, while other programs use it, unless slots share it."""
        if self._launcher is not None and self._launcher.is_loading():
            return "for the libraries to be imported"
        if not alone:
            return None
        checked, reason = self._gpu_checks.get(device, (-GPU_POLL, None))
        if time.monotonic() - checked >= GPU_POLL or reason is None:
            reason = busy_gpu(device, self._runs_dir)
            self._gpu_checks[device] = (time.monotonic(), reason)
        return None if reason is None else f"for the GPU: {reason}"

    def start(self, run_dir: Path, slot: Slot) -> None:  # noqa: ARG002 - the run's preset has the slot's device and threads
        """Start the engine as a background process."""
        try:
            self._pids[run_dir] = start_engine(
                run_dir, resume=True, consent=self._consent, command=self._command, launcher=self._launcher
            )
        except RunError as error:
            record_failed_start(run_dir, error)
            raise

    def has_engine(self, run_dir: Path) -> bool:
        """By the run's files."""
        return outlived(run_dir)

    def is_busy(self, run_dir: Path, *, alone: bool) -> bool:
        """By the run's status and lock, and the process that was started here."""
        state = read_run(run_dir).state
        if state in ACTIVE or held(run_dir):
            return True
        if state in ENDED:  # an exiting engine needs no core, but the next run may need its GPU memory
            return alone and is_engine_alive(run_dir)
        pid = self._pids.get(run_dir)
        return is_engine_alive(run_dir) or (pid is not None and start_time(pid) is not None)

    def stop(self, run_dir: Path) -> None:
        """By a signal."""
        signals.stop(run_dir)

    def kill(self, run_dir: Path) -> None:
        """By a signal."""
        signals.kill(run_dir)


def outlived(run_dir: Path) -> bool:
    """Whether an engine that an earlier process started is running, or still exiting, as far as the run's files tell."""
    return read_run(run_dir).state in (*ACTIVE, "finished") and is_engine_alive(run_dir)


def record_failed_start(run_dir: Path, error: RunError) -> None:
    """Mark a run whose engine could not be started as failed: otherwise it would look as if it were about to start."""
    fault = Fault.from_error(error)
    with contextlib.suppress(RunError):
        update_status(
            run_dir, expect=("created",), state="failed", ended=time.time(), exit_code=error.exit_code, error=fault
        )
