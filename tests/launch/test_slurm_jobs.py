"""Jobs that are preempted and requeued give the student of an undisturbed run: without SLURM, and with one where there is one."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from engine.launch.signals import stop
from engine.launch.slurm import cancel, job_state
from engine.launch.slurm_submit import JobRequest, submit
from engine.launch.start import start_engine
from engine.record.run import read_status
from engine.record.status import LOCAL, SLURM
from tests.conftest import PATIENCE
from tests.launch.fake_engines import clear, reached, wait_for
from tests.train.tiny_run import make, materials

pytest.importorskip("submitit")
LONG = ("stage.kd.epochs=40", "train.log_every=1")
"""Enough steps for a signal to find the run in the middle of them."""


def has_slurm() -> bool:
    """Whether a SLURM answers on this machine."""
    if not all(shutil.which(command) for command in ("sbatch", "srun", "sinfo")):
        return False
    answer = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, timeout=20, check=False)
    return answer.returncode == 0 and bool(answer.stdout.strip())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose engine nothing has disturbed, with its data beside it."""
    folder = tmp_path_factory.mktemp("slurm")
    run_dir = make(folder, materials(folder / "data"), *LONG, name="whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache-whole"))
        start_engine(run_dir)
        assert reached(run_dir, "finished")
    return run_dir


def student(run_dir: Path) -> str:
    """The hash of a student's weights."""
    return hashlib.sha256((run_dir / "student" / "model.safetensors").read_bytes()).hexdigest()


def in_a_stage(run_dir: Path, attempt: int, done: int) -> bool:
    """Whether an attempt has taken steps beyond `done`."""
    status = read_status(run_dir)
    return status.attempt >= attempt and status.state == "running" and status.done > done


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [LOCAL, SLURM])
def test_a_preempted_job_goes_on_to_the_same_student(
    undisturbed: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheduler == SLURM and not has_slurm():
        pytest.skip("no SLURM answers on this machine")
    folder = undisturbed.parents[1]
    monkeypatch.setenv("CRILD_CACHE_DIR", str(folder / f"cache-{scheduler}"))
    run_dir = make(folder, (folder / "whole.toml").read_text(), *LONG, name=scheduler)
    try:
        (job,) = submit([run_dir], JobRequest(local=scheduler == LOCAL))
        assert read_status(run_dir).state in ("queued", "running")
        assert wait_for(lambda: in_a_stage(run_dir, 1, 10))
        preempt(run_dir, scheduler)
        assert wait_for(
            lambda: in_a_stage(run_dir, 2, 10), 2 * PATIENCE
        )  # SLURM waits two minutes before it starts again
        assert reached(run_dir, "finished")
    finally:
        if job_state(job) is not None and not is_over(run_dir):
            cancel(job)
        clear(folder / "runs")
    status = read_status(run_dir)
    assert status.attempt == 2
    assert status.job is not None
    assert (status.job.id, status.job.scheduler) == (job.id, scheduler)
    assert student(run_dir) == student(undisturbed)


def is_over(run_dir: Path) -> bool:
    """Whether a run has ended."""
    return read_status(run_dir).state in ("finished", "failed", "stopped")


def preempt(run_dir: Path, scheduler: str) -> None:
    """What a scheduler does before the time of a job ends: signal it, some seconds ahead."""
    job = read_status(run_dir).job
    assert job is not None
    if scheduler == SLURM:
        subprocess.run(["scancel", "--signal=USR1", job.id], timeout=20, check=True)
        return
    children = Path(f"/proc/{job.id}/task/{job.id}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGUSR2)  # as submitit's local executor does


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [LOCAL, SLURM])
def test_stopping_a_run_in_a_job_ends_the_job_for_good(
    undisturbed: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheduler == SLURM and not has_slurm():
        pytest.skip("no SLURM answers on this machine")
    folder = undisturbed.parents[1]
    monkeypatch.setenv("CRILD_CACHE_DIR", str(folder / "cache-whole"))
    run_dir = make(folder, (folder / "whole.toml").read_text(), *LONG, name=f"{scheduler}-stopped")
    (job,) = submit([run_dir], JobRequest(local=scheduler == LOCAL))
    assert reached(run_dir, "running")
    stop(run_dir)
    assert reached(run_dir, "stopped", "preempted")
    assert read_status(run_dir).state == "stopped"
    assert wait_for(lambda: (state := job_state(job)) is not None and state.ended)
    assert read_status(run_dir).attempt == 1
