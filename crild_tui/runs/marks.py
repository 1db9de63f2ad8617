"""Pins, hidden runs and marks of a list of runs, in a file of the user's, never in a run directory."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.errors import RunError
from engine.record.files import cause, read_object, write_json

SCHEMA_VERSION = 1
MOST = 10_000
"""Ids of one kind that are read; a file with more was not written by crild."""
Kind = Literal["pinned", "hidden", "marked"]
KINDS: tuple[Kind, ...] = ("pinned", "hidden", "marked")
Change = tuple[Kind, tuple[str, ...], bool]
"""A kind, ids of runs, and whether they are added or taken away."""


@dataclass(frozen=True)
class Marks:
    """Ids of runs of one folder that were pinned, hidden or marked."""

    pinned: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    marked: frozenset[str] = frozenset()

    def of(self, kind: Kind) -> frozenset[str]:
        """The ids of one kind."""
        return {"pinned": self.pinned, "hidden": self.hidden, "marked": self.marked}[kind]

    def put(self, kind: Kind, ids: Iterable[str], on: bool) -> Marks:
        """The same with these ids added, or taken away."""
        changed = self.of(kind) | frozenset(ids) if on else self.of(kind) - frozenset(ids)
        match kind:
            case "pinned":
                return replace(self, pinned=changed)
            case "hidden":
                return replace(self, hidden=changed)
            case "marked":
                return replace(self, marked=changed)


def marks_file(runs_dir: Path) -> Path:
    """The file of a runs folder: one for each folder, in the user's state folder."""
    from platformdirs import user_state_path

    name = hashlib.sha256(str(runs_dir.absolute()).encode(errors="surrogateescape")).hexdigest()[:24]
    return user_state_path("crild", appauthor=False) / "runs" / f"{name}.json"


def read_marks(runs_dir: Path) -> Marks:
    """The marks of a runs folder; a file that is missing, damaged or newer, or cannot be read now, reads as none."""
    try:
        return _read(marks_file(runs_dir))
    except RunError:
        return Marks()


def _read(path: Path) -> Marks:
    """As `read_marks`. Raises RunError where the file is there and cannot be read: it may hold marks."""
    try:
        data = read_object(path)
    except OSError:  # missing, or a part of the path is no folder
        return Marks()
    except RunError as error:
        if error.kind == "cannot-read-record":
            raise
        return Marks()
    if data.get("schema") != SCHEMA_VERSION:
        return Marks()
    return Marks(**{kind: _ids(data.get(kind)) for kind in KINDS})


def _ids(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset()
    return frozenset(item for item in value[:MOST] if isinstance(item, str) and 0 < len(item) <= 255)


class MarksFile:
    """The file of a runs folder: takes changes at once and writes them in their order."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._waiting: deque[Change] = deque()
        self._writing = threading.Lock()

    def take(self, change: Change) -> None:
        """Take a change that the next `write` writes."""
        self._waiting.append(change)

    def write(self) -> Marks:
        """Write the changes that wait into the file, which another dashboard may have written since; returns its marks.

        Ids of runs that are gone are dropped. Raises RunError when it cannot be read or written.
        """
        path = marks_file(self._runs_dir)
        with self._writing:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                sentence = f"pins and marks cannot be saved: {cause(error)}"
                raise RunError(sentence, kind="unwritable-marks", file=str(path.parent)) from error
            marks = _read(path)
            while self._waiting:
                marks = marks.put(*self._waiting.popleft())
            if self._runs_dir.is_dir():
                marks = Marks(**{k: frozenset(i for i in marks.of(k) if _there(self._runs_dir, i)) for k in KINDS})
            ids: dict[str, list[str]] = {kind: sorted(map(_utf8, marks.of(kind))) for kind in KINDS}
            document: dict[str, object] = {"schema": SCHEMA_VERSION, "runs_dir": _utf8(str(self._runs_dir))}
            write_json(path, document | ids)
        return marks


def _there(runs_dir: Path, name: str) -> bool:
    if "/" in name or "\0" in name:
        return False
    try:
        return (runs_dir / name).is_dir()
    except OSError:
        return True


def _utf8(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
