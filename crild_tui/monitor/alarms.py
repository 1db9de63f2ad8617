"""What is wrong with a run right now, from its status and its curves. Pure functions."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from crild_tui.monitor.curves import Curves, Floats, Table
from crild_tui.runs import formatting
from crild_tui.runs.states import command_hints, describe
from crild_tui.runs.summary import RunSummary
from engine.record.run import RunEntry
from engine.record.states import ACTIVE

SLOW_FOR = 30.0
"""Seconds of slow training before it is an alarm."""
SLOW = 0.5
"""Share of the stage's usual examples per second below which it is slow."""
_USUAL = 10
"""Rows needed to know what is usual."""
_MOST = 2000
"""Rows that a median or a mean is computed from."""
WORSE_FOR = 3
"""Evaluations in a row that must be worse than the best before it is an alarm."""
WORSE = 0.01
"""Share of the best by which they must be worse: the noise of a small dev set isn't overfitting."""


class Alarm(NamedTuple):
    """One thing that is wrong; `kind` stays the same as long as it lasts, whatever figures `text` has."""

    kind: str
    level: str
    text: str


def alarms(entry: RunEntry, summary: RunSummary, curves: Curves, now: float | None = None) -> Iterator[Alarm]:
    """Everything that is wrong with a run right now."""
    if text := silence(entry, time.time() if now is None else now):
        yield Alarm("silence", "error" if entry.state == "lost" else "warning", text)
    if entry.state not in ACTIVE:
        return
    if text := no_number(curves.steps):
        yield Alarm("no-number", "error", text)
    start = next((border.step for border in reversed(curves.borders) if border.stage == summary.stage), None)
    if start is None:
        return
    steps = curves.steps.after(start)
    if text := slowness(steps):
        yield Alarm("slow", "warning", text)
    student = curves.evaluations.get("student")
    if student is not None and (text := overfitting(steps, student.after(start), summary.metric_name)):
        yield Alarm("overfitting", "warning", text)


def silence(entry: RunEntry, now: float) -> str | None:
    """A sentence if a run that should have an engine has none, or if the engine is silent."""
    if entry.problem is not None:
        return entry.problem
    return describe(entry, command_hints(entry.path), now).fact if entry.state in ("lost", "stalled") else None


def no_number(steps: Table) -> str | None:
    """A sentence if the newest loss is not a finite number."""
    loss = steps.values.get("loss")
    if loss is None or not len(loss) or math.isfinite(loss[-1]):
        return None
    known = np.flatnonzero(np.isfinite(loss))
    first = int(known[-1]) + 1 if len(known) else 0
    return f"the loss is NaN since step {int(steps.step[first]):,}"


def slowness(steps: Table) -> str | None:
    """A sentence if a stage has processed far fewer examples per second for some time than it used to."""
    rate = steps.values.get("examples/s")
    if rate is None or not len(rate):
        return None
    begin = int(np.searchsorted(steps.time, steps.time[-1] - SLOW_FOR, "right"))
    usual, recent = _known(rate[:begin]), _known(rate[begin:])
    if len(usual) < _USUAL or not len(recent):
        return None
    median = float(np.median(usual))
    if not recent.max() < SLOW * median:
        return None
    return (
        f"slow: {formatting.rate(float(recent[-1]))} examples/s for the last {formatting.duration(SLOW_FOR)}, "
        f"usually {formatting.rate(median)} in this stage"
    )


def overfitting(steps: Table, dev: Table, metric: str | None) -> str | None:
    """A sentence if the training loss of a stage falls while its dev figure has become worse than its best.

    The figure is the dev loss if evaluations have one (the stage trains no classifier), else the metric, where more is
    better.
    """
    name = "loss" if "loss" in dev.values and np.isfinite(dev.values["loss"][-1:]).any() else metric
    if name is None or name not in dev.values or "loss" not in steps.values:
        return None
    known = np.isfinite(dev.values[name])
    values, evaluated_at = dev.values[name][known].astype(np.float64), dev.step[known]
    if len(values) <= WORSE_FOR:
        return None
    sign = -1.0 if name == "loss" else 1.0
    best = int(np.argmax(sign * values))
    worse = sign * (values[best] - values) > WORSE * abs(values[best])
    count = len(values) - 1 - best
    if count < WORSE_FOR or not worse[-WORSE_FOR:].all():
        return None
    middle = int(np.searchsorted(steps.step, evaluated_at[best], "right"))
    width = max(1, min(middle, len(steps) - middle, _MOST))
    before, lately = _known(steps.values["loss"][middle - width : middle]), _known(steps.values["loss"][-width:])
    if not len(before) or not len(lately) or not lately.mean(dtype=np.float64) < before.mean(dtype=np.float64):
        return None
    shown = formatting.loss if name == "loss" else formatting.metric
    return (
        f"overfitting: the training loss falls, but {'the loss' if name == 'loss' else name} on dev is "
        f"{shown(float(values[-1]))}; its best was {shown(float(values[best]))}, "
        f"{formatting.plural(count, 'evaluation')} ago"
    )


def _known(values: Floats) -> Floats:
    """Finite values, at most `_MOST`, evenly spaced."""
    some = values[:: -(-len(values) // _MOST)] if len(values) > _MOST else values
    return some[np.isfinite(some)]
