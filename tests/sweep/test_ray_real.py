"""Sweeps on a real Ray, which only some installations have: one of its own, and a cluster of two nodes that loses one."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crild_tui.cli import main
from engine.record.files import read_json
from engine.record.run import list_runs, read_status
from engine.sweep.cluster import look_at, ray_slots
from engine.sweep.plan import plan
from engine.sweep.spec import read_sweep
from engine.sweep.submit import reconcile, stop_sweep, submit
from tests import documents
from tests.conftest import PATIENCE, REPOSITORY
from tests.launch.fake_engines import wait_for
from tests.sweep.sweeps import COMMAND, came_to, let_go, over, record_of, states, steps, study, write

pytest.importorskip("ray", reason="Ray is not installed: pip install -c constraints.txt '.[ray]'")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray as crild runs it; on a busy machine its processes take long to start."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without room, and two nodes, each with room for one run."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets have short paths
    own = {"object_store_memory": 100 << 20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={**own, "num_cpus": 0, "temp_dir": folder})
    try:
        for _ in range(2):
            found.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield found
    finally:
        found.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def begin(path: Path, runs: Path, address: str, command: list[str] | None = COMMAND) -> None:
    file = read_sweep(path)
    planned = plan(file)
    reconcile(file, planned, runs)
    slots = ray_slots(look_at(address, runs), len(planned.runs), [None], [None])
    submit(planned, runs, slots, ray=address, command=command)


def loads_ray(pid: int) -> bool:
    """Whether a process has loaded Ray's library."""
    return "_raylet" in Path(f"/proc/{pid}/maps").read_text()


def test_two_nodes_run_a_sweep_that_is_stopped_and_continued(folder: Path, runs: Path, cluster: Any) -> None:
    path = study(folder, "steps-5", "hold-2", seeds="[1]")
    begin(path, runs, cluster.address)
    assert len(record_of(runs).slots) == 2
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 2)
    owner = read_status(run).owner
    assert owner is not None
    assert not loads_ray(owner.pid)
    assert stop_sweep(runs, "study")
    assert over(runs) == "stopped"
    assert read_status(run).state == "stopped"
    let_go(runs)
    begin(path, runs, cluster.address)
    assert over(runs) == "ended"
    assert set(states(runs).values()) == {"finished"}
    assert steps(runs, run.name) == list(range(5))


def test_a_killed_node_costs_its_run_one_attempt(folder: Path, runs: Path, cluster: Any) -> None:
    path = study(folder, "steps-5", "hold-2", seeds="[1]")
    begin(path, runs, cluster.address)
    run, other = runs / "study-toy-entailment-b-s1", runs / "study-toy-entailment-a-s1"
    assert came_to(run, 2)
    assert wait_for(lambda: read_status(other).state == "finished")
    (node,) = (node for node in cluster.worker_nodes if _runs_on(node))
    cluster.remove_node(node, allow_graceful=False)
    assert wait_for(lambda: read_status(run).attempt == 2)
    let_go(runs)
    assert over(runs) == "ended"
    assert states(runs) == {run.name: "finished", other.name: "finished"}
    assert (read_status(run).attempt, read_status(other).attempt) == (2, 1)
    assert steps(runs, run.name) == list(range(5))


def test_a_run_that_fits_on_no_node_is_refused(folder: Path, runs: Path, cluster: Any) -> None:
    path = study(folder)
    for words in (["--gpus-per-run", "8"], []):
        more = [] if words else ["train.threads=64"]
        if more:
            path.write_text(path.read_text() + f"set = {more}\n".replace("'", '"'))
        code = main(["sweep", str(path), "--ray", cluster.address, "--runs-dir", str(runs), *words])
        assert code == 2
    assert list_runs(runs) == []


def test_a_node_killed_in_mid_sweep_changes_nothing_in_the_table(
    tmp_path: Path, runs: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.train.tiny_run import materials  # loads torch

    folder = tmp_path / "files"
    write(folder, materials(tmp_path / "tiny"), "both.toml")
    path = write(
        folder,
        """[sweep]
methods = { both = "both.toml", kd = "both.toml" }
seeds = [1, 2]
set = ["stage.kd.epochs=6", "baseline.enabled=false", "train.threads=1"]
[[sweep.when]]
match = { method = "kd" }
set = ["stages=[kd]"]
""",
    )
    whole = tmp_path / "whole"
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache-whole"))
    begin(path, whole, cluster.address, None)
    assert over(whole, seconds=3 * PATIENCE) == "ended"
    assert {entry.status.attempt for entry in list_runs(whole) if entry.status} == {1}
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache-killed"))
    begin(path, runs, cluster.address, None)
    node = sorted(cluster.worker_nodes, key=id)[0]
    finished = _finished_before(runs, lambda: _runs_on(node) and any(_steps_of(run) > 3 for run in _running(runs)))
    cluster.remove_node(node, allow_graceful=False)
    assert over(runs, seconds=3 * PATIENCE) == "ended"
    names = sorted(entry.id for entry in list_runs(whole))
    assert sorted(entry.id for entry in list_runs(runs)) == names
    attempts = {name: read_status(runs / name).attempt for name in names}
    assert sum(attempts.values()) == len(names) + 1, attempts
    assert all(attempts[name] == 1 for name in finished)
    for name in names:
        one, other = (read_json(where / name / "results.json") or {} for where in (whole, runs))
        assert read_status(runs / name).state == "finished"
        assert one["student"]["metrics"] == other["student"]["metrics"]
        weights = "student/model.safetensors"
        assert (whole / name / weights).read_bytes() == (runs / name / weights).read_bytes()


def _running(runs: Path) -> list[Path]:
    return [entry.path for entry in list_runs(runs) if entry.state == "running"]


def _steps_of(run: Path) -> int:
    return read_status(run).done


def _runs_on(node: Any) -> bool:
    """Whether a task runs on a node: then one of its workers is the parent of a process beside an engine."""
    import psutil

    raylet = next(process.process.pid for process in node.all_processes["raylet"])
    return any("node" in child.cmdline() for child in psutil.Process(raylet).children(recursive=True))


def _finished_before(runs: Path, condition: Any) -> list[str]:
    """The runs that have finished when a condition comes true."""
    assert wait_for(condition, 3 * PATIENCE)
    return [entry.id for entry in list_runs(runs) if entry.state == "finished"]


def test_a_ray_of_the_sweeps_own_ends_with_it_and_leaves_nothing_behind(folder: Path, runs: Path) -> None:
    before = set(Path("/tmp").iterdir())
    begin(study(folder), runs, "local")
    assert over(runs) == "ended"
    assert set(states(runs).values()) == {"finished"}
    assert not [path for path in set(Path("/tmp").iterdir()) - before if path.name.startswith("ray-")]
    assert wait_for(lambda: not _ray_processes()), "the local Ray has ended"


def test_the_commands_of_the_how_to_run(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = REPOSITORY / "docs" / "how-to" / "ray.md"
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("CRILD_RUNS_DIR", str(runs))
    for block in documents.blocks(page):
        if block.file is not None:
            (work / block.file).write_text(block.text)
        for command in documents.commands(block):
            if command.words and not block.not_run:
                assert main(list(command.words)) == 0, command.words
    assert set(states(runs).values()) == {"finished"}
    assert len(states(runs)) == 2
    capsys.readouterr()


def _ray_processes() -> list[str]:
    import psutil

    own = sys.executable
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if "raylet" in line and own in line]
