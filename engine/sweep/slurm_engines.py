"""The engines of a search's runs as jobs of SLURM: its process, on a host that submits jobs, submits each run when its turn comes.

Nodes and this host see the runs folder, where the process reads how runs go. SLURM is asked only about a run that waits, was
preempted or lost its engine.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from engine.errors import CrildError, RunError, UsageError
from engine.launch import signals
from engine.launch.background import is_engine_alive
from engine.launch.slurm_submit import JobRequest, submit
from engine.launch.slurm_watch import settle
from engine.record.lock import held
from engine.record.run import discard_run, read_run
from engine.record.states import ACTIVE
from engine.sweep.engines import outlived
from engine.sweep.slots import Slot
from engine.user.consent import NONE, Consent

ASK_EVERY = 30.0
"""Seconds between two questions to SLURM about one run."""
RETRY_EVERY = 60.0
"""Seconds until a job that SLURM refused is submitted again."""
REFUSED_FOR = 1800.0
"""Seconds of refusals after which no more jobs are submitted."""
_ASKED_ABOUT = frozenset({"queued", "preempted", "lost"})
"""States of runs of which SLURM knows more than their status says."""


class SlurmEngines:
    """The engines of one search, as `engine.sweep.engines.Engines`."""

    def __init__(self, request: JobRequest, consent: Consent = NONE) -> None:
        self._request, self._consent = request, consent
        self._asked: dict[Path, float] = {}
        """When SLURM was last asked about a run (monotonic)."""
        self._unwanted: set[Path] = set()
        """Runs that were asked to stop: their jobs must not start again."""
        self._has_job = False
        """Whether SLURM has taken a job of this search."""
        self._refusal: str | None = None
        self._refused_since = self._refused_at = 0.0

    def open(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do: no job is left."""

    def reason_to_wait(self, slot: Slot, device: str, *, alone: bool) -> str | None:  # noqa: ARG002
        """SLURM, for a minute after it refused a job. It refuses the first one for a reason that stays: then, and after
        half an hour of refusals, no run can be started."""
        if self._refusal is None:
            return None
        now = time.monotonic()
        if not self._has_job or now - self._refused_since > REFUSED_FOR:
            raise RunError(self._refusal, kind="slurm-refuses-jobs")
        return f"for a minute: {self._refusal}" if now - self._refused_at < RETRY_EVERY else None

    def start(self, run_dir: Path, slot: Slot) -> None:  # noqa: ARG002 - SLURM chooses the node
        """Submit the run. Raises UsageError where SLURM does not take it: a new run is then gone."""
        try:
            submit([run_dir], self._request, self._consent)
        except CrildError as error:
            if read_run(run_dir).state == "created":
                discard_run(run_dir)
            self._refused_at = time.monotonic()
            if self._refusal is None:
                self._refused_since = self._refused_at
            self._refusal = error.sentence
            raise UsageError(error.sentence, kind="job-not-taken") from error
        self._has_job, self._refusal = True, None
        self._asked[run_dir] = time.monotonic()
        self._unwanted.discard(run_dir)

    def has_engine(self, run_dir: Path) -> bool:
        """By the run's files, and by SLURM for a run whose job waits or may start again."""
        status = read_run(run_dir).status
        if status is None or status.job is None:
            return outlived(run_dir)
        has_one = self._has_job_left(run_dir) or outlived(run_dir)
        self._has_job = self._has_job or has_one
        return has_one

    def is_busy(self, run_dir: Path, *, alone: bool) -> bool:  # noqa: ARG002 - SLURM gives a GPU away once the job has ended
        """By the run's status; by its job, while it waits, was preempted or lost its engine."""
        state = read_run(run_dir).state
        if state not in _ASKED_ABOUT:
            return state in ACTIVE or held(run_dir)
        if state == "queued" and run_dir in self._unwanted:  # preempted before it could stop
            with contextlib.suppress(RunError):
                signals.stop(run_dir)
        if time.monotonic() - self._asked.get(run_dir, -ASK_EVERY) < ASK_EVERY:
            return True
        self._asked[run_dir] = time.monotonic()
        return self._has_job_left(run_dir)

    def _has_job_left(self, run_dir: Path) -> bool:
        """Whether a run's job waits, runs, or is to start again, as far as SLURM can tell."""
        answer = settle(run_dir)
        entry = read_run(run_dir)
        if entry.state not in _ASKED_ABOUT or entry.status is None or entry.status.job is None:
            return is_engine_alive(run_dir) and entry.state in ACTIVE
        return bool(entry.status.job.id) and (answer is None or not answer.ended)

    def stop(self, run_dir: Path) -> None:
        """Through the run directory; a job that waits is cancelled."""
        self._unwanted.add(run_dir)
        settle(run_dir)
        signals.stop(run_dir)

    def kill(self, run_dir: Path) -> None:
        """Through the run directory; a job that waits is cancelled."""
        self._unwanted.add(run_dir)
        settle(run_dir)
        signals.kill(run_dir)
