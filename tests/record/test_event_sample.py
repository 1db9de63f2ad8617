from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.record.event_sample import events_size, sample_events
from engine.record.paths import events_file


def sampled(run_dir: Path, pieces: int = 128, size: int = 2**14) -> list[dict[str, Any]]:
    return [event for piece in sample_events(run_dir, pieces, size) for event in piece]


def head() -> str:
    return json.dumps({"v": 1, "t": 1e9, "kind": "run_started", "stages": ["ild"], "stage": "ild", "step": 0}) + "\n"


def lines(first: int, last: int, **more: Any) -> str:
    fields = {"v": 1, "t": 1e9, "kind": "step", "stage": "ild", "loss": 0.5, **more}
    return "".join(json.dumps({**fields, "step": step}) + "\n" for step in range(first, last + 1))


def test_a_sample_holds_whole_lines_of_the_files_from_end_to_end(tmp_path: Path) -> None:
    path = events_file(tmp_path, 1)
    assert (sampled(tmp_path), events_size(tmp_path)) == ([], 0)
    path.write_text(head() + lines(1, 5000) + '{"v":1,"kind":"st')
    found = sampled(tmp_path, 10, 1000)
    steps = [event["step"] for event in found]
    assert (steps[0], steps[1], steps[-1]) == (0, 1, 5000)
    assert steps == sorted(set(steps))
    gaps = [later - one for one, later in pairwise(steps) if later - one > 1]
    assert len(gaps) == 9
    assert max(gaps) - min(gaps) < 40
    assert events_size(tmp_path) == path.stat().st_size
    path.write_text(head() + lines(1, 5))
    assert len(sampled(tmp_path)) == 6
    path.unlink()
    path.mkdir()
    assert (sampled(tmp_path), events_size(tmp_path)) == ([], 0)


def test_each_attempt_has_its_share_of_the_sample(tmp_path: Path) -> None:
    events_file(tmp_path, 1).write_text(head() + lines(1, 9000))
    events_file(tmp_path, 2).write_text(head() + lines(1, 1000, loss=0.25))
    losses = [event["loss"] for event in sampled(tmp_path, 20, 1000) if event["kind"] == "step"]
    assert 0.05 < losses.count(0.25) / len(losses) < 0.2


@pytest.mark.parametrize("garbage", [b"\x00" * 9000, b"[" * 9000, b"\n" * 9000, b'{"v":2,"kind":"step"}\n' * 500])
def test_garbage_is_left_out_of_a_sample(tmp_path: Path, garbage: bytes) -> None:
    text = (head() + lines(1, 200)).encode()
    events_file(tmp_path, 1).write_bytes(text + garbage + b"\n" + lines(201, 400).encode())
    steps = [event["step"] for event in sampled(tmp_path, 8, 1000)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 400)
