"""A run that learns from a file of answers: what `crild predict` wrote of another model, by text; no teacher is loaded."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from engine.errors import CrildError, DataError, RunError
from engine.preset.load import load_preset
from engine.record.events import read_events
from engine.record.inputs import INPUTS, read_inputs
from engine.record.prediction import PredictionRequest
from engine.record.run import read_status
from engine.report.closing_table import closing_table
from engine.report.collect import collect_runs
from engine.report.group_errors import mistake_tables
from engine.report.inputs import input_lines
from engine.report.predictions import predictions_file
from engine.report.settings import group_runs
from engine.report.student_errors import has_predictions, student_errors
from engine.train import results
from engine.train.bench import teacher_of
from engine.train.engine_tools import plan
from engine.train.prediction import predict_rows
from engine.train.probe import probe_runs
from tests.models.tiny_models import saved, tiny, words
from tests.train.tiny_run import file_of, make, unmeasured, work, write_task

PRESET = """
schema = 1
seed = 7
[task]
name = "custom"
files = {{ train = "{folder}/train.csv", dev = "{folder}/dev.csv" }}
kind = "classification"
max_length = 24
[teacher]
answers = "{folder}/{answers}.csv"
[student]
layers = 2
init = "{init}"
[train]
device = "cpu"
precision = "fp32"
threads = 1
log_every = 1
learning_rate = 4e-3
checkpoint_every = 2
[[stage]]
name = "kd"
epochs = 2
batch_size = 16
objectives = {{ logits = 1.0, labels = 0.5 }}
temperature = 2.0
keep_best = true
"""
ONLY_TRAIN, WITH_DEV = "train-answers", "all-answers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task, a model for the student, and the predictions of another model as files of answers."""
    folder = tmp_path_factory.mktemp("answers")
    write_task(folder)
    names = {0: "good", 1: "bad"}  # not the task's order
    model = saved(
        folder / "other", tiny("bert", layers=1, seed=3, id2label=names, initializer_range=1.0), words("bert")
    )
    still: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    saved(folder / "small", tiny("bert", layers=3, seed=5, **still), words("bert"))
    for name, inputs in {ONLY_TRAIN: ["train"], WITH_DEV: ["train", "dev"]}.items():
        request = PredictionRequest(
            model=str(model), inputs=tuple(f"{folder}/{each}.csv" for each in inputs), input_format="csv",
            output=f"{folder}/{name}.csv", output_format="csv",
        )  # fmt: skip
        predict_rows(request)
    return folder


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency takes longer than all the rest."""
    monkeypatch.setattr(results, "measure", unmeasured)


def run_of(folder: Path, *overrides: str, answers: str = WITH_DEV, init: str | None = None, name: str) -> Path:
    """A run directory."""
    text = PRESET.format(folder=folder, answers=answers, init=init or folder / "small")
    return make(folder, text, *overrides, name=name)


def weights(run_dir: Path) -> bytes:
    """Of the student."""
    return (run_dir / "student" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """A finished run whose teacher answers dev, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "measure", unmeasured)
        run_dir = run_of(folder, name="finished")
        assert work(run_dir) is not None
    return run_dir


