from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from crild_tui.monitor import log
from crild_tui.monitor.log import LogReader, LogTail, LogWatcher


def written(run_dir: Path, data: bytes, attempt: int = 1) -> Path:
    path = run_dir / f"log.{attempt}.txt"
    with path.open("ab") as file:
        file.write(data)
    return path


def test_there_may_be_no_log_yet(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    found = reader.read()
    assert found.problem is not None
    assert found.lines == ()
    assert reader.read() == found
    written(tmp_path, b"hello\n")
    assert reader.read().lines == ("hello",)


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert LogReader(tmp_path / "gone").read().problem is not None


def test_lines_come_as_the_file_grows_and_the_unfinished_one_is_shown(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    written(tmp_path, b"one\ntw")
    assert reader.read().lines == ("one", "tw")
    written(tmp_path, b"o\r\n\nthree\r")
    assert reader.read().lines == ("one", "two", "", "three")
    written(tmp_path, b"\nfour\n")
    found = reader.read()
    assert found.lines == ("one", "two", "", "three", "four")
    assert (found.first, found.cut, found.generation, found.attempt, found.problem) == (0, False, 1, 1, None)


def test_progress_bars_start_lines(tmp_path: Path) -> None:
    written(tmp_path, b"\r 10%|#   |\r 20%|##  |\r\r 30%|### |\nend\n")
    assert LogReader(tmp_path).read().lines == (" 10%|#   |", " 20%|##  |", " 30%|### |", "end")


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, b"".join(b"line %d\n" % n for n in range(200_000)))
    asked: list[int] = []
    pread = os.pread

    def counted(handle: int, count: int, offset: int) -> bytes:
        asked.append(count)
        return pread(handle, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    found = LogReader(tmp_path).read()
    assert sum(asked) <= log.MOST_BYTES
    assert len(found.lines) == log.MOST_LINES
    assert found.lines[-1] == "line 199999"
    assert found.cut


def test_a_jump_of_growth_begins_anew_at_the_end(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    written(tmp_path, b"first\n")
    before = reader.read()
    written(tmp_path, b"x" * 70 + b"\n" + b"".join(b"line %d\n" % n for n in range(100_000)))
    after = reader.read()
    assert after.generation != before.generation
    assert after.lines[-1] == "line 99999"
    assert "first" not in after.lines


def test_lines_that_left_are_counted(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    written(tmp_path, b"".join(b"%d\n" % n for n in range(log.MOST_LINES)))
    assert reader.read().first == 0
    written(tmp_path, b"more\nand more\n")
    found = reader.read()
    assert (found.first, found.lines[0], len(found.lines)) == (2, "2", log.MOST_LINES)


def test_a_truncated_or_replaced_file_is_read_again(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    path = written(tmp_path, b"a\nb\nc\n")
    first = reader.read()
    path.write_bytes(b"z\n")
    second = reader.read()
    assert second.lines == ("z",)
    assert second.generation != first.generation
    other = tmp_path / "other"
    other.write_bytes(b"quite another one\n")
    other.replace(path)
    assert reader.read().lines == ("quite another one",)


def test_a_deleted_log_is_said_to_be_missing(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    path = written(tmp_path, b"a\n")
    reader.read()
    path.unlink()
    found = reader.read()
    assert (found.lines, found.attempt) == ((), None)
    assert found.problem is not None


def test_the_newest_attempt_counts(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    written(tmp_path, b"one\n", 9)
    assert reader.read().attempt == 9
    written(tmp_path, b"two\n", 10)
    found = reader.read()
    assert (found.attempt, found.lines) == (10, ("two",))


def test_a_line_of_a_gigabyte_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.1.txt"
    with path.open("wb") as file:
        file.write(b"begin\n" + b"y" * 100)
        file.truncate(2**30)  # a hole: zeros without end
    reader = LogReader(tmp_path)
    assert len("".join(reader.read().lines)) < 20_000
    written(tmp_path, b"\nafter\n")
    assert reader.read().lines[-1] == "after"


def test_long_lines_are_cut(tmp_path: Path) -> None:
    written(tmp_path, b"x" * 100_000 + b"\nnext\n")
    first, second = LogReader(tmp_path).read().lines
    assert (len(first), second) == (log.LONGEST + 6, "next")


def test_garbage_and_escape_sequences_are_shown_as_text(tmp_path: Path) -> None:
    written(tmp_path, b"\x1b[2J\x1b]52;c;aGk=\x07 [bold]\xff\xfe\x00\tx \xe2\x80\xae\n")
    (line,) = LogReader(tmp_path).read().lines
    assert line.isprintable()
    assert "\\x1b[2J" in line
    assert "[bold]" in line
    assert "\\xff" in line


def test_what_is_no_file_or_not_readable_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.1.txt")
    assert LogReader(tmp_path).read().problem == "the log is not a file"
    (tmp_path / "log.2.txt").mkdir()
    assert LogReader(tmp_path).read().problem is not None
    (tmp_path / "log.3.txt").symlink_to(tmp_path / "nowhere")
    assert "cannot read" in str(LogReader(tmp_path).read().problem)


def test_the_watcher_tells_and_ends(tmp_path: Path) -> None:
    written(tmp_path, b"one\n")
    told: list[LogTail] = []
    came = threading.Event()

    def tell(tail: LogTail) -> None:
        told.append(tail)
        came.set()

    watcher = LogWatcher(tmp_path, tell)
    watcher.start()
    assert came.wait(10)
    watcher.stop()
    assert told[0].lines == ("one",)
