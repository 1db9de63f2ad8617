"""What a SLURM job does: start the engine of a run, tell it when the job must end, and requeue the job with its checkpoint.

submitit starts it, through `crild/process.py`: `python -P crild/process.py job ... FOLDER`. SLURM's signals reach every
process of a job, so engine and job get them both. USR1 comes some time before the job's time ends, or when it is preempted;
TERM when it is preempted or cancelled. Both make the engine write a checkpoint and end as "preempted". INT is crild's own
request to stop.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from engine.errors import RunError
from engine.launch.slurm import is_cancelled, requeue, seconds_left
from engine.launch.start import engine_command, reap, start_engine, wait_for_children
from engine.record.home import provide_home
from engine.record.owner import Owner, start_time
from engine.record.run import read_status, update_status
from engine.record.states import ENDED
from engine.record.status import LOCAL, SLURM, Fault, Job, Status
from engine.user.consent import Consent

POLL = 0.2
"""Seconds between two looks at the engine."""
MARGIN = 60.0
"""Seconds more than the signal's that a job may have left when it ends because of its time limit."""
READERS_WITHIN = 120.0
"""Seconds that a job waits for readers that send the end of its run to trackers."""


class EndSignals:
    """Whether the scheduler has asked this job to end."""

    def __init__(self) -> None:
        self.asked = False

    def install(self) -> Self:
        """Install the signal handlers. Only the main thread can."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.asked = True

        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):  # submitit's local executor sends USR2
            signal.signal(number, handle)
        for number in (signal.SIGINT, signal.SIGHUP):  # the engine stops, and then this job ends
            signal.signal(number, signal.SIG_IGN)
        return self


_signals = EndSignals()


@dataclass(frozen=True)
class EngineJob:
    """What submitit stores for a job: which run to start or resume, and whose code may run."""

    run_dir: str
    models: tuple[str, ...] = ()
    """The models of the user's consent (`engine.user.consent`)."""
    signal_seconds: int = 90
    """Seconds before the end of its time at which SLURM signals the job."""

    def __call__(self) -> None:
        """Run the engine to its end. Always raises SystemExit, with the exit code of the job."""
        raise SystemExit(work(Path(self.run_dir), current_job(), Consent(frozenset(self.models)), self.signal_seconds))


def main(words: Sequence[str]) -> int:
    """Do what submitit stored in the folder that the last word names; returns the job's exit code."""
    _signals.install()  # submitit's own handlers would requeue the job while the engine still writes
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text streams of this process
    provide_home()
    from submitit.core.submission import process_job

    try:
        process_job(words[-1])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def current_job() -> Job:
    """The job that this process runs in, from the variables that SLURM or submitit's local executor set."""
    environment = os.environ
    if environment.get("SUBMITIT_EXECUTOR") == LOCAL:
        return Job(environment["SUBMITIT_LOCAL_JOB_ID"], LOCAL)
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    number = environment["SLURM_JOB_ID"] if array is None else f"{array}_{task}"
    return Job(number, SLURM, environment.get("SLURM_CLUSTER_NAME", ""))


def work(
    run_dir: Path, job: Job, consent: Consent, signal_seconds: int = 90, *, command: Sequence[str] | None = None
) -> int:
    """Start the engine of a run, or resume it, and wait for its end; returns the exit code of the job.

    A run that was preempted goes back into the queue, if SLURM lets it. `command` replaces the engine's command line (for
    tests). Raises RunError when the run cannot be read or another process works on it.
    """
    _signals.install()
    before = read_status(run_dir)
    if before.state in ENDED - {"preempted"}:
        print(f"the run is {before.state}: nothing to do", flush=True)
        return 0
    words = list(command) if command is not None else engine_command("train")
    pid = start_engine(run_dir, resume=True, consent=consent, command=[*words, "--job", json.dumps(asdict(job))])
    engine = _owner(pid)
    asked = False
    while start_time(pid) is not None:
        if _signals.asked and not asked:
            asked = True
            _signal(engine)
        reap()
        time.sleep(POLL)
    after = read_status(run_dir)
    print(f"the engine has ended: the run is {after.state}", flush=True)
    if not _signals.asked and not wait_for_children(READERS_WITHIN):  # readers, which end with the job
        print(f"not everything was sent to trackers: crild track {run_dir.name} sends the rest", flush=True)
    if after.state == "preempted":
        return _continue_later(run_dir, job, before, after, signal_seconds)
    return 0 if after.state in ("finished", "stopped") else after.exit_code or 1


def _owner(pid: int) -> Owner:
    here = Owner.current()
    return Owner(here.host, pid, start_time(pid) or 0.0, here.boot_id, here.pid_namespace)


def _signal(engine: Owner) -> None:
    """Ask the engine for its checkpoint, where the scheduler has not: the first request counts."""
    from engine.launch.signals import send

    print("the job must end: the engine writes a checkpoint", flush=True)
    send(engine, signal.SIGUSR1)


def _continue_later(run_dir: Path, job: Job, before: Status, after: Status, signal_seconds: int) -> int:
    """Requeue the job of a preempted run, unless it was cancelled or its time is too short for a single step."""
    if job.scheduler == LOCAL:
        from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

        _queue_again(run_dir)
        return int(LOCAL_REQUEUE_RETURN_CODE)
    if is_cancelled(job):
        print("the job was cancelled: it is not requeued", flush=True)
        return after.exit_code or 1
    left = seconds_left(job)
    if after.done <= before.done and left is not None and left < signal_seconds + MARGIN:
        error = RunError(
            f"the time of job {job.id} ended before the run took a step: give it more with --time, then run "
            f"crild resume {run_dir.name} --slurm",
            kind="job-time-too-short",
        )
        update_status(run_dir, expect=("preempted",), state="failed", error=Fault.from_error(error), exit_code=1)
        print(f"error: {error}", flush=True)
        return 1
    _queue_again(run_dir)
    try:
        requeue(job)
    except RunError as error:
        print(f"error: {error}", flush=True)
        update_status(run_dir, expect=("queued",), state="preempted", ended=time.time())
        return 1
    return 0


def _queue_again(run_dir: Path) -> None:
    """Mark a preempted run as queued: the job that has just ended will start again."""
    update_status(run_dir, expect=("preempted",), state="queued", heartbeat=time.time(), ended=None, exit_code=None)
