"""The line that says how good the student is now, and the scales of the losses."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from crild_tui.charts.drawing import draw
from crild_tui.charts.figure import Figure, View
from crild_tui.charts.run_figures import Look, Source, TraceCache, figures, scaled_stage
from crild_tui.monitor.curves import Curves, Table
from crild_tui.runs.summary import RunSummary, apply_events
from crild_tui.widgets.standing import bar, standing_line, verdict
from tests.tui import curves_samples as samples

TENS = re.compile(r"^\s*\d{2,3}┤", re.MULTILINE)
"""A tick of the scale at 10 or more."""
SUMMARY = RunSummary(metric_name="accuracy", metric=0.66, majority=0.52, teacher=0.72)


def test_the_student_is_between_majority_and_teacher_at_80_columns() -> None:
    line = standing_line(SUMMARY, 78)
    assert line is not None
    assert line.plain.startswith("accuracy 66.00  majority 52.00 ├━")
    assert "─┤ 72.00 teacher" in line.plain
    wide = standing_line(SUMMARY, 198)
    assert wide is not None
    assert wide.plain.endswith("┤ 72.00 teacher  70.0 % of the way")


@pytest.mark.parametrize("width", range(1, 140, 3))
def test_it_fits_or_is_left_out(width: int) -> None:
    line = standing_line(SUMMARY, width)
    assert line is None or (line.cell_length <= width and "66.00" in line.plain and "●" in line.plain)


@pytest.mark.parametrize(
    ("value", "shown", "words"),
    [
        (0.4, "●├──────────┤", "below the majority guess"),
        (0.5, "├●─────────┤", "no better than the majority guess"),
        (0.75, "├━━━━●─────┤", "50.0 % of the way"),
        (1.0, "├━━━━━━━━━●┤", "as good as its teacher"),
        (1.2, "├━━━━━━━━━━┤●", "above its teacher"),
    ],
)
def test_the_point_says_without_colour_where_it_is(value: float, shown: str, words: str) -> None:
    assert bar((value - 0.5) / 0.5, 10).plain == shown
    assert verdict(value, 0.5, 1.0) == words


@pytest.mark.parametrize(("rounding", "shown"), [(-4e-7, True), (4e-7, True), (-1e-4, False)])
def test_rounding_puts_no_student_below_the_guess(rounding: float, shown: bool) -> None:
    """A run's events have six digits, its results all."""
    line = standing_line(replace(SUMMARY, metric=0.52 + rounding), 198)
    assert line is not None
    assert ("no better than the majority guess" in line.plain) == shown
    assert ("├●" in line.plain) == shown


def test_without_a_meaning_there_is_no_bar() -> None:
    for changes in ({"metric": None}, {"majority": None}, {"teacher": None}, {"dev_loss": 1.2}, {"metric": np.nan}):
        assert standing_line(replace(SUMMARY, **changes), 100) is None
    useless = standing_line(replace(SUMMARY, teacher=0.5), 100)
    assert useless is not None
    assert "├" not in useless.plain
    assert "no better than the majority" in useless.plain


def test_once_a_run_has_finished_the_saved_student_counts() -> None:
    events: list[dict[str, object]] = [
        {"kind": "run_started", "attempt": 1, "stages": ["kd"]},
        {"kind": "evaluation", "stage": "kd", "model": "student", "step": 9, "metrics": {"accuracy": 0.83}},
        {"kind": "evaluation", "stage": "kd", "model": "student", "step": 12, "metrics": {"accuracy": 0.82}},
        {"kind": "run_finished", "state": "finished", "metrics": {"accuracy": 0.83}},
    ]
    summary = replace(apply_events(RunSummary(), events), majority=0.36, teacher=0.84)
    line = standing_line(summary, 100)
    assert (summary.metric, summary.saved) == (0.82, 0.83)
    assert line is not None
    assert line.plain.startswith("accuracy 83.00")
    again = apply_events(summary, [{"kind": "run_started", "attempt": 2, "stages": ["kd"]}])
    assert again.saved is None


# -- scales


