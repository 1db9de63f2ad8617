"""A student of several teachers: the weighted mean of their answers, whatever their vocabularies and orders of classes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from engine.distill.ensemble import combined
from engine.errors import DataError
from engine.record.events import read_events
from engine.record.inputs import read_inputs
from engine.record.run import read_status
from engine.report.inputs import input_lines
from engine.train import results
from engine.train.engine_tools import plan
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
model = "{folder}/first"
weight = 1.0
[teacher.others.second]
model = "{folder}/second"
weight = 3.0
[student]
init = "teacher"
layers = 1
[train]
device = "cpu"
precision = "fp32"
threads = 1
log_every = 1
learning_rate = 4e-3
[[stage]]
name = "kd"
steps = 3
batch_size = 16
objectives = {{ logits = 1.0 }}
temperature = 2.0
"""


def test_the_mean_by_hand() -> None:
    one, other = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.4, 0.6]]).log()
    shares = combined([one, other], [1.0, 3.0]).softmax(-1)
    assert torch.allclose(shares, torch.tensor([[0.25 * 0.8 + 0.75 * 0.4, 0.25 * 0.2 + 0.75 * 0.6]]))
    huge = combined([one, other], [1e308, 1.5e308]).softmax(-1)
    assert torch.allclose(huge, torch.tensor([[0.4 * 0.8 + 0.6 * 0.4, 0.4 * 0.2 + 0.6 * 0.6]])), (
        "their sum has no number"
    )
    soft = 0.5 * (one / 4).softmax(-1) + 0.5 * (other / 4).softmax(-1)
    assert torch.allclose((combined([one, other], [2.0, 2.0], temperature=4.0) / 4).softmax(-1), soft, atol=1e-6)
    logits = combined([torch.tensor([[1.0, 0.0]]), torch.tensor([[5.0, -4.0]])], [1.0, 3.0], "logits", 2.0)
    assert logits.tolist() == [[4.0, -3.0]]
    scores = combined([torch.tensor([[1.0]]), torch.tensor([[5.0]])], [1.0, 3.0], temperature=2.0, kind="regression")
    assert scores.tolist() == [[4.0]]
    one, other = torch.tensor([[0.8, 0.2]]).logit(), torch.tensor([[0.4, 0.9]]).logit()
    alone = combined([one, other], [1.0, 3.0], kind="multilabel").sigmoid()
    assert torch.allclose(alone, torch.tensor([[0.25 * 0.8 + 0.75 * 0.4, 0.25 * 0.2 + 0.75 * 0.9]])), (
        "each label by itself"
    )
    assert combined([torch.full((1, 2), torch.nan), other], [1.0, 1.0]).isnan().all(), "a row that no step may read"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task, and two teachers whose vocabularies and orders of classes differ."""
    folder = tmp_path_factory.mktemp("teachers")
    write_task(folder)
    still: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 1.0}
    first = tiny("bert", layers=2, seed=3, id2label={0: "bad", 1: "good"}, **still)
    second = tiny("roberta", layers=2, seed=5, vocab_size=60, id2label={0: "good", 1: "bad"}, **still)
    saved(folder / "first", first, words("bert"))
    saved(folder / "second", second, words("roberta", size=60))
    return folder


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency takes longer than all the rest."""
    monkeypatch.setattr(results, "measure", unmeasured)


def logits_of(folder: Path, texts: list[str], order: list[int], **config: Any) -> torch.Tensor:
    """What transformers computes, the classes in this order."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, **config).train(mode=False)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        logits: torch.Tensor = model(**batch).logits.double()
    return logits[:, order]


def texts_of(file: Path) -> list[str]:
    """The texts of a CSV file."""
    with file.open() as opened:
        return [row["text"] for row in csv.DictReader(opened)]


def mean_of(folder: Path, texts: list[str], temperature: float) -> torch.Tensor:
    """The softened mean, by hand."""
    one, other = logits_of(folder / "first", texts, [0, 1]), logits_of(folder / "second", texts, [1, 0])
    return 0.25 * (one / temperature).softmax(-1) + 0.75 * (other / temperature).softmax(-1)


def test_the_student_learns_the_mean_and_the_teacher_is_measured_by_it(folder: Path) -> None:
    run_dir = make(folder, PRESET.format(folder=folder), "stage.kd.batch_size=56", "stage.kd.steps=1", name="by-hand")
    assert work(run_dir) is not None
    (step,) = read_events(run_dir, {"step"})
    texts = texts_of(folder / "train.csv")
    own = logits_of(folder / "first", texts, [0, 1], num_hidden_layers=1) / 2
    target = mean_of(folder, texts, 2.0)
    by_hand = (target * (target.log() - own.log_softmax(-1))).sum(-1).mean() * 4
    assert step["terms"]["logits"] == pytest.approx(float(by_hand), rel=1e-4)
    lines = (run_dir / "predictions" / "teacher.jsonl").read_text().splitlines()
    given = [json.loads(line)["probabilities"]["good"] for line in lines]
    assert given == pytest.approx(mean_of(folder, texts_of(folder / "dev.csv"), 1.0)[:, 1].tolist(), abs=1e-4)
    document = json.loads((run_dir / "results.json").read_text())
    assert read_status(run_dir).teacher == pytest.approx(document["teacher"]["metrics"]["accuracy"])
    assert "parameters" not in document["teacher"], "several models have no size in common"
    assert document["teacher"]["models"] == 2
    card = (run_dir / "student" / "README.md").read_text()
    assert "| teacher, mean of 2 |" in card
    assert "from the model `first`, and from the model `second` (weight 3)" in card
    record = read_inputs(run_dir)
    assert record is not None
    assert list(record.others) == ["teacher.others.second"]
    assert "teacher.others.second" in dict(input_lines(record))


def test_stopped_and_resumed_it_ends_in_the_same_bytes_and_not_with_another_teacher(folder: Path) -> None:
    text = PRESET.format(folder=folder)
    settings = ("teacher.combine=logits", "stage.kd.objectives.hidden=1.0", "train.checkpoint_every=1")
    whole, halved, changed = (make(folder, text, *settings, name=name) for name in ("once", "twice", "changed"))
    assert work(whole) is not None
    for run_dir in (halved, changed):
        assert work(run_dir, stop_after=("kd", 1)) is None
    assert work(halved) is not None
    one, other = ((each / "student" / "model.safetensors").read_bytes() for each in (whole, halved))
    assert one == other
    request = {"runs": [str(whole)], "device": "cpu", "scales": [0.1], "draws": 1, "examples": 8, "again": False}
    assert "first of its teachers" in json.dumps(probe_runs(request))
    before = (folder / "second" / "model.safetensors").read_bytes()
    tiny("roberta", layers=2, seed=6, vocab_size=60, id2label={0: "good", 1: "bad"}).save_pretrained(folder / "second")
    with pytest.raises(DataError) as caught:
        work(changed)
    (folder / "second" / "model.safetensors").write_bytes(before)
    assert caught.value.kind == "inputs-changed"
    assert "teacher.others.second" in caught.value.sentence


def test_a_dry_run_names_them(folder: Path) -> None:
    found = plan(file_of(folder, PRESET.format(folder=folder), "dry"))
    assert found["teacher"]["others"] == [f"{folder}/second"]
    assert found["missing"] == []
