"""tracking.KIND.json: what a run's tracker has been sent, one record for each tracker, written by its reader alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from engine.errors import RunError
from engine.record.fields import check_schema, read_fields
from engine.record.files import read_record, write_json
from engine.record.owner import Owner
from engine.record.status import Status

SCHEMA_VERSION = 1
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
"""The trackers that runs can be sent to; each is the name of its package and of its extra."""
TAKES_STUDENT = frozenset(TRACKERS) - {"tensorboard"}
"""Trackers that keep models."""
NAMES = {"tensorboard": "TensorBoard", "wandb": "W&B", "mlflow": "MLflow", "trackio": "trackio"}
"""What they are called in sentences."""


@dataclass(frozen=True)
class Tracking:
    """How far one tracker has got.

    `remote` is the run's id there, `where` an address or folder for people. `sent` and `confirmed` hold the last step of
    each curve by its name: `sent` what was handed over, `confirmed` what had been as the tracker was last closed in order.
    `ended` is the `ending` whose results were sent. `error` is a sentence; None after the next success.
    """

    remote: str = ""
    where: str = ""
    sent: Mapping[str, int] = field(default_factory=dict)
    confirmed: Mapping[str, int] = field(default_factory=dict)
    points: int = 0
    """Values that were handed over, over all readers."""
    ended: str = ""
    student: bool = False
    """Whether the student was sent, too."""
    error: str | None = None
    updated: float = 0.0
    owner: Owner | None = None
    """The reader that wrote this last."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError for a record of a newer crild, or with a field of another type."""
        check_schema(data, SCHEMA_VERSION)
        return replace(read_fields(cls, {**data, "owner": None}), owner=Owner.of(data))

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA_VERSION, **asdict(self)}


def tracking_file(run_dir: Path, kind: str) -> Path:
    """The record of a tracker."""
    return run_dir / f"tracking.{kind}.json"


def tracking_log(run_dir: Path, kind: str) -> Path:
    """What a tracker's reader and its libraries print."""
    return run_dir / f"tracking.{kind}.txt"


def tracking_lock(run_dir: Path, kind: str) -> Path:
    """The lock that the reader of a tracker holds."""
    return run_dir / f".tracking.{kind}.lock"


def read_tracking(run_dir: Path, kind: str) -> Tracking | None:
    """A tracker's record; None where there is none. Raises RunError for one that cannot be read."""
    try:
        return read_record(tracking_file(run_dir, kind), Tracking.from_dict)
    except FileNotFoundError:
        return None
    except RunError as error:
        if error.kind not in ("newer-record", "cannot-read-record"):
            error.sentence += "; delete it, and `crild track` asks the tracker what it has"
        raise


def trackings(run_dir: Path) -> dict[str, Tracking | RunError]:
    """The record of each tracker that the run has been sent to, or why it cannot be read."""
    found: dict[str, Tracking | RunError] = {}
    for kind in TRACKERS:
        try:
            record = read_tracking(run_dir, kind)
        except RunError as error:
            found[kind] = error
        else:
            if record is not None:
                found[kind] = record
    return found


def write_tracking(run_dir: Path, kind: str, record: Tracking) -> None:
    """Replace a tracker's record. Raises RunError with the cause."""
    write_json(tracking_file(run_dir, kind), record.to_dict(), durable=False)


def ending(status: Status) -> str:
    """The end of an attempt, as trackers' records name it: a run that is resumed ends again."""
    return f"{status.state} {status.attempt}"


def is_ended(record: Tracking, status: Status, kind: str, *, student: bool) -> bool:
    """Whether a tracker has the results of a run that has ended, and its student if that is wanted and there is one."""
    wanted = student and status.state == "finished" and kind in TAKES_STUDENT
    return record.ended == ending(status) and (record.student or not wanted)


def tracking_id(status: Status) -> str:
    """The id of a run in trackers: 16 hex digits of when it was created, so that a renamed run stays the same."""
    return hashlib.blake2s(repr(status.created).encode(), digest_size=8).hexdigest()


def now() -> float:
    """Seconds since 1970, for `updated`."""
    return round(time.time(), 3)
