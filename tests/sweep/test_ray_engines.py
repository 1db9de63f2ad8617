"""Engines as tasks of a Ray cluster, with a small stand-in for Ray that starts the real processes of a node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import RunError
from engine.launch.background import StopSignals
from engine.launch.start import process_command
from engine.record.environment import crild_version
from engine.record.owner import Owner, start_time
from engine.record.run import read_run, read_status
from engine.sweep import execute, ray_engines
from engine.sweep.cluster import Node
from engine.sweep.plan import plan
from engine.sweep.ray_engines import RayEngines
from engine.sweep.record import (
    create_folder,
    presets_file,
    read_sweep_record,
    sweep_file,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.sweep.spec import read_sweep
from engine.sweep.submit import cells_of
from tests.conftest import PATIENCE
from tests.errors import raises
from tests.launch.fake_engines import ELSEWHERE, make, wait_for
from tests.launch.fake_engines import WORKER as SIMPLE
from tests.sweep.sweeps import WORKER, came_to, let_go, states, steps, study

FAR = [sys.executable, "-P", "-c", ELSEWHERE + WORKER]
"""Engines that take themselves to be on another host."""
FAR_SIMPLE = [sys.executable, "-P", "-c", ELSEWHERE + SIMPLE]


class RayError(Exception):
    """As Ray's."""


class RayTaskError(RayError):
    """As Ray's."""


