"""Searches whose runs are jobs of SLURM: with a small stand-in for SLURM, and its commands on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli

from engine.errors import UsageError
from engine.launch import signals
from engine.launch.background import StopSignals
from engine.launch.slurm import JobState
from engine.launch.slurm_submit import JobRequest
from engine.launch.slurm_template import Template
from engine.record.annotations import read_annotations
from engine.record.run import list_runs, read_run, read_status, update_status
from engine.record.status import Job
from engine.search.submit import submit_search
from engine.search.trials import Trials
from engine.sweep import execute, slurm_engines
from engine.sweep.record import sweep_file
from engine.sweep.slots import Slot
from engine.sweep.slurm_engines import SlurmEngines
from tests.cli.conftest import Call
from tests.conftest import PATIENCE
from tests.launch.fake_engines import wait_for
from tests.launch.fake_slurm import Answer, calls, replace_slurm
from tests.search.searches import (
    InstantEngines,
    Killed,
    go,
    planned,
    quality,
    record_of,
    search_file,
    states,
    table,
)


@dataclass
class Cluster:
    """SLURM, as far as `SlurmEngines` sees it: a job waits until it has been asked about so often."""

    what: Callable[[Path, Mapping[str, Any]], str] = lambda _run, _preset: "finish"
    """What the job of a run does: finish, fail, hang; "preempt": it is preempted once and starts again; "requeued": SLURM
    does not start it again; "vanish": it ends before its engine starts; "kill": this process is killed as it submits."""
    waits: int = 2
    jobs: dict[str, str] = field(default_factory=dict)
    """The state of each job by run."""
    submitted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """What SLURM says to the next jobs; "" to take one."""
    engine: InstantEngines = field(default_factory=InstantEngines)
    _looks: dict[str, int] = field(default_factory=dict)

    def submit(self, runs: Sequence[Path], request: JobRequest, consent: object) -> list[Job]:
        (run_dir,) = runs
        what = self.what_of(run_dir)
        if what == "kill":
            raise Killed
        if self.refusals and (words := self.refusals.pop(0)):
            raise UsageError(f"SLURM refused the job: {words}", kind="sbatch-refused")
        self.submitted.append(run_dir.name)
        job = Job(str(100 + len(self.submitted)))
        update_status(run_dir, state="queued", job=job, heartbeat=1.0, ended=None)
        self.jobs[run_dir.name], self._looks[run_dir.name] = "PENDING", 0
        return [job]

    def what_of(self, run_dir: Path) -> str:
        return self.what(run_dir, tomli.loads((run_dir / "preset.toml").read_text()))

    def settle(self, run_dir: Path) -> JobState | None:
        """As `engine.launch.slurm_watch.settle`; time passes for the job."""
        name = run_dir.name
        if read_run(run_dir).state not in ("queued", "preempted", "lost") or name not in self.jobs:
            return None
        self._looks[name] += 1
        if self._looks[name] == self.waits and JobState(self.jobs[name]).waits:
            self._start(run_dir)
        state = JobState(self.jobs[name])
        if state.waits and read_status(run_dir).state != "queued":
            update_status(run_dir, state="queued")
        return state

    def _start(self, run_dir: Path) -> None:
        name, what, attempt = run_dir.name, self.what_of(run_dir), read_status(run_dir).attempt
        self.jobs[name] = "COMPLETED"
        if what == "vanish":
            update_status(run_dir, state="failed", ended=1.0)
        elif what in ("preempt", "requeued") and attempt == 0:
            update_status(run_dir, state="preempted", ended=2.0, attempt=1)
            self._looks[name] = 0
            if what == "preempt":
                self.jobs[name] = "REQUEUED"
        else:
            self.engine.begin(run_dir, what if what in ("fail", "hang") else "finish")
            if what == "hang":
                self.jobs[name] = "RUNNING"

    def stop(self, run_dir: Path) -> None:
        """As `engine.launch.signals.stop`."""
        self.cancelled.append(run_dir.name)
        self.jobs[run_dir.name] = "CANCELLED"
        update_status(run_dir, state="stopped", ended=3.0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    fake = Cluster()
    monkeypatch.setattr(slurm_engines, "submit", fake.submit)
    monkeypatch.setattr(slurm_engines, "settle", fake.settle)
    monkeypatch.setattr(slurm_engines, "ASK_EVERY", 0.0)
    monkeypatch.setattr(signals, "stop", fake.stop)
    return fake


def search(path: Path, runs: Path, slots: int = 1, **changes: Any) -> Trials:
    return go(path, runs, SlurmEngines(JobRequest()), slots, JobRequest(), **changes)


def killed(path: Path, runs: Path, cluster: Cluster, at: int) -> None:
    """A search whose process is killed when it submits its job number `at`, while others wait or run."""
    what = cluster.what
    already = len(cluster.submitted)

    def once(run: Path, preset: Mapping[str, Any]) -> str:
        return "kill" if len(cluster.submitted) - already + 1 == at else what(run, preset)

    cluster.what = once
    with pytest.raises(Killed):
        search(path, runs, slots=2)
    cluster.what = what


def test_each_run_is_a_job_and_the_trials_are_those_of_this_machine(
    folder: Path, runs: Path, cluster: Cluster, tmp_path: Path
) -> None:
    path = search_file(folder, "trials = 5\nconfirm = 1\n")
    found = search(path, runs)
    here = go(path, tmp_path / "here", InstantEngines())
    assert table(found) == table(here)
    assert [(one.dev, one.held_out) for one in found.confirmed] == [(one.dev, one.held_out) for one in here.confirmed]
    assert sorted(cluster.submitted) == sorted(states(runs))
    preset = tomli.loads((runs / found.trials[0].runs[0] / "preset.toml").read_text())
    assert "threads" not in preset["train"], "a job uses the cores that it gets"


def test_several_jobs_at_a_time(folder: Path, runs: Path, cluster: Cluster) -> None:
    most, cluster.waits = 0, 6
    submit = cluster.submit

    def counted(*words: Any) -> Any:
        nonlocal most
        jobs = submit(*words)
        most = max(most, sum(state in ("PENDING", "RUNNING") for state in cluster.jobs.values()))
        return jobs

    slurm_engines.submit = counted  # type: ignore[attr-defined, assignment]  # the fixture puts it back
    assert search(search_file(folder, "trials = 6\nconfirm = 0\n"), runs, slots=3).counts() == {"complete": 6}
    assert most == 3


def test_a_preempted_job_continues_or_is_submitted_again(folder: Path, runs: Path, cluster: Cluster) -> None:
    cluster.what = lambda run, _: {"1": "preempt", "2": "requeued"}.get(run.name.split("-")[5], "finish")
    found = search(search_file(folder, "trials = 4\nconfirm = 0\npruner = false\n"), runs)
    assert found.counts() == {"complete": 4}
    once, twice = (next(run for run in states(runs) if f"trial-{number}-" in run) for number in (1, 2))
    assert (cluster.submitted.count(once), cluster.submitted.count(twice)) == (1, 2)
    assert {read_status(runs / run).attempt for run in (once, twice)} == {2}


def test_a_job_that_ends_before_its_engine_starts_fails_its_trial_alone(
    folder: Path, runs: Path, cluster: Cluster
) -> None:
    cluster.what = lambda run, _: "vanish" if "trial-1-" in run.name else "finish"
    found = search(search_file(folder, "trials = 4\n"), runs)
    assert found.counts() == {"complete": 3, "failed": 1}


def test_pruned_trials_end_their_jobs(folder: Path, runs: Path, cluster: Cluster) -> None:
    cluster.what = lambda _, preset: "hang" if quality(preset) < 0.74 and len(cluster.submitted) > 9 else "finish"
    found = search(search_file(folder, 'trials = 18\nsampler = "random"\nconfirm = 0\n'), runs)
    pruned = [run for one in found.trials if one.state == "pruned" for run in one.runs]
    assert cluster.cancelled
    assert set(cluster.cancelled) <= set(pruned)
    assert all(read_annotations(runs / run).tags == ("pruned",) for run in pruned)
    assert all(states(runs)[run] == "stopped" for run in cluster.cancelled)


def test_jobs_that_outlive_the_process_are_found_again(
    folder: Path, runs: Path, cluster: Cluster, tmp_path: Path
) -> None:
    path = search_file(folder, "trials = 6\nconfirm = 0\n")
    for at in (2, 3):
        killed(path, runs, cluster, at)
        assert "queued" in states(runs).values()
    assert search(path, runs, slots=2).counts() == {"complete": 6}
    assert len(cluster.submitted) == len(set(cluster.submitted)), "no run was submitted twice"
    assert set(states(runs).values()) == {"finished"}


def test_a_run_whose_job_was_never_taken_is_submitted(folder: Path, runs: Path, cluster: Cluster) -> None:
    path = search_file(folder, "trials = 3\nconfirm = 0\n")
    killed(path, runs, cluster, 2)
    waiting = next(run for run, state in states(runs).items() if state == "created")
    update_status(runs / waiting, state="queued", job=Job(""), heartbeat=1.0)
    assert search(path, runs).counts() == {"complete": 3}
    assert cluster.submitted.count(waiting) == 1


def test_a_first_job_that_slurm_refuses_ends_the_search_and_leaves_no_run(
    folder: Path, runs: Path, cluster: Cluster
) -> None:
    path = search_file(folder, "trials = 3\n")
    cluster.refusals = ["invalid partition specified: gpx"]
    found = search(path, runs)
    record = record_of(runs)
    assert (record.state, found.done()) == ("stopped", 0)
    assert "gpx" in (record.waiting or "")
    assert list_runs(runs) == []
    assert search(path, runs).counts() == {"complete": 3}


def test_a_job_refused_later_is_tried_again(
    folder: Path, runs: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_engines, "RETRY_EVERY", 0.0)
    path = search_file(folder, "trials = 4\n")
    cluster.refusals = ["", "", "limit on jobs", "limit on jobs"]
    assert search(path, runs).counts() == {"complete": 4}
    monkeypatch.setattr(slurm_engines, "REFUSED_FOR", 0.0)
    cluster.refusals = ["", "limit on jobs", "limit on jobs"]
    search(path, runs, trials=8)
    assert "limit on jobs" in (record_of(runs).waiting or "")


def test_while_slurm_refuses_jobs_the_search_waits(
    runs: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.launch.fake_engines import make

    engines, slot = SlurmEngines(JobRequest()), Slot("cpu", 0)
    engines.start(make(runs, "a"), slot)
    cluster.refusals = ["limit on jobs"]
    run = make(runs, "b")
    with pytest.raises(UsageError):
        engines.start(run, slot)
    assert not run.exists()
    assert "limit on jobs" in (engines.reason_to_wait(slot, "cpu", alone=False) or "")


def test_a_job_that_is_preempted_when_it_should_stop_does_not_start_again(runs: Path, cluster: Cluster) -> None:
    from tests.launch.fake_engines import make

    run, engines = make(runs, "a"), SlurmEngines(JobRequest())
    engines.start(run, Slot("cpu", 0))
    cluster.jobs[run.name] = "COMPLETING"
    update_status(run, state="preempted")
    engines.stop(run)
    cluster.cancelled.clear()
    update_status(run, state="queued")
    assert not engines.is_busy(run, alone=False) or not engines.is_busy(run, alone=False)
    assert cluster.cancelled == [run.name]


def test_what_is_asked_of_slurm_reaches_the_process(folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = Template({"mem": "32G", "exclusive": True}, ("module load cuda",), 180)
    request = JobRequest("gpu", None, 1, None, "4:00:00", template)
    monkeypatch.setattr("engine.search.submit.start_detached", lambda *_: None)
    submit_search(planned(search_file(folder)), runs, [Slot("auto", 0)], slurm=request)
    worker = execute.Worker(sweep_file(runs, "tune"), StopSignals(), None)
    assert isinstance(worker.engines, SlurmEngines)
    assert worker.engines._request == request


# -- the command line


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    pytest.importorskip("submitit")
    return replace_slurm(tmp_path, monkeypatch)


def test_on_the_command_line(crild: Call, folder: Path, runs: Path, slurm: Answer, tmp_path: Path) -> None:
    slurm("sbatch", "Submitted batch job 77")
    slurm("squeue", "PENDING|Priority")
    slurm("scancel")
    path = str(search_file(folder))
    words = ("--runs-dir", str(runs))
    for others in (("--devices", "cpu"), ("--ray", "auto")):
        assert crild("search", path, "--slurm", *others, *words).code == 2
    assert crild("search", path, "--partition", "gpu", *words).code == 2
    said = crild("search", path, "--slurm", "--plan", *words)
    assert "4 at a time as jobs of SLURM" in said.out
    assert not runs.exists()
    assert crild("search", path, "--slurm", "--slots", "1", "--partition", "gpu", "--detach", *words).code == 0
    run = "tune-toy-entailment-base-trial-0-s1"
    assert wait_for(lambda: run in states(runs) and read_status(runs / run).job == Job("77"), PATIENCE)
    assert "--partition=gpu" in (tmp_path / "script.sh").read_text()
    from tests.sweep.sweeps import kill_process, over

    kill_process(runs, "tune")
    here = crild("search", path, *words)
    assert here.code == 2
    assert "--slurm" in here.err
    assert crild("search", path, "--slurm", "--detach", *words).code == 0
    assert crild("search", path, "--stop", *words).code == 0
    assert over(runs, "tune") == "stopped"
    assert states(runs) == {run: "stopped"}
    assert [line for line in calls(tmp_path) if line.startswith("scancel")] == ["scancel 77"]
    assert sum(line.startswith("sbatch") for line in calls(tmp_path)) == 1, "the job was found again"
