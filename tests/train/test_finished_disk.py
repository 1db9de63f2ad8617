"""A finished run deletes its checkpoints, unless they are to be kept for training it longer."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import engine.record.inventory
import engine.train.experiment
from engine.errors import RunError
from engine.preset.load import load_preset
from engine.record.checkpoints import has_checkpoints
from engine.record.run import read_run, update_status
from engine.record.session import RunSession
from engine.train.experiment import Experiment
from engine.worker import train
from tests.cli.samples import make_run
from tests.record.own_files import checkpoint


@pytest.mark.parametrize("deleted", [684, None])
def test_the_checkpoints_go_after_the_run_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path, state="created")
    checkpoint(run_dir, "001-kd-00000010")
    results: dict[str, Any] = {"student": {"metrics": {}}, "checkpoints_deleted": deleted}
    monkeypatch.setattr(engine.train.experiment, "run", lambda *_: results)
    assert train(run_dir) == 0
    assert read_run(run_dir).state == "finished"
    assert has_checkpoints(run_dir) == (deleted is None)
    assert ("bytes freed" in capfd.readouterr().out) == (deleted is not None)


def test_checkpoints_that_cannot_be_deleted_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Path) -> int:
        raise PermissionError(errno.EACCES, "denied", "checkpoints")

    run_dir = make_run(tmp_path, state="created")
    checkpoint(run_dir, "001-kd-00000010")
    results: dict[str, Any] = {"student": {"metrics": {}}, "checkpoints_deleted": 684}
    monkeypatch.setattr(engine.train.experiment, "run", lambda *_: results)
    monkeypatch.setattr(engine.record.inventory, "remove_checkpoints", refuse)
    assert train(run_dir) == 0
    assert read_run(run_dir).state == "finished"
    assert "could not be deleted" in capfd.readouterr().out


def test_a_last_status_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: RunSession) -> None:
        raise RunError("cannot be written: permission is denied", kind="cannot-write-record")

    run_dir = make_run(tmp_path, state="created")
    results: dict[str, Any] = {"student": {"metrics": {}}, "checkpoints_deleted": 684}
    monkeypatch.setattr(engine.train.experiment, "run", lambda *_: results)
    monkeypatch.setattr(RunSession, "_write_last", refuse)
    checkpoint(run_dir, "001-kd-00000010")
    assert train(run_dir) == 1
    said = capfd.readouterr()
    assert "error: cannot be written: permission is denied" in said.out
    assert "Traceback" not in said.out + said.err
    assert has_checkpoints(run_dir)


def test_a_run_that_fails_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    run_dir = make_run(tmp_path, state="created")
    checkpoint(run_dir, "001-kd-00000010")
    monkeypatch.setattr(engine.train.experiment, "run", fail)
    assert train(run_dir) == 1
    assert has_checkpoints(run_dir)


def test_they_stay_if_the_preset_says_so_or_the_run_had_finished_with_them(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, state="created")
    checkpoint(run_dir, "001-kd-00000010")

    def to_delete(*items: str) -> int | None:
        preset = load_preset([str(run_dir / "preset.toml")], items).preset
        experiment: Any = object.__new__(Experiment)
        with RunSession(run_dir, signals=False) as session:
            experiment.session, experiment.materials = session, SimpleNamespace(preset=preset)
            size: int | None = experiment.checkpoints_to_delete()
            session.finish("stopped", 0)
        return size

    assert (to_delete() or 0) > 0
    assert to_delete("train.keep_for_extending=true") is None
    update_status(run_dir, state="finished")  # as an earlier crild left it: its results are written again
    assert to_delete() is None
