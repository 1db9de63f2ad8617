"""Runs whose processes torchrun or srun starts, on one machine or several."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.record.events import read_events
from engine.record.run import read_status
from tests.conftest import PATIENCE
from tests.launch.fake_engines import wait_for
from tests.train.test_processes import NO_DROPOUT, QUICK, assert_same, figures
from tests.train.tiny_run import make, materials, unmeasured, work

CRILD = (sys.executable, "-m", "crild")
EVEN = (*QUICK, "train.warmup=0", "train.schedule=constant")
"""The rate is the same in every step, however long a stage is: a run that is torn may have saved some of them."""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def start(words: Sequence[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    own = {"CRILD_CACHE_DIR": str(folder / "cache"), "GLOO_SOCKET_IFNAME": "lo" if sys.platform != "darwin" else "lo0"}
    return subprocess.Popen(
        words, env={**os.environ, **own, **environment}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit code and output of each; all are killed if one takes too long."""
    try:
        return [(process.wait(PATIENCE), process.communicate()[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()


def tasks_of_srun(count: int, port: int) -> list[dict[str, str]]:
    """The variables that srun sets for each task of a step."""
    return [
        {
            "SLURM_PROCID": str(number), "SLURM_STEP_NUM_TASKS": str(count), "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7",
            "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": f"1(x{count})", "MASTER_PORT": str(port),
        }
        for number in range(count)
    ]  # fmt: skip


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[tuple[Any, ...]]]:
    """A preset, and what a run of it in one process logs."""
    text = materials(tmp_path, **NO_DROPOUT)
    with monkeypatch.context() as patch:
        patch.setattr("engine.train.results.measure", unmeasured)
        one = make(tmp_path, text, *EVEN, name="one")
        assert work(one) is not None
    return tmp_path / "one.toml", figures(one)


def words_of(preset: Path, name: str) -> list[str]:
    settings = [word for item in EVEN for word in ("--set", item)]
    return ["run", str(preset), "--runs-dir", str(preset.parent / "runs"), "--name", name, *settings]


def test_tasks_of_srun_share_the_steps_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset, expected = prepared(tmp_path, monkeypatch)
    tasks = tasks_of_srun(3, free_port())
    done = ends([start([*CRILD, *words_of(preset, "three")], tmp_path, **task) for task in tasks])
    assert [code for code, _ in done] == [0, 0, 0], done
    run_dir = tmp_path / "runs" / "three-s7"
    assert_same(expected, figures(run_dir), 2e-3)
    assert json.loads((run_dir / "environment.json").read_text())["processes"] == 3
    ranks = [event["ranks"] for event in read_events(run_dir, {"step"})]
    assert all(len(each) == 3 and all(0 <= rank["busy"] <= 1 < rank["memory"] for rank in each) for each in ranks)
    assert "train.processes" not in (run_dir / "preset.toml").read_text()


def test_a_task_that_dies_ends_the_run_and_one_process_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset, expected = prepared(tmp_path, monkeypatch)
    tasks = tasks_of_srun(2, free_port())
    words = [*words_of(preset, "torn"), "--set", "stage.kd.epochs=400"]
    first, second = (start([*CRILD, *words], tmp_path, **task) for task in tasks)
    run_dir = tmp_path / "runs" / "torn-s7"
    assert wait_for(lambda: in_stage(run_dir, "kd"))
    second.kill()
    (code, output), _ = ends([first, second])
    assert code == 1, output
    error = read_status(run_dir).error
    assert error is not None
    assert error.kind == "run"
    assert "connection to another process" in output
    [again] = ends([start([*CRILD, "resume", str(run_dir), "--set", "stage.kd.epochs=1"], tmp_path)])
    assert again[0] == 0, again[1]
    assert_same(expected, figures(run_dir)[: len(expected)], 2e-3)


def in_stage(run_dir: Path, stage: str) -> bool:
    return run_dir.is_dir() and any(event["stage"] == stage for event in read_events(run_dir, {"step"}))


@pytest.mark.slow
def test_torchrun_on_two_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset, expected = prepared(tmp_path, monkeypatch)
    endpoint = f"127.0.0.1:{free_port()}"
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-id", "crild",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--local-addr", "127.0.0.1", "-m", "crild",
    ]  # fmt: skip
    done = ends([start([*torchrun, *words_of(preset, "two")], tmp_path) for _ in range(2)])
    assert [code for code, _ in done] == [0, 0], done
    assert_same(expected, figures(tmp_path / "runs" / "two-s7"), 2e-3)


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    [task, _] = tasks_of_srun(2, free_port())
    for words, kind in (
        (["run", "quickstart", "--processes", "3"], "leave the option out"),
        (["run", "quickstart", "--seeds", "1,2"], "2 runs"),
        (["sweep", "study.toml"], "crild sweep is one"),
    ):
        [(code, output)] = ends([start([*CRILD, *words, "--runs-dir", str(tmp_path / "runs")], tmp_path, **task)])
        assert (code, kind in output) == (2, True), output
    assert not (tmp_path / "runs").exists()
