"""Ask SLURM about jobs, cancel and requeue them: squeue, sacct, scontrol and scancel, none of which is waited for long.

A job of `LOCAL` has no SLURM: it is the process of submitit's local executor, and its id is the id of that process.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RunError
from engine.record.owner import start_time
from engine.record.paths import JOBS
from engine.record.status import LOCAL, Job

WITHIN = 10.0
"""Seconds that a command of SLURM may take."""
GONE = "GONE"
"""The state of a job that SLURM no longer knows."""
_ENDED = frozenset((
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT",
    GONE,
))  # fmt: skip
_WAITING = frozenset((
    "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT",
))  # fmt: skip


@dataclass(frozen=True)
class JobState:
    """What SLURM says about a job."""

    name: str
    """As SLURM writes it, such as PENDING, RUNNING or CANCELLED; GONE for a job that it no longer knows."""
    reason: str = ""
    """Why it waits, as SLURM writes it: Priority, Resources, ...; "" where there is no reason."""

    @property
    def waits(self) -> bool:
        """Whether it has not started, or is to start again."""
        return self.name in _WAITING

    @property
    def ended(self) -> bool:
        """Whether it has ended and will not start again."""
        return self.name in _ENDED

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


def job_state(job: Job) -> JobState | None:
    """What is the case with a job; None where SLURM cannot be asked from here, or does not answer."""
    if job.scheduler == LOCAL:
        return JobState("RUNNING" if _is_local_job(job) else GONE)
    answer = _run("squeue", "--noheader", "--array", "--states=all", "--format=%T|%r", "--jobs", job.id)
    if answer is None:
        return None
    if answer.returncode == 0 and (line := answer.stdout.strip().partition("\n")[0]):
        name, _, reason = line.partition("|")
        return JobState(name, "" if reason in ("None", "") else reason)
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        return None
    past = _run("sacct", "--noheader", "--parsable2", "--allocations", "--format=State", "--jobs", job.id)
    words = past.stdout.split() if past is not None and past.returncode == 0 else []
    return JobState(words[0]) if words else JobState(GONE)


def is_cancelled(job: Job) -> bool:
    """Whether a running job is being cancelled for good; False where SLURM does not say."""
    answer = _run("scontrol", "show", "job", job.id)
    return answer is not None and re.search(r"\bJobState=(COMPLETING|CANCELLED|TIMEOUT)\b", answer.stdout) is not None


def seconds_left(job: Job) -> float | None:
    """Seconds until a running job reaches its time limit; None where it has none, or SLURM does not say."""
    answer = _run("squeue", "--noheader", "--format=%L", "--jobs", job.id)
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", answer.stdout.strip()) if answer is not None else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def cancel(*jobs: Job) -> None:
    """Cancel jobs that wait, and end those that run. Raises RunError where that cannot be done."""
    for job in jobs:
        if job.scheduler == LOCAL and _is_local_job(job):
            os.kill(int(job.id), signal.SIGINT)
    _scancel([job.id for job in jobs if job.scheduler != LOCAL])


def requeue(job: Job) -> None:
    """Put the running job of this process back into SLURM's queue, which ends it here. Raises RunError."""
    answer = _run("scontrol", "requeue", job.id)
    if answer is None or answer.returncode != 0:
        sentence = f"SLURM did not take job {job.id} back into its queue: {_complaint(answer, 'scontrol')}"
        raise RunError(sentence, kind="requeue-refused")


def job_log(run_dir: Path, job: Job) -> Path:
    """The file with what a job printed around its engine, and SLURM about it."""
    return run_dir.parent / JOBS / f"{job.id}_0_log.out"


def _scancel(words: list[str]) -> None:
    if not words:
        return
    answer = _run("scancel", *words)
    if answer is None or answer.returncode != 0:
        sentence = f"the job cannot be cancelled or signalled from here: {_complaint(answer, 'scancel')}"
        raise RunError(sentence, kind="scancel-failed")


def _run(*words: str) -> subprocess.CompletedProcess[str] | None:
    """A command of SLURM that has ended; None where there is none of this name, or it takes too long."""
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _complaint(answer: subprocess.CompletedProcess[str] | None, command: str) -> str:
    """What a command of SLURM reported, on one line."""
    if answer is None:
        return f"{command} is missing or does not answer; do it on a host that submits jobs"
    lines = [line.strip() for line in (answer.stderr or answer.stdout).splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"{command} exited with code {answer.returncode}"


def _is_local_job(job: Job) -> bool:
    """Whether the process of a local job is alive; another one with its id is not taken for it."""
    if not job.id.isdecimal() or start_time(int(job.id)) is None:
        return False
    import psutil

    try:
        return "submitit.local._local" in psutil.Process(int(job.id)).cmdline()
    except psutil.Error:
        return False