@dataclass
class Task:
    """A task: the process that Ray's worker would start; or nothing, while it waits for resources."""

    options: dict[str, Any]
    job: dict[str, Any]
    child: subprocess.Popen[bytes] | None = None
    error: Exception | None = None

    def begin(self) -> None:
        environment = {**os.environ, **self.job["environment"]}
        words = [self.job["python"], "-P", self.job["process"], "node", str(os.getpid()), *self.job["words"]]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True, env=environment)

    def lose(self) -> None:
        """The node is gone, with all its processes."""
        self.error = RayError("the node died")
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)  # the engine is killed
            self.child.wait()

    def end(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.lose()


class Ray:
    """What `RayEngines` uses of Ray and of a `Connection`."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(
        self, nodes: tuple[Node, ...] = (Node("a", "node-1", 2.0, 0.0), Node("b", "node-2", 2.0, 0.0))
    ) -> None:
        self.alive = nodes
        self.tasks: list[Task] = []
        self.is_waiting = False
        """Whether others hold all resources."""
        self.is_closed = False
        self.ray, self.run_engine = self, self

    def options(self, **options: Any) -> Any:
        def remote(job: dict[str, Any]) -> Task:
            task = Task(options, json.loads(json.dumps(job)))
            self.tasks.append(task)
            if not self.is_waiting:
                task.begin()
            return task

        return SimpleNamespace(remote=remote)

    def nodes(self, runs_dir: Path, known: Any = ()) -> tuple[Node, ...]:
        return self.alive

    def wait(self, tasks: list[Task], timeout: float) -> tuple[list[Task], list[Task]]:
        done = [task for task in tasks if task.error or (task.child is not None and task.child.poll() is not None)]
        return done, [task for task in tasks if task not in done]

    def get(self, task: Task) -> Any:
        if task.error is not None:
            raise task.error
        assert task.child is not None
        assert task.child.stdout is not None
        return json.loads(task.child.stdout.read())

    def cancel(self, task: Task, *, force: bool) -> None:
        assert force
        task.lose()

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ray]:
    fake = Ray()
    monkeypatch.setattr(ray_engines, "Connection", lambda _address: fake)
    monkeypatch.setattr(ray_engines, "SILENT_FOR", 0.5)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield fake
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for task in fake.tasks:
        task.end()


def engines_of(runs: Path, command: list[str] = FAR_SIMPLE) -> RayEngines:
    engines = RayEngines("auto", "study", runs, command)
    engines.open()
    return engines


def is_running(run: Path) -> bool:
    return wait_for(lambda: read_status(run).state == "running")


def is_over(engines: RayEngines, run: Path) -> bool:
    return wait_for(lambda: not engines.is_busy(run, alone=False))


SLOT = Slot("cpu", 1)


def test_a_run_is_a_task_with_its_resources(runs: Path, ray: Ray) -> None:
    run = make(runs, "r", "quick")
    engines = engines_of(runs)
    engines.start(run, Slot("cuda", 3, 0.25))
    assert is_over(engines, run)
    status = read_status(run)
    assert (status.state, status.attempt) == ("finished", 1)
    assert status.owner is not None
    assert status.owner.host == "node-7"
    (task,) = ray.tasks
    assert task.options == {"name": "crild r-s0", "num_cpus": 3, "num_gpus": 0.25}
    engines.close()
    assert ray.is_closed


def test_nodes_that_cannot_be_used_get_no_run(runs: Path, ray: Ray) -> None:
    ray.alive = (*ray.alive, Node("c", "node-3", 8.0, 0.0, "does not see '/runs'"))
    ray.alive = (ray.alive[0], replace(ray.alive[1], shares_cache=False), ray.alive[2])
    engines = engines_of(runs)
    run = make(runs, "r", "quick")
    engines.start(run, SLOT)
    assert is_over(engines, run)
    assert ray.tasks[0].options["label_selector"] == {"ray.io/node-id": "in(a,b)"}
    assert ray.tasks[0].job["own_cache"] == ["b"]


def test_stopping_and_killing_reach_an_engine_on_another_host(runs: Path, ray: Ray) -> None:
    engines = engines_of(runs)
    for name, ask, code in (("a", engines.stop, 143), ("b", engines.kill, 137)):
        run = make(runs, name, "long")
        engines.start(run, SLOT)
        assert is_running(run)
        assert engines.is_busy(run, alone=False)
        ask(run)
        assert is_over(engines, run)
        assert (read_status(run).state, read_status(run).exit_code) == ("stopped", code)


def test_a_task_that_waits_for_resources_shows_that_it_will_start_and_can_be_stopped(
    runs: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engines, "WAITING_BEAT", 0.0)
    ray.is_waiting = True
    run = make(runs, "r", "quick")
    engines = engines_of(runs)
    engines.start(run, SLOT)
    assert engines.is_busy(run, alone=False)
    assert read_status(run).heartbeat is not None
    engines.stop(run)
    assert is_over(engines, run)
    assert read_status(run).state == "stopped"
    assert not list(run.glob("events.*"))


def test_a_run_whose_node_is_lost_can_be_resumed_at_once(runs: Path, ray: Ray) -> None:
    run = make(runs, "r", "long")
    engines = engines_of(runs)
    engines.start(run, SLOT)
    assert is_running(run)
    ray.tasks[0].lose()
    assert read_run(run).state == "running", "its last heartbeat is fresh"
    assert is_over(engines, run)
    assert read_run(run).state == "lost"
    engines.start(run, SLOT)
    assert wait_for(lambda: read_status(run).attempt == 2)
    engines.kill(run)
    assert is_over(engines, run)


def test_an_engine_that_outlives_its_task_is_waited_for(runs: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engines, "SILENT_FOR", PATIENCE)
    run = make(runs, "r", "long")
    engines = engines_of(runs)
    engines.start(run, SLOT)
    assert is_running(run)
    ray.tasks[0].error = RayError("the worker died")
    first = read_status(run).heartbeat
    assert wait_for(lambda: read_status(run).heartbeat != first)
    assert engines.is_busy(run, alone=False)
    engines.stop(run)
    assert is_over(engines, run)
    assert read_status(run).state == "stopped"


def test_a_run_that_cannot_be_started_on_its_node_fails_with_the_nodes_sentence(runs: Path, ray: Ray) -> None:
    run = make(runs, "r", "crash")
    engines = engines_of(runs)
    engines.start(run, SLOT)
    with raises("not-started-on-node", "torch cannot be imported"):
        is_over(engines, run)
    assert read_status(run).state == "failed"


def test_room_is_that_of_the_nodes_which_are_alive(runs: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engines, "NODES_POLL", 0.0)
    engines = engines_of(runs)
    ray.is_waiting = True
    for name in "abc":
        engines.start(make(runs, name), SLOT)
    assert engines.reason_to_wait(SLOT, "cpu", alone=False) is None
    ray.alive = ray.alive[:1]
    assert engines.reason_to_wait(SLOT, "cpu", alone=False) is not None
    ray.alive = ()
    assert engines.reason_to_wait(SLOT, "cpu", alone=False) is not None
    monkeypatch.setattr(ray_engines, "NODE_WITHIN", 0.0)
    with raises("no-ray-node-left"):
        engines.reason_to_wait(SLOT, "cpu", alone=False)


# -- a whole sweep


def worker_of(path: Path, runs: Path, slots: int) -> execute.Worker:
    """The process of a sweep on Ray, in this process."""
    planned = plan(read_sweep(path))
    file = sweep_file(runs, planned.name)
    create_folder(file.parent)
    documents, cells = cells_of(planned)
    write_presets(presets_file(file), documents)
    record = record_for(planned, cells, slots)
    write_sweep_record(file, record)
    return execute.Worker(file, StopSignals(), FAR)


def record_for(planned: Any, cells: Any, slots: int) -> Any:
    from engine.sweep.record import SweepRecord

    return SweepRecord(planned.name, str(planned.file), 1.0, planned.axes, cells, (SLOT,) * slots, ray="auto")


def test_a_sweep_that_loses_a_node_ends_as_one_left_alone(
    folder: Path, runs: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study(folder, "steps-5", "hold-2", seeds="[1]")
    worker = worker_of(path, runs, 2)
    run, other = runs / "study-toy-entailment-b-s1", runs / "study-toy-entailment-a-s1"
    beat = worker._beat

    def lose_once() -> None:
        beat()
        if len(ray.tasks) == 2 and (run / "status.json").exists() and read_status(run).done >= 2:
            if read_status(other).state != "finished":
                return
            next(task for task in ray.tasks if run.name in task.options["name"]).lose()
            let_go(runs)

    monkeypatch.setattr(worker, "_beat", lose_once)
    assert worker.open()
    worker.survey()
    worker.run_all()
    worker.end()
    assert read_sweep_record(worker.file).state == "ended"
    assert states(runs) == {run.name: "finished", other.name: "finished"}
    assert (read_status(run).attempt, read_status(other).attempt) == (2, 1)
    assert steps(runs, run.name) == list(range(5)), "nothing is repeated that was in its checkpoint"


def test_a_cluster_that_cannot_be_reached_ends_the_sweep_with_its_sentence(
    folder: Path, runs: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_address: str) -> None:
        raise RunError("no cluster here", kind="no-ray-cluster")

    monkeypatch.setattr(ray_engines, "Connection", refuse)
    worker = worker_of(study(folder), runs, 1)
    assert not worker.open()
    worker.end()
    record = read_sweep_record(worker.file)
    assert (record.state, record.waiting) == ("stopped", "no cluster here")


# -- the process beside an engine


def node_process(
    run: Path, *, worker: int | None = None, version: str = str(crild_version()), command: Any = FAR_SIMPLE
) -> Any:
    words = process_command("node", str(worker or os.getpid()), version, str(run), json.dumps(command))
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def answer(child: Any) -> Any:
    return json.loads(child.communicate(timeout=PATIENCE)[0])


def test_a_node_with_another_crild_or_without_the_runs_says_so(tmp_path: Path) -> None:
    run = make(tmp_path, "r", "quick")
    assert "9.9" in answer(node_process(run, version="9.9"))["problem"]
    assert "share" in answer(node_process(tmp_path / "away"))["problem"]
    assert read_status(run).attempt == 0


@pytest.mark.parametrize("how", ["terminated", "killed", "orphaned"])
def test_an_engine_ends_with_rays_worker(tmp_path: Path, how: str) -> None:
    run = make(tmp_path, "r", "long")
    child = node_process(run, worker=1 if how == "orphaned" else None)
    owner: Owner | None = None
    with contextlib.suppress(RunError):
        assert came_to(run, 0)
        owner = read_status(run).owner
    assert owner is not None
    if how != "orphaned":
        child.send_signal(signal.SIGTERM if how == "terminated" else signal.SIGKILL)
    assert wait_for(lambda: start_time(owner.pid) is None)
    assert read_status(run).state == "running", "so that it is lost"
    if how != "killed":
        assert answer(child) == {"exited": True}
    child.wait()
