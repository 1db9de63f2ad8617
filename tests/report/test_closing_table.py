from __future__ import annotations

from typing import Any

import pytest

from engine.errors import RunError
from engine.report.closing_table import closing_table
from engine.report.final_metrics import TEACHER, models_of
from tests.cli.samples import RESULTS
from tests.evaluate.test_timing import sample


def with_(**changes: Any) -> dict[str, Any]:
    return {**RESULTS, **changes}


def test_the_rows_are_teacher_student_and_what_they_are_held_against() -> None:
    found = closing_table(RESULTS)
    assert [row.name for row in found.models] == ["teacher", "student, 6 layers", "labels alone", "majority guess"]
    teacher, student, baseline, majority = found.models
    assert (teacher.metrics["accuracy"], student.metrics["accuracy"]) == (0.6943, 0.6751)
    assert (student.parameters, student.bytes, student.latency_ms, student.throughput) == (
        66_956_546, 267_832_560, 12.02, 188.2,
    )  # fmt: skip
    assert (baseline.latency_ms, baseline.has_cost, majority.has_cost) == (None, True, False)


def test_the_primary_metric_is_the_first_column() -> None:
    assert closing_table(RESULTS).metrics == ("accuracy", "f1")
    assert closing_table(with_(metric="f1")).metrics == ("f1", "accuracy")


def test_further_dev_sets_are_rows_of_their_own() -> None:
    student = {**RESULTS["student"], "dev_extra": {"dev_mismatched": {"accuracy": 0.66}}}
    rows = closing_table(with_(student=student)).models
    assert (rows[2].name, rows[2].metrics, rows[2].has_cost) == ("  on dev_mismatched", {"accuracy": 0.66}, False)


def test_the_self_teacher_has_a_row_where_there_is_one() -> None:
    for written in ({"metrics": {"accuracy": 0.67}}, {"accuracy": 0.67}):
        found = closing_table(with_(self_teacher=written))
        assert ("self-teacher", 0.67) in [(row.name, row.metrics.get("accuracy")) for row in found.models]


def test_a_teacher_from_the_cache_is_marked() -> None:
    found = closing_table(with_(stages=[{"name": "teacher", "steps": 10, "seconds": 3.0, "cached": True}]))
    assert [stage.cached for stage in found.stages] == [True]


def test_last_and_best_and_what_was_saved_are_all_stated() -> None:
    statements = closing_table(RESULTS).statements
    assert "the student keeps 88.5 % of its teacher's margin over the majority guess" in statements
    assert "student and teacher give the same answer on 93.1 % of dev" in statements
    assert (
        "last evaluation (stage kd, step 400): accuracy 66.79; best evaluation (stage kd, step 320): accuracy 67.51"
        in statements
    )
    assert statements[-1] == "the weights of the best evaluation were saved (step 320 of 400)"


def test_several_teachers_are_named_as_their_mean() -> None:
    results = with_(teacher={**RESULTS["teacher"], "models": 2})
    assert [row.name for row in closing_table(results).models][:2] == ["teacher, mean of 2", "student, 6 layers"]
    assert models_of(results)[TEACHER] == models_of(RESULTS)[TEACHER]


def test_the_agreement_of_scores_is_a_correlation() -> None:
    statements = closing_table(with_(agreement=0.344, data={"train": 9, "scores": [0.0, 5.0]})).statements
    assert "the scores of student and teacher correlate with 0.34 (Pearson) on dev" in statements
    assert "same answer" not in " ".join(statements)


def test_equal_classes_are_no_agreement_of_rankings() -> None:
    ranked = with_(metric="mrr", student={**RESULTS["student"], "metrics": {"mrr": 0.9, "accuracy": 0.7}})
    assert "same answer on" not in " ".join(closing_table(ranked).statements)
    scored = closing_table({**ranked, "agreement": 0.344, "data": {"scores": [0.0, 5.0]}}).statements
    assert "the scores of student and teacher correlate with 0.34 (Pearson) on dev" in scored


def test_the_evaluation_of_an_untrained_head_is_not_stated() -> None:
    statements = closing_table(
        with_(best=None, kept_margin=None, agreement=None, saved_why=None, saved="last")
    ).statements
    assert statements == ("the last weights were saved",)


def test_a_self_teacher_that_is_no_better_than_the_majority_has_no_row() -> None:
    for written in ({"accuracy": 0.03}, {"accuracy": 0.5271}):
        names = [row.name for row in closing_table(with_(self_teacher=written)).models]
        assert "self-teacher" not in names


def test_a_student_whose_head_nothing_has_trained_has_no_metrics() -> None:
    untrained = {**RESULTS["student"], "head_trained": False, "dev_extra": {"dev_mismatched": {"accuracy": 0.3}}}
    found = closing_table(with_(student=untrained))
    student = next(row for row in found.models if row.name.startswith("student"))
    assert (student.head_trained, student.metrics, student.parameters) == (False, {}, 66_956_546)
    assert not any(row.name.startswith("  on") for row in found.models)
    assert "same answer" not in " ".join(found.statements)
    assert found.metrics == ("accuracy", "f1")


def test_latency_is_stated_with_its_ratio_and_conditions() -> None:
    found = closing_table(with_(latency=sample(waited=0.8).to_dict()))
    assert found.latency == sample(waited=0.8)
    first, second, third, *_ = found.statements
    assert "2.00 times as fast as its teacher at batch 1" in first
    assert "1 thread" in second
    assert "80 %" in third


def test_stages_have_their_times() -> None:
    assert [(s.name, s.steps, s.seconds, s.examples_per_second) for s in closing_table(RESULTS).stages] == [
        ("ild", 1560, 812.4, 61.2),
        ("kd", 400, 95.1, 67.0),
    ]


def test_figures_that_are_none_become_unknown() -> None:
    student = {"metrics": {"accuracy": "high", "f1": float("nan")}, "parameters": True, "latency_ms": float("inf")}
    row = next(row for row in closing_table(with_(student=student)).models if row.name == "student")
    assert (row.metrics, row.parameters, row.latency_ms) == ({"accuracy": None, "f1": None}, None, None)


@pytest.mark.parametrize(
    ("results", "kind"),
    [(with_(schema=2), "newer-schema"), (with_(student=None), "missing-student"), ({}, "missing-student")],
)
def test_what_cannot_be_shown_is_an_error_of_its_kind(results: dict[str, Any], kind: str) -> None:
    with pytest.raises(RunError) as caught:
        closing_table(results)
    assert caught.value.kind == kind


@pytest.mark.parametrize("missing", sorted(set(RESULTS) - {"student"}))
def test_any_part_but_the_student_may_be_missing(missing: str) -> None:
    assert closing_table({key: value for key, value in RESULTS.items() if key != missing}).models
