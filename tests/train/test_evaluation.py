"""Evaluations: nothing is computed twice, and their precision is a choice that reaches no final figure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.batches import Batch
from engine.evaluate.predict import LengthBatches, predict
from engine.models.export import content_hash
from engine.record.events import read_events
from engine.record.paths import cache_dir
from engine.train import dev_evaluation, results
from engine.train.dev_evaluation import Dev
from engine.train.loop import Evaluated
from engine.train.step import StepLosses
from tests.train.tiny_run import make, materials, unmeasured, work

QUICK = ("teacher.finetune.epochs=2", "stage.ild.epochs=1", "stage.kd.epochs=2", "stage.kd.evaluate=2")


@pytest.fixture(autouse=True)
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(results, "measure", unmeasured)


class Watch:
    """Records which weights were evaluated on which rows, and in which precision."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str, torch.dtype]] = []
        self.phases: list[str] = []

        def watched(model: Any, batches: LengthBatches, *, dtype: torch.dtype = torch.float32, **more: Any) -> Any:
            self.calls.append((content_hash(model), batches.tokens.content, dtype))
            self.phases.append(more["phase"])
            return predict(model, batches, dtype=dtype, **more)

        monkeypatch.setattr(dev_evaluation, "predict", watched)


def predictions(run_dir: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [json.loads(line) for line in (run_dir / "predictions" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("teacher", "student", "baseline")
    }


def test_no_weights_are_evaluated_twice_on_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    run_dir = make(tmp_path, materials(tmp_path), *QUICK)
    assert work(run_dir) is not None
    assert len(watch.calls) == len(set(watch.calls)), watch.phases
    evaluations = [e for e in read_events(run_dir, {"evaluation"}) if e["model"] != "teacher" or e["stage"]]
    assert len(watch.calls) == len(evaluations)


def test_the_answers_of_a_teacher_are_computed_by_one_run_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = materials(tmp_path)
    first, second, third = (make(tmp_path, text, *QUICK, name=name) for name in ("first", "second", "third"))
    assert work(first) is not None
    watch = Watch(monkeypatch)
    assert work(second) is not None
    assert not [phase for phase in watch.phases if "teacher" in phase and "self" not in phase]
    assert predictions(second) == predictions(first)
    for file in (cache_dir() / "logits").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    assert work(third) is not None
    assert "evaluating the teacher on dev" in watch.phases, "a damaged file is not believed"
    assert predictions(third) == predictions(first)


def test_evaluations_in_half_precision_leave_the_final_figures_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = materials(tmp_path)
    fixed = (*QUICK, "stage.kd.keep_best=false", "stage.kd.patience=false")
    exact = make(tmp_path, text, *fixed, name="exact")
    half = make(tmp_path, text, *fixed, 'train.evaluate_precision="bf16"', name="half")
    assert work(exact) is not None
    watch = Watch(monkeypatch)
    assert work(half) is not None
    kinds = {phase: {call[2] for call, own in zip(watch.calls, watch.phases, strict=True) if own == phase}
             for phase in watch.phases}  # fmt: skip
    assert kinds["evaluating the baseline on dev"] == {torch.float32}
    assert kinds["evaluating the student on dev"] == {torch.bfloat16, torch.float32}
    assert (half / "student" / "model.safetensors").read_bytes() == (
        exact / "student" / "model.safetensors"
    ).read_bytes()
    assert predictions(half) == predictions(exact)


@pytest.mark.parametrize(("patience", "evaluations"), [(9, 6), (3, 4)])
def test_equal_evaluations_are_told_apart_by_their_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, evaluations: int
) -> None:
    losses = iter([0.9, 0.5, 0.7, 0.4, 0.4, 0.6])
    monkeypatch.setattr(dev_evaluation, "compute", lambda *_: {"accuracy": 0.5})
    text = materials(tmp_path)
    run_dir = make(tmp_path, text, *QUICK, "stage.kd.epochs=3", f"stage.kd.patience={patience}", name="flat")
    evaluate = Dev.evaluate

    def flat(dev: Dev, step: StepLosses, role: str, **more: Any) -> Any:
        found = evaluate(dev, step, role, **more)
        if role != "student" or not step.settings.trains_head:
            return found
        return replace(found, label_loss=next(losses))

    monkeypatch.setattr(Dev, "evaluate", flat)
    assert work(run_dir) is not None
    picked = [
        event["best"]
        for event in read_events(run_dir, {"evaluation"})
        if event["stage"] == "kd" and event["model"] == "student"
    ]
    whole = [True, True, False, True, False, False]
    assert picked == whole[:evaluations], "a lower loss is better, the same is not; patience counts the metric alone"
    found = json.loads((run_dir / "results.json").read_text())
    assert (found["best"]["label_loss"], found["best"]["step"]) == (0.4, 8)
    assert found["last"]["step"] == 2 * evaluations


@pytest.mark.parametrize(
    ("one", "other", "is_better"),
    [
        ((0.6, 0.9), (0.5, 0.1), True),
        ((0.5, 0.1), (0.6, 0.9), False),
        ((0.5, 0.1), (0.5, 0.2), True),
        ((0.5, 0.2), (0.5, 0.2), False),
        ((0.5, None), (0.5, 0.2), False),
        ((0.5, 0.2), (0.5, None), False),
        ((0.6, None), (0.5, None), True),
    ],
)
def test_the_score_comes_first(
    one: tuple[float, float | None], other: tuple[float, float | None], is_better: bool
) -> None:
    before, after = (Evaluated(0, score, {}, loss) for score, loss in (other, one))
    assert after.better_than(before) == is_better


def test_what_is_known_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_evaluation, "predict", lambda *_, **__: np.ones((2, 2), np.float32))
    rows: Any = {"dev": "rows", "dev_mm": "rows"}
    dev = Dev(None, rows, 0, torch.device("cpu"))  # type: ignore[arg-type]
    known = np.zeros((2, 2), np.float32)
    answers = dev.all_logits(None, known={"dev": known})
    assert answers["dev"] is known
    assert answers["dev_mm"].sum() == 4


def test_the_teacher_answers_once_for_the_loss_on_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    compute = StepLosses.teacher_activations

    def watched(losses: StepLosses, part: Batch) -> Any:
        asked.append(len(part))
        return compute(losses, part)

    monkeypatch.setattr(StepLosses, "teacher_activations", watched)
    monkeypatch.setattr(dev_evaluation, "LOSS_TOKENS", {"cpu": 100})
    text = materials(tmp_path)
    own = (*QUICK, "stage.ild.evaluate=1", "stage.kd.epochs=1")
    losses = []
    for name, room in (("all", 2**27), ("some", 80_000), ("none", 0)):
        asked.clear()
        monkeypatch.setattr(dev_evaluation, "MOST_ACTIVATIONS", room)
        run_dir = make(tmp_path, text, *own, name=name)
        assert work(run_dir) is not None
        found = [e for e in read_events(run_dir, {"evaluation"}) if e["stage"] == "ild" and e["model"] == "student"]
        losses.append([(e["step"], e["loss"], e["terms"]) for e in found])
        assert len(found) == 4
        assert (sum(asked) == 24) == (name == "all"), "the dev set has 24 rows"
        assert (sum(asked) == 4 * 24) == (name == "none")
    assert losses[0] == losses[1] == losses[2]
