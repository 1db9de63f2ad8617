"""Pools: changed copies of rows in the cache, as JSON lines that anybody can read; made once, in chunks, by one run at a time.

A pool is named by its key, a hash of all that it was made of, and by a hash of its content, which is verified when it is read.
Imports no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from engine.data.examples import Examples
from engine.data.unlabelled import Keys, first_of, text_key
from engine.errors import DataError
from engine.record.files import cause, replacement, write_all
from engine.record.inventory import PARTIAL, POOL_MARK, POOLS
from engine.record.lock import waiting_lock
from engine.record.paths import cache_dir
from engine.record.phases import Report
from engine.record.removal import OpenFolder

CHUNK = 128
"""Rows whose copies are made and stored at once: what a kill loses."""
_DIGEST = hashlib.sha256().digest_size
_SIZE = 8
_BLOCK = 1 << 20

Input = tuple[str, str | None]
Copies = Callable[[list[Input], int], Iterable[tuple[int, Input]]]
"""Copies of some rows, of which the first has a number, each with the number of its row."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """A pool in the cache."""

    path: Path
    rows: int
    """Copies in it."""

    def copied_rows(self) -> npt.NDArray[np.int64]:
        """The number of the row that each copy is one of, (copies,)."""
        with self.path.open("rb") as file:
            return np.fromiter((json.loads(line)["row"] for line in file), np.int64, self.rows)


def made_pool(key: str, rows: Examples, taken: Keys, copies: Copies, what: str, report: Report) -> Pool:
    """The pool of a key: that of the cache, or a new one with the `copies` of all rows.

    Copies that repeat an earlier one, or whose text is `taken`, never enter. A pool that was being made when its run was
    stopped or killed is continued after the last whole chunk; while another run makes it, this one waits. `report` is called
    for each chunk. Raises DataError where nothing is left, and where the cache cannot be written.
    """
    folder = cache_dir() / POOLS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with waiting_lock(folder / f"{key}.lock", report, "waiting for the copies that another run makes"):
            known = _stored(folder, key)
            if known is None:
                _make(folder, key, rows, copies, what, report)
                report(f"comparing {what}")
                known = _finish(folder, key, taken)
    except OSError as fault:
        sentence = f"copies of rows are kept in the cache, which cannot be written ({cause(fault)})"
        raise DataError(sentence, kind="pool-not-written", file=str(folder)) from fault
    if not known.rows:
        sentence = (
            f"there are no {what} but those that repeat a row: choose another kind, a larger share or more copies"
        )
        raise DataError(sentence, kind="empty-pool", key="augment")
    return known


def _stored(folder: Path, key: str) -> Pool | None:
    """The whole pool of a key; one whose content is not what its name says is made again."""
    for path in sorted(folder.glob(f"{key}.*.jsonl")):
        state, rows = hashlib.sha256(), 0
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                state.update(block)
                rows += block.count(b"\n")
        if path.name == _name(key, state.hexdigest()):
            return Pool(path, rows)
        log.warning("a pool is damaged and will be made again: %s", path)
        _remove(folder, path.name)
    return None


def _make(folder: Path, key: str, rows: Examples, copies: Copies, what: str, report: Report) -> None:
    """Bring the file of chunks to its end."""
    inputs, start = rows.inputs(), 0
    with _open(folder / f"{key}{PARTIAL}") as file:
        if file.read(len(POOL_MARK)) != POOL_MARK:
            file.seek(0)
            file.truncate()
            write_all(file.fileno(), POOL_MARK)
        for number, _ in enumerate(_chunks(file, key)):
            start = (number + 1) * CHUNK
        next(islice(inputs, start - 1, start), None) if start else None
        while part := list(islice(inputs, CHUNK)):
            report(f"making {what}", start, len(rows), "rows")
            lines = [_line(row, copy) for row, copy in copies(part, start)]
            content = "".join(lines).encode()
            digest = _digest(key, start // CHUNK, content)
            write_all(file.fileno(), len(content).to_bytes(_SIZE, "little") + digest + content)
            start += CHUNK


def _open(path: Path) -> BinaryIO:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    return os.fdopen(handle, "r+b", buffering=0)


def _chunks(file: BinaryIO, key: str) -> Iterator[bytes]:
    """The whole chunks of an open file from where it is; it is behind the last of them afterwards."""
    number = 0
    while True:
        start = file.tell()
        head = file.read(_SIZE + _DIGEST)
        content = file.read(int.from_bytes(head[:_SIZE], "little")) if len(head) == _SIZE + _DIGEST else b""
        if not head or head[_SIZE:] != _digest(key, number, content):
            file.seek(start)
            return
        yield content
        number += 1


def _digest(key: str, number: int, content: bytes) -> bytes:
    return hashlib.sha256(f"{key} {number} {len(content)} ".encode() + content).digest()


def _line(row: int, copy: Input) -> str:
    text, pair = copy
    fields = {"row": row, "text": text, **({} if pair is None else {"pair": pair})}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _finish(folder: Path, key: str, taken: Keys) -> Pool:
    """Write the pool of the chunks, without copies that repeat others, in place of them."""
    with _open(folder / f"{key}{PARTIAL}") as file:

        def lines() -> Iterator[bytes]:
            file.seek(len(POOL_MARK))
            for chunk in _chunks(file, key):
                yield from chunk.splitlines(keepends=True)

        fields = map(json.loads, lines())
        keys = np.fromiter((text_key(copy["text"], copy.get("pair")) for copy in fields), np.int64)
        kept = np.zeros(len(keys), np.bool_)
        kept[first_of(keys, taken)] = True
        state = hashlib.sha256()
        for line, is_kept in zip(lines(), kept.tolist(), strict=True):
            if is_kept:
                state.update(line)
        path = folder / _name(key, state.hexdigest())
        with replacement(path, durable=False, root=folder.parent) as handle:
            for line, is_kept in zip(lines(), kept.tolist(), strict=True):
                if is_kept:
                    write_all(handle, line)
    _remove(folder, f"{key}{PARTIAL}")
    return Pool(path, int(kept.sum()))


def _name(key: str, digest: str) -> str:
    return f"{key}.{digest[:32]}.jsonl"


def _remove(folder: Path, name: str) -> None:
    with contextlib.suppress(OSError), OpenFolder.at(folder.parent, folder.name) as opened:
        opened.remove(name)
