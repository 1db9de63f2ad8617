"""status.json: one serializer, and states that only a reader can tell."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import DataError, PresetError, RunError, UsageError
from engine.record.owner import Owner
from engine.record.states import WRITTEN
from engine.record.status import Fault, Job, Status, derived
from tests.errors import raises

NOW = 1_800_000_000.0
FULL = Status(
    id="rte-s1", created=NOW, state="running", attempt=2, started=NOW, stage="ild", stage_index=2, stages=3, step=10,
    steps=100, done=110, total=500, preset="crild+rte", task="rte", method="crild", seed=1, device="cpu",
    metric_name="accuracy", last=0.5, best=0.6, teacher=0.7, majority=0.5, self_teacher=0.55, eta=12.5, rate=99.5,
    owner=Owner.current(), heartbeat=NOW, inode="18446744073709551615", error=Fault("data", "no rows", "train.csv", 3, "text"), exit_code=3, queue="q1",
    job=Job("77_3", cluster="c"),
    sweep="study", cell={"method": "crild", "seed": "1"},
)  # fmt: skip
FAR = replace(Owner.current(), host="far.example", boot_id="far")
GONE = replace(Owner.current(), started=-1000.0)


def test_every_field_survives_the_file() -> None:
    assert all(getattr(FULL, item.name) is not None for item in fields(Status) if item.name != "ended")
    assert Status.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL


def test_what_is_left_out_takes_its_default_and_later_keys_are_ignored() -> None:
    read = Status.from_dict({"schema": 1, "id": "a", "created": 5, "state": "created", "invented_later": [1]})
    assert read == Status(id="a", created=5.0)
    assert isinstance(read.created, float)


def test_numbers_that_are_not_finite_are_not_written() -> None:
    data = replace(FULL, last=float("nan"), eta=float("inf")).to_dict()
    assert data["last"] is None
    assert data["eta"] is None


@pytest.mark.parametrize(
    ("changes", "kind", "facts"),
    [
        ({"schema": 2}, "newer-record", ["schema 2"]),
        ({"schema": None}, "unknown-record-version", []),
        ({"schema": True}, "unknown-record-version", []),
        ({"schema": "1"}, "unknown-record-version", []),
        ({"id": None}, "invalid-field", ["id", "'None'"]),
        ({"state": "flying"}, "invalid-field", ["state", "'flying'", "created, queued"]),
        ({"state": "lost"}, "invalid-field", ["state", "'lost'"]),
        ({"created": "today"}, "invalid-field", ["created", "'today'"]),
        ({"created": 10**400}, "invalid-field", ["created"]),
        ({"step": 1.5}, "invalid-field", ["step", "'1.5'"]),
        ({"step": True}, "invalid-field", ["step"]),
        ({"cell": "kd"}, "invalid-field", ["cell"]),
        ({"best": "high"}, "invalid-field", ["best", "'high'"]),
        ({"owner": 7}, "invalid-field", ["owner"]),
        ({"owner": {}}, "invalid-owner", []),
    ],
)
def test_invalid_records_are_refused(changes: dict[str, Any], kind: str, facts: list[str]) -> None:
    with raises(kind, *facts):
        Status.from_dict({**FULL.to_dict(), **changes})


WORDS = st.sampled_from(["", "running", "queued", "1", "\0", "pid", "host", "\U0001f600", "nan"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
JSON = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(WORDS, PLAIN, max_size=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*(item.name for item in fields(Status)), "schema"]), JSON, max_size=4))
def test_nothing_but_a_sentence_ever_comes_out(changes: dict[str, Any]) -> None:
    with contextlib.suppress(RunError):
        assert derived(Status.from_dict({**FULL.to_dict(), **changes}), NOW)


@pytest.mark.parametrize("state", ["finished", "failed", "stopped", "preempted"])
def test_what_has_ended_stays_ended(state: str) -> None:
    assert derived(replace(FULL, state=state, owner=GONE, heartbeat=0.0), NOW) == state


@pytest.mark.parametrize("state", ["running", "stopping"])
def test_a_running_run_needs_its_owner(state: str) -> None:
    run = replace(FULL, state=state)
    assert derived(run, NOW) == state
    assert derived(replace(run, owner=GONE), NOW) == "lost"
    assert derived(replace(run, owner=None), NOW) == "lost"


def test_a_living_owner_that_is_silent_for_a_minute_is_stalled() -> None:
    assert derived(replace(FULL, heartbeat=NOW - 59), NOW) == "running"
    assert derived(replace(FULL, heartbeat=NOW - 61), NOW) == "stalled"
    assert derived(replace(FULL, heartbeat=NOW + 500), NOW) == "running"  # the clock was set back


def test_an_owner_elsewhere_is_known_by_its_heartbeat() -> None:
    assert derived(replace(FULL, owner=FAR, heartbeat=NOW - 119), NOW) == "running"
    assert derived(replace(FULL, owner=FAR, heartbeat=NOW - 121), NOW) == "lost"


def test_a_created_run_must_find_its_engine_within_a_minute() -> None:
    new = Status(id="a", created=NOW)
    assert derived(new, NOW + 59) == "created"
    assert derived(new, NOW + 61) == "lost"
    assert derived(replace(new, heartbeat=NOW + 50), NOW + 61) == "created"  # its queue has just given it its turn
    assert derived(replace(new, owner=GONE), NOW) == "lost"


def test_a_queued_run_depends_on_its_queue() -> None:
    waiting = Status(id="a", created=NOW, state="queued", queue="q")
    assert derived(waiting, NOW + 9999, queue_alive=True) == "queued"
    assert derived(waiting, NOW + 9999) == "queued"
    assert derived(waiting, NOW + 1, queue_alive=False) == "lost"


def test_states_are_those_of_the_design() -> None:
    assert WRITTEN == ("created", "queued", "running", "stopping", "finished", "failed", "stopped", "preempted")


def test_a_fault_carries_an_errors_sentence_and_place() -> None:
    fault = Fault.from_error(DataError("has no column 'x'", file="a.csv", line=1, key="task.columns.text"))
    assert fault == Fault("data", "has no column 'x'", "a.csv", 1, "task.columns.text")
    assert str(fault) == "a.csv:1: has no column 'x'"


def test_several_problems_are_all_told() -> None:
    fault = Fault.from_error(
        PresetError([UsageError("one", file="p.toml", line=1), UsageError("two", file="p.toml", line=9)])
    )
    assert str(fault) == "p.toml:1: one\np.toml:9: two"
