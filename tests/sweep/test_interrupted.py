"""Sweeps that are stopped, killed, and gone on with."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from engine.record.run import list_runs, read_run, read_status
from engine.sweep.execute import work
from engine.sweep.submit import kill_sweep, stop_sweep
from tests.errors import raises
from tests.launch.fake_engines import wait_for
from tests.sweep.sweeps import (
    begin,
    came_to,
    kill_engine,
    kill_process,
    let_go,
    over,
    record_of,
    states,
    steps,
    study,
)


def test_killed_twice_with_its_engines_it_ends_as_one_left_alone(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = study(folder, "steps-5", "hold-2")
    whole = tmp_path / "whole"
    let_go(whole)
    begin(path, whole)
    over(whole)
    begin(path, runs)
    run = runs / "study-toy-entailment-b-s1"
    for step in (2, 3):
        assert came_to(run, step)
        kill_process(runs)
        for entry in list_runs(runs):
            if entry.state == "running":
                kill_engine(entry.path)
        if step == 3:
            let_go(runs)
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
    begin(study(folder, "steps-30", "hold-1", seeds="[1]"), runs)
    run = runs / "study-toy-entailment-b-s1"
    for attempt in (1, 2, 3):
        assert came_to(run, 0, attempt)
        kill_engine(run)
    assert over(runs) == "ended"
    assert read_run(run).state == "lost"


def test_a_hang_up_changes_nothing_and_stopping_keeps_the_rest(folder: Path, runs: Path) -> None:
    path = study(folder, "steps-5", "hold-2")
    begin(path, runs, slots=1)
    owner = record_of(runs).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGHUP)
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 2)
    with raises("sweep-in-progress", "study"):
        begin(path, runs)
    assert stop_sweep(runs, "study")
    assert over(runs) == "stopped"
    assert states(runs) == {"study-toy-entailment-a-s1": "finished", "study-toy-entailment-b-s1": "stopped"}
    with raises("sweep-not-running", "study"):
        stop_sweep(runs, "study")
    with raises("unknown-sweep", "other"):
        stop_sweep(runs, "other")
    let_go(runs)
    begin(path, runs, slots=4)
    assert over(runs) == "ended"
    assert set(states(runs).values()) == {"finished"}
    assert steps(runs, run.name) == list(range(5))


def test_killing_ends_the_engines_at_once(folder: Path, runs: Path) -> None:
    begin(study(folder, "steps-99", "hold-1", seeds="[1]"), runs)
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 1)
    kill_sweep(runs, "study")
    assert over(runs) == "stopped"
    assert wait_for(lambda: read_status(run).state == "stopped")
    with raises("sweep-not-running", "study"):
        kill_sweep(runs, "study")


def test_runs_that_are_just_stopping_are_gone_on_with(folder: Path, runs: Path) -> None:
    path = study(folder, "steps-3", "pause-200", seeds="[1]")  # a step takes so long that stopping does
    begin(path, runs)
    run = runs / "study-toy-entailment-b-s1"
    assert came_to(run, 1)
    stop_sweep(runs, "study")
    assert wait_for(lambda: read_status(run).state == "stopping")
    kill_process(runs)
    begin(path, runs)
    assert over(runs) == "ended"
    assert (read_status(run).state, read_status(run).attempt) == ("finished", 2)


def test_a_lock_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.lock").symlink_to(tmp_path / "elsewhere")
    with raises("cannot-lock-sweep", "study.lock", "symbolic link"):
        work(tmp_path / "study.json")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_a_killed_process_reserved_for_a_run_is_used(folder: Path, runs: Path) -> None:
    (runs / "study-toy-entailment-a-s1").mkdir(parents=True)
    begin(study(folder, seeds="[1]"), runs)
    assert over(runs) == "ended"
    assert set(states(runs).values()) == {"finished"}
