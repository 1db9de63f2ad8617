from __future__ import annotations

from typing import Any

import pytest

from crild_tui.cli.follow.displays import Lines, draw, run_view
from crild_tui.cli.follow.event_messages import describe, metrics, progress, stage_sentence
from crild_tui.runs.states import LOADING, STARTING, WAITING
from crild_tui.runs.summary import RunSummary, apply_events, with_status
from engine.record.status import Status

Events = list[dict[str, Any]]


def step(stage: str, step: int, **more: Any) -> dict[str, Any]:
    return {"kind": "step", "stage": stage, "step": step, "t": 100.0 + step, "loss": 1 / step, **more}


def evaluation(stage: str | None, step: int, value: float, model: str = "student", **more: Any) -> dict[str, Any]:
    return {
        "kind": "evaluation", "stage": stage, "step": step, "model": model, "split": "dev", "primary": True,
        "metrics": {"accuracy": value, "f1": 0.1}, **more,
    }  # fmt: skip


STARTED: Events = [
    {
        "kind": "run_started",
        "attempt": 1,
        "stages": ["teacher", "ild", "kd", "baseline"],
        "stage": "teacher",
        "step": 0,
    },
    {"kind": "stage_started", "stage": "kd", "step": 0, "steps": 40},
]


def test_the_present_stage_has_its_place_among_all() -> None:
    summary = apply_events(RunSummary(), STARTED)
    assert (summary.stage, summary.stage_number, summary.stage_count, summary.steps) == ("kd", 3, 4, 40)


def test_steps_bring_loss_consistency_speed_and_the_time_left() -> None:
    summary = apply_events(
        RunSummary(),
        [*STARTED, *(step("kd", n, consistency=0.5, consistency_weight=0.01 * n, gradient_norm=n) for n in (10, 20))],
    )
    assert (summary.gradient_norm, summary.learning_rate) == (20, None)
    assert (summary.step, summary.loss, summary.consistency, summary.consistency_weight) == (20, 0.05, 0.5, 0.2)
    assert summary.stage_eta == pytest.approx(20.0)
    assert summary.current_stage is not None
    assert (summary.current_stage.first_loss, summary.current_stage.loss) == (0.1, 0.05)


def test_consistency_may_be_a_table_or_absent() -> None:
    events = [*STARTED, step("kd", 1, consistency={"value": 0.25, "weight": 0.1})]
    assert (apply_events(RunSummary(), events).consistency, apply_events(RunSummary(), events).consistency_weight) == (
        0.25,
        0.1,
    )
    assert apply_events(RunSummary(), [*events, step("kd", 2)]).consistency is None


def test_only_the_students_own_stages_make_its_metric() -> None:
    summary = apply_events(
        RunSummary(),
        [
            *STARTED,
            evaluation(None, 0, 0.9, model="teacher"),
            evaluation("kd", 10, 0.6),
            evaluation("kd", 20, 0.7),
            evaluation("kd", 30, 0.65),
            evaluation("kd", 30, 0.62, model="self-teacher", primary=False),
            evaluation("kd", 30, 0.99, primary=False),
            {"kind": "stage_started", "stage": "baseline", "step": 0, "steps": 40},
            evaluation("baseline", 40, 0.95),
        ],
    )
    assert (summary.metric, summary.best, summary.teacher, summary.self_teacher) == (0.65, 0.7, 0.9, 0.62)
    kd, baseline = summary.stages
    assert (kd.best, kd.best_step, kd.first_metric) == (0.7, 20, 0.6)
    (kd, *_) = apply_events(summary, [evaluation("kd", 40, 0.7, best=False)]).stages
    assert kd.best_step == 20
    (kd, *_) = apply_events(summary, [evaluation("kd", 40, 0.7, best=True)]).stages
    assert kd.best_step == 40, "it has the lower loss"
    assert baseline.metric == 0.95


@pytest.mark.parametrize(("best", "at"), [(True, 20), (False, 10)])
def test_of_equal_evaluations_the_event_says_which_is_the_best(best: bool, at: int) -> None:
    events = [
        evaluation("kd", 10, 0.7, best=True),
        evaluation("kd", 20, 0.7, best=best),
        evaluation("kd", 30, 0.6, best=False),
    ]
    summary = apply_events(RunSummary(), [*STARTED, *events])
    kd = summary.stages[0]
    assert (kd.best, kd.best_step) == (0.7, at)
    assert f"best 70.00 at step {at}" in stage_sentence(kd, "accuracy")
    assert ["the best so far" in line for event in events for _, line in describe(event, summary)] == [
        True,
        best,
        False,
    ]


