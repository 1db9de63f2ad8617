"""Runs whose steps several processes share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from engine.distill.objectives import OBJECTIVES
from engine.errors import RunError
from engine.launch.start import start_engine
from engine.record.events import read_events
from engine.record.inventory import PROCESSES
from engine.record.paths import cache_dir
from engine.record.run import read_run, read_status
from engine.train import ranks
from engine.train.stepper import Stepper
from tests.conftest import PATIENCE, REPOSITORY
from tests.launch.fake_engines import wait_for
from tests.train.tiny_run import make, materials, unmeasured, work

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.results.measure", unmeasured)


def figures(run_dir: Path) -> list[tuple[Any, ...]]:
    """What each step logged that does not depend on the clock."""
    return [
        (event["stage"], event["step"], {
            "loss": event["loss"], "norm": event["gradient_norm"], "consistency": event.get("consistency", 0.0), **event["terms"],
        })
        for event in read_events(run_dir, {"step"})
    ]  # fmt: skip


def evaluations(run_dir: Path) -> list[tuple[Any, ...]]:
    """The losses of each evaluation: the stage's own and that on the gold labels."""
    return [
        (event["stage"], event["step"], {"labels": event.get("label_loss", 0.0), "loss": event.get("loss", 0.0), **event.get("terms", {})})
        for event in read_events(run_dir, {"evaluation"}) if event["stage"]
    ]  # fmt: skip


def assert_same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]], tolerance: float) -> None:
    assert [step[:2] for step in one] == [step[:2] for step in other]
    for (stage, step, mine), (_, _, theirs) in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance), (stage, step)


EVERY_OBJECTIVE = """
[[stage]]
name = "relations"
steps = 4
batch_size = 16
objectives = { query = 1.0, key = 1.0, value = 1.0, hidden = 0.5 }
layer_map = "uniform"
mixup = { alpha = 1.0, unpaired = "whole" }
consistency = { weight = 0.3, target = "student" }
[[stage]]
name = "states"
steps = 6
batch_size = 11                # the last batch has one row: nothing is left for the other process
objectives = { cls = 1.0, pooled = 1.0, cka = 1.0, embedding = 1.0 }
layer_map = "random"
mixup = false
[[stage]]
name = "attended"
steps = 2
batch_size = 16
objectives = { cls = 1.0 }
layer_map = "alp"
[[stage]]
name = "transport"
steps = 6
batch_size = 11
objectives = { attention = 1.0, hidden = 1.0 }
layer_map = "emd"
[[stage]]
name = "mixed"
steps = 4
batch_size = 16
objectives = { logits = 1.0, labels = 0.5 }
mixup = { alpha = 1.0 }
[[stage]]
name = "projected"
steps = 4
batch_size = 16
objectives = { hidden = 1.0, logits = 1.0 }
mixup = { alpha = 50.0, project = "tokens" }
consistency = { weight = 0.3 }
[[stage]]
name = "chosen"                # three batches of candidates for each step
steps = 3
batch_size = 48
objectives = { logits = 1.0 }
data = { augment = { words = "delete", share = 0.4, copies = 12 } }
select = { worst = 2, of = 12 }
"""
QUICK = ("train.save_teacher_cache=false", "teacher.finetune.epochs=1", "stage.ild.epochs=1", "stage.kd.epochs=1")


def every_objective(tmp_path: Path) -> str:
    before, baseline, after = materials(tmp_path, **NO_DROPOUT).partition("[baseline]")
    return before + EVERY_OBJECTIVE + baseline + after


def test_two_processes_have_the_losses_of_one_for_every_objective(tmp_path: Path) -> None:
    text = every_objective(tmp_path)
    one, two = make(tmp_path, text, *QUICK, name="one"), make(tmp_path, text, *QUICK, "train.processes=2", name="two")
    results = [work(one), work(two)]
    trained = {name for event in read_events(one, {"stage_started"}) for name in event["objectives"]}
    assert trained == set(OBJECTIVES)
    assert_same(figures(one), figures(two), 2e-3)
    assert_same(evaluations(one), evaluations(two), 2e-3)
    assert results[0] is not None
    assert results[1] is not None
    first, second = (result["student"]["metrics"]["accuracy"] for result in results if result)
    assert first == pytest.approx(second, abs=0.05)


