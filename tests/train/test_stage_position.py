"""What depends on the position in a stage: layer_map "random" on the epoch, annealed logits on the step; both after resuming."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.preset.load import load_preset
from engine.record.events import read_events
from engine.train.settings import student_stage
from engine.train.step import Counts, Models, StepLosses, bound_terms
from tests.models.tiny_models import batch_of, tiny
from tests.train.tiny_run import make, materials, work

OVERRIDES = (
    "teacher.finetune.epochs=1", "stage.ild.epochs=3", "stage.kd.epochs=1", "baseline.enabled=false",
    "stage.kd.objectives={logits = {mse = true, anneal = 4}}", 'stage.ild.layer_map="random"', "stage.ild.objectives={hidden = 1.0, pooled = 1.0}", "stage.ild.mixup=false",
)  # fmt: skip
LENGTHS = [5, 9, 3]


Steps = list[tuple[str, int, int, int]]
"""Steps that began: stage, step, steps of the stage, epoch."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Steps]:
    """A whole run, and the steps that it began."""
    folder, steps_seen = tmp_path_factory.mktemp("whole"), list[tuple[str, int, int, int]]()
    begin = StepLosses.begin_step

    def watch(losses: StepLosses, step: int, steps: int, *, epoch: int) -> None:
        steps_seen.append((losses.settings.name, step, steps, epoch))
        begin(losses, step, steps, epoch=epoch)

    run_dir = make(folder, materials(folder), *OVERRIDES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepLosses, "begin_step", watch)
        assert work(run_dir) is not None
    return run_dir, steps_seen


@pytest.fixture
def whole(trained: tuple[Path, Steps]) -> Path:
    return trained[0]


def test_every_step_begins_at_its_position(trained: tuple[Path, Steps]) -> None:
    for stage, steps in (("ild", 12), ("kd", 4)):
        of_stage = [position for name, *position in trained[1] if name == stage]
        assert [of_stage[0], *of_stage[1:]] == [[0, 1, 0], *([step, steps, step // 4] for step in range(steps))]


@pytest.mark.parametrize("place", [("ild", 4), ("ild", 6), ("kd", 3)])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, whole: Path, place: tuple[str, int]) -> None:
    """Stopped at the end of an epoch (of four steps), where an evaluation comes first, within one, and within the annealing."""
    run_dir = make(tmp_path, materials(tmp_path), *OVERRIDES)
    assert work(run_dir, stop_after=place) is None
    assert work(run_dir) is not None
    students = [(folder / "student" / "model.safetensors").read_bytes() for folder in (whole, run_dir)]
    assert students[0] == students[1]
    losses = [
        {event["step"]: event["loss"] for event in read_events(folder, {"evaluation"}) if event["stage"] == "ild"}
        for folder in (whole, run_dir)
    ]
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def losses() -> StepLosses:
    still: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    student, teacher = tiny("bert", layers=2, seed=1, **still), tiny("bert", layers=6, seed=2, **still)
    preset = load_preset(["ild-last-hidden", "rte"], ['stage.ild.layer_map="random"']).preset
    settings = student_stage(preset, preset.stage[0], kind="classification")
    terms = bound_terms(settings, student, teacher)
    return StepLosses(settings, Models(student, teacher), terms, autocast=nullcontext)


def loss(losses: StepLosses) -> float:
    batch = batch_of(losses.models.student, LENGTHS, pairs=False)
    return float(losses(batch, Counts.of(np.array(LENGTHS), mixed=False), None, 0.0).total.detach())


def test_every_epoch_has_its_own_map_and_evaluations_have_none(losses: StepLosses) -> None:
    trained: dict[int, float] = {}
    evaluated = set()
    for epoch in (*range(12), 0):
        losses.begin_step(0, 1, epoch=epoch)
        with torch.no_grad():
            evaluated.add(loss(losses))
        found = trained.setdefault(epoch, loss(losses))
        assert loss(losses) == found
    assert len(evaluated) == 1
    assert len(set(trained.values())) > 6
    assert min(trained.values()) < min(evaluated) < max(trained.values())


def test_another_seed_or_stage_draws_otherwise(losses: StepLosses) -> None:
    found = set()
    for settings in (losses.settings, replace(losses.settings, seed=1), replace(losses.settings, name="other")):
        other = StepLosses(settings, losses.models, losses.terms, autocast=nullcontext)
        maps = []
        for epoch in range(8):
            other.begin_step(0, 1, epoch=epoch)
            maps.append(loss(other))
        other.remove()
        found.add(tuple(maps))
    assert len(found) == 3


def test_steps_that_change_their_layers_are_not_captured(losses: StepLosses) -> None:
    assert not losses.capturable
