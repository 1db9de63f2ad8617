"""Phases: nothing of short ones, little of long ones, always the end of a reported one; and a request to stop is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from engine.record import phases as module
from engine.record.phases import EVERY, QUIET, Phase, Phases, counted, unreported
from engine.record.stop_request import Stopped


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """Phases with a fake clock, and what they wrote."""

    def __init__(self) -> None:
        self.clock, self.written, self.asked = Clock(), list[Phase](), False
        self.phases = Phases(self.written.append, self._check, self.clock)

    def _check(self) -> None:
        if self.asked:
            raise Stopped

    def work(self, seconds: int, name: str = "reading", then: Callable[[], None] | None = None) -> None:
        """A phase that reports ten times a second, with a beat twice a second; `then` comes before another report."""
        for tenth in range(seconds * 10):
            self.phases(name, tenth, 10**6, "rows")
            self.clock.now += 0.1
            if tenth % 5 == 0:
                self.phases.beat()
        if then is not None:
            then()
            self.phases(name, seconds * 10, 10**6, "rows")


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_is_written_about_a_phase_that_ends_soon(watched: Watched) -> None:
    for name in ("reading", "tokenising", "hashing"):
        watched.work(1, name)
    watched.phases.close()
    assert watched.written == []


def test_a_long_phase_is_reported_about_once_a_second_and_its_end(watched: Watched) -> None:
    watched.work(10)
    watched.phases.close()
    *progress, last = watched.written
    assert 5 <= len(progress) <= 10
    assert progress[0].seconds >= QUIET
    assert all(later.seconds - earlier.seconds >= EVERY for earlier, later in pairwise(progress))
    assert (last.name, last.done, last.ended) == ("reading", 99, True)
    assert last.seconds == pytest.approx(10.0)
    assert not any(phase.ended for phase in progress)


def test_an_hour_writes_little(watched: Watched) -> None:
    watched.work(3600)
    assert 100 < len(watched.written) < 350


def test_a_phase_that_comes_back_from_no_library_is_reported_once_then_its_end(watched: Watched) -> None:
    with watched.phases.open("loading the teacher"):
        for _ in range(100):
            watched.clock.now += 0.5
            watched.phases.beat()
    assert [(phase.name, phase.ended) for phase in watched.written] == [
        ("loading the teacher", False), ("loading the teacher", True)
    ]  # fmt: skip


def test_another_phase_ends_the_one_before(watched: Watched) -> None:
    watched.work(4, "reading")
    watched.work(4, "tokenising")
    watched.phases.close()
    names = [(phase.name, phase.ended) for phase in watched.written]
    assert names.index(("reading", True)) < names.index(("tokenising", False))
    assert names[-1] == ("tokenising", True)
    assert next(phase for phase in watched.written if phase.name == "tokenising").seconds < 3


def test_a_block_leaves_no_phase_behind(watched: Watched) -> None:
    def broken() -> None:
        with watched.phases.open("reading") as report:
            report("reading", 1, 2, "rows")
            watched.clock.now += 5
            watched.phases.beat()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    watched.clock.now += 50
    watched.phases.beat()
    assert [phase.ended for phase in watched.written] == [False, True]


def test_a_request_is_heard_at_the_next_report_and_the_end_is_written(watched: Watched) -> None:
    with pytest.raises(Stopped), watched.phases.open("reading"):
        watched.work(4, then=lambda: setattr(watched, "asked", True))
    assert watched.written[-1].ended


def test_no_library_takes_a_request_for_an_error() -> None:
    assert not issubclass(Stopped, Exception)


def test_items_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 3)
    reports: list[tuple[str, int, int | None, str]] = []

    def report(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        reports.append((phase, done, total, unit))

    assert list(counted("abcdefg", report, "reading", total=7)) == list("abcdefg")
    assert reports == [("reading", done, 7, "rows") for done in (0, 3, 6)]
    unreported("reading", 1, 2, "rows")


def test_a_beat_of_another_thread_never_comes_after_the_end(watched: Watched) -> None:
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            watched.phases.beat()

    thread = threading.Thread(target=beat)
    thread.start()
    for number in range(300):
        with watched.phases.open(f"phase {number}"):
            watched.clock.now += 3
    stop.set()
    thread.join()
    open_phase = None
    for phase in watched.written:
        if phase.ended:
            assert open_phase == phase.name
            open_phase = None
        else:
            assert open_phase is None
            open_phase = phase.name
    assert open_phase is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Phase("reading", 5, 20, "rows", 10.0)),
        ({"total": None}, Phase("reading", 5, None, "rows", 10.0)),
        ({"ended": True}, Phase("reading", 5, 20, "rows", 10.0, ended=True)),
        ({"unit": None}, Phase("reading", 5, 20, "", 10.0)),
        ({"phase": 7}, None),
        ({"done": "5"}, None),
        ({"done": -1}, None),
        ({"done": True}, None),
        ({"total": 2**80}, None),
        ({"seconds": None}, None),
        ({"seconds": float("inf")}, None),
        ({"seconds": 10**400}, None),
        ({"t": 1000}, Phase("reading", 5, 20, "rows", 10.0, at=1000.0)),
        ({"t": "yesterday"}, Phase("reading", 5, 20, "rows", 10.0)),
        ({"t": 10**400}, Phase("reading", 5, 20, "rows", 10.0)),
    ],
)  # fmt: skip
def test_what_events_say_is_not_trusted(changed: dict[str, object], expected: Phase | None) -> None:
    event = {"phase": "reading", "done": 5, "total": 20, "unit": "rows", "seconds": 10.0, "ended": False, **changed}
    assert Phase.of(event) == expected


def test_its_seconds_count_on_after_its_last_report() -> None:
    phase = Phase("importing the libraries", 0, None, "", 2.1, at=1000.0)
    assert (phase.lasted(1010.0), phase.lasted(990.0), phase.lasted(None)) == (12.1, 2.1, 2.1)
    assert Phase("loading", 0, None, "", 2.1).lasted(1010.0) == 2.1


def test_a_phase_that_does_not_change_is_reported_again_to_a_reader_without_a_clock() -> None:
    clock, written = Clock(), list[Phase]()
    phases = Phases(written.append, lambda: None, clock, repeats=True)
    with phases.open("importing the libraries"):
        for _ in range(20):
            clock.now += 0.5
            phases.beat()
    assert len(written) == 10
    assert [phase.seconds for phase in written[:3]] == [2.0, 3.0, 4.0]


def test_share_rate_and_time_left() -> None:
    phase = Phase("reading", 5, 20, "rows", 10.0)
    assert (phase.share, phase.rate, phase.left) == (0.25, 0.5, 30.0)
    assert Phase.of(phase.to_dict()) == phase
    unknown = Phase("loading", 0, None, "", 10.0)
    assert (unknown.share, unknown.rate, unknown.left) == (None, None, None)
    assert Phase("reading", 30, 20, "rows", 10.0).share == 1.0