def with_processes(run_dir: Path, count: int) -> None:
    file = run_dir / "preset.toml"
    text, found = re.subn(r"(?m)^processes = \d+", f"processes = {count}", file.read_text())
    assert found == 1
    file.write_text(text)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path, before: int, after: int) -> None:
    text = every_objective(tmp_path)
    whole = make(tmp_path, text, *QUICK, name="whole")
    assert work(whole) is not None
    run_dir = make(tmp_path, text, *QUICK, f"train.processes={before}", name="stopped")
    assert work(run_dir, stop_after=("transport", 3)) is None
    with_processes(run_dir, after)
    assert work(run_dir) is not None
    assert read_status(run_dir).attempt == 2
    assert_same(figures(whole), figures(run_dir), 2e-3)


def test_a_process_that_dies_ends_the_run_with_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make(tmp_path, materials(tmp_path), *QUICK, "train.processes=2", name="torn")
    step = Stepper.step

    def killing(stepper: Stepper, number: int) -> int:
        if (stepper.settings.name, number) == ("kd", 1):
            [follower] = psutil.Process().children()
            follower.kill()
        return step(stepper, number)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", killing)
        with pytest.raises(RunError) as caught:
            work(run_dir)
    assert caught.value.kind == "process-lost"
    assert "process 1 of 2 was killed by SIGKILL" in caught.value.sentence
    status = read_status(run_dir)
    assert (status.state, status.stage) == ("failed", "kd")
    with_processes(run_dir, 1)
    assert work(run_dir) is not None


def test_a_process_that_ends_at_once_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make(tmp_path, materials(tmp_path), *QUICK, "train.processes=3", name="never")
    monkeypatch.setattr(ranks, "process_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(RunError) as caught:
        work(run_dir)
    assert caught.value.kind == "process-lost"
    assert "exited with code 3" in caught.value.sentence


def test_the_process_that_was_killed_is_named_not_one_that_ended_for_it() -> None:
    codes = (1, -9)
    ended = tuple(cast(Any, SimpleNamespace(poll=lambda code=code: code)) for code in codes)
    assert "process 2 of 3 was killed by SIGKILL" in str(
        ranks.Ranks(0, 3, followers=ended)._lost(RuntimeError("closed"))
    )


def test_the_other_processes_end_with_the_engine(tmp_path: Path) -> None:
    run_dir = make(tmp_path, materials(tmp_path), *QUICK, "stage.kd.epochs=10000", "train.processes=2", name="killed")
    engine = psutil.Process(start_engine(run_dir))
    assert wait_for(lambda: read_status(run_dir).stage == "kd", PATIENCE)
    followers = engine.children()
    assert len(followers) == 1
    engine.kill()
    assert psutil.wait_procs(followers, timeout=PATIENCE)[1] == []
    assert read_run(run_dir).state == "lost"


def test_the_folder_of_a_killed_engine_is_removed(tmp_path: Path) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "from engine.record.owner import temporary_name as t; print(t('connection'))"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    left = cache_dir() / PROCESSES / gone.stdout.strip()
    left.mkdir(parents=True)
    (left / "store").write_text("")
    run_dir = make(tmp_path, materials(tmp_path), *QUICK, "train.processes=2", name="next")
    assert work(run_dir) is not None
    assert not list((cache_dir() / PROCESSES).iterdir())


def test_a_cache_that_cannot_hold_the_folder_is_a_sentence(tmp_path: Path) -> None:
    cache_dir().mkdir()
    (cache_dir() / PROCESSES).symlink_to(tmp_path)
    run_dir = make(tmp_path, materials(tmp_path), *QUICK, "train.processes=2", name="linked")
    with pytest.raises(RunError) as caught:
        work(run_dir)
    assert caught.value.kind == "cannot-connect-processes"
