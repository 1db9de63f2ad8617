from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crild_tui.monitor.curve_builder import MAX_MESSAGES, CurveBuilder
from crild_tui.monitor.curves import AXES, Curves
from crild_tui.monitor.table_builder import TableBuilder, column, number, rising
from engine.record.events import EventTail

Events = list[dict[str, Any]]
NAN = math.nan


def event(kind: str, t: object = 1000.0, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "t": t, "kind": kind, **fields}


def started(stage: str = "ild", step: int = 0, t: float = 1000.0, attempt: int = 1) -> dict[str, Any]:
    return event("run_started", t, attempt=attempt, stages=["teacher", "ild", "kd", "baseline"], stage=stage, step=step)


def stage_started(stage: str, steps: int, t: float = 1000.0, step: int = 0, **more: Any) -> dict[str, Any]:
    return event("stage_started", t, stage=stage, step=step, steps=steps, epochs=2.0, role="student", **more)


def stepped(stage: str, step: object, t: object = 1000.0, **more: Any) -> dict[str, Any]:
    return event("step", t, **{"stage": stage, "step": step, "loss": 1.0, **more})


def ended(stage: str, step: int, t: float = 1000.0) -> dict[str, Any]:
    return event("stage_finished", t, stage=stage, step=step)


def measured(
    stage: str | None, step: int, value: float, model: str = "student", t: float = 1000.0, **more: Any
) -> dict[str, Any]:
    fields = {"split": "dev", "primary": True, "metrics": {"accuracy": value}, "best": False, **more}
    return event("evaluation", t, stage=stage, step=step, model=model, **fields)


def built(events: Events) -> CurveBuilder:
    builder = CurveBuilder()
    builder.add(events)
    return builder


def curves(events: Events) -> Curves:
    return built(events).curves(complete=True)


def same(found: Any, expected: list[float]) -> bool:
    return bool(np.asarray(found, float).tolist() == pytest.approx(expected, nan_ok=True, rel=1e-6))


TWO_STAGES: Events = [
    started(t=100),
    stage_started("ild", 20, 110),
    stepped("ild", 10, 120),
    stepped("ild", 20, 130),
    measured("ild", 20, 0.5, t=135, loss=0.9),
    ended("ild", 20, 140),
    stage_started("kd", 30, 150),
    stepped("kd", 15, 160),
    stepped("kd", 30, 170),
]


# -- along the axes


def test_stages_are_laid_end_to_end_on_each_axis() -> None:
    found = curves(TWO_STAGES)
    assert found.steps.step.tolist() == [10, 20, 35, 50]
    assert found.steps.epoch.tolist() == [1, 2, 3, 4]
    assert found.steps.time.tolist() == [20, 30, 60, 70]
    assert [(b.stage, b.step, b.epoch, b.time) for b in found.borders] == [("ild", 0, 0, 10), ("kd", 20, 2, 50)]
    assert found.evaluations["student"].step.tolist() == [20]
    assert found.evaluations["student"].epoch.tolist() == [2]
    assert found.evaluations["student"].time.tolist() == [35]
    assert found.complete


def test_a_stage_that_ended_early_takes_only_the_steps_it_made() -> None:
    events = [
        started(),
        stage_started("ild", 100),
        stepped("ild", 40),
        ended("ild", 45),
        stage_started("kd", 10),
        stepped("kd", 5),
    ]
    assert curves(events).steps.step.tolist() == [40, 50]


def test_a_stage_whose_end_was_lost_takes_the_steps_that_were_told() -> None:
    events = [started(), stage_started("ild", 100), stepped("ild", 40), stage_started("kd", 10), stepped("kd", 5)]
    assert curves(events).steps.step.tolist() == [40, 45]


def test_a_stage_without_a_beginning_has_a_border_where_its_steps_begin() -> None:
    found = curves([started(), stepped("ild", 10, 1003, epoch=0.5), stepped("ild", 20, 1006, epoch=1.0)])
    assert [(b.stage, b.step, b.time) for b in found.borders] == [("ild", 0, 3)]
    assert found.steps.epoch.tolist() == [0.5, 1.0]


def test_time_between_attempts_is_left_out() -> None:
    again = [started("ild", 10, 9000, 2), stage_started("ild", 20, 9002, 10), stepped("ild", 20, 9010)]
    found = curves([started(t=100), stage_started("ild", 20, 101), stepped("ild", 10, 110), *again])
    assert found.steps.time.tolist() == [10, 20]


