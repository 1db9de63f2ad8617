"""The tail of a log."""

from __future__ import annotations

from pathlib import Path

from engine.record.logs import last_lines, log_tail


def test_the_tail_of_a_log_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    assert log_tail(tmp_path) == []
    (tmp_path / "log.9.txt").write_text("old")
    (tmp_path / "log.10.txt").write_bytes(b"\xff first\n" + b"x" * 200_000 + b"\nlast\n")
    assert log_tail(tmp_path, 1) == ["last"]
    assert last_lines(tmp_path / "log.9.txt") == ["old"]
    assert last_lines(tmp_path / "gone") == []
