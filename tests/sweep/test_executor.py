"""The process of a sweep: slots, failures, kills, going on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine.errors import PresetError, RunError, UsageError
from engine.record.run import list_runs, read_run, read_status
from engine.sweep.submit import kill_sweep, stop_sweep
from tests.launch.fake_engines import wait_for
from tests.sweep.sweeps import begin, kill_engine, kill_process, method, over, record_of, write


def study(folder: Path, *tags: str, seeds: str = "[1, 2]", more: str = "") -> Path:
    """Two methods over seeds; the second behaves as the tags say."""
    names = [method(folder, "a"), method(folder, "b", *tags)]
    return write(folder, f"[sweep]\nmethods = {names}\nseeds = {seeds}\n{more}".replace("'", '"'))


def states(runs: Path) -> dict[str, str]:
    return {entry.id: entry.state for entry in list_runs(runs)}


def came_to(run: Path, step: int, attempt: int = 1) -> bool:
    """Whether a run comes to a step of an attempt, or a later one."""

    def there() -> bool:
        if not (run / "status.json").exists():
            return False
        status = read_status(run)
        return status.attempt >= attempt and status.done >= step and status.owner is not None

    return wait_for(there)


def steps(runs: Path, run: str) -> list[int]:
    return [int(line) for line in (runs / run / "steps.txt").read_text().split()]


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
    begin(study(folder, "steps-5", "pause-20", seeds="[1, 2, 3]"), runs, slots=2)
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
    assert "told to stop" in (record_of(runs).waiting or "")


def test_killed_twice_with_its_engines_it_ends_as_one_left_alone(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = study(folder, "steps-20", "pause-10")
    whole = tmp_path / "whole"
    begin(path, whole)
    over(whole)
    begin(path, runs)
    run = runs / "study-toy-entailment-b-s1"
    for step in (2, 9):
        assert came_to(run, step)
        kill_process(runs)
        for entry in list_runs(runs):
            if entry.state == "running":
                kill_engine(entry.path)
        begin(path, runs)
    assert over(runs) == "ended"
    assert states(runs) == states(whole)
    for name in states(runs):
        assert (runs / name / "results.json").read_text() == (whole / name / "results.json").read_text()
        assert (
            len(steps(runs, name)) <= len(steps(whole, name)) + 2
        )  # at most the step that a kill cut short, each time
    assert read_status(runs / "study-toy-entailment-b-s1").attempt == 3
    assert read_status(runs / "study-toy-entailment-a-s1").attempt == 1


def test_engines_that_outlive_their_sweep_are_waited_for(folder: Path, runs: Path) -> None:
    path = study(folder, "steps-20", "pause-10", seeds="[1]")
    begin(path, runs)
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 2)
    kill_process(runs)
    begin(path, runs)
    assert over(runs) == "ended"
    assert (read_status(run).state, read_status(run).attempt) == ("finished", 1)


def test_a_killed_engine_goes_on_by_itself_but_not_for_ever(folder: Path, runs: Path) -> None:
    begin(study(folder, "steps-30", "pause-10", seeds="[1]"), runs)
    run = runs / "study-toy-entailment-b-s1"
    for attempt in (1, 2, 3):
        assert came_to(run, 0, attempt)
        kill_engine(run)
    assert over(runs) == "ended"
    assert read_run(run).state == "lost"


def test_a_hang_up_changes_nothing_and_stopping_keeps_the_rest(folder: Path, runs: Path) -> None:
    path = study(folder, "steps-30", "pause-10")
    begin(path, runs, slots=1)
    owner = record_of(runs).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGHUP)
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 2)
    with pytest.raises(RunError, match="worked on already"):
        begin(path, runs)
    assert stop_sweep(runs, "study")
    assert over(runs) == "stopped"
    assert states(runs) == {"study-toy-entailment-a-s1": "finished", "study-toy-entailment-b-s1": "stopped"}
    with pytest.raises(UsageError, match="nothing to stop"):
        stop_sweep(runs, "study")
    with pytest.raises(UsageError, match="there is no sweep"):
        stop_sweep(runs, "other")
    begin(path, runs, slots=4)
    assert over(runs) == "ended"
    assert set(states(runs).values()) == {"finished"}
    assert steps(runs, run.name) == list(range(30))


def test_killing_ends_the_engines_at_once(folder: Path, runs: Path) -> None:
    begin(study(folder, "steps-99", "pause-50", seeds="[1]"), runs)
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 1)
    kill_sweep(runs, "study")
    assert over(runs) == "stopped"
    assert wait_for(lambda: read_status(run).state == "stopped")


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
    assert str(problem).startswith(
        f"{path}:4: train.epochs is 9.0 now and was 3.0 when a, toy-entailment, seed 1 and 3 more"
    )
    assert "--name" in problem.sentence


def test_a_run_or_sweep_of_somebody_else_is_no_part_of_it(folder: Path, runs: Path) -> None:
    from tests.launch.fake_engines import make

    path = study(folder, seeds="[1]")
    make(runs, "study-toy-entailment-a", seed=1)
    with pytest.raises(UsageError, match="is no part of this sweep"):
        begin(path, runs)
    begin(write(folder, path.read_text(), "other.toml"), runs)
    over(runs, "other")
    text = '[sweep]\nname = "other"\n' + path.read_text().removeprefix("[sweep]\n")
    with pytest.raises(UsageError, match="choose another name"):
        begin(write(folder, text, "third.toml"), runs)


def test_a_full_disk_stops_the_sweep_with_its_sentence(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = study(folder, seeds="[1]")
    runs.mkdir()
    (runs / "study-toy-entailment-a-s1").write_text("in the way")  # as unmakeable as on a full disk
    begin(path, runs, slots=1)
    assert over(runs) == "stopped"
    assert "exists already" in (record_of(runs).waiting or "")
    assert len(record_of(runs).failed) == 1
