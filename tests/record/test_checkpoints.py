"""Which checkpoint a run resumes from: the newest that is whole with all it refers to."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record import manifest
from engine.record.checkpoints import Checkpoints, flaw
from tests.record.checkpoint_samples import finished_before, flip, write_best, write_checkpoint


def chosen(run_dir: Path) -> str | None:
    newest = Checkpoints(run_dir).newest()
    return None if newest is None else newest.name


def reasons(run_dir: Path) -> list[tuple[str, str, str]]:
    return [(one.name, flaw.name, flaw.kind) for one, flaw in Checkpoints(run_dir).passed_over()]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run in the middle of its last stage, with best weights from a step before."""
    write_checkpoint(tmp_path, "ild", 4)
    write_best(tmp_path, "kd", 2)
    write_checkpoint(tmp_path, "kd", 3, best=2)
    write_best(tmp_path, "kd", 4)
    write_checkpoint(tmp_path, "kd", 5, best=4)
    return tmp_path


NEWEST, OLDER = "002-kd-00000005", "002-kd-00000003"


def test_the_newest_whole_checkpoint_is_chosen(run_dir: Path) -> None:
    assert chosen(run_dir) == NEWEST
    assert [one.name for one in Checkpoints(run_dir).whole()] == [NEWEST, OLDER, "001-ild-00000004"]
    assert reasons(run_dir) == []
    assert chosen(run_dir / "nowhere") is None


@pytest.mark.parametrize("folder", [NEWEST, "best-kd-00000004"])
@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_one_bit_anywhere_makes_it_go_back(run_dir: Path, folder: str, name: str) -> None:
    file = run_dir / "checkpoints" / folder / name
    content = file.read_bytes()
    for offset in range(len(content)):
        flip(file, offset, offset % 7)
        assert chosen(run_dir) == OLDER, offset
        assert [one[:2] for one in reasons(run_dir)] == [(NEWEST, folder)]
        file.write_bytes(content)
    assert chosen(run_dir) == NEWEST


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: shutil.rmtree(path.parent),
    ],
    ids=["missing", "empty", "cut", "zeros", "longer", "a folder", "no folder"],
)
@pytest.mark.parametrize("folder", [NEWEST, "best-kd-00000004"])
@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_other_damage_makes_it_go_back_too(run_dir: Path, folder: str, name: str, damage: Damage) -> None:
    damage(run_dir / "checkpoints" / folder / name)
    assert chosen(run_dir) == OLDER


def test_best_weights_of_its_own_step_are_in_the_checkpoint_itself(run_dir: Path) -> None:
    write_checkpoint(run_dir, "kd", 6, best=6)
    assert chosen(run_dir) == "002-kd-00000006"


def test_best_weights_of_earlier_stages_are_not_read_any_more(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "ild", 4, best=2)
    write_checkpoint(tmp_path, "kd", 3)
    assert chosen(tmp_path) == "002-kd-00000003"


def test_a_baseline_needs_the_students_last_checkpoint_with_its_best_weights(tmp_path: Path) -> None:
    best = write_best(tmp_path, "kd", 6)
    write_checkpoint(tmp_path, "kd", 4)
    write_checkpoint(tmp_path, "kd", 8, best=6)
    write_checkpoint(tmp_path, "baseline", 5)
    assert chosen(tmp_path) == "003-baseline-00000005"
    flip(best / "model.safetensors")
    assert chosen(tmp_path) == "002-kd-00000004"
    assert [one[:2] for one in reasons(tmp_path)] == [
        ("003-baseline-00000005", best.name), ("002-kd-00000008", best.name),
    ]  # fmt: skip
    shutil.rmtree(tmp_path / "checkpoints" / "002-kd-00000008")
    shutil.rmtree(tmp_path / "checkpoints" / "002-kd-00000004")
    assert chosen(tmp_path) is None


def test_a_baseline_from_before_the_student_was_trained_for_longer_is_obsolete(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "kd", 9, total=16)
    finished = finished_before("baseline")
    assert finished["kd"]["steps"] == 8
    write_checkpoint(tmp_path, "baseline", 12)
    assert chosen(tmp_path) == "002-kd-00000009"
    assert [kind for _, _, kind in reasons(tmp_path)] == ["obsolete"]


def test_a_state_of_another_program_is_passed_over(run_dir: Path) -> None:
    write_checkpoint(run_dir, "kd", 7, progress=None)
    assert chosen(run_dir) == NEWEST


def test_a_checkpoint_of_another_version_is_passed_over_but_not_called_damaged(run_dir: Path) -> None:
    file = run_dir / "checkpoints" / NEWEST / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    assert chosen(run_dir) == OLDER
    assert [kind for _, _, kind in reasons(run_dir)] == ["unreadable"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.ESTALE])
def test_what_cannot_be_read_at_the_moment_is_not_damage(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(path: Path) -> str:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(manifest, "file_hash", refuse)
    with pytest.raises(RunError) as caught:
        Checkpoints(run_dir).newest()
    assert caught.value.kind == "cannot-read-checkpoint"
    assert caught.value.file is not None
    assert NEWEST in caught.value.file


def test_a_broken_device_is_passed_over_but_not_called_damaged(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = manifest.file_hash

    def broken(path: Path) -> str:
        if path.parent.name == NEWEST:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(manifest, "file_hash", broken)
    assert chosen(run_dir) == OLDER
    assert [kind for _, _, kind in reasons(run_dir)] == ["unreadable"]


def test_each_file_is_read_once(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = manifest.file_hash

    def counted(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(manifest, "file_hash", counted)
    found = Checkpoints(run_dir)
    found.newest(), found.passed_over(), found.whole()
    assert len(read) == len(set(read))


def test_names_in_a_manifest_do_not_lead_out_of_its_folder(run_dir: Path) -> None:
    path = run_dir / "checkpoints" / NEWEST
    (path / "manifest.json").write_text('{"format": 1, "files": {"../../secret": {"bytes": 0, "sha256": ""}}}')
    found = flaw(path)
    assert found is not None
    assert found.kind == "damaged"
