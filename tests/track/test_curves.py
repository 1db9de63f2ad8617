"""Curves of trackers: their names, steps and values, as the events have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.record.events import read_events
from engine.track.curves import KINDS, Curves, last_steps, without
from tests.track.samples import attempt, run_of

STEP = {"kind": "step", "t": 9.5, "stage": "ild", "step": 3}
DEV = {"kind": "evaluation", "t": 9.5, "stage": "kd", "step": 4, "model": "student", "split": "dev"}


def values(*events: dict[str, Any]) -> dict[str, float]:
    return {name: value for point in Curves().add(events) for name, value in point.values.items()}


def test_every_number_of_a_step_is_a_curve_of_its_stage() -> None:
    event = {
        **STEP,
        "v": 1,
        "loss": 0.5,
        "terms": {"hidden": 0.25, "logits": 2},
        "learning_rate": 1e-5,
        "consistency": 0.1,
    }
    assert values({**event, "ranks": {"memory": [1.0]}, "candidates": 64, "chosen": 16, "gradient_norm": None, "note": "x", "ok": True}) == {
        "ild/loss": 0.5, "ild/terms/hidden": 0.25, "ild/terms/logits": 2, "ild/learning_rate": 1e-5, "ild/consistency": 0.1,
    }  # fmt: skip


def test_evaluations_are_named_by_set_and_the_self_teacher_has_a_curve_of_its_own() -> None:
    figures = {"metrics": {"accuracy": 0.75}, "label_loss": 0.5, "loss": 2.0, "terms": {"hidden": 3.0}, "best": True}
    assert values({**DEV, **figures}) == {
        "kd/dev/accuracy": 0.75, "kd/dev/label_loss": 0.5, "kd/dev/loss": 2.0, "kd/dev/terms/hidden": 3.0,
    }  # fmt: skip
    assert values({**DEV, **figures, "split": "mm", "model": "self-teacher"}).keys() == {
        "kd/mm/self-teacher/accuracy", "kd/mm/self-teacher/label_loss", "kd/mm/self-teacher/loss",
        "kd/mm/self-teacher/terms/hidden",
    }  # fmt: skip


def test_the_teachers_last_metric_is_a_line_beside_the_students() -> None:
    curves = Curves()
    fine_tuned = {**DEV, "stage": "teacher", "model": "teacher", "metrics": {"accuracy": 0.5}}
    final = {**DEV, "stage": None, "step": 0, "model": "teacher", "metrics": {"accuracy": 0.9}}
    assert [point.values for point in curves.add([fine_tuned, final])] == [{"teacher/dev/accuracy": 0.5}]
    (later,) = curves.add([{**DEV, "metrics": {"accuracy": 0.75, "f1": 0.5}}])
    assert later.values == {"kd/dev/accuracy": 0.75, "kd/dev/f1": 0.5, "kd/dev/teacher/accuracy": 0.9}
    assert (later.number, later.stage, later.step, later.time) == (1, "kd", 4, 9.5)
    (other_set,) = curves.add([{**DEV, "split": "mm", "metrics": {"accuracy": 0.75}}])
    assert other_set.values == {"kd/mm/accuracy": 0.75}


def test_events_of_other_programs_make_no_points() -> None:
    broken: list[dict[str, Any]] = [
        {}, {**STEP}, {**STEP, "loss": "0.5"}, {**STEP, "loss": float("inf")}, {**STEP, "stage": 7, "loss": 1.0},
        {**STEP, "step": "3", "loss": 1.0}, {**STEP, "step": True, "loss": 1.0}, {**STEP, "t": None, "loss": 1.0},
        {**DEV, "metrics": 3}, {**DEV, "metrics": {"accuracy": None}}, {**STEP, "terms": [1.0]},
        {**DEV, "model": "teacher", "metrics": {"accuracy": [1]}},
    ]  # fmt: skip
    assert Curves().add(broken) == []


def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    run_dir = run_of(tmp_path / "runs", state="stopped")
    attempt(run_dir, 2, {"kd": range(4, 9)}, start=("kd", 3)).close()
    points = Curves().add(read_events(run_dir, KINDS))
    steps = [(point.stage, point.step) for point in points if "loss" in str(point.values)]
    assert [step for stage, step in dict.fromkeys(steps) if stage == "kd"] == list(range(1, 9))
    assert last_steps(points)["kd/loss"] == 8
    assert [point.number for point in points] == list(range(len(points)))


def test_what_was_sent_is_left_out_by_curve(tmp_path: Path) -> None:
    points = Curves().add(read_events(run_of(tmp_path / "runs"), KINDS))
    rest = without(points, {**last_steps(points), "kd/loss": 4})
    assert [(point.step, list(point.values)) for point in rest] == [(5, ["kd/loss"]), (6, ["kd/loss"])]
    assert without(points, {}) == points
    assert without(points, last_steps(points)) == []
