"""The tool `export`: what is written is checked on dev first, and what loses too much is not written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.row_stream import format_of
from engine.errors import ModelError, RunError
from engine.preflight.push import push_plan
from engine.record.export import EXPORT, missing_packages, read_facts
from engine.record.prediction import PredictionRequest
from engine.train import exporting
from engine.train.bench import bench
from engine.train.exporting import export, refusal
from engine.train.prediction import predict_rows
from tests.errors import raises
from tests.train.tiny_run import make, materials, unmeasured, work

installed = pytest.mark.skipif(
    bool(missing_packages()), reason="ONNX is not installed: make test-extras runs these tests"
)
SHORT = ("teacher.finetune.epochs=2", "stage.ild.epochs=1", "baseline.enabled=false")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.train.results.measure", unmeasured)
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        made = make(folder, materials(folder), *SHORT)
        work(made)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SECONDS", 0.05)
    monkeypatch.setattr("engine.train.bench.SECONDS", 0.05)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for exports."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def request(run_dir: Path, folder: Path, *forms: str, **changes: Any) -> dict[str, Any]:
    return {
        "model": str(run_dir / "student"), "name": run_dir.name, "run": str(run_dir), "preset": str(run_dir / "preset.toml"),
        "folders": {form: str(folder / form) for form in ("onnx", *forms)}, "tolerance": 100.0, **changes,
    }  # fmt: skip


@installed
def test_every_form_is_measured_beside_the_original_and_can_be_used(run_dir: Path, out: Path) -> None:
    answer = export(request(run_dir, out, "int8", "int8-static", "fp16"))
    original, *forms = answer["rows"]
    assert [row["name"] for row in forms] == ["onnx", "int8", "int8-static", "fp16"]
    known = json.loads((run_dir / "results.json").read_text())["student"]["metrics"]["accuracy"]
    assert original["value"] == forms[0]["value"] == known
    assert forms[0]["differ"] < 1e-4
    assert all(row["differ"] > 0 for row in forms)
    names = [model["name"] for model in answer["latency"]["cases"][0]["models"]]
    assert names == ["teacher", run_dir.name, "onnx", "int8", "int8-static", "fp16"]
    facts = read_facts(out / "onnx")
    assert facts is not None
    assert (facts.source, facts.value, facts.original) == (run_dir.name, known, known)
    assert facts.parameters > 0
    for row in forms:
        plan = push_plan(out / row["name"], "me/model")  # its card has this form's figures, and nothing stays behind
        assert [figure.value for figure in plan.figures] == [round(row["value"], 6)]
        assert (plan.left_out, plan.has_card) == ((), True)
    assert sorted(path.name for path in out.iterdir()) == ["fp16", "int8", "int8-static", "onnx"], "nothing else stays"

    texts, answers = out / "texts.csv", {}
    texts.write_text("text\n" + "\n".join(f"w{number} w{number + 1}" for number in range(30)) + "\n")
    for model in (run_dir / "student", out / "onnx"):
        form = format_of(texts)
        assert form is not None
        labelled = out / "labelled.csv"
        predict_rows(
            PredictionRequest(str(model), form, form, inputs=(str(texts),), output=str(labelled), device="cpu")
        )
        with labelled.open(newline="") as file:
            answers[model] = [row["label"] for row in csv.DictReader(file)]
    assert answers[run_dir / "student"] == answers[out / "onnx"]

    timed = bench({"targets": [{"name": "onnx", "model": str(out / "onnx")}], "batches": [1], "lengths": [8],
                   "threads": 1, "device": "cpu"})  # fmt: skip
    assert timed["models"]["onnx"]["parameters"] == facts.parameters


@installed
def test_what_loses_more_than_allowed_is_not_written(run_dir: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = exporting._Subject.answers

    def worse(subject: Any, model: Any, name: str) -> tuple[Any, float | None]:
        logits, value = answers(subject, model, name)
        return logits, 0.1 if name == "int8" else value

    monkeypatch.setattr(exporting._Subject, "answers", worse)
    answer = export(request(run_dir, out, "int8", tolerance=1.0))
    assert answer["rows"][2]["refused"] is not None
    assert [path.name for path in out.iterdir()] == ["onnx"]


def test_the_tolerance_is_in_points_of_100() -> None:
    assert refusal(0.90, 0.891, 1.0) is None
    assert refusal(0.90, 0.88, 1.0) == "2.00 points below the original, more than --tolerance 1"
    assert refusal(0.90, 0.95, 0.0) is None
    assert refusal(None, None, 0.0) is None


@installed
def test_a_model_without_a_task_is_compared_on_random_tokens(run_dir: Path, out: Path) -> None:
    answer = export(request(run_dir, out, run=None, preset=None, name="onnx"))
    assert [row["name"] for row in answer["rows"]] == ["onnx (original)", "onnx"], "a folder may be called so"
    assert len(answer["latency"]["cases"][0]["models"]) == 2
    assert (answer["metric"], answer["rows"][1]["value"]) == (None, None)
    assert 0 <= answer["rows"][1]["differ"] < 1e-4
    with raises("no-calibration-rows", error=ModelError):
        export(
            request(
                run_dir,
                out / "no",
                "int8-static",
                run=None,
                preset=None,
                folders={"int8-static": str(out / "s")},
            )
        )
    assert not (out / "s").exists()


@installed
def test_an_earlier_export_is_replaced_whole_and_what_a_person_put_there_stays(run_dir: Path, out: Path) -> None:
    export(request(run_dir, out))
    (out / "onnx" / "notes.txt").write_text("mine")
    before = (out / "onnx" / EXPORT).stat().st_ino
    export(request(run_dir, out))
    assert (out / "onnx" / EXPORT).stat().st_ino != before
    assert (out / "onnx" / "notes.txt").read_text() == "mine"


@installed
def test_a_full_disk_is_named_and_nothing_stays(run_dir: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write_json", full)
    with raises("cannot-write-export", error=RunError):
        export(request(run_dir, out))
    assert list(out.iterdir()) == []
