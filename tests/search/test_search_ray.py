"""Searches whose runs are tasks of a Ray cluster, with a small stand-in for Ray that starts the real processes of a node."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.launch.background import StopSignals
from engine.record.run import read_status
from engine.search.supply import SearchSupply
from engine.search.trials import read_trials
from engine.sweep import execute
from engine.sweep.ray_engines import RayEngines
from engine.sweep.record import read_sweep_record
from engine.sweep.slots import Slot
from tests.cli.conftest import Call
from tests.launch.fake_engines import ELSEWHERE
from tests.search.searches import planned, search_file, states
from tests.search.test_search_process import WORKER
from tests.sweep.test_ray_engines import Ray, ray

__all__ = ["ray"]
FAR = [sys.executable, "-P", "-c", ELSEWHERE + WORKER]
"""Engines on another host; the run of trial 1 waits for the file `go`."""


def test_trials_are_tasks_and_a_lost_node_costs_one_an_attempt(
    folder: Path, runs: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.search import submit

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(execute, "POLL", 0.02)
    monkeypatch.setattr(submit, "start_detached", lambda *_: None)
    record = submit.submit_search(
        planned(search_file(folder, "trials = 3\nconfirm = 0\n")), runs, (Slot("cpu", 1),) * 2, ray="auto"
    )
    file = runs / ".sweep" / "tune.json"
    assert record.ray == "auto"
    worker = execute.Worker(file, StopSignals(), FAR)
    assert isinstance(worker.engines, RayEngines)
    worker.supply = SearchSupply(worker)
    waiting = runs / "tune-toy-entailment-base-trial-1-s1"
    beat = worker._beat

    def lose_once() -> None:
        beat()
        if (waiting / "status.json").exists() and read_status(waiting).state == "running" and len(ray.tasks) == 3:
            next(task for task in ray.tasks if waiting.name in task.options["name"]).lose()
            (runs / "go").touch()

    monkeypatch.setattr(worker, "_beat", lose_once)
    assert worker.open(), worker.abort_reason
    worker.survey()
    worker.run_all()
    worker.end()
    assert read_sweep_record(file).state == "ended"
    assert set(states(runs).values()) == {"finished"}
    assert [read_status(runs / run).attempt for run in sorted(states(runs))] == [1, 2, 1]
    found = read_trials(file)
    assert found is not None
    assert found.counts() == {"complete": 3}
    assert len(ray.tasks) == 4
    assert {task.options["num_cpus"] for task in ray.tasks} == {1}


def test_where_runs_take_place_is_said_once(crild: Call, folder: Path, runs: Path) -> None:
    path = str(search_file(folder))
    for words in (("--ray", "auto", "--devices", "cpu"), ("--gpus-per-run", "1"), ("--ray", "ray://x", "--plan")):
        assert crild("search", path, *words, "--runs-dir", str(runs)).code == 2
    assert not runs.exists()
