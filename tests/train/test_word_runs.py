"""A run on labels by word, from a CoNLL file to predictions; exactly resumed; read by plain transformers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.models.export import content_hash
from engine.models.load import load_classifier
from engine.preset.schema import Teacher
from engine.record.entities import EntityCounts, entities
from engine.record.files import read_json
from engine.record.prediction import PredictionRequest
from engine.report.predictions import read_answers, read_texts
from engine.report.significance import score
from engine.report.student_errors import student_errors
from engine.train import results
from engine.train.engine_tools import evaluate
from engine.train.prediction import predict_rows
from tests.data.word_tasks import sentences, write_conll
from tests.errors import raises
from tests.train.tiny_run import make, unmeasured, work

PRESET = """
schema = 1
seed = 7
[task]
name = "custom"
files = {{ train = "{folder}/train.conll", dev = "{folder}/dev.conll" }}
max_length = 24
[teacher]
model = "scratch"
architecture = {{ layers = 2, hidden_size = 32, heads = 2 }}
[teacher.finetune]
epochs = 8
batch_size = 16
learning_rate = 5e-3
[student]
layers = 1
[train]
device = "cpu"
precision = "fp32"
threads = 1
log_every = 1
learning_rate = 4e-3
checkpoint_every = 2
batch_size = 16
accumulate = 2
evaluate_train = 16
[[stage]]
name = "ild"
epochs = 1
objectives = {{ attention = 1.0, hidden = 1.0, logits = 0.5, labels = 0.5 }}
mixup = {{ alpha = 1.0 }}
consistency = {{ weight = 0.3 }}
[[stage]]
name = "kd"
epochs = 2
objectives = {{ logits = 1.0 }}
temperature = 2.0
keep_best = true
[baseline]
enabled = true
"""


def materials(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    write_conll(folder / "train.conll", sentences(64, 1))
    write_conll(folder / "dev.conll", sentences(24, 2))
    return PRESET.format(folder=folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        patch.setattr(results, "measure", unmeasured)
        run_dir = make(folder, materials(folder))
        assert work(run_dir) is not None
    return run_dir


def document(run_dir: Path) -> Any:
    return read_json(run_dir / "results.json")


def test_the_closing_table_counts_entities_and_words(finished: Path) -> None:
    found = document(finished)
    assert found["metric"] == "entity_f1"
    assert found["majority"]["entity_f1"] == 0
    assert found["majority"]["accuracy"] > 0.3
    assert found["student"]["metrics"]["entity_f1"] > 0.5
    assert found["teacher"]["metrics"]["entity_f1"] > 0.5
    assert found["data"]["train"] == 64
    words = sum(len(row) for row, _ in sentences(64, 1))
    assert sum(found["data"]["classes"].values()) == words


def test_predictions_give_the_metric_and_the_errors(finished: Path) -> None:
    answers = read_answers(finished)
    metrics = document(finished)["student"]["metrics"]
    for name, value in metrics.items():
        assert score(name, answers) == pytest.approx(value, abs=1e-12)
    errors = student_errors(finished)
    assert errors.has_texts or not errors.mistakes
    assert {each.name for each in errors.classes} == {"LOC", "PER", "TIME"}


def test_a_stopped_run_ends_with_the_same_student(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the stage with mixup and consistency, and in the one with the teacher's answers: the same bytes."""
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(results, "measure", unmeasured)
    run_dir = make(tmp_path, materials(tmp_path))
    for place in (("ild", 3), ("kd", 5)):
        assert work(run_dir, stop_after=place) is None
    assert work(run_dir) is not None
    one, other = (content_hash(load_classifier(Teacher(model=str(path / "student")))) for path in (finished, run_dir))
    assert one == other
    assert document(run_dir)["student"]["metrics"] == document(finished)["student"]["metrics"]


def test_plain_transformers_find_the_same_entities(finished: Path) -> None:
    from transformers import pipeline

    label = pipeline("token-classification", model=str(finished / "student"), aggregation_strategy="first")
    texts, total = read_texts(finished), EntityCounts()
    answers = read_answers(finished)
    for (gold, own), text in zip(answers.words, texts.values(), strict=True):
        found = set()
        for span in label(text.text):
            start = text.text[: span["start"]].count(" ")
            found.add((span["entity_group"], start, text.text[: span["end"]].count(" ") + 1))
        assert found == set(entities(own))
        own_entities = set(entities(gold))
        total += EntityCounts(len(own_entities), len(found), len(own_entities & found))
    assert total.f1 == pytest.approx(document(finished)["student"]["metrics"]["entity_f1"], abs=1e-12)


