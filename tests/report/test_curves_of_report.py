from __future__ import annotations

from pathlib import Path

import pytest

from engine.record.events import EventWriter
from engine.record.paths import events_file
from engine.report.collect import collect_runs
from engine.report.curves import POINTS, curves
from engine.report.settings import Group, group_runs
from tests.report.records import finished, right, write_curves


def group_of(runs_dir: Path) -> Group:
    (group,) = group_runs(collect_runs(runs_dir.iterdir()).runs)
    return group


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_curves_are_means_over_seeds_of_the_student_alone(runs_dir: Path) -> None:
    for seed, level in ((1, 0.6), (2, 0.8)):
        write_curves(finished(runs_dir, "kd", seed, right(10)), steps=20, level=level)
    found = curves(group_of(runs_dir), "accuracy")
    (band,) = found["metric"]
    assert band.stage == "kd"
    step, mean, deviation, runs = band.points[-1]
    assert (step, runs) == (20, 2)
    assert mean == pytest.approx(0.7)
    assert deviation == pytest.approx(0.1414, abs=1e-4)
    assert [point[1] for point in found["loss"][0].points] == pytest.approx([0.4, 0.2, 2 / 15, 0.1])
    assert found["consistency"][0].points[0][1] == pytest.approx(0.1)


def test_stages_follow_each_other(runs_dir: Path) -> None:
    events = EventWriter(events_file(finished(runs_dir, "crild", 1, right(10)), 1), 1)
    for stage, role in (("teacher", "teacher"), ("ild", "student"), ("kd", "student"), ("baseline", "baseline")):
        events.write("stage_started", stage=stage, role=role, step=0, steps=30)
        events.write("step", stage=stage, step=10, loss=1.0)
    events.close()
    bands = curves(group_of(runs_dir), "accuracy")["loss"]
    assert [(band.stage, band.points[0][0]) for band in bands] == [("ild", 10), ("kd", 40)]


def test_a_classifier_that_is_not_trained_has_no_curve_of_its_metric(runs_dir: Path) -> None:
    events = EventWriter(events_file(finished(runs_dir, "crild", 1, right(10)), 1), 1)
    for stage, loss in (("ild", {"loss": 0.5}), ("kd", {})):
        events.write("stage_started", stage=stage, role="student", step=0, steps=30)
        dev = {"stage": stage, "step": 10, "model": "student", "metrics": {"accuracy": 0.7}}
        events.write("evaluation", split="dev", primary=True, **dev, **loss)
        events.write("evaluation", split="train", primary=False, **dev)
    events.close()
    found = curves(group_of(runs_dir), "accuracy")
    for quantity in ("metric", "metric, train"):
        assert [band.stage for band in found[quantity]] == ["kd"]


def test_what_a_later_attempt_wrote_again_counts(runs_dir: Path) -> None:
    run_dir = finished(runs_dir, "kd", 1, right(10))
    for attempt, loss in ((1, 9.0), (2, 1.0)):
        events = EventWriter(events_file(run_dir, attempt), attempt)
        events.write("stage_started", stage="kd", role="student", step=0, steps=30)
        events.write("step", stage="kd", step=10, loss=loss)
        events.close()
    assert curves(group_of(runs_dir), "accuracy")["loss"][0].points == ((10, 1.0, None, 1),)


def test_long_curves_are_averaged_into_parts(runs_dir: Path) -> None:
    run_dir = finished(runs_dir, "kd", 1, right(10))
    events = EventWriter(events_file(run_dir, 1), 1)
    for step in range(1, 1001):
        events.write("step", stage="kd", step=step, loss=float(step))
    events.close()
    (band,) = curves(group_of(runs_dir), "accuracy")["loss"]
    assert len(band.points) == POINTS
    assert all(abs(step - mean) < 12 for step, mean, _, _ in band.points)


def test_without_events_there_are_no_curves(runs_dir: Path) -> None:
    finished(runs_dir, "kd", 1, right(10))
    assert curves(group_of(runs_dir), "accuracy") == {}


def test_what_was_measured_on_training_examples_has_its_own_curves(runs_dir: Path) -> None:
    run_dir = finished(runs_dir, "kd", 1, right(10))
    events = EventWriter(events_file(run_dir, 1), 1)
    for split, accuracy, loss in (("dev", 0.7, 0.6), ("train", 0.9, 0.2), ("dev-mismatched", 0.1, 5.0)):
        events.write(
            "evaluation", stage="kd", step=10, model="student", split=split, primary=split == "dev",
            metrics={"accuracy": accuracy}, label_loss=loss,
        )  # fmt: skip
    events.close()
    found = {quantity: bands[0].points[0][1] for quantity, bands in curves(group_of(runs_dir), "accuracy").items()}
    assert found == {"metric": 0.7, "metric, train": 0.9, "label loss": 0.6, "label loss, train": 0.2}


def test_no_metric_is_drawn_while_the_classifier_is_untrained(runs_dir: Path) -> None:
    events = EventWriter(events_file(finished(runs_dir, "crild", 1, right(10)), 1), 1)
    for stage, more in (("ild", {"loss": 0.5}), ("kd", {}), ("again", {"loss": 0.4})):
        events.write("stage_started", stage=stage, role="student", step=0, steps=30)
        events.write("step", stage=stage, step=10, loss=1.0)
        events.write(
            "evaluation", stage=stage, step=10, model="student", split="dev", primary=True, label_loss=0.7,
            metrics={"accuracy": 0.5}, **more,
        )  # fmt: skip
    events.close()
    found = curves(group_of(runs_dir), "accuracy")
    assert [band.stage for band in found["loss"]] == ["ild", "kd", "again"]
    assert [band.stage for band in found["metric"]] == [band.stage for band in found["label loss"]] == ["kd", "again"]
