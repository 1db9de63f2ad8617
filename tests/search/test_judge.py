"""The course of a trial by tenths: the same whenever the events are read."""

from __future__ import annotations

from typing import Any

import pytest

from engine.preset.load import load_preset
from engine.search.judge import Course, judged_stage

START = {"kind": "stage_started", "stage": "kd", "role": "student", "steps": 40}


def evaluation(step: int, value: float, **more: Any) -> dict[str, Any]:
    return {
        "kind": "evaluation", "stage": "kd", "step": step, "model": "student", "primary": True,
        "metrics": {"accuracy": value, "f1": value / 2}, **more,
    }  # fmt: skip


def step(number: int) -> dict[str, Any]:
    return {"kind": "step", "stage": "kd", "step": number}


EVENTS = [START, step(10), evaluation(10, 0.5), step(20), evaluation(20, 0.6), step(30), step(40), evaluation(40, 0.7)]


def course(events: list[dict[str, Any]], metric: str | None = None) -> list[tuple[int, float]]:
    found = Course("kd", metric)
    for event in events:
        found.add(event)
    return found.values()


def test_each_tenth_has_the_latest_value_by_then() -> None:
    whole = course([*EVENTS, {"kind": "stage_finished", "stage": "kd", "step": 40}])
    assert whole == [(3, 0.5), (4, 0.5), *((tenth, 0.6) for tenth in range(5, 10)), (10, 0.7)]
    assert course(EVENTS, "f1")[0] == (3, 0.25)


@pytest.mark.parametrize("read", range(len(EVENTS) + 1))
def test_what_is_known_early_never_changes(read: int) -> None:
    early, whole = course(EVENTS[:read]), course(EVENTS)
    assert early == whole[: len(early)]


def test_other_stages_models_and_rows_do_not_count() -> None:
    others = [
        evaluation(12, 0.9, model="self-teacher"), evaluation(12, 0.9, primary=False),
        evaluation(12, 0.9, stage="ild"), evaluation(12, 0.9, metrics=None), {"kind": "step", "stage": "ild", "step": 40},
    ]  # fmt: skip
    assert course([*EVENTS[:3], *others]) == course(EVENTS[:3])


def started(stage: str, steps: int, role: str = "student") -> dict[str, Any]:
    return {"kind": "stage_started", "stage": stage, "role": role, "steps": steps}


def test_the_steps_of_earlier_stages_count() -> None:
    before = [started("teacher", 500, "teacher"), started("ild", 60), started("ild", 60)]
    late = course([*before, *EVENTS])
    assert late == [(7, 0.5), (8, 0.6), (9, 0.6), (10, 0.7)], "60 of 100 steps were the other stage's"
    assert (
        course([*before, *EVENTS, started("ild", 60), started("baseline", 900, "baseline"), started("more", 50)])
        == late
    )


def test_a_stage_that_ends_early_is_judged_to_its_end() -> None:
    assert course([*EVENTS[:3], {"kind": "stage_finished", "stage": "kd"}])[-1] == (10, 0.5)


def test_the_last_stage_with_a_classifier_is_judged() -> None:
    assert judged_stage(load_preset(["crild", "rte"]).preset) == "kd"
    assert judged_stage(load_preset(["crild", "rte"], ["stages=[ild]"]).preset) is None
