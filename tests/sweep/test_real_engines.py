"""A sweep of real engines, killed -9 twice with everything that it started: the same table as one left alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.record.events import EventTail
from engine.record.files import read_json
from engine.record.run import list_runs, read_status
from engine.sweep.plan import plan
from engine.sweep.slots import Slot
from engine.sweep.spec import read_sweep
from engine.sweep.submit import reconcile, submit
from tests.conftest import PATIENCE
from tests.sweep.sweeps import kill_engine, kill_process, over, write
from tests.train.tiny_run import materials


def begin(path: Path, runs: Path) -> None:
    file = read_sweep(path)
    found = plan(file)
    reconcile(file, found, runs)
    submit(found, runs, [Slot("cpu", 1)] * 2)


def kill_everything_at(runs: Path, stage: str, step: int) -> None:
    """kill -9 of the sweep and its engines as soon as an engine comes to a step of a stage in its present attempt."""
    deadline = time.monotonic() + PATIENCE

    def come() -> bool:
        for entry in list_runs(runs):
            if entry.state != "running" or entry.status is None:
                continue
            events = [e for e in EventTail(entry.path).poll() if e.get("kind") == "step" and e["stage"] == stage]
            if events and events[-1]["step"] >= step:
                return True
        assert not any(entry.state == "failed" for entry in list_runs(runs))
        return False

    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill_process(runs)
    killed = [entry.path for entry in list_runs(runs) if entry.state in ("running", "stalled")]
    assert killed
    for run in killed:
        kill_engine(run)


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_table(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "files"
    write(folder, materials(tmp_path / "tiny"), "both.toml")
    path = write(
        folder,
        """[sweep]
methods = { both = "both.toml", kd = "both.toml" }
seeds = [1, 2]
set = ["stage.kd.epochs=6", "baseline.enabled=false"]
[[sweep.when]]
match = { method = "kd" }
set = ["stages=[kd]"]
""",
    )
    whole = tmp_path / "whole"
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache-whole"))
    begin(path, whole)
    assert over(whole, seconds=PATIENCE) == "ended"
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache-killed"))
    begin(path, runs)
    kill_everything_at(runs, "teacher", 5)
    begin(path, runs)
    kill_everything_at(runs, "kd", 5)
    begin(path, runs)
    assert over(runs, seconds=PATIENCE) == "ended"
    names = [entry.id for entry in list_runs(whole)]
    assert sorted(names) == sorted(entry.id for entry in list_runs(runs))
    assert len(names) == 4
    for name in names:
        one, other = (read_json(where / name / "results.json") or {} for where in (whole, runs))
        assert read_status(runs / name).state == "finished"
        assert one["student"]["metrics"] == other["student"]["metrics"]
        assert one["teacher"]["metrics"] == other["teacher"]["metrics"]
        weights = "student/model.safetensors"
        assert (whole / name / weights).read_bytes() == (runs / name / weights).read_bytes()
    assert len([p for p in (tmp_path / "cache-killed" / "teachers").iterdir() if p.is_dir()]) == 1
