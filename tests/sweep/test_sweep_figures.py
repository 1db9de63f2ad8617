"""Slots, order, estimates and the matrix: pure functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crild_tui.runs.sweeps import mean_of
from engine.record.run import RunEntry
from engine.record.status import Fault, Status
from engine.sweep import slots as slots_of
from engine.sweep.estimate import duration, eta, makespan, measured
from engine.sweep.matrix import matrix
from engine.sweep.order import choose
from engine.sweep.record import CellRecord, SweepRecord
from engine.sweep.slots import Slot, slots_for
from tests.errors import raises
from tests.record.input_samples import inputs

NOW = 10_000.0


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_of, "cores", lambda: 16)
    monkeypatch.setattr(slots_of, "memory_slots", lambda: 10)
    monkeypatch.setattr(slots_of, "devices", lambda: ["cpu"])


def gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(slots_of, "devices", lambda: [*(f"cuda:{index}" for index in range(number)), "cpu"])
    monkeypatch.setattr(slots_of, "device_fault", lambda name: None if name != "cuda:9" else "cuda:9 is not there")


@pytest.mark.usefixtures("sixteen_cores")
def test_cpu_slots_share_the_cores_as_far_as_memory_reaches() -> None:
    assert slots_for(27, [None], [None]) == (Slot("cpu", 1),) * 10
    assert slots_for(4, [None], [None]) == (Slot("cpu", 4),) * 4
    assert slots_for(27, [None], [None], slots=5) == (Slot("cpu", 3),) * 5  # alike, whatever is left over
    assert slots_for(27, [None], [8]) == (Slot("cpu", 8),) * 2
    assert slots_for(27, [None], [None], slots=20) == (Slot("cpu", 1),) * 20


@pytest.mark.usefixtures("sixteen_cores")
def test_gpus_take_one_run_each_unless_more_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert slots_for(27, [None], [None]) == (Slot("cuda:0", 8), Slot("cuda:1", 8))
    assert slots_for(27, [None], [None], slots=12, on=["cuda:0"]) == (Slot("cuda:0", 1),) * 12
    assert [slot.device for slot in slots_for(27, [None], [None], slots=3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert slots_for(27, ["cpu"], [None], slots=2) == (Slot("cpu", 8),) * 2
    with raises("fewer-slots-than-devices", "cuda:0, cuda:1"):
        slots_for(27, [None], [None], slots=1)
    with raises("unavailable-device", "--devices", "cuda:9"):
        slots_for(27, [None], [None], on=["cuda:9"])
    with raises("presets-ask-for-several-devices", "cpu", "cuda:0"):
        slots_for(27, ["cpu", "cuda:0"], [None])
    with raises("invalid-slots", "--slots"):
        slots_for(27, [None], [None], slots=0)


@pytest.mark.usefixtures("sixteen_cores")
def test_a_sweep_that_goes_on_keeps_its_slots() -> None:
    before = slots_for(27, [None], [None], slots=5)
    assert slots_for(40, [None], [None], before=before) == before
    assert slots_for(40, [None], [None], before=before, slots=2) == (Slot("cpu", 8),) * 2
    assert slots_for(4, [None], [None], before=[Slot("mps", 4)]) == (Slot("cpu", 4),) * 4


def cell(run: str, teacher: str | None = None, **place: str) -> CellRecord:
    return CellRecord(run, {"method": "kd", "task": "rte", "seed": "1", **place}, 1, 0, teacher=teacher)


def test_one_run_for_each_teacher_comes_first_then_what_can_work() -> None:
    a1, a2, b1, b2, free = (
        cell(run, teacher) for run, teacher in (("a1", "A"), ("a2", "A"), ("b1", "B"), ("b2", "B"), ("f", None))
    )
    todo = [a2, b1, b2, free]
    assert choose(todo, [a1], set()) == b1  # nobody makes B yet
    assert choose([a2, b2, free], [a1, b1], set()) == free  # A and B are being made
    assert choose([a2, b2], [a1, b1], set()) is None  # which will be ready first is not known
    assert choose([a2, b2], [a1, b1], {"B"}) == b2
    assert choose([a2], [a1], set()) == a2  # nothing else is left: it loads meanwhile
    assert choose([], [a1], set()) is None
    assert choose([a2], [], set()) == a2


def entry(run: str, state: str, *, seconds: float = 100.0, **fields: object) -> RunEntry:
    known = {"task": "rte", "method": "kd", "attempt": 1, "started": NOW - seconds, "metric_name": "accuracy", **fields}
    ended = NOW if state in ("finished", "failed") else None
    status = Status(id=run, created=0.0, state=state, ended=ended, **known)  # type: ignore[arg-type]
    return RunEntry(Path(run), status, state)


def sweep(*cells: CellRecord, slots: int = 2) -> SweepRecord:
    axes = {
        axis: tuple(dict.fromkeys(one.cell[axis] for one in cells if axis in one.cell))
        for axis in dict.fromkeys(axis for one in cells for axis in one.cell)
    }
    return SweepRecord("study", "study.toml", 0.0, axes, cells, (Slot("cpu", 1),) * slots, state="stopped")


def test_lengths_are_those_of_other_seeds_else_of_the_method_and_task() -> None:
    place = {"method": "kd", "task": "rte"}
    runs = [
        entry("a", "finished", seconds=60, sweep="study", cell={**place, "noise": "0", "seed": "1"}),
        entry("b", "finished", seconds=80, sweep="study", cell={**place, "noise": "0", "seed": "2"}),
        entry("c", "finished", seconds=500, sweep="other", cell={**place, "seed": "2"}),
        entry("d", "finished", seconds=30, method="crild"),
        entry("e", "finished", seconds=1, method="slow", attempt=2),  # its last attempt tells nothing
        entry("f", "running", seconds=9, method="slow"),
    ]
    known = measured(runs, "study")
    assert known.expected({**place, "noise": "0", "seed": "9"}) == 70
    assert known.expected({**place, "noise": "1"}) == 70
    assert known.expected({"method": "crild", "task": "rte"}) == 30
    assert known.expected({"method": "slow", "task": "rte"}) is None
    assert measured(runs).expected(place) == pytest.approx((60 + 80 + 500) / 3)
    left = [
        {**place, "noise": "0"},
        {**place, "noise": "0"},
        {"method": "crild", "task": "rte"},
        {"method": "x", "task": "rte"},
    ]
    found = duration(left, known, 2)
    assert (found.seconds, found.known, found.unknown) == (100.0, 3, 1)


def test_the_time_left_is_that_of_the_slot_that_ends_last() -> None:
    assert makespan([], [], 2) == 0
    assert makespan([30, 10], [50, 20], 2) == 60
    cells = [cell(str(number), seed=str(number)) for number in range(4)]
    runs = {"0": entry("0", "finished", seconds=100), "1": entry("1", "running", seconds=50, eta=40.0)}
    record = sweep(*cells)
    assert eta(record, {}, NOW) is None
    done = replace(runs["0"], status=replace(runs["0"].status, sweep="study", cell=cells[0].cell))  # type: ignore[type-var]
    assert eta(record, {"0": done, "1": runs["1"]}, NOW) == 140.0
    assert eta(record, {"1": runs["1"]}, NOW) == 180.0  # three of 90 seconds are left, beside the present one
    assert eta(record, {one.run: entry(one.run, "finished") for one in cells}, NOW) == 0.0


def test_the_matrix_has_means_over_seeds_and_says_what_is_missing() -> None:
    cells = [
        cell("a1", seed="1"), cell("a2", seed="2"), cell("b1", method="crild", seed="1"),
        cell("b2", method="crild", seed="2"), cell("c1", task="mrpc", seed="1"),
    ]  # fmt: skip
    record = replace(sweep(*cells), failed=("c1: no space is left",))
    runs = {
        "a1": entry("a1", "finished", last=0.6),
        "a2": entry("a2", "finished", last=0.8),
        "b1": entry("b1", "running", done=5, total=10, eta=100.0),
        "b2": entry("b2", "failed", done=5, total=10, error=Fault("data", "a label is missing", "t.csv", 7)),
    }
    found = matrix(record, runs, now=NOW, figures={"a1": 0.7})
    assert (found.rows, found.tasks) == (("kd", "crild"), ("rte", "mrpc"))
    kd = found.entries["kd", "rte"]
    assert kd.spread is not None
    assert kd.spread.mean == pytest.approx(0.75)
    assert kd.spread.count == 2
    assert kd.spread.deviation == pytest.approx(0.0707, abs=1e-4)
    assert found.entries["crild", "rte"].spread is None
    assert found.entries["crild", "rte"].progress == 0.5
    assert ("crild", "mrpc") not in found.entries
    assert dict(found.states) == {"finished": 2, "running": 1, "failed": 1, "left": 1}
    assert found.runs == 5
    assert found.progress == pytest.approx((2 + 1) / 5)
    assert found.faults == {"c1": "no space is left", "b2": "t.csv:7: a label is missing"}
    assert found.eta == pytest.approx(400 / 3)  # c1 takes the mean of those that are known, in the other slot
    assert not found.alive


def test_runs_of_a_cell_that_read_other_data_are_not_averaged() -> None:
    cells = [cell(f"{method}{seed}", method=method, seed=str(seed)) for method in ("kd", "crild") for seed in (1, 2)]
    runs = {one.run: entry(one.run, "finished", last=0.6, majority=0.5) for one in cells}
    read = {"kd1": inputs(), "kd2": inputs(dev="1"), "crild1": inputs(), "crild2": inputs()}
    found = matrix(sweep(*cells), runs, now=NOW, inputs=read)
    kd, crild = found.entries["kd", "rte"], found.entries["crild", "rte"]
    assert kd.spread is None
    assert len(kd.values) == 2
    assert "11111111" in (kd.differs or "")
    assert crild.spread is not None
    assert mean_of(crild) == "60.00 ± 0.00"
    assert "0.6" not in mean_of(kd)
    cell_note, task_note = found.notes
    assert cell_note == kd.differs
    assert "rte" in task_note


def test_an_old_run_whose_majority_guess_differs_is_not_averaged() -> None:
    cells = [cell("a", seed="1"), cell("b", seed="2")]
    runs = {"a": entry("a", "finished", last=0.6, majority=0.5), "b": entry("b", "finished", last=0.6, majority=0.55)}
    assert matrix(sweep(*cells), runs, now=NOW).entries["kd", "rte"].spread is None
    same = {**runs, "b": entry("b", "finished", last=0.6, majority=0.5)}
    assert matrix(sweep(*cells), same, now=NOW).entries["kd", "rte"].spread is not None


def test_rows_are_named_by_method_and_further_axes_in_the_order_of_the_file() -> None:
    cells = [cell(f"{m}{n}", method=m, noise=n) for n in ("0.3", "0.0") for m in ("kd", "crild")]
    found = matrix(sweep(*cells), {}, now=NOW)
    assert found.rows == ("kd, noise 0.3", "kd, noise 0.0", "crild, noise 0.3", "crild, noise 0.0")
    assert found.eta is None


def test_a_record_survives_its_file_and_damage_is_reported() -> None:
    record = replace(sweep(cell("a", "T", noise="0"), cell("b")), begun=3.0, waiting="for x", retry=True)
    assert SweepRecord.from_dict(record.to_dict()) == record
    with raises("unknown-record-version"):
        SweepRecord.from_dict({**record.to_dict(), "schema": 2})
    with raises("incomplete-record"):
        SweepRecord.from_dict({**record.to_dict(), "cells": [1]})
