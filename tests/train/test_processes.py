"""Runs whose steps several processes share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.record.events import read_events
from tests.train.tiny_run import make, materials, unmeasured, work

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.results.measure", unmeasured)


def figures(run_dir: Path) -> list[tuple[Any, ...]]:
    """What each step logged that does not depend on the clock."""
    return [
        (event["stage"], event["step"], {
            "loss": event["loss"], "norm": event["gradient_norm"], "consistency": event.get("consistency", 0.0), **event["terms"],
        })
        for event in read_events(run_dir, {"step"})
    ]  # fmt: skip


def assert_same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]], tolerance: float) -> None:
    assert [step[:2] for step in one] == [step[:2] for step in other]
    for (stage, step, mine), (_, _, theirs) in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance), (stage, step)


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    text = materials(tmp_path, **NO_DROPOUT)
    one = make(tmp_path, text, "train.save_teacher_cache=false", name="one")
    two = make(tmp_path, text, "train.save_teacher_cache=false", "train.processes=2", name="two")
    assert work(one) is not None
    assert work(two) is not None
    assert_same(figures(one), figures(two), 2e-3)
