"""Submit runs to SLURM from the command line's options."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import CrildError, UsageError

if TYPE_CHECKING:
    from engine.launch.slurm_submit import JobRequest
    from engine.record.status import Job
    from engine.user.consent import Consent


def job_request(
    runs_dir: Path,
    *,
    slurm: bool,
    local: bool = False,
    partition: str | None = None,
    account: str | None = None,
    gpus: int | None = None,
    cpus: int | None = None,
    time: str | None = None,
    template: str | None = None,
) -> JobRequest | None:
    """What the options ask of SLURM, checked before any run is created; None without `--slurm` or `--slurm-local`.

    Raises UsageError for options of SLURM without either, for a template that cannot be used, and where this machine
    cannot submit.
    """
    options = {
        "--partition": partition, "--account": account, "--gpus": gpus, "--cpus": cpus, "--time": time,
        "--slurm-template": template,
    }  # fmt: skip
    if not (slurm or local):
        if (alone := next((name for name, value in options.items() if value is not None), None)) is not None:
            raise UsageError(f"{alone} is for jobs of SLURM: add --slurm", kind="slurm-option-alone")
        return None
    from engine.launch.slurm_submit import JobRequest, check_request
    from engine.launch.slurm_template import NO_TEMPLATE, chosen_template

    chosen = NO_TEMPLATE if local else chosen_template(template)
    request = JobRequest(partition, account, gpus, cpus, time, chosen, local=local)
    check_request(request, runs_dir)
    return request


def submit_new(groups: Sequence[Sequence[Path]], request: JobRequest, consent: Consent) -> None:
    """Submit runs that were just created; those of a group wait until the jobs of the group before have ended.

    If that fails, jobs that were submitted already are cancelled, and the runs without one discarded. Raises CrildError.
    """
    from crild_tui.runs.create import discard_runs
    from engine.launch.signals import stop
    from engine.launch.slurm_submit import submit

    jobs: list[Job] = []
    for number, runs in enumerate(groups):
        try:
            jobs = submit(runs, request, consent, after=jobs)
        except CrildError:
            for run_dir in (each for group in groups[:number] for each in group):
                with contextlib.suppress(CrildError):  # it has ended by itself
                    stop(run_dir)
            discard_runs(each for group in groups[number:] for each in group)
            raise
