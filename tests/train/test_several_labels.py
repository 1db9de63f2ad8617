"""A run whose texts have several labels, from the file to the student, and what else reads both."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from engine.models.problem_types import teacher_of_other_kind
from engine.report.student_errors import student_errors
from engine.train.engine_tools import evaluate
from engine.train.prediction import predict_rows
from tests.train import tiny_run
from tests.train.test_prediction import read_csv, request_for, write_csv

LABELS = ("food", "money")
WORDS = {"food": tiny_run.GOOD, "money": tiny_run.BAD}


def write_task(folder: Path, rows: int = 63, dev: int = 24) -> None:
    """Words of no, one or both labels."""
    draw = random.Random(0)
    for name, count in (("train", rows), ("dev", dev)):
        lines = ["text,label"]
        for number in range(count):
            labels = [label for at, label in enumerate(LABELS) if number >> at & 1]
            words = [word for label in labels for word in draw.choices(WORDS[label], k=4)] or ["w41", "w42"]
            lines.append(f"{' '.join(words)},{'|'.join(labels)}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A finished run of both kinds of stages with chosen thresholds, and its results."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("several")
    patch.setattr("engine.train.results.measure", tiny_run.unmeasured)
    patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
    try:
        text = tiny_run.materials(folder).replace(
            'kind = "classification"', 'kind = "multilabel"\nthresholds = "train"'
        )
        write_task(folder)
        metrics = 'task.metrics=["f1_micro", "f1_macro", "subset_accuracy"]'
        run_dir = tiny_run.make(folder, text, metrics, "train.class_weights=balanced", "teacher.finetune.epochs=12")
        results = tiny_run.work(run_dir)
        assert results is not None
        yield run_dir, results
    finally:
        patch.undo()


def gold_of(run_dir: Path) -> np.ndarray:
    lines = (run_dir / "predictions" / "student.jsonl").read_text().splitlines()
    return np.array([[label in json.loads(line)["label"] for label in LABELS] for line in lines])


def test_the_results(finished: tuple[Path, dict[str, Any]]) -> None:
    _, results = finished
    assert results["metric"] == "f1_micro"
    assert results["teacher"]["metrics"]["f1_micro"] > 0.8
    assert results["data"]["classes"] == {"food": 31, "money": 31}, "of 63 rows"
    assert list(results["student"]["thresholds"]) == list(LABELS)
    assert results["majority"]["subset_accuracy"] == 0.25


def test_plain_transformers_give_the_same_scores_and_metrics(finished: tuple[Path, dict[str, Any]]) -> None:
    run_dir, results = finished
    texts = [row["text"] for row in map(json.loads, (run_dir / "texts.jsonl").read_text().splitlines())]
    classify = pipeline("text-classification", model=str(run_dir / "student"), top_k=None, device="cpu")
    assert classify.model.config.problem_type == "multi_label_classification"
    scores = [{one["label"]: one["score"] for one in row} for row in classify(texts)]
    shares = np.array([[row[label] for label in LABELS] for row in scores])
    saved = [json.loads(line) for line in (run_dir / "predictions" / "student.jsonl").read_text().splitlines()]
    assert shares == pytest.approx(
        np.array([[row["probabilities"][label] for label in LABELS] for row in saved]), abs=2e-6
    )
    cuts = [results["student"]["thresholds"][label] for label in LABELS]
    answers, gold = shares >= cuts, gold_of(run_dir)
    found = results["student"]["metrics"]
    assert found["f1_micro"] == pytest.approx(f1_score(gold, answers, average="micro"))
    assert found["subset_accuracy"] == pytest.approx(accuracy_score(gold, answers))


def test_thresholds_are_chosen_on_train_and_stored(finished: tuple[Path, dict[str, Any]]) -> None:
    run_dir, results = finished
    model = AutoModelForSequenceClassification.from_pretrained(run_dir / "student")
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "student")
    cuts = [results["student"]["thresholds"][label] for label in LABELS]
    assert getattr(model.config, "label_thresholds", [0.5, 0.5]) == cuts
    rows = read_csv(run_dir.parents[1] / "train.csv")
    with torch.no_grad():
        shares = (
            model(**tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt"))
            .logits.sigmoid()
            .numpy()
        )
    for index, label in enumerate(LABELS):
        gold = [label in row["label"] for row in rows]
        own = f1_score(gold, shares[:, index] >= cuts[index])
        others = [f1_score(gold, shares[:, index] >= cut) for cut in np.linspace(0.02, 0.98, 49)]
        assert own >= max(others) - 1e-9


def test_predict_evaluate_and_errors_agree_with_the_results(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run_dir, results = finished
    rows = read_csv(run_dir.parents[1] / "dev.csv")
    path = write_csv(tmp_path / "in.csv", text=[row["text"] for row in rows])
    predict_rows(request_for(run_dir / "student", path, tmp_path / "out.csv"))
    given = [row["label"].split("|") for row in read_csv(tmp_path / "out.csv")]
    answers = np.array([[label in labels for label in LABELS] for labels in given])
    micro = results["student"]["metrics"]["f1_micro"]
    assert f1_score(gold_of(run_dir), answers, average="micro") == pytest.approx(micro)
    request = {"preset": str(run_dir / "preset.toml"), "model": str(run_dir / "student"), "device": "cpu"}
    found = evaluate(request)
    assert found["splits"]["dev"]["metrics"]["f1_micro"] == pytest.approx(micro)
    assert not any("strongest class" in note for note in found["notes"])
    assert student_errors(run_dir).rows == 24


def test_the_card_says_that_texts_have_several_labels(finished: tuple[Path, dict[str, Any]]) -> None:
    card = (finished[0] / "student" / "README.md").read_text()
    assert "any number of food, money" in card
    data = finished[1]["data"]
    for name, count in data["classes"].items():
        assert f"| {name} | {count:,} | {100 * count / data['train']:.1f} % |" in card, "of the rows, not of all labels"
    assert "top_k=None" in card
    thresholds = json.loads((finished[0] / "results.json").read_text())["student"]["thresholds"]
    assert all(f"{name} {value:.3g}" in card for name, value in thresholds.items())
    assert "from 0.5" not in card


def test_a_resumed_run_gives_the_same_student(
    finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, _ = finished
    monkeypatch.setattr("engine.train.results.measure", tiny_run.unmeasured)
    monkeypatch.setenv("CRILD_CACHE_DIR", str(run_dir.parents[1] / "cache"))
    again = tiny_run.make(run_dir.parents[1], (run_dir / "preset.toml").read_text(), name="again")
    assert tiny_run.work(again, stop_after=("kd", 3)) is None
    assert tiny_run.work(again) is not None
    same = [(folder / "student" / "model.safetensors").read_bytes() for folder in (run_dir, again)]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("problem_type", "kind", "fault"),
    [
        ("multi_label_classification", "classification", "multi-label-teacher"),
        ("multi_label_classification", "multilabel", None),
        ("single_label_classification", "multilabel", "single-label-teacher"),
        ("single_label_classification", "classification", None),
        (None, "multilabel", None),
    ],
)
def test_a_teacher_of_another_kind_is_not_distilled(problem_type: str | None, kind: Any, fault: str | None) -> None:
    found = teacher_of_other_kind("t", problem_type, kind=kind, finetuned=False, objectives=["logits"])
    assert (found[1] if found else None) == fault
    assert teacher_of_other_kind("t", problem_type, kind=kind, finetuned=True, objectives=["logits"]) is None
