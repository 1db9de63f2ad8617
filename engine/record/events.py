"""The event files of a run: one JSON object a line, appended by one engine process, read while they grow.

Every event has `v` (schema version), `t` (seconds since 1970) and `kind`. Each attempt writes a file of its own, whose
first event is `run_started` with `stages` (the names in order), `stage` and `step`: the place it goes on from, where
`step` is the number of steps of that stage that are done already. What earlier attempts wrote about a later place is
superseded; what they wrote about that very place is superseded once the later attempt writes the same again.
"""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.files import cause, write_all
from engine.record.paths import event_files

SCHEMA_VERSION = 1

KINDS = (
    "run_started",  # attempt, stages, stage, step
    "stage_started",  # stage, step, steps
    "step",  # stage, step, epoch, loss, terms{name: value}, consistency{value, weight}, lr, grad_norm, rates, memory
    "evaluation",  # stage, step, split, model (student, self-teacher, teacher), metrics{name: value}, best
    "checkpoint",  # stage, step
    "message",  # text, level
    "stage_finished",  # stage, step
    "run_finished",  # state
)

Event = dict[str, Any]
Place = tuple[int, float]
"""Index of the stage, and steps done in it: what orders the events of a run."""

_CHUNK = 2**20
_LONGEST = 16 * 2**20
"""Bytes of a line; a longer one was not written by crild and is passed over."""
_BATCH = 512


class EventWriter:
    """Appends events to the file of one attempt; each is a single write, so that no reader sees two of them mixed."""

    def __init__(self, path: Path, attempt: int) -> None:
        """Open (or make) the file. Raises RunError with the cause when that cannot be done."""
        self.path = path
        self.attempt = attempt
        self._guard = threading.Lock()
        try:
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._torn = _ends_torn(self._handle)
        except OSError as error:
            raise RunError(f"events cannot be written: {cause(error)}", file=str(path)) from error

    def write(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Append one event. Numbers keep seven significant digits; those that are not finite become null.

        Raises RunError when the device is full or broken: nothing of the event is left in the file then.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of event")
        event = {"v": SCHEMA_VERSION, "t": round(time.time(), 3), "kind": kind, **_short(fields)}
        line = (json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n").encode()
        with self._guard:
            if self._handle is None:
                raise ValueError("the event file is closed")
            self._append(self._handle, b"\n" + line if self._torn else line)

    def _append(self, handle: int, line: bytes) -> None:
        end = os.fstat(handle).st_size
        try:
            write_all(handle, line)
            self._torn = False
        except OSError as error:
            try:
                os.ftruncate(handle, end)  # a full device takes a part of a line: take it back
            except OSError:
                self._torn = True
            advice = ": free some space, then resume the run" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise RunError(f"events cannot be written: {cause(error)}{advice}", file=str(self.path)) from error

    def close(self) -> None:
        """Close the file; later writes are errors."""
        with self._guard:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None


def read_events(run_dir: Path, kinds: Collection[str] | None = None) -> Iterator[Event]:
    """All events of a run in the order of its attempts, without what a later attempt superseded.

    `kinds` picks some kinds. Files that vanish, shrink or hold garbage yield what can be read of them.
    """
    files = event_files(run_dir)
    attempts = [_Attempt(path) for path in files.values()]
    for number, attempt in enumerate(attempts):
        keeps = _Survival([later.head() for later in attempts[number + 1 :]])
        for event in attempt.read(kinds, whole=True):
            if keeps(event):
                yield event


class EventTail:
    """Follows the event files of a run while they grow, across attempts.

    `generation` changes when what was handed out before no longer holds, because a file was replaced, cut or deleted:
    the same poll then starts again from the beginning, and its reader forgets what it had. A new attempt does not change
    it: its `run_started` comes as any event, and `superseded(run_started, event)` says what it takes back.
    """

    def __init__(self, run_dir: Path, kinds: Collection[str] | None = None) -> None:
        self.run_dir = run_dir
        self.generation = 0
        self._kinds = kinds
        self._attempts: dict[int, _Attempt] = {}

    def poll(self, limit: int | None = None) -> list[Event]:
        """The events that were added since the last call, at most about `limit`; an empty list when there are none."""
        files = event_files(self.run_dir)
        if any(number not in files for number in self._attempts) or any(
            attempt.was_replaced() for attempt in self._attempts.values()
        ):
            self._attempts = {}
            self.generation += 1
        for number, path in files.items():
            self._attempts.setdefault(number, _Attempt(path))
        ordered = [self._attempts[number] for number in sorted(self._attempts)]
        found: list[Event] = []
        for number, attempt in enumerate(ordered):
            if not attempt.has_more():
                continue
            keeps = _Survival([later.head() for later in ordered[number + 1 :]])
            left = None if limit is None else limit - len(found)
            if left is not None and left <= 0:
                break
            found.extend(islice((event for event in attempt.read(self._kinds) if keeps(event)), left))
        return found


def superseded(run_started: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an attempt that begins with `run_started` takes back what an earlier attempt wrote as `event`."""
    return not _Survival([_Head.of(run_started)])(event)
