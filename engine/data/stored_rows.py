"""Rows in the cache: what was read and checked once is mapped from a file the next time. Imports no torch.

An entry is named by the content of the files that were read (SHA-256 of their bytes) and by all settings that decide what is
read from them, so a changed file is another entry, wherever it lies and whatever its date says. Only rows of large files are
stored: others are read as fast.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from engine.data.array_files import DamagedFileError, digest, forget_pages, read_arrays, write_arrays
from engine.data.examples import Examples, NumberedIds, TextColumn
from engine.data.spool import FOLDER, room
from engine.data.text_files import opened
from engine.data.types import TEST, Example, TaskData, TaskSpec
from engine.record.files import cause, why_unreadable
from engine.record.paths import cache_dir
from engine.record.phases import Report

LARGE = 1 << 20
"""Bytes of files from which their rows are stored."""
_FORMAT = "1"  # of the stored files, and of what is made of the files of a task; part of every key
_BLOCK = 1 << 22
_ROWS = "rows"
_LONGEST = 1 << 15
"""Characters of the texts that an entry has besides its arrays: longer headers are not read when the cache is listed."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def stored_task(
    files: Sequence[Path], settings: Mapping[str, Any], load: Callable[[], TaskData], report: Report
) -> TaskData:
    """The task that `load` makes of some files, from the cache if it holds the same content under the same settings.

    Raises DataError as `load` does, and for files that cannot be read.
    """

    def split(data: TaskData) -> tuple[dict[str, Sequence[Example]], dict[str, Any]]:
        splits = {"train": data.train, **data.measured}
        return splits, {"spec": asdict(data.spec), "notes": data.notes, "dev": list(data.dev)}

    def join(splits: Mapping[str, Examples], facts: Mapping[str, Any]) -> TaskData:
        spec: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts["spec"].items()
        }
        dev = {name: splits[name] for name in facts["dev"]}
        return TaskData(TaskSpec(**spec), splits["train"], dev, tuple(facts["notes"]), splits.get(TEST, ()))

    return _stored(files, settings, load, split, join, report)


def stored_corpus(
    files: Sequence[Path], settings: Mapping[str, Any], load: Callable[[], Examples], report: Report
) -> Examples:
    """The rows that `load` makes of a corpus, from the cache as in `stored_task`."""
    return _stored(files, settings, load, lambda rows: ({_ROWS: rows}, {}), lambda splits, _: splits[_ROWS], report)


def _stored(
    files: Sequence[Path],
    settings: Mapping[str, Any],
    load: Callable[[], T],
    split: Callable[[T], tuple[Mapping[str, Sequence[Example]], Mapping[str, Any]]],
    join: Callable[[Mapping[str, Examples], Mapping[str, Any]], T],
    report: Report,
) -> T:
    if sum(_size(path) for path in files) < LARGE:
        return load()
    before = _content(files, report)
    path = cache_dir() / FOLDER / f"{_key(before, settings)}.safetensors"
    reason = why_unreadable(path)
    known = _read(path, report) if reason is None else None
    if known is not None:
        return join(*known)
    loaded = load()
    if reason is not None:  # it may be whole, and belong to somebody else: it stays
        log.warning("cached rows cannot be read (%s), and were read from their files again: %s", reason, path)
    elif _content(files, report) != before:
        log.warning("rows are not stored, because a file changed while it was read: %s", path)
    else:
        _write(path, *split(loaded))
        if (known := _read(path, report)) is not None:
            return join(*known)  # mapped from there, so that the disk need not hold them twice
    return loaded


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # who reads it says why


def _content(files: Sequence[Path], report: Report) -> list[tuple[str, str, int]]:
    """Name, SHA-256 and time of change of each file: the time only shows that it was written to while it was read."""
    found = []
    for path in files:
        state, size = hashlib.sha256(), _size(path)
        with opened(path) as file:
            done = 0
            while block := file.read(_BLOCK):
                report(f"looking at {path.name}", done >> 20, size >> 20, "MB")
                state.update(block)
                done += len(block)
        found.append((path.name, state.hexdigest(), path.stat().st_ctime_ns))
    return found


