"""Small records: written whole or not at all, read without trust."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record import files
from engine.record.removal import OpenFolder
from tests.errors import raises


def test_a_written_record_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"a": [1, 2.5, None, "ä\n"], "b": {"c": True}})
    assert files.read_json(path) == {"a": [1, 2.5, None, "ä\n"], "b": {"c": True}}
    assert [child.name for child in tmp_path.iterdir() if child.is_file()] == ["x.json"]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"a": float("nan"), "b": [float("inf")], "c": (Path("/p"), {"d": float("-inf")})})
    text = path.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == {"a": None, "b": [None], "c": ["/p", {"d": None}]}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_device_keeps_the_old_content_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 4:
            return real(handle, data[:4])  # a part fits, as on a real device
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError) as caught:
        files.write_json(path, {"a": 2})
    monkeypatch.undo()
    assert files.cause(OSError(code, "")) in caught.value.sentence
    assert caught.value.file == str(path)
    assert files.read_json(path) == {"a": 1}
    assert sorted(child.name for child in tmp_path.iterdir() if child.is_file()) == ["x.json"]


def test_a_crash_before_the_rename_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_atomic(path, "old")
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)

    def crash(*_: object) -> None:
        assert flushed, "the data must be on the device before it takes the name"
        raise KeyboardInterrupt

    monkeypatch.setattr(OpenFolder, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "incomplete-json"),
        (b'{"a": 1', "incomplete-json"),
        (b"\xff\xfe\x00", "incomplete-json"),
        (b"[" * 100_000, "incomplete-json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "incomplete-json"),
        (b"[1, 2]", "not-a-json-object"),
        (b"null", "not-a-json-object"),
        (b"\0" * 4096, "incomplete-json"),
    ],
)
def test_strange_content_is_a_sentence(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with raises(kind):
        files.read_object(path)
    assert files.read_json(path) is None


def test_what_is_no_plain_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "folder", "loop"):
        with pytest.raises(RunError):
            files.read_object(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        files.read_object(tmp_path / "missing")


def test_a_record_that_is_absurdly_large_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(files.LARGEST + 1)
    with raises("oversized-record", files.LARGEST + 1):
        files.read_object(path)


def test_a_durable_name_is_flushed_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(Path(f"/dev/fd/{handle}").resolve().name))
    files.write_atomic(tmp_path / "x", "1")
    assert flushed[-1] == tmp_path.name
    assert len(flushed) == 2
    files.write_atomic(tmp_path / "x", "2", durable=False)
    assert len(flushed) == 3


def test_a_record_is_not_overwritten_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("mine")
    (tmp_path / "x.json").symlink_to(tmp_path / "mine.json")
    with pytest.raises(OSError, match="symbolic links"):
        files.overwrite(tmp_path / "x.json", "{}")
    files.write_json(tmp_path / "x.json", {"a": 1})
    assert (tmp_path / "mine.json").read_text() == "mine"
    assert not (tmp_path / "x.json").is_symlink()


def test_the_first_cause_is_named_where_the_temporary_file_cannot_be_removed_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "write_all", full)
    monkeypatch.setattr(OpenFolder, "remove", failing)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomic(tmp_path / "x.json", "new")