def test_a_clock_that_goes_back_or_is_absurd_stops_for_a_moment() -> None:
    times = [1000, 1010, 400, 410, "noon", None, -5, 1e300, 420]
    events = [started(t=1000), *(stepped("ild", n + 1, t) for n, t in enumerate(times))]
    assert curves(events).steps.time.tolist() == [0, 10, 10, 20, 20, 20, 20, 20, 30]


# -- columns


def test_columns_are_those_that_the_engine_writes() -> None:
    one = stepped(
        "ild", 1, loss=2.7, terms={"attention": 1.4, "hidden": 1.3}, learning_rate=1e-3, gradient_norm=4.0,
        examples_per_second=90.0, memory=670343168, consistency=0.3, consistency_weight=0.01,
        divergence=0.5, candidates_divergence=0.2, candidates=64, chosen=16,
    )  # fmt: skip
    found = curves([started(), one, stepped("ild", 2, loss=None)]).steps
    expected = {"learning rate": [1e-3, NAN], "gradient norm": [4.0, NAN], "memory": [670343168, NAN],
        "loss": [2.7, NAN], "consistency": [0.3, NAN], "weight": [0.01, NAN], "examples/s": [90, NAN],
        "divergence of chosen": [0.5, NAN], "divergence of candidates": [0.2, NAN],
    }  # fmt: skip
    terms = {"attention": [1.4, NAN], "hidden": [1.3, NAN]}
    assert (found.values.keys(), found.terms.keys()) == (expected.keys(), terms.keys())
    for name, values in (expected | terms).items():
        assert same({**found.values, **found.terms}[name], values), name


def test_a_column_that_comes_late_is_unknown_before() -> None:
    builder = built([started(), stepped("ild", 1)])
    builder.add([stepped("ild", 2, examples_per_second=3.0)])
    assert same(builder.curves(complete=True).steps.values["examples/s"], [NAN, 3])


def test_consistency_may_be_a_table() -> None:
    found = curves([started(), stepped("ild", 1, consistency={"value": 0.25, "weight": 0.1})]).steps.values
    assert same(found["consistency"], [0.25])
    assert same(found["weight"], [0.1])


def test_evaluations_are_kept_by_model() -> None:
    found = curves(
        [
            started(),
            measured(None, 0, 0.9, "teacher", metrics={"accuracy": 0.9, "f1": 0.8}),
            measured(None, 0, 0.8, "teacher", split="dev_mismatched", primary=False),
            stage_started("ild", 20),
            measured("ild", 20, 0.5, loss=0.3),
            measured("ild", 20, 0.4, split="dev_mismatched", primary=False),
            measured("ild", 20, 0.6, "self-teacher", primary=False),
            ended("ild", 20),
            event("stage_started", stage="baseline", role="baseline", step=0, steps=20, epochs=1.0),
            measured("baseline", 10, 0.45),
        ]
    ).evaluations
    values = {name: table.values["accuracy"].tolist()[0] for name, table in found.items()}
    assert values == pytest.approx(
        {
            "teacher": 0.9, "teacher (mismatched)": 0.8, "student": 0.5, "student (mismatched)": 0.4,
            "self-teacher": 0.6, "baseline": 0.45,
        }
    )  # fmt: skip
    assert same(found["teacher"].values["f1"], [0.8])
    assert same(found["student"].values["loss"], [0.3])
    assert found["baseline"].step.tolist() == [30]


def test_a_teacher_in_training_is_the_teachers_curve_and_its_measuring_ends_it() -> None:
    found = curves(
        [
            started("teacher"), event("stage_started", stage="teacher", role="teacher", step=0, steps=20, epochs=1.0),
            measured("teacher", 10, 0.7, "teacher"), measured("teacher", 20, 0.8, "teacher"), stepped("teacher", 20),
            ended("teacher", 20), measured(None, 0, 0.8, "teacher"), stage_started("ild", 10), stepped("ild", 5),
            started("ild", 5, attempt=2), measured(None, 0, 0.8, "teacher"),
        ]
    ).evaluations["teacher"]  # fmt: skip
    assert found.step.tolist() == [10, 20]
    assert same(found.values["accuracy"], [0.7, 0.8])


# -- attempts


