"""Write and read the event files of a run: one JSON object per line, appended by one engine process, read as they grow.

Every event has `v` (schema version), `t` (seconds since 1970) and `kind`. Each attempt writes its own file, whose first
event is `run_started` with `stages` (the names in order), `stage` and `step`: where it continues, `step` being the
number of steps of that stage that are already done. What earlier attempts wrote about later steps is superseded; what
they wrote about that very step is superseded once the later attempt writes the same again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.event_kinds import KINDS
from engine.record.files import cause, finite, write_all
from engine.record.paths import event_files
from engine.record.secrets import without_secrets

SCHEMA_VERSION = 1

Event = dict[str, Any]

_CHUNK = 2**17
"""Bytes decoded at once: a few milliseconds during which no other thread runs."""
_DIGITS = 7
"""Significant digits of floats: all that a curve shows, in half the bytes."""
_MOST_BATCHES = 16
"""Batches of a file in which its beginning is looked for."""
_LONGEST = 16 * 2**20
"""Bytes of a line; crild never writes a longer one, so it is skipped."""


class EventWriter:
    """Appends events to the file of one attempt, each in a single write so that readers never see two mixed."""

    def __init__(self, path: Path, attempt: int) -> None:
        """Open or create the file. Raises RunError with the cause if that fails."""
        self.path = path
        self.attempt = attempt
        self._guard = threading.Lock()
        try:
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._torn = _ends_torn(self._handle)
        except OSError as error:
            sentence = f"cannot write events: {cause(error)}"
            raise RunError(sentence, kind="events-not-writable", file=str(path)) from error

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event. Numbers keep seven significant digits; those that aren't finite become null.

        Raises RunError if the device is full or broken; then nothing of the event remains in the file.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind of event: {kind!r}")
        if kind == "message":
            fields["text"] = without_secrets(str(fields["text"]))
        event = {"v": SCHEMA_VERSION, "t": round(time.time(), 3), "kind": kind, **finite(fields, _DIGITS)}
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
                os.ftruncate(handle, end)  # a full device takes part of a line: remove it
            except OSError:
                self._torn = True
            advice = ": free some space, then resume the run" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            sentence = f"cannot write events: {cause(error)}{advice}"
            raise RunError(sentence, kind="events-not-writable", file=str(self.path)) from error

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        with self._guard:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None


def read_events(run_dir: Path, kinds: Collection[str] | None = None) -> Iterator[Event]:
    """All events of a run in the order of its attempts, without those that a later attempt superseded.

    `kinds` selects some kinds. Files that vanish, shrink or hold garbage yield what can be read of them.
    """
    attempts = [_Attempt(path) for path in event_files(run_dir).values()]
    for index, attempt in enumerate(attempts):
        later = _points_after(attempts[index + 1 :])
        for batch in attempt.batches(kinds):
            yield from _without_superseded(batch, later)


class EventTail:
    """Follows the event files of a run while they grow, across attempts.

    `generation` changes when earlier events no longer hold because a file was replaced, truncated or deleted: the same
    poll then starts over, and the caller must drop what it had. A new attempt doesn't change it: its `run_started`
    comes like any event, and its `ResumePoint` tells what it supersedes.
    """

    def __init__(self, run_dir: Path, kinds: Collection[str] | None = None) -> None:
        self.run_dir = run_dir
        self.generation = 0
        self._kinds = kinds
        self._attempts: dict[int, _Attempt] = {}
        self._pending: deque[Event] = deque()

    def poll(self, limit: int | None = None) -> list[Event]:
        """The events added since the last call, at most `limit`; an empty list if there are none."""
        self._notice()
        ordered = [self._attempts[number] for number in sorted(self._attempts)]
        for index, attempt in enumerate(ordered):
            if limit is not None and len(self._pending) >= limit:
                break
            if not attempt.has_more():
                continue
            later = _points_after(ordered[index + 1 :])
            for batch in attempt.batches(self._kinds):
                self._pending.extend(_without_superseded(batch, later))
                if limit is not None and len(self._pending) >= limit:
                    break
        count = len(self._pending) if limit is None else min(limit, len(self._pending))
        return [self._pending.popleft() for _ in range(count)]

    def _notice(self) -> None:
        """Look for new files, and start over if one vanished or was replaced."""
        files = event_files(self.run_dir)
        if not self._attempts.keys() <= files.keys() or any(old.was_replaced() for old in self._attempts.values()):
            self._attempts = {}
            self._pending.clear()
            self.generation += 1
        for number, path in files.items():
            if number not in self._attempts:
                self._attempts[number] = _Attempt(path)


@dataclass(frozen=True)
class ResumePoint:
    """Where an attempt continues: a stage, and the number of its steps that are already done.

    `order` holds the index of each stage; `rewritten` names the events of this very step that the attempt wrote again.
    """

    stage: str
    step: float
    order: Mapping[str, int]
    rewritten: frozenset[Hashable] = frozenset()

    @classmethod
    def of(cls, run_started: Mapping[str, Any]) -> ResumePoint | None:
        """The point that a `run_started` event names; None if it names none."""
        names, stage = run_started.get("stages"), run_started.get("stage")
        if not isinstance(names, list) or not isinstance(stage, str):
            return None
        order = {name: index for index, name in enumerate(names) if isinstance(name, str)}
        position = _position(run_started, order)
        return None if position is None else cls(stage, position[1], order)

    def supersedes(self, event: Mapping[str, Any]) -> bool:
        """Whether the attempt takes back what an earlier attempt wrote as `event`.

        An event of the very step that it continues from stays until the attempt writes it again.
        """
        kind = event.get("kind")
        if kind in ("run_started", "message"):
            return False
        if kind == "run_finished":
            return True
        position, here = _position(event, self.order), (self.order[self.stage], self.step)
        if position is None or position < here:
            return False
        # Since the stage continues, it had not finished.
        return position > here or kind == "stage_finished" or _key(event) in self.rewritten


def _without_superseded(events: list[Event], later: Sequence[ResumePoint]) -> list[Event]:
    """The events of an attempt that no later attempt takes back."""
    return [event for event in events if not any(point.supersedes(event) for point in later)] if later else events


def _position(event: Mapping[str, Any], order: Mapping[str, int]) -> tuple[int, float] | None:
    """Index of the stage, and steps done in it: what orders the events of a run."""
    stage, step = event.get("stage"), event.get("step", 0)
    if not isinstance(stage, str) or stage not in order or not isinstance(step, int | float):
        return None
    return order[stage], step


def _key(event: Mapping[str, Any]) -> Hashable:
    return tuple(str(event.get(name)) for name in ("kind", "stage", "step", "split", "model"))


class _Attempt:
    """One event file, read on from where the last read ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._file: tuple[int, int] | None = None
        self._skipping = False  # in the middle of an overlong line
        self._resume_point: ResumePoint | None = None
        self._resume_point_final = False

    def was_replaced(self) -> bool:
        """Whether the file no longer holds what was read."""
        if self._file is None:
            return False
        try:
            now = self.path.stat()
        except OSError:
            return True
        return (now.st_dev, now.st_ino) != self._file or now.st_size < self._offset

    def has_more(self) -> bool:
        """Whether the file has grown since the last read."""
        try:
            return self.path.stat().st_size > self._offset
        except OSError:
            return False

    def batches(self, kinds: Collection[str] | None) -> Iterator[list[Event]]:
        """Events completed since the last read, many at a time."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        wanted = None if kinds is None else frozenset(kinds)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                return
            self._file = (found.st_dev, found.st_ino)
            for lines in self._lines(handle):
                yield _parse(lines, wanted)
        except OSError:
            return
        finally:
            os.close(handle)

    def _lines(self, handle: int) -> Iterator[list[bytes]]:
        size = _CHUNK
        while chunk := os.pread(handle, size, self._offset):
            end = chunk.rfind(b"\n") + 1
            if end == 0 and len(chunk) < size:
                return  # an incomplete last line: the rest may follow
            if end == 0 and size < _LONGEST:
                size = _LONGEST
                continue
            self._offset += end or len(chunk)
            lines = chunk[:end].split(b"\n")
            if self._skipping:
                del lines[:1]
            self._skipping = end == 0
            size = _CHUNK
            yield [line for line in lines if line]

    def resume_point(self) -> ResumePoint | None:
        """Where this attempt continues; None while it hasn't written that."""
        if not self._resume_point_final:
            self._resume_point, self._resume_point_final = _read_resume_point(self.path)
        return self._resume_point


