"""Whether the process of a queue is alive, as listings ask."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from engine.record.owner import Owner
from engine.record.paths import queue_file
from engine.record.run import queue_alive
from engine.record.status import process_alive

NOW = 1_800_000_000.0
RECORD = {
    "schema": 1, "created": 1.0, "state": "active", "owner": asdict(Owner.current()), "heartbeat": None,
}  # fmt: skip


def write(folder: Path, **changes: object) -> Path:
    path = queue_file(folder, "q")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**RECORD, **changes}))
    return path


def test_a_queue_lives_with_its_process() -> None:
    owner = Owner.current()
    assert process_alive("active", owner, NOW, NOW, NOW)
    assert not process_alive("ended", owner, NOW, NOW, NOW)
    assert not process_alive("active", replace(owner, started=-1000.0), NOW, NOW, NOW)
    assert process_alive("active", None, NOW, NOW, NOW + 29)
    assert not process_alive("active", None, NOW, NOW, NOW + 31)
    far = replace(owner, host="far.example", boot_id="far")
    assert process_alive("active", far, NOW, NOW, NOW + 119)
    assert not process_alive("active", far, NOW, NOW, NOW + 121)


def test_the_record_is_asked(tmp_path: Path) -> None:
    assert not queue_alive(tmp_path, "q")
    write(tmp_path)
    assert queue_alive(tmp_path, "q")
    write(tmp_path, owner=None, created=time.time())
    assert queue_alive(tmp_path, "q")
    write(tmp_path, state="ended")
    assert not queue_alive(tmp_path, "q")


@pytest.mark.parametrize("changes", [{"owner": {"pid": "x"}}, {"owner": 3}, {"created": None}, {"heartbeat": "x"}])
def test_strange_records_are_of_no_living_queue(tmp_path: Path, changes: dict[str, object]) -> None:
    write(tmp_path, **changes)
    assert not queue_alive(tmp_path, "q")
    queue_file(tmp_path, "q").write_text("[]")
    assert not queue_alive(tmp_path, "q")


@pytest.mark.parametrize("name", ["../q", ".q", "gone"])
def test_a_queue_that_cannot_be_is_not_alive(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    (tmp_path / "q.json").write_bytes(path.read_bytes())
    (tmp_path / ".queue" / ".q.json").write_bytes(path.read_bytes())
    assert not queue_alive(tmp_path, name)
