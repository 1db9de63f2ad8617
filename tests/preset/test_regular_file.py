from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.preset.regular_file import NotRegularError, OversizedError, open_regular, read_regular


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(file)
    assert read_regular(tmp_path / "link", 5) == read_regular(file) == b"12345"
    with pytest.raises(OversizedError):
        read_regular(file, 4)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_that_hides_its_size_has_a_limit_too() -> None:
    with pytest.raises(OversizedError):
        read_regular(Path("/proc/self/status"), 10)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("pipe", NotRegularError),
        ("device", NotRegularError),
        ("folder", IsADirectoryError),
        ("none", FileNotFoundError),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing_open(kind: str, error: type[OSError], tmp_path: Path) -> None:
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    before = open_files()
    with pytest.raises(error):
        open_regular(path)
    assert open_files() == before