def _key(content: Sequence[tuple[str, str, int]], settings: Mapping[str, Any]) -> str:
    named = [(name, digest) for name, digest, _ in content]
    return hashlib.sha256(json.dumps([_FORMAT, named, settings], sort_keys=True, default=str).encode()).hexdigest()


def _write(path: Path, splits: Mapping[str, Sequence[Example]], facts: Mapping[str, Any]) -> None:
    """Store rows; a failure only costs the next run time."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    ids: dict[str, str] = {}
    for name, rows in splits.items():
        examples = Examples.of(rows)
        if isinstance(examples.ids, NumberedIds):
            ids[name] = examples.ids.prefix
            arrays[f"{name}/numbers"] = np.asarray(examples.ids.numbers, np.int64)
        columns = {"id": examples.ids, "text": examples.texts, "pair": examples.pairs}
        for column, texts in columns.items():
            if isinstance(texts, TextColumn):
                arrays[f"{name}/{column}/offsets"], arrays[f"{name}/{column}"] = _from_zero(*texts.flat())
        if examples.labels is not None:
            if examples.labels.dtype == object:
                return
            arrays[f"{name}/labels"] = examples.labels
        if examples.groups is not None:
            arrays[f"{name}/groups"] = examples.groups
    text = json.dumps({"splits": list(splits), "ids": ids, **facts})
    if len(text) > _LONGEST:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = sum(array.nbytes for array in arrays.values())
        if (free := room(path.parent)) < size:
            log.warning(
                "%.1f GB of rows are not stored, because the disk of %s has only %.1f GB to spare; the next run reads their files again",
                size / 1e9, path.parent, max(free, 0) / 1e9,
            )  # fmt: skip
            return
        write_arrays(
            path,
            arrays,
            {"rows": text, "key": path.stem, "digest": _digest(path, text, arrays)},
            root=path.parent.parent,
        )
    except OSError as fault:
        log.warning("rows cannot be cached (%s): %s", cause(fault), path)


def _from_zero(
    offsets: npt.NDArray[np.int64], content: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    first, last = int(offsets[0]), int(offsets[-1])
    return offsets - first if first else offsets, content[first:last]


def _read(path: Path, report: Report) -> tuple[dict[str, Examples], dict[str, Any]] | None:
    """The rows of an entry by split, and what else it says; None where there is none, or it is damaged."""
    try:
        arrays, texts = read_arrays(path)
        known = _digest(path, texts.get("rows", ""), arrays, report)
        is_whole = texts.get("key") == path.stem and texts.get("digest") == known
        facts = json.loads(texts["rows"]) if is_whole else {}
        splits = {name: _examples(name, facts["ids"], arrays) for name in facts["splits"]}
    except FileNotFoundError:
        return None
    except (DamagedFileError, OSError, LookupError, TypeError, ValueError):
        log.warning("cached rows are damaged and will be replaced: %s", path)
        return None
    forget_pages(arrays)
    return splits, facts


def _digest(path: Path, text: str, arrays: Mapping[str, npt.NDArray[Any]], report: Report | None = None) -> str:
    ordered = {name: arrays[name] for name in sorted(arrays)}
    start = f"{_FORMAT} {path.stem} {text}"
    return (
        digest(start, ordered) if report is None else digest(start, ordered, report, "reading the rows of earlier runs")
    )


def _examples(split: str, ids: Mapping[str, str], arrays: Mapping[str, npt.NDArray[Any]]) -> Examples:
    def column(name: str) -> TextColumn | None:
        content = arrays.get(f"{split}/{name}")
        return None if content is None else TextColumn(arrays[f"{split}/{name}/offsets"], content)

    texts, named = column("text"), column("id")
    assert texts is not None
    numbered = NumberedIds(ids[split], arrays[f"{split}/numbers"]) if named is None else named
    return Examples(numbered, texts, column("pair"), arrays.get(f"{split}/labels"), arrays.get(f"{split}/groups"))