def source(state: str = "running", points: int = 400) -> Source:
    curves = samples.ordinary()
    steps = curves.steps
    values, terms = ({name: rows[:points] for name, rows in part.items()} for part in (steps.values, steps.terms))
    values["loss"] = np.where(np.arange(points) < 60, 100.0, values["loss"])  # the teacher's stage is far above
    table = Table(steps.step[:points], steps.epoch[:points], steps.time[:points], values, terms)
    return Source(samples.snapshot(replace(curves, steps=table, borders=curves.borders[:3]), state=state), "a", 0)


def scale_of(figure: Figure) -> str:
    return "\n".join("".join(text for text, _ in row) for row in draw(figure, 100, 16).canvas.spans()[2:])


def test_losses_of_a_running_run_are_scaled_for_its_stage() -> None:
    run = [source()]
    assert scaled_stage(run, Look()) == View(3100.0, 4000.0)
    stage, everything = (figures(run, Look(stage=stage), TraceCache())[0] for stage in (None, False))
    assert not TENS.search(scale_of(stage))
    assert TENS.search(scale_of(everything))
    assert "▲ 100" in "".join(text for text, _ in draw(stage, 100, 16).canvas.spans()[0])
    assert scaled_stage([source("finished")], Look()) is None
    assert scaled_stage([source("finished")], Look(stage=True)) is not None
    assert scaled_stage([source(), source()], Look()) is None


def test_the_teachers_stage_leaves_the_view_once_the_student_trains() -> None:
    run = [source()]
    for figure in figures(run, Look(), TraceCache()):
        assert figure.view == View(600.0, 5000.0), "from the first stage of the student on"
    assert figures(run, Look(stage=False), TraceCache())[0].view == View(0.0, 5000.0)
    assert figures([source("finished")], Look(), TraceCache())[0].view.low == 0
    assert figures([source(points=50)], Look(), TraceCache())[0].view.low == 0, "the teacher is still in training"
    legend = "".join(text for text, _ in draw(figures(run, Look(), TraceCache())[2], 100, 16).canvas.spans()[1])
    assert "student" in legend
    assert "teacher's curve" not in legend


def test_the_dev_panel_has_the_loss_until_a_stage_trains_the_classifier() -> None:
    curves = samples.ordinary()
    student = curves.evaluations["student"]
    early = Table(student.step[:8], student.epoch[:8], student.time[:8], {n: v[:8] for n, v in student.values.items()})
    only = Curves(curves.steps, {"student": early}, curves.borders[:2])
    dev = figures([Source(samples.snapshot(only), "a", 0)], Look(), TraceCache())[2]
    assert (dev.title, dev.levels) == ("dev loss", ())
    assert dev.lines[0].last == pytest.approx(0.6)
    later = figures([Source(samples.snapshot(curves), "a", 0)], Look(), TraceCache())[2]
    shown = next(line for line in later.lines if line.label == "student")
    assert (later.title, int(np.isfinite(shown.trace.y).sum())) == ("dev accuracy", 8)


def test_the_teachers_own_curve_does_not_keep_the_students_dev_loss_away() -> None:
    curves = samples.ordinary()
    student = curves.evaluations["student"]
    early = Table(student.step[:8], student.epoch[:8], student.time[:8], {n: v[:8] for n, v in student.values.items()})
    teacher = samples.table(np.array([100.0, 300.0, 600.0]), accuracy=np.array([0.5, 0.6, 0.7]))

    def dev(**evaluations: Table) -> Figure:
        only = Curves(curves.steps, evaluations, curves.borders[:2])
        return figures([Source(samples.snapshot(only), "a", 0)], Look(), TraceCache())[2]

    both = dev(teacher=teacher, student=early)
    assert (both.title, both.levels, [line.label for line in both.lines]) == ("dev loss", (), ["student"])
    before = dev(teacher=teacher)
    assert (before.title, [line.label for line in before.lines]) == ("dev accuracy", ["teacher's curve"])
    assert before.empty == "the student is not evaluated yet"
    first = Curves(
        curves.steps, {"teacher": samples.table(np.array([100.0]), accuracy=np.array([0.5]))}, curves.borders[:1]
    )
    training = figures([Source(samples.snapshot(first), "a", 0)], Look(), TraceCache())[2]
    assert training.empty == "one evaluation so far: a curve needs two"
    nothing = figures([Source(samples.snapshot(Curves(), teacher=None), "a", 0)], Look(), TraceCache())[2]
    assert nothing.empty == "nothing evaluated yet"
