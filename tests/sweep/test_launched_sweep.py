"""Sweeps whose engines are forks of a launcher: the same results as ordinary engines, and no harm if the launcher dies."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.launch.launcher import LOADED_WITHIN
from engine.launch.start import start_engine
from engine.record.events import read_events
from engine.record.run import create_run, list_runs, read_run, read_status
from engine.sweep.plan import plan
from engine.sweep.slots import Slot
from engine.sweep.spec import read_sweep
from engine.sweep.submit import submit
from tests.launch.fake_engines import wait_for
from tests.sweep.sweeps import over, write
from tests.train.tiny_run import materials

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="engines are forked on Linux only"),
]
LONG = 1200.0
"""Seconds within which a sweep of three tiny runs ends, however busy the machine is."""
SWEEP = """[sweep]
methods = { both = "both.toml" }
seeds = [1, 2, 3]
set = ["teacher.finetune.epochs=2", "stage.ild.epochs=1", "stage.kd.epochs=1", "baseline.enabled=false"]
"""


def begin(tmp_path: Path, runs: Path, slots: int) -> None:
    folder = tmp_path / "files"
    write(folder, materials(tmp_path / "tiny"), "both.toml")
    submit(plan(read_sweep(write(folder, SWEEP))), runs, [Slot("cpu", 1)] * slots)


def launcher_of(runs: Path) -> int | None:
    """The process id of the launcher, once an engine that it forked is running."""
    for entry in list_runs(runs):
        owner = entry.status.owner if entry.status else None
        if entry.state != "running" or owner is None:
            continue
        try:
            parent = int(Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[1])
            if b"launcher" in Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0"):
                return parent
        except OSError:
            continue
    return None


def outcome(run_dir: Path) -> dict[str, Any]:
    """What must not depend on how the engine was started. One run of a sweep trains the teacher, the others find it."""
    results = json.loads((run_dir / "results.json").read_text())
    return {
        "weights": (run_dir / "student" / "model.safetensors").read_bytes(),
        "predictions": (run_dir / "predictions" / "student.jsonl").read_bytes(),
        "metrics": [results[model]["metrics"] for model in ("teacher", "student")],
        "losses": [
            (e["stage"], e["step"], e["loss"], e["terms"])
            for e in read_events(run_dir, {"step"})
            if e["stage"] != "teacher"
        ],
    }


def test_forked_engines_have_the_results_of_ordinary_ones(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    begin(tmp_path, runs, 2)
    assert wait_for(lambda: launcher_of(runs) is not None, LOADED_WITHIN)
    assert over(runs, seconds=LONG) == "ended"
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "another-cache"))
    for entry in list_runs(runs):
        assert entry.state == "finished", entry.status
        seed = int(entry.id.rpartition("-s")[2])
        alone = create_run(tmp_path / "alone", (entry.path / "preset.toml").read_text(), name="alone", seed=seed)
        start_engine(alone)
        assert wait_for(lambda run=alone: read_run(run).state == "finished", LONG)  # type: ignore[misc]
        assert outcome(entry.path) == outcome(alone)
        assert (entry.path / "log.1.txt").read_text().startswith("attempt 1")


def test_a_sweep_goes_on_without_its_launcher(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    begin(tmp_path, runs, 1)
    found: list[int] = []

    def has_forked() -> bool:
        found.extend(filter(None, [launcher_of(runs)]))
        return bool(found)

    assert wait_for(has_forked, LOADED_WITHIN)
    os.kill(found[0], signal.SIGKILL)
    assert over(runs, seconds=LONG) == "ended"
    statuses = [read_status(entry.path) for entry in list_runs(runs)]
    assert [(status.state, status.attempt) for status in statuses] == [("finished", 1)] * 3
