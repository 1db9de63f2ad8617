"""What a run says about the checkpoints that it passes over, and how many steps it repeats."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.record import manifest
from engine.record.checkpoints import Checkpoints
from engine.train.resumption import Resumption, resumption
from engine.train.settings import StageSettings
from tests.record.checkpoint_samples import STAGES, TOTALS, flip, write_best, write_checkpoint


def of(run_dir: Path, totals: tuple[int, ...] = TOTALS) -> Resumption:
    stages: Any = [SimpleNamespace(name=name) for name in STAGES]
    return resumption(Checkpoints(run_dir), cast("list[StageSettings]", stages), totals)


WRITTEN = [("teacher", 6), ("ild", 2), ("ild", 4), ("kd", 3), ("kd", 5)]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, "ild", 4)
    write_checkpoint(tmp_path, "kd", 3)
    write_checkpoint(tmp_path, "kd", 5)
    return tmp_path


def test_nothing_is_said_where_the_newest_is_whole(run_dir: Path) -> None:
    found = of(run_dir)
    assert (found.start and found.start.name, found.repeated(WRITTEN), found.warning(WRITTEN)) == (
        "002-kd-00000005", 0, None,
    )  # fmt: skip
    assert list(found.finished) == ["teacher", "ild"]
    assert of(run_dir / "new").warning([]) is None


@pytest.mark.parametrize(
    ("damaged", "start", "repeated", "facts"),
    [
        (1, "002-kd-00000003", 2, ["002-kd-00000005", "stage kd at step 3", "2 steps"]),
        (2, "001-ild-00000004", 5, ["002-kd-00000005", "002-kd-00000003", "stage ild at step 4", "5 steps"]),
        (3, None, 9, ["001-ild-00000004", "step 0", "9 steps"]),
    ],
)
def test_the_steps_after_the_state_that_is_taken_are_counted(
    run_dir: Path, damaged: int, start: str | None, repeated: int, facts: list[str]
) -> None:
    for checkpoint in Checkpoints(run_dir).named[:damaged]:
        flip(checkpoint.path / "model.safetensors")
    found = of(run_dir)
    assert (found.start.name if found.start else None, found.repeated(WRITTEN)) == (start, repeated)
    warning = found.warning(WRITTEN)
    assert warning is not None
    assert all(fact in warning for fact in facts), warning


def test_checkpoints_that_are_gone_are_missed_by_their_events(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "checkpoints" / "002-kd-00000005")
    warning = of(run_dir).warning(WRITTEN)
    assert warning is not None
    assert all(fact in warning for fact in ("stage kd at step 5 is gone", "step 3", "2 steps"))


def test_a_teacher_that_was_not_finished_is_repeated(tmp_path: Path) -> None:
    assert of(tmp_path).repeated([("teacher", 4)]) == 4


def test_an_extension_repeats_the_baseline_without_an_alarm(tmp_path: Path) -> None:
    write_best(tmp_path, "kd", 8)
    write_checkpoint(tmp_path, "kd", 8)
    write_checkpoint(tmp_path, "baseline", 12)
    found = of(tmp_path, (6, 4, 16, 20))
    assert (found.start and found.start.name, found.extended) == ("002-kd-00000008", True)
    assert found.warning([*WRITTEN, ("kd", 8), ("baseline", 12)]) is None
    assert found.whole == {"002-kd-00000008"}
    assert list(found.finished) == ["teacher", "ild"]


def test_many_damaged_ones_are_not_all_named(tmp_path: Path) -> None:
    for step in range(1, 8):
        flip(write_checkpoint(tmp_path, "kd", step) / "state.json")
    warning = of(tmp_path).warning([("kd", 7)])
    assert warning is not None
    assert "4 older ones" in warning


def test_what_could_not_be_read_is_named_and_kept(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(manifest, "file_hash", broken)
    found = of(run_dir)
    assert found.start is None
    assert found.unreadable == {"001-ild-00000004", "002-kd-00000003", "002-kd-00000005"}
