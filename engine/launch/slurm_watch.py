"""Compare what the status of a run says about its job with what SLURM says, and correct the status.

Only commands that look at one run ask SLURM; a list of runs never does.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from engine.errors import RunError
from engine.launch.slurm import GONE, JobState, job_log, job_state
from engine.record.logs import last_lines
from engine.record.run import read_run, read_status, update_status
from engine.record.states import ACTIVE
from engine.record.status import LOCAL, Fault, Job, Status

SUBMITTED_WITHIN = 120.0
"""Seconds that submitting a job may take."""


def settle(run_dir: Path) -> JobState | None:
    """Ask SLURM about the job of a run that waits, was preempted or lost its engine, and correct the run's status.

    A run whose job ended before its engine started becomes "failed" or "stopped", with a sentence that says why; a
    preempted or lost one whose job waits again becomes "queued". Returns what SLURM says; None for a run without a job, one
    with an engine, and where SLURM does not answer. Never raises for a status that cannot be written.
    """
    entry = read_run(run_dir)
    status = entry.status
    if status is None or status.job is None or entry.state not in ("queued", "preempted", "lost"):
        return None
    if not status.job.id:
        if status.state == "queued" and time.time() - (status.heartbeat or status.created) > SUBMITTED_WITHIN:
            _end(run_dir, status, "failed", "the command that submitted it ended before SLURM had taken the job")
        return None
    state = job_state(status.job)
    if state is None:
        return None
    if state.waits and status.state != "queued":
        with contextlib.suppress(RunError):
            update_status(
                run_dir,
                expect=("preempted", *ACTIVE),
                state="queued",
                heartbeat=time.time(),
                ended=None,
                exit_code=None,
            )
    elif state.ended and status.state == "queued":
        _ended_early(run_dir, status, status.job, state)
    return state


def _ended_early(run_dir: Path, status: Status, job: Job, state: JobState) -> None:
    """Record that a job has ended, and the engine has not started."""
    if read_status(run_dir).state != "queued":  # it has just started, or ended
        return
    if state.name == "CANCELLED":
        _end(run_dir, status, "stopped", None)
        return
    log = job_log(run_dir, job)
    lines = [line.strip() for line in last_lines(log) if line.strip()]
    if job.scheduler == LOCAL or lines:
        why = f"its log says: {lines[-1][:300]}" if lines else "its log says nothing"
    else:
        why = (
            f"it left no log {str(log)!r}. If the nodes of the cluster don't see the folder of the runs, choose one on shared "
            "storage with --runs-dir"
        )
    how = "ended" if state.name == GONE else f"ended ({state})"
    _end(run_dir, status, "failed", f"job {job.id} {how} before the engine started; {why}")


def _end(run_dir: Path, status: Status, state: str, sentence: str | None) -> None:
    fault = None if sentence is None else Fault("run", sentence)
    with contextlib.suppress(RunError):
        update_status(
            run_dir, expect=(status.state,), state=state, ended=time.time(), error=fault,
            exit_code=None if fault is None else 1,
        )  # fmt: skip
