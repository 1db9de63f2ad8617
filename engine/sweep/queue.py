"""Queues (`crild run --seeds 1,2,3`): sweeps with one slot, whose runs exist already and wait as "queued"."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import RunError
from engine.launch.background import device_of, start_detached
from engine.record.paths import QUEUES, queue_file
from engine.record.removal import OpenFolder
from engine.record.run import read_status, update_status
from engine.sweep.record import (
    CellRecord,
    SweepRecord,
    create_folder,
    read_sweep_record,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.user.consent import NONE, Consent

WAITING = ("created", "queued")
"""States of runs that can be put into a queue."""
QUEUE_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
"""Names of queues."""
MAX_AGE = 7 * 86400.0
"""Seconds after which the record of a queue that has ended is deleted."""


def enqueue(
    runs: Sequence[Path], *, chain: int = 1, consent: Consent = NONE, command: Sequence[str] | None = None
) -> str:
    """Start a background process that executes these runs of one folder in order; returns the queue's id.

    The runs become "queued". The process waits for older queues of the same folder and device, and for a busy GPU. A
    run that fails does not stop the ones after it. With a `chain` of n, each n runs are one: all but the first start from the
    student of the one before, so where an engine of such a run is killed, it is started again first. Its engines get the `consent`. `command` replaces the engine's command line (for tests). Raises
    RunError for runs that were started before and when the process cannot be started (its runs are lost then: resuming
    one starts it).
    """
    runs_dir = runs[0].resolve().parent
    statuses = [read_status(run) for run in runs]
    record = SweepRecord(
        name=f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}",
        file="",
        created=time.time(),
        axes={"seed": tuple(str(status.seed) for status in statuses)},
        cells=tuple(
            CellRecord(
                run.name,
                {"seed": str(status.seed)},
                status.seed,
                None,
                after=runs[number - 1].name if number % chain else None,
            )
            for number, (run, status) in enumerate(zip(runs, statuses, strict=True))
        ),
        slots=(Slot(device_of(runs[0]), 0),),
    )
    file = queue_file(runs_dir, record.name)
    create_folder(file.parent)
    _remove_old(runs_dir)
    write_sweep_record(file, record)
    try:
        for run in runs:
            update_status(run, expect=WAITING, state="queued", queue=record.name)
        start_detached("queue", file, command, consent)
    except RunError:
        write_sweep_record(file, replace(record, state="stopped"))
        raise
    return record.name


def continue_queue(run_dir: Path, *, consent: Consent = NONE, command: Sequence[str] | None = None) -> str:
    """Restart the process of a waiting run's queue after it was killed or stopped; returns the queue's id.

    A run whose queue has ended or left no record gets a queue of its own. Raises RunError as `enqueue` does.
    """
    file = queue_file(run_dir.resolve().parent, read_status(run_dir).queue or "")
    try:
        record = read_sweep_record(file)
    except RunError:
        record = None
    if record is None or record.state == "ended":
        return enqueue([run_dir], consent=consent, command=command)
    if not record.alive():
        start_detached("queue", file, command, consent)
    return record.name


def _remove_old(runs_dir: Path) -> None:
    """Delete the records of queues that ended long ago, as far as the system allows."""
    with contextlib.suppress(OSError), OpenFolder.at(runs_dir, QUEUES) as folder:
        for name in folder.names():
            queue = name.removesuffix(".json")
            if QUEUE_ID.fullmatch(queue) and queue != name and _has_ended_long_ago(queue_file(runs_dir, queue)):
                for file in (f"{queue}.log", name):
                    if folder.is_file(file):
                        folder.remove(file)


def _has_ended_long_ago(file: Path) -> bool:
    try:
        record = read_sweep_record(file)
    except RunError:
        return False
    ended = record.heartbeat or record.created
    return f"{record.name}.json" == file.name and record.state == "ended" and time.time() - ended > MAX_AGE
