"""Submit runs to SLURM through submitit: one job for a run, an array for several."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.errors import CrildError, RunError, UsageError
from engine.launch.slurm_job import EngineJob
from engine.launch.slurm_template import NO_TEMPLATE, Template
from engine.launch.start import process_command
from engine.preset.text import shown
from engine.record.files import cause
from engine.record.paths import JOBS
from engine.record.run import read_status, update_status
from engine.record.states import ENDED
from engine.record.status import LOCAL, SLURM, Job, Status
from engine.user.consent import NONE, Consent

SUBMITTABLE = ENDED | {"created", "queued", "running", "stopping"}
"""States of runs that can be submitted; the lock of a run keeps those with an engine out."""
MOST_REQUEUES = 1_000_000
LOCAL_MINUTES = 366 * 24 * 60
"""Minutes that a job without SLURM may take where the user sets no time."""
_TIME = re.compile(r"\d+|(\d+-)?\d{1,3}(:\d{1,2}){1,2}|\d+-\d{1,2}")
_CHANGED = ("state", "job", "queue", "heartbeat", "ended", "error", "exit_code")


@dataclass(frozen=True)
class JobRequest:
    """What the user asks of SLURM for each run. None leaves it to the template, else to SLURM."""

    partition: str | None = None
    account: str | None = None
    gpus: int | None = None
    cpus: int | None = None
    time: str | None = None
    """As sbatch takes it: minutes, hours:minutes:seconds, days-hours, ..."""
    template: Template = NO_TEMPLATE
    local: bool = False
    """Whether to run the jobs on this machine, without SLURM."""

    @property
    def scheduler(self) -> str:
        """What schedules the jobs: `SLURM` or `LOCAL`."""
        return LOCAL if self.local else SLURM

    def options(self) -> dict[str, str | bool]:
        """Options of sbatch, without dashes: those of the template, and over them the user's."""
        own = {
            "partition": self.partition, "account": self.account, "time": self.time,
            "gpus-per-node": None if self.gpus is None else str(self.gpus),
            "cpus-per-task": None if self.cpus is None else str(self.cpus),
        }  # fmt: skip
        merged = dict(self.template.options)
        if self.gpus is not None:  # one way to ask for GPUs, not two that contradict each other
            for name in ("gpus", "gpus-per-node", "gpus-per-task", "gres"):
                merged.pop(name, None)
        return merged | {name: value for name, value in own.items() if value is not None}


def check_request(request: JobRequest, runs_dir: Path) -> None:
    """Raise UsageError for what cannot work, before any run is created."""
    if find_spec("submitit") is None:
        raise UsageError("--slurm needs submitit: pip install 'crild[slurm]'", kind="submitit-missing")
    if request.time is not None and not _TIME.fullmatch(request.time):
        sentence = f"--time takes minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS, not {shown(request.time)}"
        raise UsageError(sentence, kind="invalid-job-time")
    for name, value in (("--partition", request.partition), ("--account", request.account)):
        if value is not None and not re.fullmatch(r"[\w.,@+-]+", value):
            raise UsageError(f"{name} cannot be {shown(value)}: it is a name", kind="invalid-job-option")
    if request.local:
        return
    if "%" in str(runs_dir):
        sentence = f"SLURM cannot write logs below {str(runs_dir)!r}, because % means something else to it: choose another folder with --runs-dir"
        raise UsageError(sentence, kind="percent-in-runs-dir")
    missing = [command for command in ("sbatch", "srun") if shutil.which(command) is None]
    if missing:
        sentence = (
            f"{missing[0]} is not on the PATH, so this machine cannot submit jobs to SLURM: use a login node of the cluster. "
            "To try it without SLURM: --slurm-local"
        )
        raise UsageError(sentence, kind="no-slurm")


def submit(
    runs: Sequence[Path],
    request: JobRequest,
    consent: Consent = NONE,
    *,
    at_once: int | None = None,
    after: Sequence[Job] = (),
) -> list[Job]:
    """Submit runs of one folder, as one job or as the tasks of an array; returns their jobs. The runs become "queued".

    At most `at_once` of them run at a time. They wait until the jobs in `after` have ended, however those end. Call
    `check_request` first. Raises RunError when a run has an engine, or with SLURM's own words when it refuses the job: the
    runs are then as before.
    """
    before: list[tuple[Path, Status]] = []
    try:
        for run_dir in runs:
            status = read_status(run_dir)
            update_status(
                run_dir, expect=SUBMITTABLE, state="queued", job=Job("", request.scheduler), queue=None,
                heartbeat=time.time(), ended=None, error=None, exit_code=None,
            )  # fmt: skip
            before.append((run_dir, status))
        jobs = _jobs(runs, request, consent, at_once, after)
    except BaseException:
        for run_dir, status in before:
            with contextlib.suppress(RunError):
                update_status(run_dir, expect=("queued",), **{name: getattr(status, name) for name in _CHANGED})
        raise
    for run_dir, job in zip(runs, jobs, strict=True):
        with contextlib.suppress(RunError):  # its engine has started, and wrote the job itself
            update_status(run_dir, expect=("queued",), job=job)
    return jobs