def _points_after(attempts: Sequence[_Attempt]) -> list[ResumePoint]:
    return [point for attempt in attempts if (point := attempt.resume_point()) is not None]


def _read_resume_point(path: Path) -> tuple[ResumePoint | None, bool]:
    """Where the attempt of an event file continues, and whether that is final: more of the file can't change it."""
    beginning = _beginning(path)
    first = next((event for event in beginning if event["kind"] == "run_started"), None)  # after reports of loading
    point = None if first is None else ResumePoint.of(first)
    if point is None:
        return None, first is not None
    here = (point.order[point.stage], point.step)
    rewritten: set[Hashable] = set()
    for event in beginning:
        position = _position(event, point.order)
        if position is not None and position > here:
            return replace(point, rewritten=frozenset(rewritten)), True
        if position == here:
            rewritten.add(_key(event))
    return replace(point, rewritten=frozenset(rewritten)), False


def _beginning(path: Path) -> Iterator[Event]:
    """The first events of a file, one after the other."""
    for batch in islice(_Attempt(path).batches(None), _MOST_BATCHES):
        yield from batch


_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def _parse(lines: list[bytes], kinds: frozenset[str] | None) -> list[Event]:
    if kinds is not None:
        marks = [json.dumps(kind).encode() for kind in kinds]
        if len(marks) == 1:
            (mark,) = marks
            lines = [line for line in lines if mark in line]
        else:
            lines = [line for line in lines if any(mark in line for mark in marks)]
    events = decode_events(lines)
    if kinds is None:
        return events
    return [event for event in events if event["kind"] in kinds]


def decode_events(lines: list[bytes]) -> list[Event]:
    """The events among lines: decoded all at once, which is fastest, or one by one if a line is garbage."""
    try:
        return _only_events(_DECODER.decode(f"[{b','.join(lines).decode()}]"), len(lines))
    except (ValueError, RecursionError):
        events = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                events += _only_events([_DECODER.decode(line.decode())], 1)
        return events


def _only_events(values: list[Any], expected: int) -> list[Event]:
    """Those values that are events of this version. Raises ValueError if lines and values don't match."""
    if len(values) != expected:
        raise ValueError("a line does not hold one value")
    return [
        value
        for value in values
        if isinstance(value, dict) and value.get("v") == SCHEMA_VERSION and isinstance(value.get("kind"), str)
    ]


def _ends_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