def test_what_a_later_attempt_does_again_is_told_once() -> None:
    events = [
        *TWO_STAGES[:2],
        *(stepped("ild", n, 110 + n, loss=1.0) for n in (5, 10, 15, 20)),
        measured("ild", 20, 0.5),
    ]
    again = [started("ild", 10, 500, 2), stage_started("ild", 20, 505, 10)]
    again += [stepped("ild", n, 500 + n, loss=2.0) for n in (15, 20)]
    builder = built(events)
    before = builder.curves(complete=True)
    builder.add(again[:2])
    assert builder.curves(complete=True).steps.step.tolist() == [5, 10]
    assert "student" not in builder.curves(complete=True).evaluations
    builder.add(again[2:])
    after = builder.curves(complete=True)
    assert after.steps.step.tolist() == [5, 10, 15, 20]
    assert after.steps.values["loss"].tolist() == [1, 1, 2, 2]
    assert after.steps.time.tolist() == [15, 20, 35, 40]
    assert before.steps.values["loss"].tolist() == [1, 1, 1, 1], "what was handed out stays"
    assert len(after.borders) == 1


def test_an_attempt_that_goes_back_to_an_earlier_stage_takes_back_the_border() -> None:
    found = curves(
        [*TWO_STAGES, started("ild", 10, 500, 2), stage_started("ild", 20, 501, 10), stepped("ild", 12, 502)]
    )
    assert [border.stage for border in found.borders] == ["ild"]
    assert found.steps.step.tolist() == [10, 12]


def test_steps_that_come_again_without_a_word_replace_the_old_ones() -> None:
    found = curves([started(), *(stepped("ild", n, loss=n) for n in (1, 2, 3, 2, 3, 3, 4))]).steps
    assert found.step.tolist() == [1, 2, 3, 4]
    parts = built([started(), *(stepped("ild", n, loss=1) for n in (1, 2, 3))])
    parts.add([stepped("ild", 2, loss=7)])
    assert same(parts.curves(complete=True).steps.values["loss"], [1, 7])


def _attempts(seed: int) -> list[Events]:
    """A run of three stages that is killed and resumed from its checkpoints several times."""
    draw = random.Random(seed)
    lengths = {"teacher": draw.randint(0, 12), "ild": draw.randint(1, 25), "kd": draw.randint(1, 25)}
    saved: tuple[str, int] = ("teacher", 0)
    clock, attempts = 1000.0, []
    for attempt in range(1, draw.randint(2, 5)):
        clock += draw.randint(10, 1000)
        events: Events = [started(*saved, t=clock, attempt=attempt)]
        names = list(lengths)
        for name in names[names.index(saved[0]) :]:
            done = saved[1] if name == saved[0] else 0
            events.append(stage_started(name, lengths[name], clock, done))
            for step in range(done + 1, lengths[name] + 1):
                clock += 1.0
                if step % 3 == 0 or step == lengths[name]:
                    events.append(stepped(name, step, clock, loss=float(attempt)))
                if step % 4 == 0:
                    events.append(measured(name, step, attempt / 10, t=clock))
                if step % 7 == 0 or step == lengths[name]:
                    saved = (name, step)
                    events.append(event("checkpoint", clock, stage=name, step=step))
            events.append(ended(name, lengths[name], clock))
        if attempt < 4:  # killed somewhere: what was saved by then counts
            cut = draw.randint(1, len(events))
            events = events[:cut]
            places = [(e["stage"], e["step"]) for e in events if e["kind"] == "checkpoint"]
            saved = places[-1] if places else (events[0]["stage"], events[0]["step"])
        attempts.append(events)
    return attempts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6))
def test_a_run_that_was_followed_and_one_that_is_read_afterwards_look_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    run_dir: Path = tmp_path_factory.mktemp("run")
    attempts = _attempts(seed)
    live, slices = CurveBuilder(), random.Random(seed)
    for number_, events in enumerate(attempts, 1):
        text = "".join(json.dumps(one) + "\n" for one in events)
        (run_dir / f"events.{number_}.jsonl").write_text(text)
        rest = events
        while rest:
            size = slices.randint(1, 20)
            live.add(rest[:size])
            rest = rest[size:]
    later = built(EventTail(run_dir).poll())
    one, other = live.curves(complete=True), later.curves(complete=True)
    assert one.steps.step.tolist() == other.steps.step.tolist()
    assert one.steps.time.tolist() == other.steps.time.tolist()
    assert one.steps.epoch.tolist() == other.steps.epoch.tolist()
    assert one.steps.values["loss"].tolist() == other.steps.values["loss"].tolist() if len(one.steps) else True
    assert [(b.stage, b.step) for b in one.borders] == [(b.stage, b.step) for b in other.borders]
    assert one.evaluations.keys() == other.evaluations.keys()
    for name, table in one.evaluations.items():
        assert table.step.tolist() == other.evaluations[name].step.tolist()
        assert (np.diff(table.step) > 0).all()
    assert (np.diff(one.steps.step) > 0).all()
    assert (np.diff(one.steps.time) >= 0).all()


