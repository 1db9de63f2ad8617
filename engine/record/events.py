"""The event files of a run: one JSON object a line, appended by one engine process, read while they grow.

Every event has `v` (schema version), `t` (seconds since 1970) and `kind`. Each attempt writes a file of its own, whose
first event is `run_started` with `stages` (the names in order), `stage` and `step`: the place it goes on from, where
`step` is the number of steps of that stage that are done already. What earlier attempts wrote about a later place is
superseded; what they wrote about that very place is superseded once the later attempt writes the same again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.files import cause, finite, write_all
from engine.record.paths import event_files

SCHEMA_VERSION = 1

KINDS = (
    "run_started",  # attempt, stages, stage, step
    "stage_started",  # stage, step, steps
    "step",  # stage, step, epoch, loss, terms{name: value}, consistency{value, weight}, lr, grad_norm, rates, memory
    "evaluation",  # stage, step, split, model (student, self-teacher, teacher), metrics{name: value}, label_loss, best
    "checkpoint",  # stage, step
    "message",  # text, level
    "stage_finished",  # stage, step
    "run_finished",  # state
)

Event = dict[str, Any]
Place = tuple[int, float]
"""Index of the stage, and steps done in it: what orders the events of a run."""

_CHUNK = 2**17
"""Bytes that are decoded at once: some milliseconds, in which no other thread of a screen has its turn."""
_LONGEST = 16 * 2**20
"""Bytes of a line; a longer one was not written by crild and is passed over."""


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

    def write(self, kind: str, **fields: Any) -> None:
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
    attempts = [_Attempt(path) for path in event_files(run_dir).values()]
    for number, attempt in enumerate(attempts):
        survival = _Survival(later.head() for later in attempts[number + 1 :])
        for batch in attempt.batches(kinds):
            yield from survival.of(batch)


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
        self._pending: deque[Event] = deque()

    def poll(self, limit: int | None = None) -> list[Event]:
        """The events that were added since the last call, `limit` at most; an empty list when there are none."""
        self._notice()
        ordered = [self._attempts[number] for number in sorted(self._attempts)]
        for number, attempt in enumerate(ordered):
            if limit is not None and len(self._pending) >= limit:
                break
            if not attempt.has_more():
                continue
            survival = _Survival(later.head() for later in ordered[number + 1 :])
            for batch in attempt.batches(self._kinds):
                self._pending.extend(survival.of(batch))
                if limit is not None and len(self._pending) >= limit:
                    break
        count = len(self._pending) if limit is None else min(limit, len(self._pending))
        return [self._pending.popleft() for _ in range(count)]

    def _notice(self) -> None:
        """See which files came, and start again where one went or was exchanged."""
        files = event_files(self.run_dir)
        if not self._attempts.keys() <= files.keys() or any(old.was_replaced() for old in self._attempts.values()):
            self._attempts = {}
            self._pending.clear()
            self.generation += 1
        for number, path in files.items():
            if number not in self._attempts:
                self._attempts[number] = _Attempt(path)


def superseded(run_started: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether the attempt that begins with `run_started` takes back what an earlier attempt wrote as `event`.

    An event of the very place that it goes on from stays; who collects events by place replaces it when it comes again.
    """
    return not _Survival([_Head.of(run_started)]).keeps(event)


@dataclass(frozen=True)
class _Head:
    """Where an attempt goes on from, and what it wrote again about that place."""

    stages: Mapping[str, int]
    place: Place
    again: frozenset[Hashable] = frozenset()

    @classmethod
    def of(cls, run_started: Mapping[str, Any]) -> _Head | None:
        names, stage = run_started.get("stages"), run_started.get("stage")
        if not isinstance(names, list) or stage not in names:
            return None
        order = {name: index for index, name in enumerate(names) if isinstance(name, str)}
        place = _place(run_started, order)
        return None if place is None else cls(order, place)


class _Survival:
    """What later attempts leave of an earlier one."""

    def __init__(self, heads: Iterable[_Head | None]) -> None:
        self._heads = [head for head in heads if head is not None]

    def of(self, events: list[Event]) -> list[Event]:
        return [event for event in events if self.keeps(event)] if self._heads else events

    def keeps(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("kind")
        if kind in ("run_started", "message"):
            return True
        if kind == "run_finished":
            return not self._heads
        return all(self._before(head, event) for head in self._heads)

    @staticmethod
    def _before(head: _Head, event: Mapping[str, Any]) -> bool:
        place = _place(event, head.stages)
        if place is None or place < head.place:
            return True
        if place > head.place or event.get("kind") == "stage_finished":  # the stage goes on: it had not finished
            return False
        return _key(event) not in head.again


def _place(event: Mapping[str, Any], order: Mapping[str, int]) -> Place | None:
    stage, step = event.get("stage"), event.get("step", 0)
    if not isinstance(stage, str) or stage not in order or not isinstance(step, int | float):
        return None
    return order[stage], step


def _key(event: Mapping[str, Any]) -> Hashable:
    return tuple(str(event.get(name)) for name in ("kind", "stage", "step", "split", "model"))


class _Attempt:
    """One event file, read from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._file: tuple[int, int] | None = None
        self._skipping = False  # in the middle of a line that is too long to be true
        self._head: _Head | None = None
        self._head_known = False

    def was_replaced(self) -> bool:
        """Whether what was read is no longer in the file."""
        if self._file is None:
            return False
        try:
            now = self.path.stat()
        except OSError:
            return True
        return (now.st_dev, now.st_ino) != self._file or now.st_size < self._offset

    def has_more(self) -> bool:
        """Whether the file has grown since the last reading."""
        try:
            return self.path.stat().st_size > self._offset
        except OSError:
            return False

    def batches(self, kinds: Collection[str] | None) -> Iterator[list[Event]]:
        """Events that were completed since the last reading, many at a time."""
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
                return  # a torn last line: perhaps it is completed later
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

    def head(self) -> _Head | None:
        """Where this attempt goes on from; None while it has not said so."""
        if not self._head_known:
            self._head, self._head_known = _read_head(self.path)
        return self._head


def _read_head(path: Path) -> tuple[_Head | None, bool]:
    """The head of an event file, and whether more of the file could still change it."""
    beginning = next(_Attempt(path).batches(None), [])
    first = next((event for event in beginning if event["kind"] == "run_started"), None)
    head = None if first is None else _Head.of(first)
    if head is None:
        return None, first is not None
    again: set[Hashable] = set()
    for event in beginning:
        place = _place(event, head.stages)
        if place is not None and place > head.place:
            return replace(head, again=frozenset(again)), True
        if place == head.place and event["kind"] != "run_started":
            again.add(_key(event))
    return replace(head, again=frozenset(again)), False


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
    """The events among lines: all at once, which is fastest, or one by one where a line is garbage."""
    try:
        return _only_events(_DECODER.decode(f"[{b','.join(lines).decode()}]"), len(lines))
    except (ValueError, RecursionError):
        events = []
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                events += _only_events([_DECODER.decode(line.decode())], 1)
        return events


def _only_events(values: list[Any], expected: int) -> list[Event]:
    """Those values that are events of this version. Raises ValueError when lines and values do not match."""
    if len(values) != expected:
        raise ValueError("a line does not hold one value")
    return [
        value
        for value in values
        if isinstance(value, dict) and value.get("v") == SCHEMA_VERSION and isinstance(value.get("kind"), str)
    ]


def _short(value: Any) -> Any:
    """`finite`, with floats of seven significant digits: what a curve shows, in half the bytes."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return finite(value)


def _ends_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
