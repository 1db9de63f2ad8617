"""Snapshots of runs that never were: ordinary ones, and those that break charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from crild_tui.monitor.curves import Border, Curves, Floats, Table
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.summary import RunSummary
from engine.record.run import RunEntry

STEPS_PER_EPOCH = 156
SECONDS_PER_STEP = 0.4


def table(step: Floats, **values: Floats) -> Table:
    """A table at `step`, with epochs and seconds to match; `term_x` is the term `x`."""
    terms = {name.removeprefix("term_"): values.pop(name) for name in [*values] if name.startswith("term_")}
    return Table(step, step / STEPS_PER_EPOCH, step * SECONDS_PER_STEP, values, terms)


def border(stage: str, step: float) -> Border:
    """A border on the axes of `table`."""
    return Border(stage, step, step / STEPS_PER_EPOCH, step * SECONDS_PER_STEP)


def snapshot(
    curves: Curves | None = None,
    name: str = "rte-crild-s1",
    *,
    state: str = "running",
    revision: int = 1,
    **known: object,
) -> RunSnapshot:
    """A snapshot with these curves; `known` are fields of its summary."""
    run_dir = Path("/nowhere/runs") / name
    fields = {"metric_name": "accuracy", "teacher": 0.6943, "majority": 0.5271, "stage": "ild", **known}
    summary = replace(RunSummary(state=state), **fields)  # type: ignore[arg-type]
    return RunSnapshot(run_dir, RunEntry(run_dir, None, state), summary, curves or Curves(), revision=revision)


def ordinary(points: int = 500, seed: int = 0) -> Curves:
    """Four stages: the teacher's fine-tuning, ILD with a consistency term, KD, and the baseline."""
    rng = np.random.default_rng(seed)
    ends = np.array([0.12, 0.62, 0.85, 1.0]) * points
    step = np.arange(1, points + 1, dtype=np.float64) * 10
    place = np.arange(points, dtype=np.float64)
    stage = np.searchsorted(ends, place, side="right")
    inside = place - np.concatenate(([0.0], ends))[stage]

    def falling(top: float, bottom: float, pace: float) -> Floats:
        noise = rng.normal(1, 0.09, points)
        curve: Floats = (bottom + (top - bottom) * np.exp(-inside / (points * pace))) * noise
        return curve

    nothing = np.full(points, np.nan)
    ild, kd = stage == 1, stage == 2
    attention = np.where(ild, falling(1.1, 0.35, 0.16), nothing)
    hidden = np.where(ild, falling(0.7, 0.2, 0.1), nothing)
    weight = np.where(ild, 0.1 * inside / max(ends[1] - ends[0], 1), nothing)
    consistency = np.where(ild, 0.02 + falling(0.1, 0.6, 0.2), nothing)
    logits = np.where(kd, falling(0.9, 0.15, 0.05), nothing)
    labels = np.where(stage == 0, falling(0.7, 0.2, 0.04), np.where(stage == 3, falling(0.69, 0.3, 0.06), nothing))
    loss = np.nansum([attention, hidden, weight * consistency, logits, labels], axis=0)
    steps = table(
        step, loss=loss, term_attention=attention, term_hidden=hidden, term_logits=logits, term_labels=labels,
        consistency=consistency, weight=weight,
    )  # fmt: skip
    last = float(step[-1])
    starts = [0.0, *(float(end) * 10 for end in ends[:-1])]
    return Curves(
        steps, evaluations(starts, last, rng), tuple(map(border, ("teacher", "ild", "kd", "baseline"), starts))
    )


def evaluations(starts: list[float], last: float, rng: np.random.Generator) -> Mapping[str, Table]:
    """What was evaluated in the four stages: the student in the ILD stage by its loss."""
    _, ild, kd, baseline = starts

    def rising(low: float, high: float, first: float, end: float, count: int) -> tuple[Floats, Floats]:
        at = np.linspace(first + (end - first) / count, end, count)
        value: Floats = high - (high - low) * np.exp(-3 * np.linspace(0, 1, count)) + rng.normal(0, 0.006, count)
        return at, value

    teacher_at, teacher = rising(0.56, 0.6943, 0, ild, 4)
    ild_at, untrained = rising(0.5271, 0.5275, ild, kd, 8)
    kd_at, student = rising(0.56, 0.68, kd, baseline, 8)
    averaged_at, averaged = rising(0.55, 0.672, kd, baseline, 8)
    baseline_at, plain = rising(0.53, 0.62, baseline, last, 5)
    losses = np.concatenate((np.linspace(1.5, 0.6, 8), np.full(8, np.nan)))
    return {
        "teacher": table(teacher_at, accuracy=teacher),
        "student": table(np.concatenate((ild_at, kd_at)), accuracy=np.concatenate((untrained, student)), loss=losses),
        "self-teacher": table(averaged_at, accuracy=averaged),
        "baseline": table(baseline_at, accuracy=plain),
    }


def plain(values: Floats, name: str = "loss") -> Curves:
    """One column of step events."""
    return Curves(table(np.arange(1, len(values) + 1, dtype=np.float64), **{name: values}), borders=(border("kd", 0),))


def with_gaps(points: int = 400) -> Curves:
    """An ordinary run whose loss was no number for a while, and now and then."""
    curves = ordinary(points)
    loss = curves.steps.values["loss"].copy()
    loss[points // 3 : points // 3 + points // 10] = np.nan
    loss[points // 2] = np.inf
    steps = replace(curves.steps, values={**curves.steps.values, "loss": loss})
    return replace(curves, steps=steps)


def hostile() -> dict[str, Curves]:
    """Curves that have broken charts before, by what is wrong with them."""
    rng = np.random.default_rng(1)
    out_of_order = np.array([1.0, 5.0, 3.0, np.nan, 4.0])
    return {
        "no points": Curves(),
        "one point": plain(np.array([0.7])),
        "two points": plain(np.array([0.7, 0.6])),
        "constant": plain(np.full(50, 0.25)),
        "zero": plain(np.zeros(50)),
        "only NaN": plain(np.full(50, np.nan)),
        "some NaN": with_gaps(),
        "infinite": plain(np.array([1.0, np.inf, 0.5, -np.inf, 0.25])),
        "huge": plain(np.array([1.0, 1e30, 1e308, -1e308, 2.0])),
        "tiny": plain(np.array([1e-300, 3e-320, 2e-310])),
        "negative": plain(rng.normal(-1, 0.1, 60)),
        "falls below zero": plain(np.linspace(1, -1, 60)),
        "many decades": plain(10.0 ** np.linspace(-12, 12, 100)),
        "equal but for the last digit": plain(0.6931471805599453 + np.arange(40) * 1e-16),
        "out of order": Curves(Table(out_of_order, out_of_order, out_of_order, {"loss": np.arange(5.0)})),
        "one place": Curves(table(np.full(9, 7.0), loss=np.arange(9.0))),
        "strange names": plain(np.linspace(1, 0, 30), "term_[red]日本\x1b[2J\u0301"),
    }


def million(points: int = 1_000_000) -> Curves:
    """A very long run."""
    return ordinary(points)