def test_a_stage_that_trains_no_classifier_is_told_by_its_dev_loss() -> None:
    event = evaluation("kd", 10, 0.5, loss=0.25)
    summary = apply_events(RunSummary(), [*STARTED, event])
    assert (summary.best, summary.dev_loss) == (None, 0.25)
    assert list(describe(event, summary)) == [("info", "kd step 10: student on dev: loss 0.2500")]
    assert "dev loss 0.2500" in progress(apply_events(summary, [step("kd", 11)]))


def test_a_new_stage_does_not_begin_with_the_time_left_of_the_one_before() -> None:
    summary = apply_events(RunSummary(), [*STARTED, *(step("kd", number) for number in range(1, 41))])
    assert summary.stage_eta == 0
    begun = apply_events(summary, [{"kind": "stage_started", "stage": "baseline", "step": 0, "steps": 40}])
    assert begun.stage_eta is None
    assert not [line for line in progress(begun) if "ETA" in line]
    assert not [line for line in progress(summary) if "ETA" in line], "an ETA of 0 is none"


def test_metrics_of_a_classifier_that_is_not_trained_yet_are_nowhere() -> None:
    """Neither the student's nor its self-teacher's, which crild up to 0.2 wrote after it."""
    averaged = evaluation("kd", 10, 0.03, model="self-teacher", primary=False)
    seen = [*STARTED, evaluation(None, 0, 0.9, model="teacher"), evaluation("kd", 10, 0.04, loss=0.25), averaged]
    summary = apply_events(RunSummary(), seen)
    assert (summary.metric, summary.self_teacher, summary.dev_loss) == (None, None, 0.25)
    assert list(describe(averaged, summary)) == []
    status = Status("r", 0.0, state="running", last=0.04, self_teacher=0.03)
    shown = with_status(summary, status, "running")
    assert (shown.metric, shown.self_teacher) == (None, None)
    for text in (progress(shown), " ".join(metrics(shown))):
        assert "4.00" not in text
        assert "3.00" not in text
    trained = apply_events(summary, [evaluation("kd", 20, 0.7)])
    assert (trained.metric, trained.best, trained.dev_loss) == (0.7, 0.7, None)


def test_while_the_baseline_trains_the_line_says_whose_metric_it_is() -> None:
    baseline = {"kind": "stage_started", "stage": "baseline", "step": 0, "steps": 40}
    summary = apply_events(RunSummary(), [*STARTED, evaluation("kd", 10, 0.6), baseline, step("baseline", 10)])
    assert "student accuracy 60.00" in progress(summary)
    assert "dev student accuracy 60.00" in metrics(summary)
    summary = apply_events(summary, [evaluation("baseline", 10, 0.5)])
    assert "baseline accuracy 50.00  student accuracy 60.00" in progress(summary)


def test_the_status_says_where_a_run_is_only_until_events_do() -> None:
    status = Status("r", 0.0, state="running", attempt=2, stage="ild", stage_index=2, stages=4, step=7, steps=30, eta=12.0,
                    teacher=0.9)  # fmt: skip
    alone = with_status(RunSummary(), status, "running")
    assert (alone.stage, alone.stage_number, alone.step, alone.steps, alone.eta, alone.teacher) == (
        "ild",
        2,
        7,
        30,
        12.0,
        0.9,
    )
    ahead = with_status(apply_events(RunSummary(), [*STARTED, step("kd", 3)]), status, "stalled")
    assert (ahead.stage, ahead.stage_number, ahead.step, ahead.state) == ("kd", 3, 3, "stalled")


def test_strange_events_change_nothing_and_throw_nothing() -> None:
    strange: Events = [
        {"kind": "step"}, {"kind": "step", "stage": 7, "step": "x", "loss": "NaN", "consistency": []}, {"kind": "new"},
        {"kind": "evaluation", "metrics": 4}, {"kind": "evaluation", "metrics": {"accuracy": "high"}},
        {"kind": "stage_finished", "stage": "never"}, {"kind": "run_started", "stages": "abc"}, {},
    ]  # fmt: skip
    summary = apply_events(RunSummary(), strange)
    assert summary.metric is None
    for event in strange:
        list(describe(event, summary))


