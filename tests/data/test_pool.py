"""Pools of copies: made once, continued after a kill to the same bytes, without repeated rows, verified when they are read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.data.examples import Examples
from engine.data.pool import CHUNK, Input, Pool, made_pool
from engine.data.types import Example
from engine.data.unlabelled import keys_of, read_pool
from engine.errors import DataError
from engine.record import inventory
from engine.record.inventory import PARTIAL, POOLS, cached
from engine.record.lock import FileLock
from engine.record.paths import cache_dir
from engine.record.phases import Report, unreported
from engine.record.stop_request import Stopped

KEY = "0123456789abcdef" * 2
ROWS = Examples.of([Example(f"train-{row}", f"row {row}", None, None) for row in range(3 * CHUNK + 5)])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))


class Copies:
    """Two copies of each row, of which those of every tenth row are the same; counts the chunks."""

    def __init__(self) -> None:
        self.chunks: list[int] = []

    def __call__(self, rows: list[Input], first: int) -> Iterator[tuple[int, Input]]:
        self.chunks.append(first)
        for row, (text, pair) in enumerate(rows, first):
            for copy in "ab":
                yield row, (f"{text} copy {'' if row % 10 == 0 else copy}", pair)


def made(copies: Copies, report: Report = unreported, taken: list[str] | None = None) -> Pool:
    others = [Example("dev-0", text, None, None) for text in taken or []]
    return made_pool(KEY, ROWS, keys_of([ROWS, others]), copies, "copies of rows", report)


def lines(pool: Pool) -> list[dict[str, object]]:
    return [json.loads(line) for line in pool.path.read_text().splitlines()]


def test_copies_that_repeat_another_or_a_known_row_never_enter() -> None:
    copies = Copies()
    pool = made(copies, taken=[" row 1  copy a", "row 2 copy b"])
    found = lines(pool)
    assert copies.chunks == [0, CHUNK, 2 * CHUNK, 3 * CHUNK]
    assert pool.rows == len(found) == 2 * len(ROWS) - 39 - 2
    assert found[:4] == [
        {"row": 0, "text": "row 0 copy "}, {"row": 1, "text": "row 1 copy b"},
        {"row": 2, "text": "row 2 copy a"}, {"row": 3, "text": "row 3 copy a"},
    ]  # fmt: skip
    assert list(read_pool(pool.path, is_pair=False).texts) == [line["text"] for line in found]


def test_it_is_made_once() -> None:
    first = made(Copies())
    again = Copies()
    assert made(again) == first
    assert again.chunks == []
    assert [path.name for path in first.path.parent.iterdir() if path.suffix != ".lock"] == [first.path.name]


@pytest.mark.parametrize("cut", [0, 7], ids=["whole", "torn"])
def test_a_killed_one_is_continued_after_its_last_whole_chunk(cut: int) -> None:
    whole = made(Copies()).path
    content = whole.read_bytes()
    whole.unlink()

    def stop(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        if done == 2 * CHUNK:
            raise Stopped

    with pytest.raises(Stopped):
        made(Copies(), stop)
    partial = whole.parent / f"{KEY}{PARTIAL}"
    if cut:
        partial.write_bytes(partial.read_bytes()[:-cut])
    rest = Copies()
    pool = made(rest)
    assert rest.chunks == ([2 * CHUNK, 3 * CHUNK] if not cut else [CHUNK, 2 * CHUNK, 3 * CHUNK])
    assert pool.path.read_bytes() == content
    assert not partial.exists()


def test_another_runs_chunks_are_not_believed() -> None:
    made_pool("f" * 32, ROWS, keys_of([ROWS]), Copies(), "copies", unreported)

    def stop(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        if done:
            raise Stopped

    other = "e" * 32
    with pytest.raises(Stopped):
        made_pool(other, ROWS, keys_of([ROWS]), Copies(), "copies", stop)
    folder = cache_dir() / POOLS
    (folder / f"{other}{PARTIAL}").rename(folder / f"{KEY}{PARTIAL}")
    copies = Copies()
    made(copies)
    assert copies.chunks[0] == 0


def test_a_damaged_pool_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    pool = made(Copies())
    content = pool.path.read_bytes()
    pool.path.write_bytes(content.replace(b"row 5 copy a", b"row 5 copy x"))
    assert made(Copies()) == pool
    assert pool.path.read_bytes() == content
    assert "damaged" in caplog.text


def test_nothing_but_repeated_rows_is_refused() -> None:
    with pytest.raises(DataError) as error:
        made_pool(KEY, ROWS, keys_of([ROWS]), lambda rows, first: list(enumerate(rows, first)), "copies", unreported)
    assert error.value.kind == "empty-pool"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError) as error:
        made(Copies())
    assert error.value.kind == "pool-not-written"


def test_of_two_runs_one_makes_it_and_the_other_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    (cache_dir() / POOLS).mkdir(parents=True)
    phases: list[str] = []
    lock = FileLock(cache_dir() / POOLS / f"{KEY}.lock")
    assert lock.try_acquire()
    monkeypatch.setattr(time, "sleep", lambda _: lock.release())
    pool = made(Copies(), lambda phase, *_: phases.append(phase))
    assert phases[0].startswith("waiting")
    assert pool.rows


def test_the_cache_lists_pools_and_what_is_being_made_but_no_file_of_the_users() -> None:
    pool = made(Copies())
    folder = pool.path.parent
    (folder / "mine.jsonl").write_text('{"row": 1, "text": "x"}\n')
    (folder / f"{'a' * 32}{PARTIAL}").write_bytes(inventory.POOL_MARK)
    (folder / f"{'b' * 32}{PARTIAL}").write_bytes(b"something else")
    found = {entry.path.name for entry in cached(cache_dir()) if entry.what == POOLS}
    assert found == {pool.path.name, f"{KEY}.lock", f"{'a' * 32}{PARTIAL}"}
    lock = FileLock(folder / f"{'a' * 32}.lock")
    assert lock.try_acquire()
    try:
        assert not any(entry.path.name.startswith("a" * 32) for entry in cached(cache_dir()))
    finally:
        lock.release()
