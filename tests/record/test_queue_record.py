"""The record of a queue, and the tail of a log."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record.logs import last_lines, log_tail
from engine.record.owner import Owner
from engine.record.queue import QueueRecord, list_queues, queue_alive, queue_file, read_queue, write_queue

NOW = 1_800_000_000.0
RECORD = QueueRecord(
    id="q", created=NOW, runs=("a", "b"), device="cuda:1", next=1, present="b", waiting="for the GPU", owner=Owner.current(),
    heartbeat=NOW,
)  # fmt: skip


def test_every_field_survives_the_file(tmp_path: Path) -> None:
    write_queue(tmp_path / "q.json", RECORD)
    assert read_queue(tmp_path / "q.json") == RECORD


@pytest.mark.parametrize(
    "changes", [{"schema": 2}, {"runs": 3}, {"owner": {"pid": "x"}}, {"next": "x"}, {"id": None, "runs": None}]
)
def test_strange_records_are_a_sentence_and_left_out(tmp_path: Path, changes: dict[str, object]) -> None:
    path = queue_file(tmp_path, "q")
    path.parent.mkdir()
    path.write_text(json.dumps({**RECORD.to_dict(), **changes}))
    with pytest.raises(RunError) as caught:
        read_queue(path)
    assert caught.value.file == str(path)
    assert list_queues(tmp_path) == []
    assert not queue_alive(tmp_path, "q")


def test_queues_are_listed_in_the_order_of_their_making(tmp_path: Path) -> None:
    assert list_queues(tmp_path) == []
    queue_file(tmp_path, "x").parent.mkdir()
    for name, created in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        write_queue(queue_file(tmp_path, name), replace(RECORD, id=name, created=created))
    assert [record.id for record in list_queues(tmp_path)] == ["b", "c", "a"]


def test_a_queue_lives_with_its_process() -> None:
    assert RECORD.alive(NOW)
    assert not replace(RECORD, state="ended").alive(NOW)
    assert not replace(RECORD, owner=replace(Owner.current(), started=-1000.0)).alive(NOW)
    unstarted = replace(RECORD, owner=None)
    assert unstarted.alive(NOW + 29)
    assert not unstarted.alive(NOW + 31)
    far = replace(RECORD, owner=replace(Owner.current(), host="far.example", boot_id="far"))
    assert far.alive(NOW + 119)
    assert not far.alive(NOW + 121)


@pytest.mark.parametrize("name", ["../q", ".q", "gone"])
def test_a_queue_that_cannot_be_is_not_alive(tmp_path: Path, name: str) -> None:
    queue_file(tmp_path, "x").parent.mkdir()
    write_queue(tmp_path / "q.json", replace(RECORD, created=time.time()))
    write_queue(tmp_path / ".queue" / ".q.json", replace(RECORD, created=time.time()))
    assert not queue_alive(tmp_path, name)


def test_the_tail_of_a_log_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    assert log_tail(tmp_path) == []
    (tmp_path / "log.9.txt").write_text("old")
    (tmp_path / "log.10.txt").write_bytes(b"\xff first\n" + b"x" * 200_000 + b"\nlast\n")
    assert log_tail(tmp_path, 1) == ["last"]
    assert last_lines(tmp_path / "log.9.txt") == ["old"]
    assert last_lines(tmp_path / "gone") == []