# -- what was said


def test_a_message_that_an_attempt_repeats_is_there_once() -> None:
    again = [event("run_started", float(t), attempt=t, stages=["kd"]) for t in (1, 10)]
    first = [
        event("message", 2.0, text="from the cache"),
        event("message", 3.0, text="slow"),
        event("message", 4.0, text="slow"),
    ]
    second = [event("message", 11.0, text="from the cache")]
    messages = built([again[0], *first, again[1], *second]).messages
    assert [(each.time, each.text) for each in messages] == [(3.0, "slow"), (4.0, "slow"), (11.0, "from the cache")]


def test_messages_are_kept_the_newest_of_them() -> None:
    events = [event("message", float(n), text=f"line {n}", level="warning") for n in range(MAX_MESSAGES + 5)]
    messages = built(events).messages
    assert len(messages) == MAX_MESSAGES
    assert (messages[-1].text, messages[-1].level, messages[-1].time) == (
        f"line {MAX_MESSAGES + 4}",
        "warning",
        MAX_MESSAGES + 4,
    )
    odd = built([event("message", 1e300, text="x" * 50_000, level=7), event("message", text=["no"])])
    assert (odd.messages[0].time, odd.messages[0].level, len(odd.messages[0].text)) == (0, "info", 10_000)
    assert odd.malformed == 1
    assert built([]).messages == ()


def test_the_picture_is_that_of_all_events() -> None:
    events = [
        started(),
        stage_started("kd", 5000),
        *(stepped("kd", n, 1000 + n / 10, loss=1 / n) for n in range(1, 4001)),
    ]
    summary = built([*events, measured("kd", 4000, 0.75)]).summary
    assert (summary.stage, summary.step, summary.steps, summary.metric) == ("kd", 4000, 5000, 0.75)
    assert summary.loss == 1 / 4000
    assert summary.current_stage is not None
    assert summary.current_stage.first_loss == 1
    assert summary.stage_eta == pytest.approx(100, rel=0.05)


# -- hostile events

DEEP: Any = 0
for _ in range(400):
    DEEP = [DEEP]
ABSURD = [None, True, "12", [], {}, DEEP, {"a": {"b": [1]}}, 10**400, -1, 1e308, NAN, math.inf, "\x1b[2J", 2**60]


@pytest.mark.parametrize("value", ABSURD, ids=range(len(ABSURD)))
def test_absurd_values_anywhere_leave_sound_curves(value: Any) -> None:
    sound = [*TWO_STAGES, measured("kd", 30, 0.7, t=171), event("message", text="hello", level="info")]
    keys = sorted({key for one in sound for key in one if key not in ("v", "kind")} | {"terms", "consistency", "epoch"})
    for key in keys:
        builder = CurveBuilder()
        for one in sound:
            builder.add([{**one, key: value}])
            builder.add([one])
        found = builder.curves(complete=True)
        steps = found.steps
        assert len(steps) >= 4, key
        for table in (steps, *found.evaluations.values()):
            assert np.isfinite(table.step).all()
            assert (np.diff(table.step) > 0).all(), key
            for axis in AXES[1:]:
                assert (np.diff(table.axis(axis)) >= 0).all(), key
                assert np.isfinite(table.axis(axis)).all(), key
            for values in table.values.values():
                assert len(values) == len(table)
                assert not np.isinf(values).any()


def test_names_without_end_are_passed_over() -> None:
    builder = built([started(), *(stepped("ild", n, terms={f"term {n}": 1.0}) for n in range(1, 300))])
    builder.add([stepped(f"stage {n}", 1) for n in range(500)])
    builder.add([measured("ild", n, 0.5, f"model {n}") for n in range(500)])
    found = builder.curves(complete=True)
    assert len(found.steps.values) + len(found.steps.terms) <= 64
    assert len(found.borders) <= 100
    assert len(found.evaluations) <= 16


