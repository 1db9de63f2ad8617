"""Why a file cannot be opened, what its permissions are, and whether it is still what was written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.record.files import follow_umask, why_unreadable
from engine.record.manifest import damage, manifest_of
from engine.record.removal import OpenFolder
from tests.refused_files import refuse


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_file_that_can_be_read_or_is_missing_has_no_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert [why_unreadable(tmp_path / name) for name in ("file", "gone")] == [None, None]


def test_a_pipe_or_device_is_no_file_to_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    assert why_unreadable(tmp_path / "pipe") == why_unreadable(tmp_path / "device") is not None


def test_causes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    causes = [why_unreadable(tmp_path / "circle"), why_unreadable(tmp_path)]
    for number in (errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE):
        with monkeypatch.context() as patch:
            refuse(patch, tmp_path / "file", number)
            causes.append(why_unreadable(tmp_path / "file"))
    assert None not in causes
    assert len(set(causes)) == len(causes)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0, 0o666)])
def test_files_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with umask(0o077):
        (folder / "weights").write_text("")
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "elsewhere").chmod(0o400)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with umask(mask), OpenFolder.at(folder) as opened:
        follow_umask(opened)
    assert (folder / "weights").stat().st_mode & 0o777 == mode
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o400
    assert sorted(path.name for path in folder.iterdir()) == ["link", "weights"]


def test_a_manifest_notices_every_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"22")
    manifest = manifest_of([tmp_path / "one", tmp_path / "two"])
    assert damage(tmp_path, manifest) is None
    (tmp_path / "two").write_bytes(b"23")
    assert "two" in (damage(tmp_path, manifest) or "")
    (tmp_path / "two").write_bytes(b"222")
    assert "two" in (damage(tmp_path, manifest) or "")
    (tmp_path / "two").unlink()
    assert "two" in (damage(tmp_path, manifest) or "")
    refuse(monkeypatch, tmp_path / "one", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        damage(tmp_path, manifest)


@pytest.mark.parametrize("manifest", [{"../x": {}}, {"": {}}, {"x": 3}])
def test_a_broken_manifest_is_an_error(tmp_path: Path, manifest: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".*"):
        damage(tmp_path, manifest)
