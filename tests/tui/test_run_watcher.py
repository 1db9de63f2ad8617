from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crild_tui.monitor import run as watching
from crild_tui.monitor.curve_builder import CurveBuilder
from crild_tui.monitor.run import RunWatcher, unreadable
from crild_tui.monitor.snapshots import RunSnapshot
from engine.record.annotations import set_note
from engine.record.event_sample import sample_events
from engine.record.events import EventTail, EventWriter
from engine.record.paths import events_file
from engine.record.run import update_status
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.tui.snapshots import Snapshots

STAGES = ["ild", "kd"]


class Seen(Snapshots[RunSnapshot]):
    """Snapshots of a run as they come."""

    def until_alarm(self, kind: str, fact: str = "") -> RunSnapshot:
        """The newest snapshot once there is an alarm of this kind with this fact in its sentence."""
        return self.until(lambda snapshot: any(a.kind == kind and fact in a.text for a in snapshot.alarms))


@contextmanager
def watched(run_dir: Path) -> Iterator[Seen]:
    seen = Seen()
    watcher = RunWatcher(run_dir, seen, every=0.01)
    watcher.start()
    try:
        yield seen
    finally:
        watcher.stop()
        watcher._thread.join(PATIENCE)
        assert not watcher._thread.is_alive()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run whose engine has not begun."""
    return make_run(tmp_path / "runs", state="created")


def lines(first: int, last: int, stage: str = "ild", **more: Any) -> str:
    fields = {"v": 1, "t": 1e9, "kind": "step", "stage": stage, "loss": 0.5, **more}
    return "".join(json.dumps({**fields, "step": step}) + "\n" for step in range(first, last + 1))


def head(stage: str = "ild", step: int = 0) -> str:
    return json.dumps({"v": 1, "t": 1e9, "kind": "run_started", "stages": STAGES, "stage": stage, "step": step}) + "\n"


def rows(snapshot: RunSnapshot) -> list[float]:
    return [float(step) for step in snapshot.curves.steps.step]


# -- a run that goes on


def test_a_run_is_followed_from_its_beginning_over_two_attempts(run_dir: Path) -> None:
    with watched(run_dir) as seen:
        first = seen.until(lambda _: True)
        assert (first.run_dir, first.entry.state, len(first.curves.steps), first.curves.complete) == (
            run_dir,
            "created",
            0,
            True,
        )
        events = EventWriter(events_file(run_dir, 1), 1)
        events.write("run_started", attempt=1, stages=STAGES, stage="ild", step=0)
        events.write("stage_started", stage="ild", step=0, steps=10, epochs=1.0)
        events.write("message", text="3 inputs were cut", level="warning")
        for step in range(1, 6):
            events.write("step", stage="ild", step=step, loss=1.0 / step)
        found = seen.until(lambda snapshot: rows(snapshot) == [1, 2, 3, 4, 5])
        assert found.summary.loss == 0.2
        assert [message.text for message in found.messages] == ["3 inputs were cut"]
        again = EventWriter(events_file(run_dir, 2), 2)
        again.write("run_started", attempt=2, stages=STAGES, stage="ild", step=3)
        seen.until(lambda snapshot: rows(snapshot) == [1, 2, 3])
        again.write("step", stage="ild", step=4, loss=9.0)
        last = seen.until(lambda snapshot: rows(snapshot) == [1, 2, 3, 4])
        assert last.curves.steps.values["loss"][-1] == 9
        assert rows(found) == [1, 2, 3, 4, 5], "an older snapshot stays as it was"
    revisions = [snapshot.revision for snapshot in seen.all]
    assert revisions == list(range(1, len(revisions) + 1))


def test_status_note_and_figures_are_part_of_it(run_dir: Path) -> None:
    with watched(run_dir) as seen:
        seen.until(lambda _: True)
        update_status(run_dir, state="failed", metric_name="accuracy", best=0.75)
        found = seen.until(lambda snapshot: snapshot.entry.state == "failed")
        assert (found.summary.state, found.summary.best) == ("failed", 0.75)
        set_note(run_dir, "again with a smaller rate")
        seen.until(lambda snapshot: snapshot.entry.note.startswith("again"))


def test_nothing_new_is_nothing_told(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = threading.Semaphore(0)
    look = RunWatcher.look

    def counted(self: RunWatcher, fault: str | None) -> None:
        look(self, fault)
        looks.release()

    monkeypatch.setattr(RunWatcher, "look", counted)
    with watched(run_dir) as seen:
        for _ in range(10):
            assert looks.acquire(timeout=PATIENCE)
        assert len(seen.all) == 1


def test_nothing_is_told_after_the_end(run_dir: Path) -> None:
    seen = Seen()
    watcher = RunWatcher(run_dir, seen, every=0.01)
    watcher.stop()
    watcher.start()
    watcher._thread.join(PATIENCE)
    assert seen.all == []


# -- a long run


@pytest.fixture
def long_run(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is read in many slices, after a sample."""
    monkeypatch.setattr(watching, "LONG", 10_000)
    monkeypatch.setattr(watching, "SLICE", 500)
    monkeypatch.setattr(watching, "sample_events", lambda run_dir: sample_events(run_dir, 8, 1000))
    events_file(run_dir, 1).write_text(head() + lines(1, 9000))
    return run_dir


