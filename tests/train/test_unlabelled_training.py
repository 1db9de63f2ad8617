"""Runs whose training rows have no labels: the student is the one of labelled rows, and all figures come from dev."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.record.run import read_status
from engine.report.closing_table import closing_table
from engine.train import results
from engine.train.engine_tools import plan
from engine.train.probe import probe_runs
from tests.models.tiny_models import saved, tiny, words
from tests.train.test_answers_run import PRESET, weights
from tests.train.tiny_run import file_of, make, unmeasured, work, write_task

NO_LABELS = ("stage.kd.objectives.labels=0",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled task, its training rows without labels, answers to them, a model that knows the task, one for the student."""
    folder = tmp_path_factory.mktemp("unlabelled")
    write_task(folder)
    texts = [line.split(",")[0] for line in (folder / "train.csv").read_text().splitlines()]
    (folder / "texts.csv").write_text("\n".join(texts) + "\n")
    rows = [f"{text},{0.2 + 0.01 * n:.2f},{0.8 - 0.01 * n:.2f}" for n, text in enumerate(texts[1:])]
    (folder / "given.csv").write_text("\n".join(["text,good,bad", *rows]) + "\n")
    saved(folder / "small", tiny("bert", layers=3, seed=5), words("bert"))
    names = {0: "bad", 1: "good"}
    saved(folder / "expert", tiny("bert", layers=3, seed=3, id2label=names, initializer_range=1.0), words("bert"))
    return folder


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency takes longer than all the rest."""
    monkeypatch.setattr(results, "measure", unmeasured)


def run_of(folder: Path, *overrides: str, labelled: bool, name: str) -> Path:
    """A run directory."""
    text = PRESET.format(folder=folder, answers="given", init=folder / "small")
    if not labelled:
        text = text.replace("train.csv", "texts.csv").replace(
            'kind = "classification"', 'kind = "classification"\nclass_names = ["bad", "good"]'
        )
    return make(folder, text, *NO_LABELS, *overrides, name=name)


def test_the_student_is_that_of_labelled_rows_and_resumes_in_the_same_bytes(folder: Path) -> None:
    labelled = run_of(folder, labelled=True, name="labelled")
    assert work(labelled) is not None
    unlabelled = run_of(folder, labelled=False, name="unlabelled")
    assert work(unlabelled, stop_after=("kd", 3)) is None
    assert work(unlabelled) is not None
    assert weights(unlabelled) == weights(labelled)
    ours, theirs = (json.loads((run / "results.json").read_text()) for run in (unlabelled, labelled))
    assert ours["student"]["metrics"] == theirs["student"]["metrics"]
    assert ours["data"] == {"train": 56, "dev": {"dev": 24}}
    assert theirs["data"]["classes"] == {"bad": 28, "good": 28}
    card = (unlabelled / "student" / "README.md").read_text()
    assert "56 rows of custom without labels for training; measured on 24 of dev." in card
    assert [row.name for row in closing_table(ours).models] == ["student, 2 layers", "majority guess"]


def test_the_majority_guess_is_the_most_frequent_class_of_dev(folder: Path) -> None:
    header, *rows = (folder / "dev.csv").read_text().splitlines()
    good, bad = ([row for row in rows if row.endswith(name)] for name in ("good", "bad"))
    (folder / "uneven.csv").write_text("\n".join([header, bad[0], *good[:12]]) + "\n")
    settings = (f"task.files.dev={folder}/uneven.csv", "stage.kd.epochs=false", "stage.kd.steps=1")
    run_dir = run_of(folder, *settings, labelled=False, name="uneven")
    assert work(run_dir) is not None
    assert json.loads((run_dir / "results.json").read_text())["majority"]["accuracy"] == pytest.approx(12 / 13)
    assert read_status(run_dir).majority == pytest.approx(12 / 13)


def test_a_model_that_knows_the_task_teaches_from_texts_alone(folder: Path) -> None:
    settings = (f"teacher.model={folder}/expert", "student.init=teacher", "stage.kd.objectives.hidden=1.0")
    run_dirs = [run_of(folder, *settings, labelled=flag, name=f"expert-{flag}") for flag in (True, False)]
    for run_dir in run_dirs:
        assert work(run_dir) is not None
    assert weights(run_dirs[0]) == weights(run_dirs[1])
    warned = ["".join(file.read_text() for file in run_dir.glob("events*")) for run_dir in run_dirs]
    assert ["teacher.finetune" in text for text in warned] == [True, False], "which rows without labels cannot have"
    assert "name another teacher" in warned[1]
    document = json.loads((run_dirs[1] / "results.json").read_text())
    assert set(document["teacher"]["metrics"]) == {"accuracy"}
    assert 0 <= document["agreement"] <= 1
    request = {"device": "cpu", "scales": [0.1], "draws": 1, "examples": 8, "again": False}
    without, with_labels = probe_runs({**request, "runs": [str(run_dirs[1]), str(run_dirs[0])]})["runs"]
    assert "have no labels" in without["error"]["sentence"]
    assert "probe" in with_labels


def test_a_dry_run_needs_no_labels_either(folder: Path) -> None:
    run_dir = run_of(folder, labelled=False, name="planned")
    text = (run_dir / "preset.toml").read_text()
    (stage,) = plan(file_of(folder, text, "dry"))["stages"]
    assert stage["steps"] == 8
