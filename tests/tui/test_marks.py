from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from crild_tui.runs.marks import Marks, MarksFile, marks_file, read_marks
from engine.errors import RunError
from tests.refused_files import refuse


def folder(tmp_path: Path, *names: str) -> Path:
    runs = tmp_path / "runs"
    for name in names:
        (runs / name).mkdir(parents=True)
    return runs


def test_changes_are_written_in_order_and_read_again(tmp_path: Path, isolated: Path) -> None:
    runs = folder(tmp_path, "a", "b")
    file = MarksFile(runs)
    file.take(("marked", ("a", "b"), True))
    file.take(("marked", ("a",), False))
    file.take(("pinned", ("a",), True))
    assert file.write() == Marks(pinned=frozenset("a"), marked=frozenset("b")) == read_marks(runs)
    assert isolated in marks_file(runs).parents
    assert sorted(path.name for path in runs.iterdir()) == ["a", "b"]
    assert read_marks(tmp_path / "other") == Marks()


def test_what_another_dashboard_wrote_stays(tmp_path: Path) -> None:
    runs = folder(tmp_path, "a", "b")
    one, other = MarksFile(runs), MarksFile(runs)
    one.take(("hidden", ("a",), True))
    one.write()
    other.take(("pinned", ("b",), True))
    assert other.write() == Marks(pinned=frozenset("b"), hidden=frozenset("a"))


def test_runs_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    runs = folder(tmp_path, "a")
    file = MarksFile(runs)
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
    marks_file(runs).parent.mkdir(parents=True)
    marks_file(runs).write_text(text)
    assert read_marks(runs) == Marks()
    file = MarksFile(runs)
    file.take(("pinned", ("a",), True))
    assert file.write() == read_marks(runs) == Marks(pinned=frozenset("a"))


def test_too_many_ids_are_cut(tmp_path: Path) -> None:
    runs = folder(tmp_path)
    marks_file(runs).parent.mkdir(parents=True)
    marks_file(runs).write_text(json.dumps({"schema": 1, "pinned": [str(n) for n in range(20_000)]}))
    assert len(read_marks(runs).pinned) == 10_000


def test_a_state_folder_that_cannot_be_written_is_said(tmp_path: Path, isolated: Path) -> None:
    runs = folder(tmp_path, "a")
    marks_file(runs).parent.parent.parent.mkdir(parents=True, exist_ok=True)
    marks_file(runs).parent.parent.write_text("a file in the way")
    assert read_marks(runs) == Marks()
    file = MarksFile(runs)
    file.take(("pinned", ("a",), True))
    with pytest.raises(RunError) as error:
        file.write()
    assert error.value.kind == "unwritable-marks"


def test_names_that_are_no_text_can_be_kept(tmp_path: Path) -> None:
    name = b"bad-\xff".decode("utf-8", "surrogateescape")
    runs = folder(tmp_path, name)
    file = MarksFile(runs)
    file.take(("marked", (name,), True))
    assert file.write().marked == {name}


def test_marks_that_cannot_be_read_now_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = folder(tmp_path, "a", "b")
    file = MarksFile(runs)
    file.take(("pinned", ("a",), True))
    file.write()
    with monkeypatch.context() as patch:
        refuse(patch, marks_file(runs), errno.EMFILE)
        assert read_marks(runs) == Marks()
        file.take(("pinned", ("b",), True))
        with pytest.raises(RunError) as caught:
            file.write()
        assert caught.value.kind == "cannot-read-record"
    assert file.write() == Marks(pinned=frozenset("ab"))
