"""A probe of a whole run: what it finds, that it finds it again, and what it says where it cannot."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from engine.data.types import TaskSpec
from engine.errors import DataError, ModelError, RunError
from engine.models.export import save_model
from engine.models.students import keep_layers
from engine.record.probe import Probe, is_stale, read_probe
from engine.record.run import update_status
from engine.train.probe import SHARPNESS_SCALE, Settings, probe_run, probe_runs
from tests.models.tiny_models import EVERY, saved, tiny, words
from tests.train.test_families import regression
from tests.train.tiny_run import make, materials, work

QUICK = ("teacher.finetune.epochs=2", "stage.ild.epochs=1", "stage.kd.epochs=2", "baseline.enabled=false")
SETTINGS = Settings((0.05, SHARPNESS_SCALE, 0.5), 2, 16)
REQUEST = {"scales": [0.05, 0.5], "draws": 2, "examples": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that looked at training examples as well."""
    folder = tmp_path_factory.mktemp("probed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        made = make(folder, materials(folder), "train.evaluate_train=12", "baseline.enabled=false")
        assert work(made) is not None
    return made


@pytest.fixture(scope="module")
def found(run_dir: Path) -> Probe:
    return probe_run(run_dir, SETTINGS, device="cpu")


def test_a_probe_measures_both_sides_of_the_same_size(found: Probe) -> None:
    assert (found.task, found.metric, found.examples) == ("custom", "accuracy", {"train": 16, "dev": 16})
    assert found.fit.train is not None
    assert found.fit.train > 0.8
    assert found.fit.gap == found.fit.dev - found.fit.train if found.fit.dev is not None else None
    assert [(layer.layer, layer.teacher_layer) for layer in found.layers] == [(1, 2), (2, 4)]
    assert not found.unavailable
    for layer in found.layers:
        assert all(side.train and side.train > 0 for side in layer.distances.values())
    assert found.run_seconds is not None
    assert found.run_seconds > 0


def test_noise_begins_at_the_weights_as_they_are(found: Probe) -> None:
    assert [point.scale for point in found.noise] == [0.0, 0.05, SHARPNESS_SCALE, 0.5]
    first = found.noise[0]
    assert (first.metric, first.loss, first.deviation, first.draws) == (found.fit.dev, found.loss.dev, None, 1)
    losses = [point.loss for point in found.noise if point.loss is not None]
    assert losses[-1] > losses[0]
    assert all(point.draws == 2 and point.loss_deviation for point in found.noise[1:])
    sharp = next(point for point in found.noise if point.scale == SHARPNESS_SCALE)
    assert sharp.loss is not None
    assert found.loss.dev is not None
    assert found.sharpness.dev == pytest.approx(sharp.loss - found.loss.dev)
    assert found.sharpness.train is not None


def test_a_probe_on_all_of_dev_repeats_the_results(run_dir: Path) -> None:
    whole = probe_run(run_dir, Settings((SHARPNESS_SCALE,), 1, 10_000), device="cpu")
    results = json.loads((run_dir / "results.json").read_text())
    assert whole.examples == {"train": 24, "dev": 24}
    assert whole.fit.dev == pytest.approx(results["student"]["metrics"]["accuracy"])
    assert whole.teacher_metrics["accuracy"].dev == pytest.approx(results["teacher"]["metrics"]["accuracy"])


def test_a_probe_finds_the_same_again(run_dir: Path, found: Probe) -> None:
    again = probe_run(run_dir, SETTINGS, device="cpu")
    assert replace(again, made=0.0, seconds=0.0) == replace(found, made=0.0, seconds=0.0)


def test_curves_are_the_evaluations_of_both_sides(found: Probe) -> None:
    assert {point.stage for point in found.curves} == {"ild", "kd"}
    by_side = {side: [p for p in found.curves if p.split == side] for side in ("train", "dev")}
    assert len(by_side["train"]) == len(by_side["dev"]) > 2
    assert [(p.stage, p.step) for p in by_side["train"]] == [(p.stage, p.step) for p in by_side["dev"]]
    for point in found.curves:
        assert point.metric is not None
        assert point.loss is not None
        assert point.loss > 0


def test_what_was_found_is_kept_until_the_student_or_the_question_changes(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / run_dir.name
    shutil.copytree(run_dir, copy)
    (first,) = probe_runs({**REQUEST, "runs": [str(copy)]})["runs"]
    kept = read_probe(copy)
    assert kept is not None
    assert json.loads(json.dumps(first["probe"])) == json.loads(json.dumps(kept.to_dict()))
    assert not is_stale(kept, copy)
    (same,) = probe_runs({**REQUEST, "runs": [str(copy)]})["runs"]
    assert same["probe"]["made"] == kept.made
    (other,) = probe_runs({**REQUEST, "draws": 1, "runs": [str(copy)]})["runs"]
    assert other["probe"]["noise"][1]["draws"] == 1
    config = copy / "student" / "config.json"
    config.write_text(config.read_text() + " ")
    assert is_stale(kept, copy)
    (again,) = probe_runs({**REQUEST, "draws": 1, "runs": [str(copy)]})["runs"]
    assert again["probe"]["made"] > other["probe"]["made"]


def test_a_probe_of_changed_data_or_another_teacher_says_so(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / run_dir.name
    shutil.copytree(run_dir, copy)
    (whole,) = probe_runs({**REQUEST, "runs": [str(copy)]})["runs"]
    assert set(whole["probe"]["inputs"]) == {"train", "dev", "teacher"}
    assert not whole["probe"]["changed"]
    assert not [note for note in whole["probe"]["notes"] if "changed" in note]

    dev = run_dir.parents[1] / "dev.csv"
    rows = dev.read_text()
    saved(copy / "teacher", tiny("bert", layers=4, seed=99), words("bert"))  # a copy, not the link of the run
    try:
        dev.write_text(rows + rows.splitlines()[-1] + "\n")
        (other,) = probe_runs({**REQUEST, "again": True, "runs": [str(copy)]})["runs"]
    finally:
        dev.write_text(rows)
    assert other["probe"]["changed"] == ("dev", "teacher")
    assert other["probe"]["inputs"]["dev"] != whole["probe"]["inputs"]["dev"]
    notes = " ".join(other["probe"]["notes"])
    assert "24 rows" in notes
    assert "25 rows" in notes
    assert "teacher" in notes

    (again,) = probe_runs({**REQUEST, "runs": [str(copy)]})["runs"]
    assert again["probe"]["changed"] == ("teacher",), "the data are back; a probe of other data is not used again"


def test_one_run_that_cannot_be_probed_does_not_keep_the_others_from_it(run_dir: Path, tmp_path: Path) -> None:
    copy, empty = tmp_path / "copy", tmp_path / "empty"
    shutil.copytree(run_dir, copy)
    shutil.copytree(run_dir, empty)
    shutil.rmtree(empty / "student")
    bad, good = probe_runs({**REQUEST, "runs": [str(empty), str(copy)]})["runs"]
    assert "has no student to probe" in bad["error"]["sentence"]
    assert good["probe"]["metric"] == "accuracy"


def test_what_is_missing_is_said(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / run_dir.name
    shutil.copytree(run_dir, copy)
    shutil.rmtree(copy / "teacher")
    pointer = copy / "teacher" / "pointer.json"

    def link_to_nowhere() -> None:
        (copy / "teacher").symlink_to(tmp_path / "gone")

    def pointer_to_nowhere() -> None:
        (copy / "teacher").unlink()
        (copy / "teacher").mkdir()
        pointer.write_text(json.dumps({"schema": 1, "folder": str(tmp_path / "gone")}))

    for change, kind in (
        (link_to_nowhere, "teacher-missing"),
        (pointer_to_nowhere, "teacher-missing"),
        (lambda: pointer.write_text("{}"), "teacher-pointer-damaged"),
        (pointer.unlink, "teacher-missing"),
    ):
        change()
        with pytest.raises(ModelError) as caught:
            probe_run(copy, SETTINGS, device="cpu")
        assert caught.value.kind == kind
        assert "tiny-s7" in str(caught.value)
    preset = (copy / "preset.toml").read_text()
    (copy / "preset.toml").write_text(preset.replace("train.csv", "gone.csv"))
    with pytest.raises(DataError, match=r"gone\.csv"):
        probe_run(copy, SETTINGS, device="cpu")
    (copy / "student" / "model.safetensors").write_bytes(b"short")
    (copy / "preset.toml").write_text(preset)
    with pytest.raises(ModelError):
        probe_run(copy, SETTINGS, device="cpu")
    update_status(copy, state="stopped")
    shutil.rmtree(copy / "student")
    with pytest.raises(RunError) as refused:
        probe_run(copy, SETTINGS, device="cpu")
    assert refused.value.kind == "run-not-probeable"
    assert "tiny-s7 is stopped" in refused.value.sentence
    assert "crild resume tiny-s7" in refused.value.sentence
    (copy / "status.json").write_text("{")
    with pytest.raises(RunError) as refused:
        probe_run(copy, SETTINGS, device="cpu")
    assert refused.value.kind == "run-not-probeable"
    assert "tiny-s7 is finished" in refused.value.sentence, "the other files say so"
    assert "crild resume tiny-s7" in refused.value.sentence


def ready(text: str) -> str:
    """The preset with a teacher that is taken as it is."""
    start, end = text.index("[teacher.finetune]"), text.index("[student]")
    return text[:start] + 'finetune = false\nlabels = ["bad", "good"]\n' + text[end:]


def untrained(folder: Path, family: str) -> Path:
    """A finished run whose student is two layers of its teacher."""
    run_dir = make(folder, ready(materials(folder, family=family)))
    spec = TaskSpec("custom", "classification", ("bad", "good"), ("accuracy",), is_pair=False)
    student = keep_layers(AutoModelForSequenceClassification.from_pretrained(folder / "teacher"), [0, 2])
    save_model(student, words(family), spec, run_dir / "student")
    update_status(run_dir, state="finished")
    return run_dir


@pytest.mark.parametrize("family", EVERY)
def test_every_family_is_probed(tmp_path: Path, family: str) -> None:
    found = probe_run(untrained(tmp_path, family), Settings((SHARPNESS_SCALE,), 1, 8), device="cpu")
    assert set(found.layers[-1].distances) == {"attention", "query", "key", "value", "hidden", "cls", "pooled", "cka"}
    assert found.run_seconds is None


def test_a_run_that_works_is_left_alone(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / run_dir.name
    shutil.copytree(run_dir, copy)
    update_status(copy, state="created", created=time.time(), heartbeat=None, owner=None)
    with pytest.raises(RunError) as refused:
        probe_run(copy, SETTINGS, device="cpu")
    assert refused.value.kind == "run-not-probeable"
    assert "tiny-s7 is created" in refused.value.sentence


def test_a_student_that_equals_its_teacher_has_no_distance(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / run_dir.name
    shutil.copytree(run_dir, copy)
    teacher = run_dir / "teacher"
    for name in ("config.json", "model.safetensors"):
        shutil.copy(teacher / name, copy / "student" / name)
    found = probe_run(copy, Settings((SHARPNESS_SCALE,), 1, 16), device="cpu")
    assert found.metrics == found.teacher_metrics
    assert found.output.train == pytest.approx(0.0, abs=1e-6)
    assert [(layer.layer, layer.teacher_layer) for layer in found.layers] == [(n, n) for n in range(1, 5)]
    for layer in found.layers:
        assert all(side.train == pytest.approx(0.0, abs=1e-5) for side in layer.distances.values())


def test_a_regression_task_and_a_narrower_student_are_probed(tmp_path: Path) -> None:
    narrow = ("student.init=scratch", "student.hidden_size=16", "student.heads=2")
    text = regression(tmp_path).replace("attention = 1.0, ", "")
    run_dir = make(tmp_path, text, *QUICK, *narrow)
    assert work(run_dir) is not None
    found = probe_run(run_dir, Settings((SHARPNESS_SCALE,), 1, 16), device="cpu")
    assert (found.metric, set(found.unavailable)) == ("pearson", {"attention", "hidden", "cls", "pooled"})
    assert set(found.layers[0].distances) == {"query", "key", "value", "cka"}
    assert found.output.dev is not None
    assert found.loss.dev is not None
    assert {point.split for point in found.curves} == {"dev"}


def test_a_teacher_that_came_ready_is_loaded_as_it_was(tmp_path: Path) -> None:
    run_dir = make(tmp_path, ready(materials(tmp_path)), *QUICK[1:])
    assert work(run_dir) is not None
    found = probe_run(run_dir, Settings((SHARPNESS_SCALE,), 1, 10_000), device="cpu")
    results = json.loads((run_dir / "results.json").read_text())
    assert found.teacher_metrics["accuracy"].dev == pytest.approx(results["teacher"]["metrics"]["accuracy"])
    shutil.rmtree(tmp_path / "teacher")
    with pytest.raises(ModelError):
        probe_run(run_dir, SETTINGS, device="cpu")