def test_what_is_told_of_each_event() -> None:
    summary = apply_events(RunSummary(), STARTED)
    assert list(describe({"kind": "stage_started", "stage": "kd", "step": 5}, summary)) == [
        ("info", "stage kd, 40 steps, from step 5")
    ]
    assert list(describe({"kind": "message", "level": "warning", "text": "weak"}, summary)) == [("warning", "weak")]
    assert list(describe(evaluation("kd", 10, 0.6, best=True), summary)) == [
        ("info", "kd step 10: student on dev: accuracy 60.00 (f1 10.00), the best so far")
    ]
    assert list(describe(evaluation(None, 0, 0.9, model="teacher"), summary)) == [
        ("info", "teacher on dev: accuracy 90.00 (f1 10.00)")
    ]
    assert list(describe(step("kd", 1), summary)) == []
    assert next(iter(describe(evaluation("baseline", 5, 0.5), summary)))[1].startswith(
        "baseline step 5: baseline on dev"
    )
    last = {"kind": "stage_finished", "stage": "baseline", "step": 40}
    assert any("writing the student" in line for _, line in describe(last, summary))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("plain", [False, True])
def test_the_display_never_grows_wider_than_the_terminal(width: int, plain: bool) -> None:
    events = [*STARTED, step("kd", 20, consistency=0.5, consistency_weight=0.1, examples_per_second=94.0)]
    events += [evaluation("kd", 20, 0.6), evaluation(None, 0, 0.9, model="teacher")]
    lines = draw(apply_events(RunSummary(state="running"), events), width, 3.0, ascii_only=plain)
    assert len(lines) == 3
    assert all(line.cell_len <= width for line in lines)
    assert not plain or all(line.plain.isascii() for line in lines)
    if width >= 80:
        assert "stage 3/4 kd" in lines[0].plain
        assert " 50 %" in lines[0].plain
        assert lines[1].plain == "step 20/40   loss 0.0500   consistency 0.5000 (weight 0.1)   94 examples/s"
        assert lines[2].plain == "dev accuracy 60.00   best 60.00   teacher 90.00"


@pytest.mark.parametrize(
    ("state", "words"),
    [("created", STARTING), ("queued", WAITING), ("running", LOADING)],
)
def test_before_the_first_stage_the_display_says_what_is_waited_for(state: str, words: str) -> None:
    (line,) = draw(RunSummary(state=state), 80, 3.0, ascii_only=False)
    assert line.plain.startswith(words)
    assert "3.0 s" in line.plain


def test_hostile_names_are_drawn_as_text() -> None:
    summary = apply_events(
        RunSummary(state="running"), [{"kind": "stage_started", "stage": "[red]\x1b[2J", "steps": 4}]
    )
    assert "[red]\\x1b[2J" in draw(summary, 80, 0.0, ascii_only=False)[0].plain


