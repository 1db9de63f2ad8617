"""The process of a sweep: slots, failures, changes of its file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import PresetError
from engine.record.run import list_runs, read_status
from engine.sweep.submit import stop_sweep
from tests.errors import raises
from tests.launch.fake_engines import wait_for
from tests.sweep.sweeps import (
    begin,
    came_to,
    let_go,
    over,
    record_of,
    states,
    study,
    write,
)


def test_every_run_is_made_and_finished_and_knows_its_place(folder: Path, runs: Path) -> None:
    begin(study(folder), runs)
    assert over(runs) == "ended"
    names = [f"study-toy-entailment-{m}-s{s}" for s in (1, 2) for m in ("a", "b")]
    assert states(runs) == dict.fromkeys(names, "finished")
    status = read_status(runs / names[1])
    assert (status.sweep, status.method, status.task, status.seed) == ("study", "b", "toy-entailment", 1)
    assert dict(status.cell) == {"method": "b", "task": "toy-entailment", "seed": "1"}
    text = (runs / names[1] / "preset.toml").read_text()
    assert 'device = "cpu"' in text
    assert "threads = 1" in text


def test_no_more_runs_than_slots_work_at_a_time(folder: Path, runs: Path) -> None:
    begin(study(folder, "hold-1", seeds="[1, 2, 3]"), runs, slots=2)
    assert wait_for(lambda: list(states(runs).values()).count("running") == 2)
    let_go(runs)
    over(runs)
    spans = [
        (status.started or 0.0, status.ended or 0.0) for status in map(read_status, map(runs.joinpath, states(runs)))
    ]
    together = [sum(one <= start < end for one, end in spans) for start, _ in spans]
    assert max(together) == 2


def test_a_failure_stops_nothing_unless_asked_to(folder: Path, runs: Path) -> None:
    path = study(folder, "fail")
    begin(path, runs, slots=1)
    assert over(runs) == "ended"
    assert sorted(states(runs).values()) == ["failed", "failed", "finished", "finished"]
    begin(path, runs, slots=1)  # what failed is left alone,
    over(runs)
    assert {read_status(runs / run).attempt for run in states(runs)} == {1}
    begin(path, runs, slots=1, retry=True, fail_fast=True)  # and tried again when that is asked for
    assert over(runs) == "stopped"
    assert sorted(read_status(runs / run).attempt for run in states(runs)) == [1, 1, 1, 2]
    assert "first failure" in (record_of(runs).waiting or "")


def test_a_changed_file_adds_cells_and_refuses_to_change_runs(folder: Path, runs: Path) -> None:
    path = study(folder, seeds="[1]")
    begin(path, runs)
    over(runs)
    before = {run: (runs / run / "status.json").read_text() for run in states(runs)}
    path.write_text(path.read_text().replace("[1]", "[1, 2]") + 'set = ["train.log_every=3"]\n')
    begin(path, runs)
    over(runs)
    assert len(states(runs)) == 4
    assert all((runs / run / "status.json").read_text() == text for run, text in before.items())
    path.write_text(path.read_text().replace("log_every=3", "epochs=9"))
    with pytest.raises(PresetError) as caught:
        begin(path, runs)
    (problem,) = caught.value.problems
    assert (problem.kind, problem.file, problem.line) == ("changed-sweep-setting", str(path), 4)
    facts = ("train.epochs is 9.0 now", "was 3.0", "a, toy-entailment, seed 1 and 3 more", "--name")
    assert all(fact in problem.sentence for fact in facts)


def test_a_run_or_sweep_of_somebody_else_is_no_part_of_it(folder: Path, runs: Path) -> None:
    from tests.launch.fake_engines import make

    path = study(folder, seeds="[1]")
    make(runs, "study-toy-entailment-a", seed=1)
    with raises("run-outside-sweep", "study-toy-entailment-a-s1", "--name"):
        begin(path, runs)
    begin(write(folder, path.read_text(), "other.toml"), runs)
    over(runs, "other")
    text = '[sweep]\nname = "other"\n' + path.read_text().removeprefix("[sweep]\n")
    with raises("sweep-of-another-file", "other.toml", "--name"):
        begin(write(folder, text, "third.toml"), runs)


def test_a_full_disk_stops_the_sweep_with_its_sentence(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = study(folder, seeds="[1]")
    runs.mkdir()
    (runs / "study-toy-entailment-a-s1").write_text("in the way")  # as unmakeable as on a full disk
    begin(path, runs, slots=1)
    assert over(runs) == "stopped"
    assert "already exists" in (record_of(runs).waiting or "")
    assert len(record_of(runs).failed) == 1


def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that somebody else fills."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "0, GPU-x, H100, 99, 39000, 40000"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def test_one_slot_waits_for_a_busy_gpu_and_several_share_it(
    folder: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia(tmp_path, monkeypatch)
    path = study(folder, seeds="[1]")
    begin(path, runs, slots=1, device="cuda:0")
    assert wait_for(lambda: (record_of(runs).waiting or "").startswith("for the GPU: 98% of the memory"))
    assert list_runs(runs) == []
    stop_sweep(runs, "study")
    assert over(runs) == "stopped"
    begin(path, runs, slots=2, device="cuda:0")
    assert over(runs) == "ended"
    assert set(states(runs).values()) == {"finished"}
    assert 'device = "cuda:0"' in (runs / "study-toy-entailment-a-s1" / "preset.toml").read_text()


def test_a_run_goes_on_where_there_is_a_slot_now(folder: Path, runs: Path) -> None:
    path = study(folder, "steps-5", "hold-2", seeds="[1]")
    begin(path, runs, slots=2, device="mps")
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 2)
    assert 'device = "mps"' in (run / "preset.toml").read_text()
    stop_sweep(runs, "study")
    over(runs)
    let_go(runs)
    begin(path, runs)
    assert over(runs) == "ended"
    assert 'device = "cpu"' in (run / "preset.toml").read_text()
    assert read_status(run).state == "finished"
