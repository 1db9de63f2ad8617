"""The engine's side of `crild bench`: which models are measured, at which lengths, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelError, RunError
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.files import write_json
from engine.record.latency import Latency
from engine.record.run import create_run
from engine.train import bench
from tests.models.tiny_models import saved, tiny
from tests.train.tiny_run import PRESET, write_task


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.001)


def request(*targets: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {"targets": targets, "batches": [1], "lengths": [], "threads": 1, "device": "cpu", **changes}


def make_run(folder: Path, name: str, *settings: str) -> Path:
    """A finished run with a student of one layer; its fine-tuned teacher is a folder in the run."""
    folder.mkdir(exist_ok=True)
    write_task(folder)
    file = folder / "preset.toml"
    file.write_text(PRESET.format(folder=folder))
    saved(folder / "teacher", tiny("bert", layers=2))
    run_dir = create_run(folder / "runs", dump(load_preset([str(file)], settings).preset), name=name, seed=1)
    saved(run_dir / "student", tiny("bert", layers=1))
    return run_dir


def names(answer: dict[str, Any]) -> list[str]:
    return [model.name for model in Latency.from_dict(answer["latency"]).cases[0].models]


def length(answer: dict[str, Any]) -> int:
    return Latency.from_dict(answer["latency"]).cases[0].length


def test_a_run_gives_its_teacher_and_its_student(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, "one")
    saved(run_dir / "teacher", tiny("bert", layers=2))
    answer = bench.bench(request({"name": "one", "run": str(run_dir)}))
    assert (names(answer), answer["notes"]) == (["teacher of one", "one"], [])
    assert [answer["models"][name]["layers"] for name in names(answer)] == [2, 1]


def test_a_teacher_that_is_gone_is_left_out_with_a_note(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, "one")
    answer = bench.bench(request({"name": "one", "run": str(run_dir)}))
    assert names(answer) == ["one"]
    (note,) = answer["notes"]
    assert "the teacher of one" in note


def test_seeds_share_their_teacher_and_models_join_in(tmp_path: Path) -> None:
    settings = ("teacher.finetune=false", 'teacher.labels=["bad", "good"]')
    runs = [make_run(tmp_path, name, *settings) for name in ("one", "two")]
    targets = [{"name": run.name, "run": str(run)} for run in runs]
    model = {"name": "other", "model": str(saved(tmp_path / "other", tiny("roberta", layers=1)))}
    assert names(bench.bench(request(*targets, model))) == ["teacher of one-s1", "one-s1", "two-s1", "other"]


def test_the_length_is_the_runs_own_or_what_all_models_read(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, "one")
    limit = tiny("bert").config.max_position_embeddings
    target = {"name": "one", "run": str(run_dir)}
    assert length(bench.bench(request(target))) == min(limit, bench.LENGTH)
    measured = bench.bench(request(target, lengths=[9]))
    write_json(run_dir / "results.json", {"schema": 1, "latency": measured["latency"]})
    assert length(bench.bench(request(target))) == 9


def test_lengths_above_the_models_positions_and_missing_models_are_refused(tmp_path: Path) -> None:
    folder = str(saved(tmp_path / "model", tiny("roberta", layers=1)))
    with pytest.raises(ModelError) as caught:
        bench.bench(request({"name": "m", "model": folder}, lengths=[8, 4000]))
    assert (caught.value.kind, caught.value.key) == ("length-above-positions", "--length")
    assert "4000" in caught.value.sentence
    with pytest.raises(ModelError) as caught:
        bench.bench(request({"name": "m", "model": str(tmp_path / "nowhere")}))
    assert caught.value.kind == "no-such-folder"


def test_a_device_that_is_not_there_and_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError) as caught:
        bench.bench(request(device="cuda:99"))
    assert caught.value.kind == "missing-device"

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(bench, "measure", exhausted)
    model = {"name": "m", "model": str(saved(tmp_path / "model", tiny("bert", layers=1)))}
    with pytest.raises(RunError) as caught:
        bench.bench(request(model, batches=[512]))
    assert caught.value.kind == "out-of-memory"
    assert "512" in caught.value.sentence
