from __future__ import annotations

from typing import Any

import pytest

from crild_tui.cli.follow.displays import Lines, draw
from crild_tui.cli.follow.event_messages import progress, told
from crild_tui.runs.states import LOADING, STARTING, WAITING
from crild_tui.runs.summary import Picture, fold, thinned, with_status
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
    picture = fold(Picture(), STARTED)
    assert (picture.stage, picture.place, picture.stage_count, picture.steps) == ("kd", 3, 4, 40)


def test_steps_bring_loss_consistency_speed_and_the_time_left() -> None:
    picture = fold(
        Picture(), [*STARTED, *(step("kd", n, consistency=0.5, consistency_weight=0.01 * n) for n in (10, 20))]
    )
    assert (picture.step, picture.loss, picture.consistency, picture.consistency_weight) == (20, 0.05, 0.5, 0.2)
    assert picture.stage_eta == pytest.approx(20.0)
    assert picture.story is not None
    assert (picture.story.first_loss, picture.story.loss) == (0.1, 0.05)


def test_consistency_may_be_a_table_or_absent() -> None:
    events = [*STARTED, step("kd", 1, consistency={"value": 0.25, "weight": 0.1})]
    assert (fold(Picture(), events).consistency, fold(Picture(), events).consistency_weight) == (0.25, 0.1)
    assert fold(Picture(), [*events, step("kd", 2)]).consistency is None