def test_the_model_card_names_the_pipeline(finished: Path) -> None:
    card = (finished / "student" / "README.md").read_text()
    for fact in ("pipeline_tag: token-classification", 'aggregation_strategy="first"', "training words", "entity_f1"):
        assert fact in card


def test_an_evaluation_gives_the_same_figures(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path))
    request = {"preset": str(finished / "preset.toml"), "model": str(finished / "student"), "device": "cpu"}
    found = evaluate(request)["splits"]["dev"]["metrics"]
    assert found == pytest.approx(document(finished)["student"]["metrics"], abs=1e-12)


# -- crild predict


def request(run_dir: Path, path: Path, target: Path, form: str, output: str) -> PredictionRequest:
    return PredictionRequest(
        str(run_dir / "student"), form, output, inputs=(str(path),), output=str(target), device="cpu", run=str(run_dir)
    )


def test_predictions_in_every_format(finished: Path, tmp_path: Path) -> None:
    words, _ = sentences(1, 5)[0]
    text = " ".join(words)
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": words}) + "\n")
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": text}) + "\n")
    out = {form: tmp_path / f"out.{form}" for form in ("jsonl", "csv", "parquet", "text", "conll")}
    for form, target in out.items():
        source = tmp_path / ("texts.jsonl" if form == "parquet" else "in.jsonl")  # a column of Parquet has one type
        predict_rows(request(finished, source, target, "jsonl", form))
    rows = [json.loads(line) for line in out["jsonl"].read_text().splitlines()]
    labels = rows[0]["label"]
    assert len(labels) == len(words)
    assert rows[1]["label"] == labels
    spans = [(each["type"], each["first"], each["last"] + 1) for each in rows[0]["entities"]]
    assert spans == entities(labels)
    assert all(each["text"] == " ".join(words[each["first"] : each["last"] + 1]) for each in rows[0]["entities"])
    assert all(0 < each["probability"] <= 1 for each in rows[0]["entities"])
    with out["csv"].open() as file:
        (first, *_) = csv.DictReader(file)
    written = "; ".join(f"{each['type']} {each['text']}" for each in rows[0]["entities"])
    assert (first["label"], first["entities"]) == (" ".join(labels), written)
    assert pq.read_table(out["parquet"]).column("label").to_pylist()[0] == labels
    assert out["text"].read_text().splitlines() == [" ".join(labels)] * 2
    block = "".join(f"{word} {label}\n" for word, label in zip(words, labels, strict=True)) + "\n"
    assert out["conll"].read_text() == block * 2


def test_a_conll_file_gets_a_column(finished: Path, tmp_path: Path) -> None:
    path = write_conll(tmp_path / "new.conll", sentences(3, 9))
    target = tmp_path / "out.conll"
    predict_rows(request(finished, path, target, "conll", "conll"))
    before, after = (
        [line.split() for line in file.read_text().splitlines()[2 * (file == path) :]] for file in (path, target)
    )
    assert [line[:3] for line in after if line] == [line for line in before if line]
    assert {len(line) for line in after} == {0, 4}


def test_a_conll_file_of_words_alone_gets_labels(finished: Path, tmp_path: Path) -> None:
    found = []
    for name, lines in (("words.conll", "{}\n"), ("labelled.conll", "{} O\n")):
        text = "\n".join("".join(map(lines.format, words)) for words, _ in sentences(2, 9))
        (tmp_path / name).write_text(text)
        predict_rows(request(finished, tmp_path / name, tmp_path / "out.conll", "conll", "conll"))
        found.append([line.split() for line in (tmp_path / "out.conll").read_text().splitlines()])
    assert [line[:1] + line[-1:] for line in found[1]] == found[0]
    assert {len(line) for line in found[0]} == {0, 2}


def test_words_that_are_cut_off_have_no_label_and_are_counted(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("it rained until noon .\n")
    wanted = request(finished, tmp_path / "in.txt", tmp_path / "out.jsonl", "text", "jsonl")
    summary = predict_rows(replace(wanted, max_length=4))
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert [label is None for label in row["label"]] == [False, False, True, True, True]
    assert any("3 of 5 words" in note for note in summary.notes)


def test_pairs_are_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("premise,hypothesis\na,b\n")
    wanted = request(finished, tmp_path / "in.csv", tmp_path / "out.csv", "csv", "csv")
    wanted = replace(wanted, run=None, text="premise", pair="hypothesis")
    with raises("pairs-of-word-labels", error=DataError):
        predict_rows(wanted)