def test_plain_lines_come_every_few_seconds_and_only_when_something_moved(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(run_view("rte"), lambda: now[0])
    summary = apply_events(RunSummary(state="running"), [*STARTED, step("kd", 10)])
    for second in range(13):
        now[0] = float(second)
        if second == 8:
            summary = apply_events(summary, [step("kd", 11)])
        lines.update(summary)
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["[5.0", "[10"]
    assert "stage 3/4 kd step 11/40  27 %  loss 0.0909" in shown[1]


def test_many_events_at_once_have_the_same_summary_as_one_by_one() -> None:
    events = [*STARTED, *(step("kd", n) for n in range(1, 2001)), evaluation("kd", 2000, 0.6), step("kd", 2001)]
    single = RunSummary()
    for event in events:
        single = apply_events(single, [event])
    assert apply_events(RunSummary(), events) == single


def test_fast_steps_do_not_make_the_window_of_speed_grow() -> None:
    fast = [{**step("kd", n), "t": n / 100} for n in range(1, 20_001)]
    summary = apply_events(RunSummary(), [*STARTED, *fast])
    assert len(summary.points) < 130
    assert summary.stage_eta == 0.0
    assert apply_events(RunSummary(), [{**STARTED[1], "steps": 30_000}, *fast]).stage_eta == pytest.approx(
        100.0, rel=0.02
    )


def test_checkpoints_are_exact_about_the_present_step() -> None:
    summary = apply_events(RunSummary(), [*STARTED, step("kd", 10), {"kind": "checkpoint", "stage": "kd", "step": 13}])
    assert summary.step == 13
    assert apply_events(summary, [{"kind": "checkpoint", "stage": "ild", "step": 30}]).step == 13


def test_a_new_attempt_shows_that_it_loads_until_it_says_where_it_goes_on() -> None:
    summary = apply_events(
        RunSummary(state="running"), [*STARTED, step("kd", 10), {**STARTED[0], "attempt": 2, "stage": "kd", "step": 8}]
    )
    assert (summary.attempt, summary.stage, summary.loss) == (2, None, None)
    assert draw(summary, 80, 1.0, ascii_only=False)[0].plain.startswith(LOADING)
    (known,) = summary.stages
    assert known.first_loss == 0.1


def test_figures_that_no_engine_writes_break_nothing() -> None:
    absurd = step("ild", 1, loss=10**400) | {"stage": ["ild"]}
    summary = apply_events(RunSummary(), [*STARTED, absurd, step("ild", 2)])
    assert (summary.step, summary.loss) == (2, 0.5)


def phase(done: int = 100, ended: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "kind": "phase", "t": 1.0, "phase": "tokenising the training rows", "done": done, "total": 400_000, "unit": "rows",
        "seconds": 10.0, "ended": ended, **more,
    }  # fmt: skip


def test_what_takes_long_is_in_the_summary_until_it_ends() -> None:
    summary = apply_events(RunSummary(), [phase(100), phase(40_000)])
    assert summary.phase is not None
    assert (summary.phase.name, summary.phase.done, summary.phase.left) == (
        "tokenising the training rows",
        40_000,
        90.0,
    )
    assert apply_events(summary, [phase(ended=True)]).phase is None
    assert apply_events(summary, STARTED[:1]).phase is None, "another attempt started"
    assert apply_events(summary, [phase(done=-1)]).phase is None
    running = Status("r", 0.0, state="running")
    assert with_status(summary, running, "running").phase is not None
    assert with_status(summary, running, "lost").phase is None, "its engine is gone"


def test_steps_and_what_takes_long_are_reduced_in_any_groups() -> None:
    events = [*STARTED, step("kd", 10), phase(1), phase(2, ended=True), step("kd", 11), phase(3)]
    at_once, one_by_one = apply_events(RunSummary(), events), RunSummary()
    for event in events:
        one_by_one = apply_events(one_by_one, [event])
    assert at_once == one_by_one
    assert at_once.phase is not None
    assert (at_once.step, at_once.phase.done) == (11, 3)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("in_stage", [False, True])
def test_what_takes_long_is_drawn_with_a_bar_while_loading_and_in_a_stage(width: int, in_stage: bool) -> None:
    events = [*STARTED, step("kd", 10)] if in_stage else []
    lines = draw(apply_events(RunSummary(state="running"), [*events, phase(100_000)]), width, 3.0, ascii_only=True)
    assert all(line.cell_len <= width for line in lines)
    last = lines[-1].plain
    assert last.startswith("tokenising the training rows")
    if width >= 80:
        assert "100,000 of 400,000 rows  25 %  ETA 30 s" in last
        assert ("10,000 rows/s" in last) == (width > 80)
        assert "##" in last


def test_plain_lines_report_what_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(run_view("rte"), lambda: now[0])
    for second in range(13):
        now[0] = float(second)
        lines.update(apply_events(RunSummary(state="running"), [phase(second * 1000)]))
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["[5.0", "[10"]
    assert "tokenising the training rows  10,000 of 400,000 rows  2 %  ETA 6:30  1,000 rows/s" in shown[1]


def test_hostile_names_of_phases_are_escaped() -> None:
    (_, line) = draw(
        apply_events(RunSummary(state="running"), [phase(phase="[red]\x1b[2J")]), 80, 0.0, ascii_only=False
    )
    assert "[red]\\x1b[2J" in line.plain
