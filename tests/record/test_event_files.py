"""Event files: appended whole, merged over attempts, read while they grow, tear and vanish."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunError
from engine.record import events
from engine.record.events import EventTail, EventWriter, ResumePoint, read_events
from engine.record.paths import events_file

STAGES = ["teacher", "ild", "kd"]


def begin(run: Path, attempt: int, stage: str = "teacher", step: int = 0) -> EventWriter:
    writer = EventWriter(events_file(run, attempt), attempt)
    writer.write("run_started", attempt=attempt, stages=STAGES, stage=stage, step=step)
    return writer


def steps(writer: EventWriter, stage: str, *numbers: int) -> None:
    for number in numbers:
        writer.write("step", stage=stage, step=number, loss=number + writer.attempt / 10)


def places(run: Path, *kinds: str) -> list[tuple[str, int]]:
    return [(event["stage"], event["step"]) for event in read_events(run, kinds or ("step",))]


def test_an_event_is_one_line_of_strict_short_json(tmp_path: Path) -> None:
    writer = EventWriter(events_file(tmp_path, 1), 1)
    before = time.time()
    writer.write(
        "step", stage="ild", step=3, loss=0.123456789012, terms={"hidden": float("nan")}, big=[float("inf"), 2**60]
    )
    line = events_file(tmp_path, 1).read_bytes()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    event = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert abs(event.pop("t") - before) < 5
    assert event == {
        "v": 1, "kind": "step", "stage": "ild", "step": 3, "loss": 0.1234568, "terms": {"hidden": None}, "big": [None, 2**60],
    }  # fmt: skip


def test_hostile_text_stays_in_its_line(tmp_path: Path) -> None:
    writer = begin(tmp_path, 1)
    text = 'a\n{"v":1,"kind":"step"}\r\u2028\x00\x1b[31m"\\ \ud800'
    writer.write("message", text=text, level="warning")
    steps(writer, "ild", 1)
    assert [event["kind"] for event in read_events(tmp_path)] == ["run_started", "message", "step"]
    assert next(read_events(tmp_path, ["message"]))["text"] == text


def test_each_event_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EventWriter(events_file(tmp_path, 1), 1)
    calls: list[bytes] = []
    real = os.write

    def counted(handle: int, data: bytes) -> int:
        calls.append(bytes(data))
        return real(handle, data)

    monkeypatch.setattr(os, "write", counted)
    writer.write("message", text="x" * 100_000)
    assert len(calls) == 1


def test_an_unknown_kind_is_a_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stepp"):
        EventWriter(events_file(tmp_path, 1), 1).write("stepp")


def test_a_full_device_is_a_sentence_and_leaves_no_part_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(tmp_path, 1)
    size = events_file(tmp_path, 1).stat().st_size
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 10:
            return real(handle, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match=r"no space is left on the device: free some space, then resume the run"):
        steps(writer, "ild", 1)
    monkeypatch.undo()
    assert events_file(tmp_path, 1).stat().st_size == size
    steps(writer, "ild", 2)  # space was freed
    assert places(tmp_path) == [("ild", 2)]


def test_a_part_of_a_line_that_cannot_be_taken_back_spoils_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(tmp_path, 1)
    real = os.write

    def broken(handle: int, data: bytes) -> int:
        if len(data) > 10:
            return real(handle, data[:10])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def stuck(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", broken)
    monkeypatch.setattr(os, "ftruncate", stuck)
    with pytest.raises(RunError, match="input/output error") as caught:
        steps(writer, "ild", 1)
    assert caught.value.kind == "events-not-writable"
    monkeypatch.undo()
    steps(writer, "ild", 2)
    assert places(tmp_path) == [("ild", 2)]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "events.1.jsonl"
    with pytest.raises(RunError, match="the folder does not exist") as caught:
        EventWriter(path, 1)
    assert (caught.value.kind, caught.value.file) == ("events-not-writable", str(path))


def test_garbage_is_passed_over(tmp_path: Path) -> None:
    steps(begin(tmp_path, 1), "ild", 1)
    with events_file(tmp_path, 1).open("ab") as file:
        file.write(b'\n\nnot json\n{"v":1}\n[1]\n3\n{"v":2,"kind":"step"}\n\xff\xfe\n' + b"\0" * 100 + b"\n")
        file.write(
            b'{"v":1,"kind":7}\n{"v":1,"kind":"step"},{"v":1,"kind":"step"}\n{"a":[1\n2]}\n' + b"[" * 99999 + b"\n"
        )
        file.write(b'{"v":1,"kind":"step","stage":"ild","step":2,"loss":NaN}\n{"v":1,"kind":"step","stage":"ild","st')
    assert places(tmp_path) == [("ild", 1), ("ild", 2)]
    assert [event["kind"] for event in read_events(tmp_path)] == ["run_started", "step", "step"]
    assert list(read_events(tmp_path, ["step"]))[-1]["loss"] is None


def test_a_line_too_long_to_be_true_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_CHUNK", 1000)
    monkeypatch.setattr(events, "_LONGEST", 5000)
    writer = begin(tmp_path, 1)
    writer.write("message", text="y" * 3000)  # longer than a chunk, and true
    with events_file(tmp_path, 1).open("ab") as file:
        file.write(b'{"v":1,"kind":"message","text":"' + b"x" * 20_000 + b'"}\n')
    steps(writer, "ild", 1)
    assert [event["kind"] for event in read_events(tmp_path)] == ["run_started", "message", "step"]


def test_kinds_are_picked_by_the_kind_alone(tmp_path: Path) -> None:
    writer = begin(tmp_path, 1)
    writer.write("message", text='about a "step"', level="step")
    steps(writer, "ild", 1)
    writer.write("evaluation", stage="ild", step=1, split="dev", model="student", metrics={"accuracy": 0.5}, best=True)
    assert [event["kind"] for event in read_events(tmp_path, {"step"})] == ["step"]
    assert [event["kind"] for event in read_events(tmp_path, ("step", "evaluation"))] == ["step", "evaluation"]
    assert list(read_events(tmp_path, ())) == []


def test_for_a_step_two_attempts_reached_the_later_wins(tmp_path: Path) -> None:
    first = begin(tmp_path, 1)
    steps(first, "teacher", 10, 20)
    steps(first, "ild", 10, 20, 30, 40)
    second = begin(tmp_path, 2, "ild", 20)
    steps(second, "ild", 30)
    assert [(event["stage"], event["step"], event["loss"]) for event in read_events(tmp_path, ["step"])] == [
        ("teacher", 10, 10.1), ("teacher", 20, 20.1), ("ild", 10, 10.1), ("ild", 20, 20.1), ("ild", 30, 30.2),
    ]  # fmt: skip


def test_stages_count_in_their_order_not_by_name(tmp_path: Path) -> None:
    first = begin(tmp_path, 1)
    steps(first, "teacher", 5)
    steps(first, "ild", 5)
    steps(first, "kd", 5)
    begin(tmp_path, 2, "ild", 0)
    assert places(tmp_path) == [("teacher", 5)]


def test_a_third_attempt_takes_back_from_both_before(tmp_path: Path) -> None:
    steps(begin(tmp_path, 1), "ild", 1, 2, 3, 4)
    steps(begin(tmp_path, 2, "ild", 3), "ild", 4, 5, 6)
    steps(begin(tmp_path, 10, "ild", 1), "ild", 2)  # tenth by number, not second by spelling
    assert [event["loss"] for event in read_events(tmp_path, ["step"])] == [1.1, 3.0]


def test_what_stands_at_the_very_place_stays_until_it_is_written_again(tmp_path: Path) -> None:
    first = begin(tmp_path, 1)
    steps(first, "ild", 10)
    for split in ("dev", "dev_mismatched"):
        first.write("evaluation", stage="ild", step=10, split=split, model="student", metrics={"accuracy": 0.1})
    second = begin(tmp_path, 2, "ild", 10)
    second.write("evaluation", stage="ild", step=10, split="dev", model="student", metrics={"accuracy": 0.2})
    steps(second, "ild", 20)
    found = [(event["split"], event["metrics"]["accuracy"]) for event in read_events(tmp_path, ["evaluation"])]
    assert found == [("dev_mismatched", 0.1), ("dev", 0.2)]
    assert places(tmp_path) == [("ild", 10), ("ild", 20)]


def test_an_extended_run_has_finished_once(tmp_path: Path) -> None:
    first = begin(tmp_path, 1)
    first.write("stage_started", stage="kd", step=0, steps=10)
    steps(first, "kd", 10)
    first.write("message", text="still worth reading")
    first.write("stage_finished", stage="kd", step=10)
    first.write("run_finished", state="finished")
    second = begin(tmp_path, 2, "kd", 10)
    steps(second, "kd", 20)
    second.write("stage_finished", stage="kd", step=20)
    second.write("run_finished", state="finished")
    kinds = [event["kind"] for event in read_events(tmp_path)]
    assert kinds == [
        "run_started", "stage_started", "step", "message", "run_started", "step", "stage_finished", "run_finished",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fields", [{}, {"stages": "ild", "stage": "ild"}, {"stages": STAGES, "stage": "gone"}, {"stages": [[]]}]
)
def test_an_attempt_that_does_not_say_where_it_goes_on_takes_nothing_back(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    steps(begin(tmp_path, 1), "ild", 1, 2)
    EventWriter(events_file(tmp_path, 2), 2).write("run_started", attempt=2, **fields)
    EventWriter(events_file(tmp_path, 3), 3)  # has written nothing yet
    assert places(tmp_path) == [("ild", 1), ("ild", 2)]


def test_a_run_without_events_has_none(tmp_path: Path) -> None:
    assert list(read_events(tmp_path)) == []
    assert list(read_events(tmp_path / "gone")) == []
    (tmp_path / "events.1.jsonl").mkdir()
    os.mkfifo(tmp_path / "events.2.jsonl")
    (tmp_path / "events.x.jsonl").write_text('{"v":1,"kind":"message"}\n')
    assert list(read_events(tmp_path)) == []


def test_a_tail_follows_across_lines_attempts_and_polls(tmp_path: Path) -> None:
    tail = EventTail(tmp_path)
    assert tail.poll() == []
    first = begin(tmp_path, 1)
    steps(first, "ild", 1)
    assert [event["kind"] for event in tail.poll()] == ["run_started", "step"]
    assert tail.poll() == []
    with events_file(tmp_path, 1).open("ab") as file:
        file.write(b'{"v":1,"kind":"step","stage":"ild","step":2')
        file.flush()
        assert tail.poll() == []  # not complete yet
        file.write(b"}\n")
    assert [event["step"] for event in tail.poll()] == [2]
    second = begin(tmp_path, 2, "ild", 1)
    steps(second, "ild", 2)
    fresh = tail.poll()
    assert [event["kind"] for event in fresh] == ["run_started", "step"]
    point = ResumePoint.of(fresh[0])
    assert point is not None
    assert point.supersedes({"kind": "step", "stage": "ild", "step": 2})
    assert not point.supersedes({"kind": "step", "stage": "ild", "step": 1})
    assert point.supersedes({"kind": "run_finished"})
    assert tail.generation == 0


def test_a_late_tail_begins_with_the_merged_history(tmp_path: Path) -> None:
    steps(begin(tmp_path, 1), "ild", 1, 2, 3)
    steps(begin(tmp_path, 2, "ild", 1), "ild", 2)
    assert EventTail(tmp_path).poll() == list(read_events(tmp_path))
    assert [event["loss"] for event in EventTail(tmp_path, ["step"]).poll()] == [1.1, 2.2]


def test_a_tail_hands_out_a_long_history_in_portions(tmp_path: Path) -> None:
    writer = begin(tmp_path, 1)
    steps(writer, "ild", *range(1, 26))
    tail = EventTail(tmp_path, ["step"])
    portions = [[event["step"] for event in tail.poll(limit=10)] for _ in range(4)]
    assert [len(portion) for portion in portions] == [10, 10, 5, 0]
    assert [step for portion in portions for step in portion] == list(range(1, 26))


def test_a_tail_starts_again_when_its_file_is_cut_replaced_or_deleted(tmp_path: Path) -> None:
    path = events_file(tmp_path, 1)
    steps(begin(tmp_path, 1), "ild", 1, 2)
    tail = EventTail(tmp_path, ["step"])
    assert len(tail.poll()) == 2

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert [event["step"] for event in tail.poll()] == [1]
    assert tail.generation == 1

    (tmp_path / "new").mkdir()
    steps(begin(tmp_path / "new", 1), "kd", 7, 8, 9)
    events_file(tmp_path / "new", 1).replace(path)
    assert [event["step"] for event in tail.poll()] == [7, 8, 9]
    assert tail.generation == 2

    path.unlink()
    assert tail.poll() == []
    assert tail.generation == 3
    steps(begin(tmp_path, 1), "kd", 1)
    assert [event["step"] for event in tail.poll()] == [1]
    assert tail.generation == 3


def test_garbage_does_not_stop_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty lines and other kinds must not make a whole portion be read line by line."""
    writer = begin(tmp_path, 1)
    steps(writer, "ild", *range(1, 100))
    calls = 0
    real = events._only_events

    def counted(values: list[Any], expected: int) -> list[events.Event]:
        nonlocal calls
        calls += 1
        return real(values, expected)

    monkeypatch.setattr(events, "_only_events", counted)
    assert len(list(read_events(tmp_path))) == 100
    assert calls == 1


def test_reports_of_a_long_loading_hide_from_no_reader_where_an_attempt_resumes(tmp_path: Path) -> None:
    first = begin(tmp_path, 1)
    steps(first, "ild", 1, 2, 3)
    second = EventWriter(events_file(tmp_path, 2), 2)
    for second_of_loading in range(3000):  # more than is read at once
        second.write("phase", phase="reading train.csv", done=second_of_loading, total=None, unit="rows", seconds=1.0)
    second.write("run_started", attempt=2, stages=STAGES, stage="ild", step=1)
    steps(second, "ild", 2)
    assert [event["step"] for event in read_events(tmp_path, {"step"})] == [1, 2]
