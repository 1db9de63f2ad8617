"""Layers that run again in the backward pass: the same bits, with less kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.distill.objectives import OBJECTIVES
from engine.launch.resume_check import incompatible_changes, run_progress
from engine.models.families import layers_of
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.events import read_events
from engine.train.settings import baseline_stage, student_stage, teacher_stage
from engine.train.step import Counts, Models, StepLosses, bound_terms
from tests.models.tiny_models import EVERY, batch_of, tiny
from tests.train.tiny_run import file_of, make, materials, unmeasured, work

ON = "train.gradient_checkpointing=true"
OF_LAYERS = [name for name, objective in OBJECTIVES.items() if objective.per_layer]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.results.measure", unmeasured)


def curves(run_dir: Path) -> list[dict[str, object]]:
    names = ("stage", "step", "loss", "gradient_norm", "consistency", "terms")
    return [{name: event.get(name) for name in names} for event in read_events(run_dir, {"step"})]


@pytest.mark.parametrize("family", EVERY)
def test_a_run_is_the_same_to_the_last_bit(tmp_path: Path, family: str) -> None:
    """With dropout, mixup, consistency, micro-batches, the teacher's stage and the baseline."""
    text = materials(tmp_path, family=family)
    short = ("teacher.finetune.epochs=1", "stage.ild.epochs=1", "stage.kd.epochs=1", "train.accumulate=2")
    own_teacher, every = (
        "train.save_teacher_cache=false",
        "stage.ild.objectives={ query = 1.0, value = 1.0, hidden = 1.0 }",
    )
    runs = [
        make(tmp_path, text, *short, own_teacher, every, *more, name=name)
        for name, more in (("plain", ()), ("less", (ON,)))
    ]
    plain, less = (work(run_dir) for run_dir in runs)
    assert plain is not None
    assert less is not None
    assert curves(runs[0]) == curves(runs[1])
    weights = [(run_dir / "student" / "model.safetensors").read_bytes() for run_dir in runs]
    assert weights[0] == weights[1]


def test_a_run_may_resume_with_it_and_ends_in_the_same_student(tmp_path: Path) -> None:
    """As after a step that found no memory."""
    text = materials(tmp_path)
    short = ("teacher.finetune.epochs=1", "stage.ild.epochs=1", "stage.kd.epochs=1")
    whole, stopped = (make(tmp_path, text, *short, name=name) for name in ("whole", "stopped"))
    work(whole)
    assert work(stopped, stop_after=("ild", 2)) is None
    changed = load_preset([str(stopped / "preset.toml")], [ON])
    progress = run_progress(stopped)
    assert progress is not None
    assert incompatible_changes(progress, changed.preset.document()) == []
    (stopped / "preset.toml").write_text(dump(changed.preset))
    work(stopped)
    weights = [(run_dir / "student" / "model.safetensors").read_bytes() for run_dir in (whole, stopped)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", OF_LAYERS)
def test_every_objective_has_the_same_gradients(tmp_path: Path, objective: str, precision: str) -> None:
    text = materials(tmp_path)
    overrides = [f"stage.ild.objectives={{ {objective} = 1.0, logits = 1.0 }}"]
    preset = load_preset([str(file_of(tmp_path, text))], overrides).preset
    found = []
    for checkpointing in (False, True):
        train = preset.train.model_copy(update={"gradient_checkpointing": checkpointing})
        settings = student_stage(preset.model_copy(update={"train": train}), preset.stage[0], kind="classification")
        models = Models(tiny("bert", layers=2, seed=1).train(), tiny("bert", layers=4, seed=2).eval())
        models.average = tiny("bert", layers=2, seed=3).eval()
        losses = StepLosses(
            settings,
            models,
            bound_terms(settings, models.student, models.teacher),
            autocast=lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        )
        batch = batch_of(models.student, [7, 4, 9, 6])
        torch.manual_seed(5)
        losses(batch, Counts.of(np.array([7, 4, 9, 6]), mixed=True), 0.7, 0.3).total.backward()  # type: ignore[no-untyped-call]
        found.append({name: own.grad for name, own in models.student.named_parameters() if own.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


def test_layers_of_the_model_in_training_keep_less_and_run_again_in_the_backward_pass(tmp_path: Path) -> None:
    text, kept = materials(tmp_path), []
    for overrides in ([], [ON]):
        preset = load_preset([str(file_of(tmp_path, text))], overrides).preset
        settings = student_stage(preset, preset.stage[1], kind="classification")
        student, teacher = tiny("bert", layers=4, seed=1).train(), tiny("bert", layers=4, seed=2).eval()
        models = Models(student, teacher)
        terms = bound_terms(settings, student, teacher)
        losses = StepLosses(settings, models, terms, autocast=lambda: torch.autocast("cpu", enabled=False))
        ran: Counter[str] = Counter()
        for whose, model in (("student", student), ("teacher", teacher)):
            for layer in layers_of(model):
                layer.register_forward_pre_hook(lambda *_, whose=whose, ran=ran: ran.update([whose]))
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        lengths = np.array([30, 24, 39, 26])
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            batch = replace(batch_of(student, lengths.tolist()), labels=torch.zeros(4, dtype=torch.long))
            total = losses(batch, Counts.of(lengths, mixed=False), None, 0.0).total
        assert ran == {"student": 4, "teacher": 4}
        total.backward()  # type: ignore[no-untyped-call]
        assert ran == {"student": 8 if overrides else 4, "teacher": 4}
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3


def test_all_stages_follow_the_setting(tmp_path: Path) -> None:
    for overrides in ([], [ON]):
        preset = load_preset([str(file_of(tmp_path, materials(tmp_path)))], overrides).preset
        teacher, baseline = (
            teacher_stage(preset, kind="classification"),
            baseline_stage(preset, 3, kind="classification"),
        )
        assert teacher is not None
        assert baseline is not None
        stages = [teacher, *(student_stage(preset, stage, kind="classification") for stage in preset.stage), baseline]
        assert {settings.gradient_checkpointing for settings in stages} == {bool(overrides)}
