"""A whole run in one process: what it leaves, and that stopping and resuming changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from engine.errors import CrildError
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.events import read_events
from engine.record.inventory import foreign_files
from engine.record.removal import OpenFolder
from engine.record.run import read_status
from tests.train.tiny_run import make, materials, work


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        run_dir = make(folder, materials(folder))
        assert work(run_dir) is not None
    return run_dir


def weights(run_dir: Path) -> bytes:
    return (run_dir / "student" / "model.safetensors").read_bytes()


def test_the_student_is_a_model_like_any_other(whole: Path) -> None:
    classify = pipeline("text-classification", model=str(whole / "student"), device="cpu")
    answers = [classify(text)[0]["label"] for text in ("w1 w2 w3 w4", "w21 w22 w23 w24")]
    assert answers == ["good", "bad"]


def test_the_results_are_those_of_the_saved_student(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    classify = pipeline("text-classification", model=str(whole / "student"), device="cpu")
    rows = [line.rsplit(",", 1) for line in (whole.parents[1] / "dev.csv").read_text().splitlines()[1:]]
    right = sum(classify(text)[0]["label"] == label for text, label in rows)
    assert results["student"]["metrics"]["accuracy"] == pytest.approx(right / len(rows))
    assert results["saved"] == "best"
    predictions = [json.loads(line) for line in (whole / "predictions" / "student.jsonl").read_text().splitlines()]
    assert sum(row["prediction"] == row["label"] for row in predictions) == right


def test_a_run_consists_of_files_that_can_be_deleted_with_it(whole: Path) -> None:
    with OpenFolder.at(whole) as run:
        assert foreign_files(run) == []


def test_every_figure_has_an_event(whole: Path) -> None:
    events = list(read_events(whole))
    evaluations = [e for e in events if e["kind"] == "evaluation"]
    results = json.loads((whole / "results.json").read_text())
    best = [e for e in evaluations if e["stage"] == "kd" and e["best"]][-1]
    assert best["step"] == results["best"]["step"]
    assert best["metrics"] == pytest.approx(results["best"]["metrics"])
    assert {e["model"] for e in evaluations} == {"teacher", "student"}
    assert results["self_teacher"] is None, "only the stage ild has one, and it trains no classifier"
    assert results["student"]["head_trained"] is True
    assert [case["batch"] for case in results["latency"]["cases"]] == [1, 32]
    assert results["data"] == {"train": 56, "dev": {"dev": 24}, "classes": {"bad": 28, "good": 28}}
    pulls = [e["consistency"] for e in events if e["kind"] == "step" and e["stage"] == "ild"]
    assert all(pull > 0 for pull in pulls)
    shares = [e["consistency_weight"] for e in events if e["kind"] == "step" and e["stage"] == "ild"]
    assert shares[0] == pytest.approx(0.3 / len(shares), rel=1e-5)
    assert shares[-1] == pytest.approx(0.3)


def test_layer_objectives_leave_the_classifier_alone(whole: Path) -> None:
    events = [e for e in read_events(whole, {"evaluation"}) if e["stage"] == "ild" and e["model"] == "student"]
    assert all(not e["best"] and e["loss"] > 0 for e in events)
    assert events[-1]["loss"] < events[0]["loss"]


@pytest.mark.parametrize("place", [("teacher", 3), ("ild", 1), ("ild", 4), ("kd", 5), ("baseline", 3)])
def test_stopped_and_resumed_it_ends_in_the_same_bytes(whole: Path, tmp_path: Path, place: tuple[str, int]) -> None:
    run_dir = make(tmp_path, (whole.parents[1] / "tiny.toml").read_text())
    assert work(run_dir, stop_after=place) is None
    assert read_status(run_dir).state == "stopped"
    assert work(run_dir) is not None
    assert weights(run_dir) == weights(whole)
    curve = [(e["stage"], e["step"], e["loss"]) for e in read_events(run_dir, {"step"})]
    assert curve == [(e["stage"], e["step"], e["loss"]) for e in read_events(whole, {"step"})]


def test_a_stopped_run_says_where_its_checkpoint_is(whole: Path, tmp_path: Path) -> None:
    text = (whole.parents[1] / "tiny.toml").read_text()
    run_dir = make(tmp_path, text, "train.log_every=100", "train.checkpoint_every=2")
    assert work(run_dir, stop_after=("kd", 2), kind="checkpoint") is None
    status = read_status(run_dir)
    assert (status.stage, status.step) == ("kd", 3)
    assert [event["step"] for event in read_events(run_dir, {"checkpoint"}) if event["stage"] == "kd"][-1] == 3


def test_a_finished_run_can_be_extended(whole: Path, tmp_path: Path) -> None:
    run_dir = make(tmp_path, (whole.parents[1] / "tiny.toml").read_text())
    work(run_dir)
    longer = load_preset([str(run_dir / "preset.toml")], ["stage.kd.epochs=3"]).preset
    (run_dir / "preset.toml").write_text(dump(longer))
    results = work(run_dir)
    assert results is not None
    steps = {stage["name"]: stage["steps"] for stage in results["stages"]}
    assert steps["kd"] == 12
    assert steps["baseline"] == steps["ild"] + 12
    curve = [(e["stage"], e["step"]) for e in read_events(run_dir, {"step"})]
    assert curve == sorted(set(curve), key=curve.index)
    assert len([step for stage, step in curve if stage == "kd"]) == 12


def test_a_stage_that_others_build_on_cannot_be_extended(whole: Path, tmp_path: Path) -> None:
    run_dir = make(tmp_path, (whole.parents[1] / "tiny.toml").read_text())
    work(run_dir)
    longer = load_preset([str(run_dir / "preset.toml")], ["stage.ild.epochs=3"]).preset
    (run_dir / "preset.toml").write_text(dump(longer))
    with pytest.raises(CrildError) as caught:
        work(run_dir)
    assert caught.value.kind == "incompatible-change"
    assert "stage ild" in caught.value.sentence


def test_a_finished_stage_whose_inputs_have_changed_in_number_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("w1 w2 w3\n" * 32)
    quick = ("teacher.finetune.epochs=1", "stage.ild.epochs=1", "baseline.enabled=false")
    run_dir = make(tmp_path, materials(tmp_path), f"stage.ild.data={{corpus = '{corpus}'}}", *quick)
    assert work(run_dir, stop_after=("kd", 2)) is None
    corpus.write_text("w1 w2 w3\n" * 80)
    with pytest.raises(CrildError) as caught:
        work(run_dir)
    assert caught.value.kind == "inputs-changed"
    assert caught.value.file == str(corpus)
    assert "stage.ild.data" in caught.value.sentence
    assert "32 rows" in caught.value.sentence
    assert "80 rows" in caught.value.sentence


def test_a_damaged_checkpoint_is_passed_over(whole: Path, tmp_path: Path) -> None:
    run_dir = make(tmp_path, (whole.parents[1] / "tiny.toml").read_text())
    work(run_dir, stop_after=("kd", 5))
    newest = max(p for p in (run_dir / "checkpoints").iterdir() if "-kd-" in p.name and p.name[0] == "0")
    file = newest / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    results = work(run_dir)
    assert results is not None
    assert not results["stages"][0]["cached"], "the teacher was trained in this run, if in an earlier attempt"
    assert weights(run_dir) == weights(whole)


def test_micro_batches_change_nothing_but_memory(whole: Path, tmp_path: Path) -> None:
    """Without dropout the accumulated run takes the same steps, to rounding."""
    text = materials(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    students = []
    for parts in (1, 3):
        run_dir = make(tmp_path, text, f"train.accumulate={parts}", "teacher.finetune.epochs=1", name=f"parts{parts}")
        work(run_dir)
        students.append(load_file(run_dir / "student" / "model.safetensors"))
    for name, tensor in students[0].items():
        torch.testing.assert_close(students[1][name], tensor, rtol=2e-3, atol=2e-4)


def test_one_teacher_serves_every_run_on_the_task(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(whole.parents[1] / "cache"))
    run_dir = make(tmp_path, (whole.parents[1] / "tiny.toml").read_text(), "seed=8")
    results = work(run_dir)
    assert results is not None
    assert results["stages"][0]["cached"]
    assert not [e for e in read_events(run_dir, {"step"}) if e["stage"] == "teacher"]
    status, steps = read_status(run_dir), sum(stage["steps"] for stage in results["stages"][1:])
    assert (status.done, status.total) == (steps, steps), "a teacher from the cache is no part of the way"
    assert weights(run_dir) != weights(whole)
    assert results["teacher"]["metrics"] == json.loads((whole / "results.json").read_text())["teacher"]["metrics"]


def test_a_loss_that_is_no_number_ends_the_run_with_finite_weights(tmp_path: Path) -> None:
    run_dir = make(tmp_path, materials(tmp_path), "stage.ild.learning_rate=1e30", "train.clip=0")
    with pytest.raises(CrildError) as caught:
        work(run_dir)
    assert caught.value.kind == "non-finite-loss"
    assert "stage ild" in caught.value.sentence
    status = read_status(run_dir)
    assert status.state == "failed"
    assert status.error is not None
    assert "learning rate below" in status.error.sentence
    for folder in (run_dir / "checkpoints").iterdir():
        for tensor in load_file(folder / "model.safetensors").values():
            assert torch.isfinite(tensor).all()
