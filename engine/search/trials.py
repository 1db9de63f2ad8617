"""What a search's process says of its trials, in a file that other processes read: they need no optuna.

The file repeats what the journal and the runs say, and is written again whenever that changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.errors import RunError
from engine.record.fields import check_schema, read_fields
from engine.record.files import read_record, write_json
from engine.report import units

SCHEMA_VERSION = 1
STATES = ("running", "complete", "pruned", "failed", "infeasible", "repeated")
"""States of trials. Infeasible and repeated ones had no runs and don't count."""
SKIPPED = frozenset({"infeasible", "repeated"})


@dataclass(frozen=True)
class TrialRecord:
    """One trial."""

    number: int
    state: str
    values: Mapping[str, Any]
    """Its value of each dimension, and its method where there are several."""
    results: tuple[float, ...] = ()
    """What it reached for each aim: the mean over its runs."""
    runs: tuple[str, ...] = ()
    seconds: float = 0.0
    """How long its runs took together."""
    pruned_at: float | None = None
    """The share of its training at which it was pruned."""
    why: str | None = None
    """Why it failed, is infeasible, or of which trial it repeats the values."""


LEAST_FOR_IMPORTANCE = 10
"""Complete trials before which nothing can be said of what matters."""


@dataclass(frozen=True)
class Confirmation:
    """A trial's runs with fresh seeds: their mean figures."""

    number: int
    seeds: int
    dev: float
    dev_deviation: float | None = None
    held_out: float | None = None
    """On the rows that no trial saw; None without them."""
    held_out_deviation: float | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Trials:
    """A search at a moment."""

    aims: tuple[str, ...]
    """As reported: "metric" by the metric's name, once a run has told it."""
    trials: tuple[TrialRecord, ...]
    wanted: int | None
    """How many trials it may have; None if only hours end it."""
    hours: float | None
    spent: float = 0.0
    """Seconds of searching so far."""
    best: int | None = None
    """The best trial by the first aim."""
    front: tuple[int, ...] = ()
    """With several aims, the trials to which none is better in one without being worse in another."""
    importance: Mapping[str, Any] = field(default_factory=dict)
    """How much of the results each dimension explains, as shares of 1, by PED-ANOVA."""
    confirmed: tuple[Confirmation, ...] = ()
    """The winner's, and the starting preset's, runs with fresh seeds."""
    presets: tuple[str, ...] = ()
    """The files of the best preset, and of each point of a front of several, when the search is over."""
    over: str | None = None
    """Why no trial is started any more; None while some may be."""
    majority: float | None = None
    """What the majority guess reaches on dev by the first aim; None of one that is no metric."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError when it is something else, or from a newer crild."""
        check_schema(data, SCHEMA_VERSION)
        return read_fields(cls, data)

    def counts(self) -> dict[str, int]:
        """How many trials are in which state, those that occur."""
        return {state: number for state in STATES if (number := sum(one.state == state for one in self.trials))}

    def done(self) -> int:
        """How many trials count and are over."""
        return sum(one.state not in SKIPPED and one.state != "running" for one in self.trials)

    def trial(self, number: int | None) -> TrialRecord | None:
        """The trial of a number."""
        return next((one for one in self.trials if one.number == number), None)


def result_text(aim: str, value: float) -> str:
    """The result of a trial for an aim: `84.12`, `12.3 ms`, `45.0 MB`."""
    if aim == "size":
        return units.size(value)
    return units.milliseconds(value) if aim == "latency" else units.metric(value)


def trials_file(record: Path) -> Path:
    """The file with the trials of a search, next to its record."""
    return record.with_suffix(".trials")


def journal_file(record: Path) -> Path:
    """Optuna's journal of a search, next to its record."""
    return record.with_suffix(".journal")


def preset_file(record: Path, number: int | None = None) -> Path:
    """The file of the best preset of a search, or of a trial on its front."""
    stem = record.name.removesuffix(".json")
    return record.with_name(f"{stem}-best.toml" if number is None else f"{stem}-front-{number}.toml")


def read_trials(record: Path) -> Trials | None:
    """The trials of a search; None before its process has written any. Raises RunError when they cannot be read."""
    try:
        return read_record(trials_file(record), Trials.from_dict)
    except FileNotFoundError:
        return None


def write_trials(record: Path, trials: Trials) -> None:
    """Write the trials of a search, atomically. Raises RunError when that cannot be done."""
    write_json(trials_file(record), trials.to_dict())


def read_if_possible(record: Path) -> Trials | None:
    """As `read_trials`; None where they cannot be read."""
    try:
        return read_trials(record)
    except RunError:
        return None