def test_the_teacher_has_the_figures_of_its_answers(finished: Path, folder: Path) -> None:
    document = json.loads((finished / "results.json").read_text())
    rows = [json.loads(line) for line in predictions_file(finished, "teacher").read_text().splitlines()]
    accuracy = float(np.mean([row["label"] == row["prediction"] for row in rows]))
    assert document["teacher"]["metrics"]["accuracy"] == pytest.approx(accuracy)
    assert read_status(finished).teacher == pytest.approx(accuracy)
    assert "layers" not in document["teacher"]
    assert 0 <= document["agreement"] <= 1
    with (folder / f"{WITH_DEV}.csv").open() as file:
        given = {row["text"]: float(row["probability_good"]) for row in csv.DictReader(file)}
    with (folder / "dev.csv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    own = [row["probabilities"]["good"] for row in rows]
    assert own == pytest.approx([given[text] for text in texts], abs=2e-6), "in the task's order of rows and classes"
    card = (finished / "student" / "README.md").read_text()
    assert f"answers in the file `{WITH_DEV}.csv`; the student started from the model `small`" in card
    assert "| teacher |  |  |" in card
    models = [row.name for row in closing_table(document).models]
    assert models == ["teacher", "student, 2 layers", "majority guess"]
    record = read_inputs(finished)
    assert record is not None
    assert record.teacher is None
    assert record.student is not None
    assert dict(input_lines(record))["answers"].startswith("80 answers")


def test_the_loss_is_the_distance_to_the_answers(folder: Path) -> None:
    """The first step's loss, by hand: the student's KL to the answers of its rows, at the stage's temperature."""
    run_dir = run_of(
        folder, "stage.kd.objectives={logits = 1.0}", "stage.kd.batch_size=56", "stage.kd.epochs=1", name="by-hand"
    )
    assert work(run_dir) is not None
    (step,) = read_events(run_dir, {"step"})
    with (folder / f"{WITH_DEV}.csv").open() as file:
        rows = list(csv.DictReader(file))[:56]
    tokenizer = AutoTokenizer.from_pretrained(folder / "small")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "small", num_hidden_layers=2).train(mode=False)
    batch = tokenizer([row["text"] for row in rows], padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        own = model(**batch).logits.double()
    theirs = torch.tensor([[float(row[f"probability_{name}"]) for name in ("bad", "good")] for row in rows]).double()
    target = (theirs.clamp_min(1e-6).log() / 2).softmax(-1)
    by_hand = (target * (target.log() - (own / 2).log_softmax(-1))).sum(-1).mean() * 4
    assert step["terms"]["logits"] == pytest.approx(float(by_hand), rel=1e-4)


def test_stopped_and_resumed_it_ends_in_the_same_bytes(finished: Path, folder: Path) -> None:
    run_dir = run_of(folder, name="resumed")
    assert work(run_dir, stop_after=("kd", 3)) is None
    assert work(run_dir) is not None
    assert weights(run_dir) == weights(finished)


def test_other_answers_are_not_resumed_with_and_other_order_is(folder: Path) -> None:
    copy = folder / "copy"
    copy.mkdir()
    shutil.copy(folder / f"{WITH_DEV}.csv", copy)
    run_dir = run_of(folder, f"teacher.answers={copy / WITH_DEV}.csv", name="changed")
    assert work(run_dir, stop_after=("kd", 3)) is None
    file = copy / f"{WITH_DEV}.csv"
    header, first, *rest = file.read_text().splitlines()
    *before, one, other = first.split(",")
    file.write_text("\n".join([header, ",".join([*before, other, one]), *rest]) + "\n")
    with pytest.raises(DataError) as caught:
        work(run_dir)
    assert caught.value.kind == "inputs-changed"
    assert "teacher.answers" in caught.value.sentence
    file.write_text("\n".join([header, *reversed(rest), first]) + "\n")
    assert work(run_dir) is not None


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """A finished run whose teacher answers the training rows alone; its student is from scratch, its inputs are mixed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "measure", unmeasured)
        settings = (
            "stage.kd.mixup={ alpha = 1.0 }",
            "student.hidden_size=16",
            "student.heads=2",
            "baseline.enabled=true",
        )
        run_dir = run_of(folder, *settings, answers=ONLY_TRAIN, init="scratch", name="alone")
        assert work(run_dir) is not None
    return run_dir


def test_without_answers_to_dev_nothing_is_said_of_a_teacher(alone: Path) -> None:
    document = json.loads((alone / "results.json").read_text())
    assert [document[name] for name in ("teacher", "agreement", "kept_margin")] == [None, None, None]
    assert document["baseline"] is not None
    assert read_status(alone).teacher is None
    assert read_status(alone).majority is not None
    assert not predictions_file(alone, "teacher").exists()
    models = closing_table(document).models
    assert [row.name for row in models] == ["student, 2 layers", "labels alone", "majority guess"]
    assert all(row.speedup is None for row in models)
    assert not [event for event in read_events(alone, {"evaluation"}) if event["model"] == "teacher"]
    card = (alone / "student" / "README.md").read_text()
    assert "Its teacher's answers to these rows are not known." in card
    assert "started from random weights" in card
    config = json.loads((alone / "student" / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == (16, 2)


def test_the_mistakes_of_a_student_need_no_teacher(alone: Path) -> None:
    assert has_predictions(alone)
    found = student_errors(alone)
    assert not found.has_teacher
    rows = [json.loads(line) for line in predictions_file(alone, "student").read_text().splitlines()]
    assert {row.id for row in found.mistakes} == {row["id"] for row in rows if row["label"] != row["prediction"]}
    assert found.disagreements == ()
    assert all(row.teacher is None for row in found.mistakes)
    overview, *_ = mistake_tables(group_runs(collect_runs([alone]).runs))
    (row,) = overview.sections[0].rows
    unlike = [column.heading for column in overview.columns].index("unlike teacher")
    assert row.cells[unlike].text == "-"


def test_a_teacher_whose_answers_were_saved_and_are_gone_is_missed(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    predictions_file(copy, "teacher").unlink()
    assert not has_predictions(copy)
    with pytest.raises(RunError):
        student_errors(copy)


def test_what_needs_a_teacher_to_run_says_why_not(alone: Path) -> None:
    request = {"runs": [str(alone)], "device": "cpu", "scales": [0.1], "draws": 1, "examples": 8, "again": False}
    assert "file of answers" in json.dumps(probe_runs(request))
    with pytest.raises(CrildError) as caught:
        teacher_of(alone, load_preset([str(alone / "preset.toml")]).preset)
    assert caught.value.kind == "teacher-of-answers"


def test_a_dry_run_names_the_file_and_times_its_steps(folder: Path) -> None:
    text = PRESET.format(folder=folder, answers=ONLY_TRAIN, init=folder / "small")
    found: dict[str, Any] = plan(file_of(folder, text, "dry"))
    assert found["teacher"] == {
        "model": None, "answers": f"{folder}/{ONLY_TRAIN}.csv", "parameters": None, "finetune": False, "cached": False,
        "others": [],
    }  # fmt: skip
    (stage,) = found["stages"]
    assert (stage["steps"], found["missing"]) == (8, [])
    assert any("by text" in note for note in found["notes"])


def test_a_row_without_an_answer_ends_the_run_before_it_trains(folder: Path) -> None:
    short = folder / "short.csv"
    short.write_text("\n".join((folder / f"{WITH_DEV}.csv").read_text().splitlines()[:-40]) + "\n")
    run_dir = run_of(folder, f"teacher.answers={short}", name="short")
    with pytest.raises(DataError) as caught:
        work(run_dir)
    assert caught.value.kind == "missing-answers"
    assert not (run_dir / INPUTS).exists()


def test_answers_to_test_alone_make_no_teacher(folder: Path) -> None:
    settings = (f"task.files.test={folder}/train.csv", "stage.kd.steps=1", "stage.kd.epochs=false")
    run_dir = run_of(folder, *settings, answers=ONLY_TRAIN, name="test-alone")
    assert work(run_dir) is not None
    document = json.loads((run_dir / "results.json").read_text())
    assert document["teacher"] is None
    assert document["test"]["agreement"] is None
    assert document["test"]["rows"] == 56