def test_only_the_students_own_stages_make_its_metric() -> None:
    picture = fold(
        Picture(),
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
    assert (picture.metric, picture.best, picture.teacher, picture.self_teacher) == (0.65, 0.7, 0.9, 0.62)
    kd, baseline = picture.stages
    assert (kd.best, kd.best_step, kd.first_metric, kd.evaluations) == (0.7, 20, 0.6, 3)
    assert baseline.metric == 0.95


def test_a_stage_that_trains_no_classifier_is_told_by_its_dev_loss() -> None:
    event = evaluation("kd", 10, 0.5, loss=0.25)
    picture = fold(Picture(), [*STARTED, event])
    assert (picture.best, picture.dev_loss) == (None, 0.25)
    assert list(told(event, picture)) == [("info", "kd step 10: student on dev: loss 0.2500")]
    assert "dev loss 0.2500" in progress(fold(picture, [step("kd", 11)]))


def test_the_status_says_where_a_run_is_only_until_events_do() -> None:
    status = Status("r", 0.0, state="running", attempt=2, stage="ild", stage_index=2, stages=4, step=7, steps=30, eta=12.0,
                    teacher=0.9)  # fmt: skip
    alone = with_status(Picture(), status, "running")
    assert (alone.stage, alone.place, alone.step, alone.steps, alone.eta, alone.teacher) == ("ild", 2, 7, 30, 12.0, 0.9)
    ahead = with_status(fold(Picture(), [*STARTED, step("kd", 3)]), status, "stalled")
    assert (ahead.stage, ahead.place, ahead.step, ahead.state) == ("kd", 3, 3, "stalled")


def test_strange_events_change_nothing_and_throw_nothing() -> None:
    strange: Events = [
        {"kind": "step"}, {"kind": "step", "stage": 7, "step": "x", "loss": "NaN", "consistency": []}, {"kind": "new"},
        {"kind": "evaluation", "metrics": 4}, {"kind": "evaluation", "metrics": {"accuracy": "high"}},
        {"kind": "stage_finished", "stage": "never"}, {"kind": "run_started", "stages": "abc"}, {},
    ]  # fmt: skip
    picture = fold(Picture(), strange)
    assert picture.metric is None
    for event in strange:
        list(told(event, picture))


def test_what_is_told_of_each_event() -> None:
    picture = fold(Picture(), STARTED)
    assert list(told({"kind": "stage_started", "stage": "kd", "step": 5}, picture)) == [
        ("info", "stage kd, 40 steps, from step 5")
    ]
    assert list(told({"kind": "message", "level": "warning", "text": "weak"}, picture)) == [("warning", "weak")]
    assert list(told(evaluation("kd", 10, 0.6, best=True), picture)) == [
        ("info", "kd step 10: student on dev: accuracy 0.6000 (f1 0.1000), the best so far")
    ]
    assert list(told(evaluation(None, 0, 0.9, model="teacher"), picture)) == [
        ("info", "teacher on dev: accuracy 0.9000 (f1 0.1000)")
    ]
    assert list(told(step("kd", 1), picture)) == []
    assert next(iter(told(evaluation("baseline", 5, 0.5), picture)))[1].startswith("baseline step 5: baseline on dev")
    last = {"kind": "stage_finished", "stage": "baseline", "step": 40}
    assert any("writing the student" in line for _, line in told(last, picture))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("plain", [False, True])
def test_the_display_never_grows_wider_than_the_terminal(width: int, plain: bool) -> None:
    events = [*STARTED, step("kd", 20, consistency=0.5, consistency_weight=0.1, examples_per_second=94.0)]
    events += [evaluation("kd", 20, 0.6), evaluation(None, 0, 0.9, model="teacher")]
    lines = draw(fold(Picture(state="running"), events), width, 3.0, plain)
    assert len(lines) == 3
    assert all(line.cell_len <= width for line in lines)
    assert not plain or all(line.plain.isascii() for line in lines)
    if width >= 80:
        assert "stage 3/4 kd" in lines[0].plain
        assert " 50 %" in lines[0].plain
        assert lines[1].plain == "step 20/40   loss 0.0500   consistency 0.5000 (weight 0.1)   94 examples/s"
        assert lines[2].plain == "dev accuracy 0.6000   best 0.6000   teacher 0.9000"


@pytest.mark.parametrize(
    ("state", "words"),
    [("created", STARTING), ("queued", WAITING), ("running", LOADING)],
)
def test_before_the_first_stage_the_display_says_what_is_waited_for(state: str, words: str) -> None:
    (line,) = draw(Picture(state=state), 80, 3.0, False)
    assert line.plain.startswith(words)
    assert "3.0 s" in line.plain


def test_hostile_names_are_drawn_as_text() -> None:
    picture = fold(Picture(state="running"), [{"kind": "stage_started", "stage": "[red]\x1b[2J", "steps": 4}])
    assert "[red]\\x1b[2J" in draw(picture, 80, 0.0, False)[0].plain


def test_plain_lines_come_every_few_seconds_and_only_when_something_moved(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(lambda: now[0])
    picture = fold(Picture(state="running"), [*STARTED, step("kd", 10)])
    for second in range(13):
        now[0] = float(second)
        if second == 8:
            picture = fold(picture, [step("kd", 11)])
        lines.update(picture)
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["[5.0", "[10"]
    assert "stage 3/4 kd step 11/40  27 %  loss 0.0909" in shown[1]


def test_a_long_history_is_thinned_without_changing_its_summary() -> None:
    events = [*STARTED, *(step("kd", n) for n in range(1, 2001)), evaluation("kd", 2000, 0.6)]
    few = list(thinned(events))
    assert len(few) == 204
    assert fold(Picture(), few).stages == fold(Picture(), events).stages
    assert fold(Picture(), few).stage_eta == fold(Picture(), events).stage_eta


def test_fast_steps_do_not_make_the_window_of_speed_grow() -> None:
    fast = [{**step("kd", n), "t": n / 100} for n in range(1, 20_001)]
    picture = fold(Picture(), [*STARTED, *fast])
    assert len(picture.points) < 130
    assert picture.stage_eta == 0.0
    assert fold(Picture(), [{**STARTED[1], "steps": 30_000}, *fast]).stage_eta == pytest.approx(100.0, rel=0.02)


def test_checkpoints_are_exact_about_the_present_step() -> None:
    picture = fold(Picture(), [*STARTED, step("kd", 10), {"kind": "checkpoint", "stage": "kd", "step": 13}])
    assert picture.step == 13
    assert fold(picture, [{"kind": "checkpoint", "stage": "ild", "step": 30}]).step == 13


def test_a_new_attempt_shows_that_it_loads_until_it_says_where_it_goes_on() -> None:
    picture = fold(
        Picture(state="running"), [*STARTED, step("kd", 10), {**STARTED[0], "attempt": 2, "stage": "kd", "step": 8}]
    )
    assert (picture.attempt, picture.stage, picture.loss) == (2, None, None)
    assert draw(picture, 80, 1.0, False)[0].plain.startswith(LOADING)
    (known,) = picture.stages
    assert known.first_loss == 0.1


def test_figures_that_no_engine_writes_break_nothing() -> None:
    absurd = step("ild", 1, loss=10**400) | {"stage": ["ild"]}
    picture = fold(Picture(), thinned([*STARTED, absurd, step("ild", 2)]))
    assert (picture.step, picture.loss) == (2, 0.5)