@pytest.mark.parametrize("seed", range(4))
def test_stages_in_no_order_at_all_leave_a_rising_curve(seed: int) -> None:
    draw = random.Random(seed)
    builder = CurveBuilder()
    for _ in range(300):
        kind = draw.choice(["run_started", "stage_started", "step", "step", "evaluation", "stage_finished"])
        stage, step = draw.choice(["teacher", "ild", "kd", "new", None]), draw.randint(0, 50)
        fields: dict[str, Any] = {"stage": stage, "step": step, "steps": 50, "epochs": draw.randint(0, 3), "loss": 1.0}
        names = draw.sample(["teacher", "ild", "kd", "old"], 3)
        builder.add([event(kind, draw.random() * 1e4, stages=names, metrics={"f1": 0.5}, **fields)])
        found = builder.curves(complete=True)
        for table in (found.steps, *found.evaluations.values()):
            assert (np.diff(table.step) > 0).all()
            assert (np.diff(table.time) >= 0).all()
            assert (np.diff(table.epoch) >= 0).all()
        assert len({border.stage for border in found.borders}) == len(found.borders)


# -- columns


def test_tables_that_were_handed_out_stay_and_cannot_be_written() -> None:
    columns, tables = TableBuilder(), []
    for n in range(1000):
        columns.append("ild", (np.array([float(n)]),) * 3, {"loss": np.array([n / 2])}, {})
        tables.append(columns.table())
    columns.cut("ild", [], 10, keep_step=True)
    columns.append("ild", (np.array([10.5]),) * 3, {"loss": np.array([-1.0])}, {})
    for n, table in enumerate(tables):
        assert len(table) == n + 1
        assert table.values["loss"][-1] == n / 2
    assert columns.table().step.tolist() == [*range(11), 10.5]
    with pytest.raises(ValueError, match="read-only"):
        tables[0].step[0] = 5.0


def test_a_table_shares_memory_with_the_next_one() -> None:
    columns = TableBuilder()
    columns.append("ild", (np.arange(100.0),) * 3, {}, {})
    before = columns.table()
    columns.append("ild", (np.array([100.0]),) * 3, {}, {})
    assert np.shares_memory(before.step, columns.table().step)
    assert columns.table() is columns.table()


def test_a_cut_keeps_the_stages_before() -> None:
    columns = TableBuilder()
    assert not columns.cut("ild", [], 0, keep_step=False)
    for stage, first in (("ild", 0.0), ("kd", 10.0), ("more", 20.0)):
        columns.append(stage, (first + np.arange(1.0, 4.0),) * 3, {"loss": np.ones(3)}, {})
    assert not columns.cut("more", [], 23, keep_step=True)
    assert columns.cut("kd", ["more"], 12, keep_step=False)
    assert (columns.table().step.tolist(), columns.stages) == ([1, 2, 3, 11], ["ild", "kd"])
    assert columns.last == (11, 11, 11)


def test_numbers_from_outside() -> None:
    absurd: list[object] = [None, "1", [], NAN, math.inf, 1e300, 10**400]
    assert [number(value) for value in (1, 2.5, -3)] == [1, 2.5, -3]
    assert all(math.isnan(number(value)) for value in absurd)
    assert same(column([1, None, 2.5]), [1, NAN, 2.5])
    assert same(column([1, "2", 10**400, None, math.inf]), [1, NAN, NAN, NAN, NAN])
    assert same(column([10**400, 3]), [NAN, 3])
    assert rising(np.array([1, 3, 2, NAN, 4, 4])).tolist() == [True, False, True, False, False, True]


def test_large_tables_hold_what_small_ones_hold() -> None:
    columns, before = TableBuilder(), []
    for start in range(0, 100_000, 1000):
        rows = start + np.arange(1000.0)
        columns.append("ild", (rows,) * 3, {"loss": rows % 7} if start != 5000 else {"late": rows}, {})
        before.append(columns.table())
    table = columns.table()
    assert table.step.tolist() == list(range(100_000))
    assert same(table.values["loss"][4998:5002], [4998 % 7, 4999 % 7, NAN, NAN])
    assert same(table.values["late"][4999:5001], [NAN, 5000])
    assert before[3].values["loss"].tolist() == [n % 7 for n in range(4000)]