def test_of_a_long_run_a_sample_comes_first(long_run: Path) -> None:
    with watched(long_run) as seen:
        seen.until(lambda snapshot: snapshot.curves.complete)
    first, last = seen.all[0], seen.all[-1]
    assert not first.curves.complete
    assert 20 < len(first.curves.steps) < 200
    assert (rows(first)[0], rows(first)[-1]) == (1, 9000)
    assert rows(last) == list(range(1, 9001))
    assert all(not snapshot.curves.complete for snapshot in seen.all[:-1])


def test_the_end_does_not_wait_for_a_long_run(long_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polled = threading.Event()
    poll = EventTail.poll

    def slow(self: EventTail, limit: int | None = None) -> Any:
        polled.set()
        return poll(self, limit)

    monkeypatch.setattr(EventTail, "poll", slow)
    monkeypatch.setattr(watching, "PAUSE", 1000.0)
    with watched(long_run) as seen:
        assert polled.wait(PATIENCE)
    assert not any(snapshot.curves.complete for snapshot in seen.all)


def test_a_sample_takes_back_what_a_later_attempt_does_again(long_run: Path) -> None:
    events_file(long_run, 2).write_text(head(step=4000) + lines(4001, 5000, loss=0.25))
    builder = CurveBuilder()
    for piece in sample_events(long_run, 16, 1000):
        builder.add(piece)
    steps = builder.curves(complete=False).steps
    assert steps.step[-1] == 5000
    assert set(steps.values["loss"][steps.step > 4000].tolist()) == {0.25}
    assert set(steps.values["loss"][steps.step <= 4000].tolist()) == {0.5}


# -- files that misbehave


def test_a_torn_line_counts_when_it_is_complete(run_dir: Path) -> None:
    path = events_file(run_dir, 1)
    path.write_text(head() + lines(1, 2) + lines(3, 3)[:20])
    with watched(run_dir) as seen:
        seen.until(lambda snapshot: rows(snapshot) == [1, 2])
        with path.open("a") as file:
            file.write(lines(3, 3)[20:])
        assert seen.until(lambda snapshot: rows(snapshot) == [1, 2, 3]).alarms == ()


@pytest.mark.parametrize("how", ["truncated", "replaced", "deleted and made again"])
def test_a_file_that_is_another_one_is_read_from_its_beginning(run_dir: Path, how: str) -> None:
    path = events_file(run_dir, 1)
    path.write_text(head() + lines(1, 50))
    with watched(run_dir) as seen:
        seen.until(lambda snapshot: len(rows(snapshot)) == 50)
        if how == "truncated":
            os.truncate(path, len(head()) + len(lines(1, 3)))
            seen.until(lambda snapshot: rows(snapshot) == [1, 2, 3])
        elif how == "replaced":
            new = path.with_name("new")
            new.write_text(head() + lines(7, 8))
            new.replace(path)
            seen.until(lambda snapshot: rows(snapshot) == [7, 8])
        else:
            path.unlink()
            seen.until(lambda snapshot: rows(snapshot) == [])
            path.write_text(head() + lines(1, 2))
            seen.until(lambda snapshot: rows(snapshot) == [1, 2])


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_run_that_is_gone_stays_as_it_was_and_may_come_back(run_dir: Path, tmp_path: Path, how: str) -> None:
    events_file(run_dir, 1).write_text(head() + lines(1, 5))
    with watched(run_dir) as seen:
        seen.until(lambda snapshot: len(rows(snapshot)) == 5)
        shutil.copytree(run_dir, tmp_path / "copy")
        run_dir.rename(tmp_path / "elsewhere") if how == "renamed" else shutil.rmtree(run_dir)
        gone = seen.until_alarm("files", "gone")
        assert gone.entry.state == "unreadable"
        assert rows(gone) == [1, 2, 3, 4, 5] or how == "deleted"  # file after file
        (tmp_path / "copy").rename(run_dir)
        back = seen.until(lambda snapshot: snapshot.entry.state == "created" and not snapshot.alarms)
        assert rows(back) == [1, 2, 3, 4, 5]


def test_a_folder_that_never_was_says_so(tmp_path: Path) -> None:
    with watched(tmp_path / "none") as seen:
        assert seen.until_alarm("files", "gone").curves.complete


def test_a_status_that_cannot_be_read_says_so(run_dir: Path) -> None:
    events_file(run_dir, 1).write_text(head() + lines(1, 5))
    (run_dir / "status.json").write_text('{"schema": 99}')
    with watched(run_dir) as seen:
        found = seen.until_alarm("silence", "newer crild")
        assert found.entry.state == "unreadable"
        seen.until(lambda snapshot: len(rows(snapshot)) == 5)


def test_events_of_a_newer_crild_are_told(run_dir: Path) -> None:
    events_file(run_dir, 1).write_text(lines(1, 5, v=2))
    with watched(run_dir) as seen:
        seen.until_alarm("events", "events.1.jsonl")


def test_a_line_that_is_only_begun_is_no_strange_file(run_dir: Path) -> None:
    events_file(run_dir, 1).write_text(head()[:10])
    assert unreadable(run_dir, nothing=True) is None


def test_an_event_file_that_cannot_be_opened_is_told(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = events_file(run_dir, 1)
    path.write_text(head() + lines(1, 5))
    opening = os.open

    def refused(name: Any, *args: Any, **more: Any) -> int:
        if Path(name) == path:
            raise PermissionError(13, "Permission denied")
        return opening(name, *args, **more)

    monkeypatch.setattr(os, "open", refused)
    with watched(run_dir) as seen:
        seen.until_alarm("events", "events.1.jsonl: permission is denied")
        monkeypatch.setattr(os, "open", opening)
        assert seen.until(lambda snapshot: len(rows(snapshot)) == 5).alarms == ()


def test_a_folder_that_cannot_be_searched_keeps_what_was_read(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events_file(run_dir, 1).write_text(head() + lines(1, 5))
    with watched(run_dir) as seen:
        seen.until(lambda snapshot: len(rows(snapshot)) == 5)
        monkeypatch.setattr(watching, "unreachable", lambda _: "permission is denied")
        assert len(rows(seen.until_alarm("files", "permission is denied"))) == 5


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 5000 + b"\n",
        b"[" * 5000 + b"\n",
        b"\xff\xfe{}\n",
        b'{"v":1,"kind":"step","stage":"ild","step":' + b"9" * 6000 + b',"loss":1}\n',
        b'{"v":1,"kind":"step","stage":["ild"],"step":3,"loss":1}\n',
        b'{"v":1,"kind":"evaluation","stage":"ild","step":3,"model":{},"split":[],"metrics":[1]}\n',
        b'{"v":1,"kind":"run_started","stages":{"a":1},"stage":[],"step":"x"}\n',
        b'{"v":1,"kind":"message","text":{"deep":[[[[]]]]},"level":[]}\n',
        b'{"v":1,"kind":"stage_started","stage":null,"steps":-1,"epochs":"many"}\n',
        b'{"v":1,"kind":"checkpoint","stage":"ild","step":1e400}\n',
        b"null\n[]\n3\n\n\n",
    ],
)
def test_garbage_between_events_is_passed_over(run_dir: Path, garbage: bytes) -> None:
    text = (head() + lines(1, 2)).encode() + garbage + lines(3, 4).encode()
    events_file(run_dir, 1).write_bytes(text)
    with watched(run_dir) as seen:
        found = seen.until(lambda snapshot: rows(snapshot) == [1, 2, 3, 4])
        assert not any(alarm.kind == "fault" for alarm in found.alarms)


def test_events_that_cannot_be_understood_are_counted(run_dir: Path) -> None:
    events_file(run_dir, 1).write_text(head() + json.dumps({"v": 1, "kind": "message", "text": ["no text"]}) + "\n")
    with watched(run_dir) as seen:
        seen.until_alarm("malformed", "1 malformed event")


def test_the_watcher_survives_what_nobody_thought_of(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of order")

    events_file(run_dir, 1).write_text(head() + lines(1, 3))
    with watched(run_dir) as seen:
        seen.until(lambda snapshot: len(rows(snapshot)) == 3)
        with monkeypatch.context() as patch:
            patch.setattr(EventTail, "poll", broken)
            found = seen.until_alarm("fault", "RuntimeError: out of order")
            assert len(rows(found)) == 3
        seen.until(lambda snapshot: snapshot.alarms == ())
        with monkeypatch.context() as patch:
            patch.setattr(CurveBuilder, "add", broken)
            with events_file(run_dir, 1).open("a") as file:
                file.write(lines(4, 5))
            seen.until_alarm("fault", "RuntimeError: out of order")
        lost = seen.until(lambda snapshot: not any(alarm.kind == "fault" for alarm in snapshot.alarms))
        assert (lost.alarms[0].kind, "2 malformed events" in lost.alarms[0].text) == ("malformed", True)


def test_a_listener_that_fails_is_told_again(run_dir: Path) -> None:
    seen, calls = Seen(), iter(range(100))

    def failing(snapshot: RunSnapshot) -> None:
        if next(calls) == 0:
            raise RuntimeError("the screen was not ready")
        seen(snapshot)

    watcher = RunWatcher(run_dir, failing, every=0.01)
    watcher.start()
    try:
        seen.until_alarm("fault", "the screen was not ready")
        seen.until(lambda snapshot: snapshot.alarms == ())
    finally:
        watcher.stop()
