"""Checkpoints are written and rotated in a run's own folder, and delete nothing that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from crild_tui.runs.resume import prepare
from engine.record.checkpoints import flaw, named_checkpoints
from engine.record.owner import temporary_name
from engine.record.run import create_run, update_status
from engine.train import experiment
from engine.train.checkpoint import load_best, rotate, save, save_best, tensors
from tests.cli.samples import make_run
from tests.errors import raises
from tests.record import own_files
from tests.record.own_files import KEY, everything, gone_name
from tests.train.tiny_run import make, materials, work


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path / "runs", "schema = 1\n", name="mine", seed=1, environment={})


def write(run_dir: Path, step: int, value: float = 0.0, **state: object) -> None:
    parts = {"model": {"weight": torch.full((2,), value)}, "average": {}}
    save(run_dir, index=1, stage="kd", step=step, parts=parts, state=dict(state))


def keep_newest(run_dir: Path) -> None:
    rotate(run_dir, whole={one.name for one in named_checkpoints(run_dir)}, keep=1)


def test_rotation_deletes_older_checkpoints_and_nothing_else(run: Path) -> None:
    for step in (1, 2, 3):
        best = save_best(run, stage="kd", step=step, model={"weight": torch.zeros(2)})
        write(run, step, best_weights={"kd": best})
    folder = run / "checkpoints"
    for name in (
        "thesis/text.md",
        "backup/001-kd-00000001/model.safetensors",
        "000-ild-00000009/mine.txt",
        "notes.txt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    before = set(everything(folder))
    keep_newest(run)
    gone = {path.split("/")[0] for path in before - set(everything(folder))}
    assert gone == {"001-kd-00000001", "001-kd-00000002", "best-kd-00000001", "best-kd-00000002"}
    assert flaw(folder / "001-kd-00000003") is None
    load_best(run, "best-kd-00000003")


def test_what_could_not_be_read_stays(run: Path) -> None:
    for step in (1, 2, 3):
        write(run, step)
    rotate(run, whole={"001-kd-00000001"}, keep=1, unreadable={"001-kd-00000003"})
    assert {one.step for one in named_checkpoints(run)} == {1, 3}


def test_a_step_that_is_repeated_replaces_its_checkpoint(run: Path) -> None:
    write(run, 1, 1.0)
    (run / "checkpoints" / "001-kd-00000001" / "notes.txt").write_text("mine")
    write(run, 1, 2.0)
    (saved,) = named_checkpoints(run)
    assert flaw(saved.path) is None
    assert tensors(saved, "model")["weight"].tolist() == [2.0, 2.0]
    assert (saved.path / "notes.txt").read_text() == "mine"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["001-kd-00000001"]


def test_no_checkpoint_is_written_or_deleted_through_a_link(run: Path, tmp_path: Path) -> None:
    thesis = own_files.checkpoint(tmp_path, "001-kd-00000001").parent
    before = everything(thesis)
    (run / "checkpoints").symlink_to(thesis)
    with raises("checkpoint-not-written", "symbolic link"):
        write(run, 2)
    keep_newest(run)
    assert everything(thesis) == before


def test_a_run_with_linked_checkpoints_is_refused_before_it_trains(tmp_path: Path) -> None:
    run_dir = make(tmp_path, materials(tmp_path))
    (tmp_path / "thesis").mkdir()
    (run_dir / "checkpoints").symlink_to(tmp_path / "thesis")
    with raises("linked-folder-in-run", run_dir / "checkpoints"):
        work(run_dir)
    assert list((tmp_path / "thesis").iterdir()) == []


def test_an_engine_removes_what_killed_ones_left_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make(tmp_path, materials(tmp_path))
    teachers = tmp_path / "cache" / "teachers"
    left, used = own_files.model(teachers / gone_name(KEY)), own_files.model(teachers / temporary_name(KEY))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "Checkpoints", stop)
    with pytest.raises(KeyboardInterrupt):
        work(run_dir)
    assert not left.exists()
    assert used.exists()


def test_resuming_a_run_with_linked_checkpoints_is_refused_before_an_engine_starts(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "runs", state="stopped")
    update_status(run_dir, state="stopped")
    (run_dir / "checkpoints").symlink_to(tmp_path)
    with raises("linked-folder-in-run", run_dir / "checkpoints"):
        prepare(run_dir, ())