def _jobs(
    runs: Sequence[Path], request: JobRequest, consent: Consent, at_once: int | None, after: Sequence[Job]
) -> list[Job]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    folder = runs[0].resolve().parent / JOBS
    name = runs[0].name if len(runs) == 1 else f"{runs[0].name} and {len(runs) - 1} more"
    calls = [
        EngineJob(str(run.resolve()), tuple(sorted(consent.models)), request.template.signal_seconds) for run in runs
    ]
    try:
        folder.mkdir(exist_ok=True)
        executor = _local_executor(folder, request) if request.local else _executor(folder, request, name)
        if not request.local:
            after_words = ":".join(["afterany", *dict.fromkeys(job.id.partition("_")[0] for job in after)])
            executor.update_parameters(
                array_parallelism=at_once or len(runs), dependency=after_words if after else None
            )
        with _detached() if request.local else contextlib.nullcontext(), executor.batch():
            submitted = [executor.submit(call) for call in calls]
    except (FailedJobError, FailedSubmissionError) as error:
        raise _refusal(str(error)) from error
    except OSError as error:
        sentence = f"the job cannot be submitted: {cause(error)}"
        raise RunError(sentence, kind="cannot-submit-job", file=str(folder)) from error
    return [Job(str(job.job_id), request.scheduler) for job in submitted]


def _executor(folder: Path, request: JobRequest, name: str) -> Any:
    from submitit import SlurmExecutor

    options = request.options()
    cpus = options.get("cpus-per-task")
    executor = SlurmExecutor(folder, max_num_timeout=MOST_REQUEUES, python=shlex.join(process_command("job")))
    executor.update_parameters(
        job_name=f"crild {name}",
        time=None,  # submitit's own default is five minutes
        wckey=None,
        stderr_to_stdout=True,
        setup=list(request.template.commands) or None,
        srun_args=[] if cpus is None else [f"--cpus-per-task={cpus}"],  # srun no longer takes it from the job
        additional_parameters={
            **options,
            "requeue": True,
            "signal": f"USR1@{request.template.signal_seconds}",  # what an engine takes for preemption
        },
    )
    return executor


def _local_executor(folder: Path, request: JobRequest) -> Any:
    from submitit import LocalExecutor

    executor = LocalExecutor(folder, max_num_timeout=MOST_REQUEUES, python=shlex.join(process_command("job")))
    executor.update_parameters(
        timeout_min=LOCAL_MINUTES if request.time is None else minutes(request.time),
        gpus_per_node=request.gpus or 0,
        stderr_to_stdout=True,
    )
    return executor


def minutes(text: str) -> float:
    """Minutes that a time of sbatch means: "90", "1:30:00", "2-12", ..."""
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minute, seconds = [*parts, 0, 0][:3]
    else:
        hours, minute, seconds = {1: (0, *parts, 0), 2: (0, *parts), 3: tuple(parts)}[len(parts)]
    return (int(days or 0) * 24 + hours) * 60 + minute + seconds / 60


def _refusal(words: str) -> CrildError:
    """sbatch's own error as a sentence."""
    lines = [line.strip() for line in words.splitlines() if line.strip().startswith(("sbatch:", "error:", "slurm"))]
    said = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines) or words.strip()
    return UsageError(
        f"SLURM refused the job: {said[:400]}. --partition, --account, --gpus, --cpus, --time and --slurm-template change "
        "what is asked for; sinfo lists the partitions",
        kind="sbatch-refused",
    )


@contextlib.contextmanager
def _detached() -> Iterator[None]:
    """Let processes that are started meanwhile outlive the terminal: they ignore SIGHUP and hold none of its streams."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    saved = [(number, os.dup(number)) for number in (0, 1, 2)]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for number, _ in saved:
            os.dup2(null, number)
        yield
    finally:
        for number, copy in saved:
            os.dup2(copy, number)
            os.close(copy)
        os.close(null)
        signal.signal(signal.SIGHUP, before)
