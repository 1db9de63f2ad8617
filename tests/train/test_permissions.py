"""What crild writes has the permissions that the umask gives: another account can use a student, or nobody can."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.train.tiny_run import make, materials, work

QUICK = ("teacher.finetune.epochs=0.5", "stage.ild.epochs=0.5", "stage.kd.epochs=0.5", "baseline.enabled=false")


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_every_file_of_a_run_and_of_the_cache_follows_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        run_dir = make(tmp_path, materials(tmp_path / "task"), *QUICK)
        assert work(run_dir) is not None
    finally:
        os.umask(before)
    checked = 0
    for root in (run_dir, tmp_path / "cache"):
        for path in (root, *root.rglob("*")):
            if not path.is_symlink():
                usual = 0o777 if path.is_dir() else 0o666
                assert oct(path.stat().st_mode & 0o777) == oct(usual & ~mask), path
                checked += path.suffix == ".safetensors"
    assert checked >= 4, "student, teacher, checkpoints, tokens"
