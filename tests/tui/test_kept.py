from __future__ import annotations

import json
from pathlib import Path

import pytest

from crild_tui.runs.marks import Kept, KeptFile, kept_file, read_kept
from engine.errors import RunError


def folder(tmp_path: Path, *names: str) -> Path:
    runs = tmp_path / "runs"
    for name in names:
        (runs / name).mkdir(parents=True)
    return runs


def test_changes_are_written_in_order_and_read_again(tmp_path: Path, isolated: Path) -> None:
    runs = folder(tmp_path, "a", "b")
    file = KeptFile(runs)
    file.take(("marked", ("a", "b"), True))
    file.take(("marked", ("a",), False))
    file.take(("pinned", ("a",), True))
    assert file.write() == Kept(pinned=frozenset("a"), marked=frozenset("b")) == read_kept(runs)
    assert isolated in kept_file(runs).parents
    assert sorted(path.name for path in runs.iterdir()) == ["a", "b"]
    assert read_kept(tmp_path / "other") == Kept()


def test_what_another_dashboard_wrote_stays(tmp_path: Path) -> None:
    runs = folder(tmp_path, "a", "b")
    one, other = KeptFile(runs), KeptFile(runs)
    one.take(("hidden", ("a",), True))
    one.write()
    other.take(("pinned", ("b",), True))
    assert other.write() == Kept(pinned=frozenset("b"), hidden=frozenset("a"))


def test_runs_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    runs = folder(tmp_path, "a")
    file = KeptFile(runs)
    file.take(("pinned", ("a", "gone", "../x", "z\0"), True))
    assert file.write().pinned == {"a"}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"schema": 9, "pinned": ["a"]}', '{"schema": 1, "pinned": 3, "hidden": [1, null, ""]}',
        '{"schema": 1, "pinned": {"a": 1}}', "\x00\x01", '{"schema": 1, "marked": ["' + "x" * 300 + '"]}',
    ],
)  # fmt: skip
def test_hostile_content_reads_as_nothing(tmp_path: Path, text: str) -> None:
    runs = folder(tmp_path, "a")
    kept_file(runs).parent.mkdir(parents=True)
    kept_file(runs).write_text(text)
    assert read_kept(runs) == Kept()
    file = KeptFile(runs)
    file.take(("pinned", ("a",), True))
    assert file.write() == read_kept(runs) == Kept(pinned=frozenset("a"))


def test_too_many_ids_are_cut(tmp_path: Path) -> None:
    runs = folder(tmp_path)
    kept_file(runs).parent.mkdir(parents=True)
    kept_file(runs).write_text(json.dumps({"schema": 1, "pinned": [str(n) for n in range(20_000)]}))
    assert len(read_kept(runs).pinned) == 10_000


def test_a_state_folder_that_cannot_be_written_is_said(tmp_path: Path, isolated: Path) -> None:
    runs = folder(tmp_path, "a")
    kept_file(runs).parent.parent.parent.mkdir(parents=True, exist_ok=True)
    kept_file(runs).parent.parent.write_text("a file in the way")
    assert read_kept(runs) == Kept()
    file = KeptFile(runs)
    file.take(("pinned", ("a",), True))
    with pytest.raises(RunError, match="pins and marks cannot be kept"):
        file.write()


def test_names_that_are_no_text_can_be_kept(tmp_path: Path) -> None:
    name = b"bad-\xff".decode("utf-8", "surrogateescape")
    runs = folder(tmp_path, name)
    file = KeptFile(runs)
    file.take(("marked", (name,), True))
    assert file.write().marked == {name}
