"""What the reader needs of a tracker, and the four that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from engine.record.tracking import Tracking
from engine.track.curves import Point
from engine.track.facts import Outcome, RunFacts
from engine.user.settings import Track


class Tracker(Protocol):
    """One run in one tracker. Any method may raise anything: the libraries do."""

    remote: str
    """The run's id there, once it is open."""
    where: str
    """An address or folder for people, without credentials."""

    def open(self, before: Tracking) -> Mapping[str, int]:
        """Start the run there, or continue it; returns the last step of each curve that has arrived by its name.

        `before` is the record: what the tracker itself knows counts for more.
        """

    def send(self, points: Sequence[Point]) -> None:
        """Hand over points, in their order."""

    def finish(self, outcome: Outcome) -> None:
        """Send how the run has ended, with its results."""

    def close(self) -> None:
        """Let everything arrive; raises an error where it cannot."""


def make_tracker(kind: str, facts: RunFacts, settings: Track) -> Tracker:
    """The tracker of a kind of `TRACKERS`; its library is imported when it is opened."""
    module = import_module(f"engine.track.{kind}_tracker")
    tracker: Tracker = module.make(facts, settings)
    return tracker


def accelerate_trackers() -> Any:
    """Accelerate's module of trackers, which logs only in a process that knows whether it is one of several."""
    from accelerate import PartialState, tracking

    PartialState()
    return tracking


def beside_runs(facts: RunFacts) -> Path:
    """The parent of the folder of runs: where a user works who starts runs in the default folder `runs`."""
    return facts.run_dir.parent.parent
