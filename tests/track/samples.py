"""Runs with events for readers, and a tracker in memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.record.events import EventWriter, read_events
from engine.record.owner import Owner
from engine.record.paths import events_file
from engine.record.run import update_status
from engine.record.tracking import Tracking
from engine.track.curves import KINDS, Curves, Point
from engine.track.facts import Outcome, RunFacts
from engine.track.process import Reader, Timing
from engine.user.settings import Track
from tests.cli.samples import make_run

QUICK = Timing(poll=0.01, delays=(0.01, 0.01), patience=60.0)


def attempt(
    run_dir: Path, number: int, steps: Mapping[str, range], *, start: tuple[str, int], end: str = "finished"
) -> EventWriter:
    """Write the events of an attempt that trains these steps of each stage, beginning at a stage and a step."""
    events = EventWriter(events_file(run_dir, number), number)
    events.write("run_started", attempt=number, stages=["ild", "kd"], stage=start[0], step=start[1])
    for stage, numbers in steps.items():
        for step in numbers:
            train(events, stage, step)
    if end:
        events.write("run_finished", state=end)
    return events


def train(events: EventWriter, stage: str, step: int) -> None:
    """The events of one step: the same for the same step, in whichever attempt."""
    events.write(
        "step", stage=stage, step=step, loss=1 / (step + 1), terms={"hidden": step / 7}, learning_rate=1e-4,
        consistency=0.1 * step, gradient_norm=float("nan"), ranks={"memory": [1, 2]},
    )  # fmt: skip
    if step % 2 == 0:
        events.write(
            "evaluation", stage=stage, step=step, model="student", split="dev", primary=True,
            metrics={"accuracy": 0.5 + step / 100}, label_loss=step / 3,
        )  # fmt: skip


def run_of(runs_dir: Path, name: str = "r", *, state: str = "finished", steps: int = 6, **fields: Any) -> Path:
    """A run whose one attempt trained so many steps of both stages."""
    run_dir = make_run(runs_dir, name, state=state, **fields)
    events_file(run_dir, 1).unlink()
    attempt(run_dir, 1, {"ild": range(1, steps + 1), "kd": range(1, steps + 1)}, start=("ild", 0)).close()
    return run_dir


def set_state(run_dir: Path, state: str, **changes: Any) -> None:
    """Change a run's state as its engine would."""
    changes.setdefault("heartbeat", time.time())
    if state == "running":
        changes.setdefault("owner", Owner.current())
    update_status(run_dir, state=state, **changes)


def expected(run_dir: Path) -> dict[tuple[str, int], float]:
    """The value of each curve at each step, by the run's events: what a tracker must have in the end."""
    points = Curves().add(read_events(run_dir, KINDS))
    return {(name, point.step): value for point in points for name, value in point.values.items()}


@dataclass
class Remote:
    """A tracker's server in memory: what has arrived, and how it behaves."""

    values: dict[tuple[str, int], float] = field(default_factory=dict)
    arrivals: list[tuple[str, int]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    configs: list[RunFacts] = field(default_factory=list)
    closed: int = 0
    forgets: bool = False
    """Whether it cannot tell what it has: the record then counts."""
    fail: Callable[[str], None] = lambda _: None
    """Called with the name of each method before it does anything."""

    def make(self, kind: str, facts: RunFacts, settings: Track) -> FakeTracker:
        """As `make_tracker`."""
        return FakeTracker(self, kind, facts)

    def sent_twice(self) -> list[tuple[str, int]]:
        """The values that arrived more than once."""
        return [key for key, count in Counter(self.arrivals).items() if count > 1]


class FakeTracker:
    """One connection to a `Remote`."""

    def __init__(self, remote: Remote, kind: str, facts: RunFacts) -> None:
        self._remote, self._facts = remote, facts
        self.remote, self.where = facts.id, f"https://user:word@{kind}.example/{facts.name}"

    def open(self, before: Tracking) -> Mapping[str, int]:
        self._remote.fail("open")
        self._remote.configs.append(self._facts)
        if self._remote.forgets:
            return before.sent
        last: dict[str, int] = {}
        for name, step in self._remote.values:
            last[name] = max(last.get(name, 0), step)
        return last

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            self._remote.fail("send")
            for name, value in point.values.items():
                self._remote.arrivals.append((name, point.step))
                self._remote.values[name, point.step] = value

    def finish(self, outcome: Outcome) -> None:
        self._remote.fail("finish")
        self._remote.outcomes.append(outcome)

    def close(self) -> None:
        self._remote.fail("close")
        self._remote.closed += 1


def reader(
    run_dir: Path, remote: Remote, *, background: bool = False, settings: Track | None = None, timing: Timing = QUICK,
    kind: str = "mlflow",
) -> Reader:  # fmt: skip
    """A reader that sends to a server in memory."""
    return Reader(run_dir, kind, settings or Track(), background=background, make=remote.make, timing=timing)
