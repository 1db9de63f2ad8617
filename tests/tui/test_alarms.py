from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crild_tui.monitor.alarms import alarms, no_number, overfitting, silence, slowness
from crild_tui.monitor.curves import Border, Curves, Table
from crild_tui.runs.summary import RunSummary
from engine.record.run import RunEntry
from engine.record.status import Status

NAN = math.nan


def table(count: int, every: float = 1.0, first: int = 1, **values: object) -> Table:
    """`count` rows, a step each, `every` seconds apart."""
    step = first + np.arange(float(count))
    columns = {
        name.replace("_", " "): np.broadcast_to(np.asarray(value, float), count) for name, value in values.items()
    }
    return Table(step, step / 10, step * every, columns)


def rates(*values: float) -> Table:
    return Table(*(np.arange(float(len(values))),) * 3, {"examples/s": np.array(values)})


def entry(state: str = "running", **fields: float) -> RunEntry:
    return RunEntry(Path("r"), Status("r", 0.0, state="running", **fields), state)  # type: ignore[arg-type]


# -- no number


def test_a_loss_that_is_no_number_is_told_with_its_first_step() -> None:
    assert no_number(table(4, loss=[1, 2, NAN, NAN])) == "the loss is NaN since step 3"
    assert no_number(table(2, loss=[NAN, NAN])) == "the loss is NaN since step 1"


def test_a_loss_that_is_a_number_again_or_unknown_is_no_alarm() -> None:
    assert no_number(table(3, loss=[1, NAN, 2])) is None
    assert no_number(Table()) is None
    assert no_number(table(0, loss=[])) is None


# -- silence


def test_lost_stalled_and_unreadable_runs_are_told() -> None:
    assert str(silence(entry("lost"), 100.0)).startswith("lost: ")
    stalled = str(silence(entry("stalled", heartbeat=1000.0), 1190.0))
    assert stalled.startswith("stalled: ")
    assert stalled.endswith("3m")
    assert silence(entry("running"), 100.0) is None
    assert silence(RunEntry(Path("r"), None, "unreadable", "status.json is missing"), 0.0) == "status.json is missing"


# -- throughput


def test_training_at_half_its_speed_for_long_is_told() -> None:
    text = slowness(rates(*[60.0] * 100, *[20.0] * 40))
    assert text == "slow: 20 examples/s for the last 30 s, usually 60 in this stage"


@pytest.mark.parametrize(
    "values",
    [
        [60.0] * 100 + [20.0] * 10,  # not for long
        [60.0] * 100 + [31.0] * 40,  # not by half
        [60.0] * 100 + [20.0] * 35 + [60.0] + [20.0] * 3,  # now and then
        [60.0] * 5 + [20.0] * 31,  # what is usual is not known
        [NAN] * 140,
        [20.0] * 140,
        [],
    ],
)
def test_training_at_its_usual_speed_is_no_alarm(values: list[float]) -> None:
    assert slowness(rates(*values)) is None


def test_speed_that_was_never_told_is_no_alarm() -> None:
    assert slowness(table(100)) is None


# -- overfitting


def dev(*values: float, name: str = "accuracy", first: int = 10, every: int = 10) -> Table:
    step = first + every * np.arange(float(len(values)))
    return Table(step, step, step, {name: np.array(values)})


FALLING = table(80, loss=1 / (1 + np.arange(80.0)))
RISING = table(80, loss=np.arange(80.0))


def test_a_metric_off_its_best_while_the_loss_falls_is_told() -> None:
    text = overfitting(FALLING, dev(0.6, 0.7, 0.8, 0.79, 0.75, 0.74, 0.73), "accuracy")
    assert text is not None
    for fact in ("overfitting", "accuracy on dev", "73.00", "80.00", "4 evaluations ago"):
        assert fact in text


@pytest.mark.parametrize(
    "values",
    [
        (0.6, 0.7, 0.8, 0.75, 0.74),  # not for long enough
        (0.6, 0.7, 0.8, 0.75, 0.74, 0.799),  # back at its best
        (0.8, 0.799, 0.798, 0.797, 0.796),  # noise
        (0.8, 0.7),
        (NAN, NAN, NAN, NAN),
        (),
    ],
)
def test_a_metric_near_its_best_is_no_alarm(values: tuple[float, ...]) -> None:
    assert overfitting(FALLING, dev(*values), "accuracy") is None


def test_a_training_loss_that_rises_is_no_overfitting() -> None:
    assert overfitting(RISING, dev(0.6, 0.8, 0.7, 0.6, 0.5, 0.4), "accuracy") is None


def test_where_no_classifier_is_trained_the_loss_on_dev_counts() -> None:
    losses = dev(0.9, 0.5, 0.6, 0.7, 0.8, name="loss")
    both = replace(losses, values={**losses.values, "accuracy": np.array([0.9, 0.1, 0.1, 0.1, 0.1])})
    text = str(overfitting(FALLING, both, "accuracy"))
    for fact in ("the loss on dev", "0.8000", "0.5000", "3 evaluations ago"):
        assert fact in text
    assert overfitting(FALLING, dev(0.9, 0.5, 0.4, 0.3, 0.2, name="loss"), "accuracy") is None


def test_without_figures_nothing_is_said() -> None:
    assert overfitting(table(80), dev(0.8, 0.7, 0.6, 0.5), "accuracy") is None
    assert overfitting(FALLING, dev(0.8, 0.7, 0.6, 0.5), None) is None
    assert overfitting(FALLING, dev(0.8, 0.7, 0.6, 0.5), "f1") is None
    assert overfitting(table(0, loss=[]), dev(0.8, 0.7, 0.6, 0.5), "accuracy") is None


# -- all together


def test_a_stage_is_judged_by_its_own_rows() -> None:
    """The first stage was faster and its metric better: that is no alarm in the second."""
    steps = Table(
        *(np.arange(1.0, 201.0),) * 3,
        {"examples/s": np.repeat([100.0, 20.0], 100), "loss": np.linspace(2, 1, 200)},
    )
    student = dev(0.9, 0.9, 0.9, 0.5, 0.51, 0.52, 0.53, first=30, every=28)
    borders = (Border("ild", 0, 0, 0), Border("kd", 100, 100, 100))
    curves = Curves(steps, {"student": student}, borders)
    assert list(alarms(entry(), RunSummary(stage="kd", metric_name="accuracy"), curves, 10.0)) == []
    assert len(steps.after(100)) == 100


def test_alarms_are_those_of_a_run_that_works() -> None:
    borders = (Border("kd", 0, 0, 0),)
    student = dev(0.6, 0.7, 0.8, 0.7, 0.7, 0.7, 0.7)
    steps = table(150, loss=[*np.linspace(2, 1, 149), NAN], examples_per_s=1.0)
    steps = replace(steps, values={**steps.values, "examples/s": np.repeat([60.0, 20.0], [100, 50])})
    curves, summary = Curves(steps, {"student": student}, borders), RunSummary(stage="kd", metric_name="accuracy")
    found = list(alarms(entry("stalled", heartbeat=5.0), summary, curves, 100.0))
    assert [alarm.kind for alarm in found] == ["silence", "no-number", "slow", "overfitting"]
    assert [alarm.level for alarm in found] == ["warning", "error", "warning", "warning"]
    assert list(alarms(entry("finished"), summary, curves, 100.0)) == []
    assert [alarm.level for alarm in list(alarms(entry("lost"), summary, curves, 100.0))] == ["error"]
    assert list(alarms(entry(), RunSummary(), Curves())) == []
