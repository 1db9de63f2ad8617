"""A student with another vocabulary than its teacher's: each reads its own tokens of the same texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from engine.errors import ModelError
from engine.preset.load import load_preset
from engine.record.events import read_events
from engine.record.inputs import read_inputs
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
model = "{folder}/teacher"
[student]
init = "{folder}/other"
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task, a BERT as teacher, and a RoBERTa with other words in another order, whose padding token is another."""
    folder = tmp_path_factory.mktemp("vocabularies")
    write_task(folder)
    still: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    names = {0: "bad", 1: "good"}
    saved(folder / "teacher", tiny("bert", layers=2, seed=3, id2label=names, initializer_range=1.0), words("bert"))
    saved(folder / "other", tiny("roberta", layers=2, seed=5, vocab_size=16, **still), letters())
    return folder


def letters() -> PreTrainedTokenizerFast:
    """A tokenizer that reads "w12" as w, 1, 2, so that other rows are long than for a tokenizer of words."""
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(
        models.WordLevel({word: at for at, word in enumerate([*special, "w", *"0123456789"])}, "[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency takes longer than all the rest."""
    monkeypatch.setattr(results, "measure", unmeasured)


def logits_of(folder: Path, texts: list[str]) -> torch.Tensor:
    """What transformers computes with a folder's own tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).train(mode=False)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        logits: torch.Tensor = model(**batch).logits.double()
    return logits


def texts_of(file: Path) -> list[str]:
    """The texts of a CSV file."""
    with file.open() as opened:
        return [row["text"] for row in csv.DictReader(opened)]


def test_the_loss_is_between_answers_to_the_same_texts(folder: Path) -> None:
    run_dir = make(folder, PRESET.format(folder=folder), "stage.kd.batch_size=56", "stage.kd.steps=1", name="by-hand")
    assert work(run_dir) is not None
    (step,) = read_events(run_dir, {"step"})
    texts = texts_of(folder / "train.csv")
    own, theirs = logits_of(folder / "other", texts) / 2, logits_of(folder / "teacher", texts) / 2
    target = theirs.softmax(-1)
    by_hand = (target * (target.log() - own.log_softmax(-1))).sum(-1).mean() * 4
    assert step["terms"]["logits"] == pytest.approx(float(by_hand), rel=1e-4)


def test_a_run_measures_both_and_saves_the_students_tokenizer(folder: Path) -> None:
    run_dir = make(folder, PRESET.format(folder=folder), "stage.kd.objectives.labels=1.0", name="whole")
    assert work(run_dir) is not None
    document = json.loads((run_dir / "results.json").read_text())
    texts = texts_of(folder / "dev.csv")
    for model, place in (("teacher", folder / "teacher"), ("student", run_dir / "student")):
        lines = (run_dir / "predictions" / f"{model}.jsonl").read_text().splitlines()
        given = [json.loads(line)["probabilities"]["good"] for line in lines]
        assert given == pytest.approx(logits_of(place, texts).softmax(-1)[:, 1].tolist(), abs=1e-4), model
    assert document["teacher"]["metrics"] != document["majority"]
    own = AutoTokenizer.from_pretrained(run_dir / "student").get_vocab()
    assert own == AutoTokenizer.from_pretrained(folder / "other").get_vocab()
    record = read_inputs(run_dir)
    assert record is not None
    assert record.teacher is not None
    assert record.student is not None
    assert record.teacher.tokenizer != record.student.tokenizer
    request = {"runs": [str(run_dir)], "device": "cpu", "scales": [0.1], "draws": 1, "examples": 8, "again": False}
    assert "another vocabulary" in json.dumps(probe_runs(request))


def test_stopped_and_resumed_it_ends_in_the_same_bytes(folder: Path) -> None:
    text = PRESET.format(folder=folder)
    settings = ("teacher.finetune={ epochs = 1, batch_size = 16 }", "train.checkpoint_every=1")
    whole, halved = (make(folder, text, *settings, name=name) for name in ("once", "twice"))
    assert work(whole) is not None
    assert work(halved, stop_after=("kd", 1)) is None
    assert work(halved) is not None
    one, other = ((each / "student" / "model.safetensors").read_bytes() for each in (whole, halved))
    assert one == other


@pytest.mark.parametrize(
    ("name", "change"),
    [("layers", "stage.kd.objectives.hidden=1.0"), ("mixup", "stage.kd.mixup={ alpha = 1.0 }")],
    ids=["layers", "mixup"],
)
def test_what_needs_the_same_tokens_is_refused(folder: Path, name: str, change: str) -> None:
    run_dir = make(folder, PRESET.format(folder=folder), change, name=name)
    with pytest.raises(ModelError) as caught:
        work(run_dir)
    assert (caught.value.kind, caught.value.key) == ("vocabularies-differ", "student.init")


def test_a_dry_run_times_both(folder: Path) -> None:
    text = PRESET.format(folder=folder)
    file = file_of(folder, text + "\n[teacher.finetune]\nepochs = 1\nbatch_size = 16\n", "dry")
    assert load_preset([str(file)]).preset.teacher.finetune is not None
    found = plan(file)
    vocabulary = found["vocabulary"]
    assert vocabulary["teacher"] != vocabulary["student"]
    assert vocabulary["shared"] is None
    assert [stage["steps"] for stage in found["stages"]] == [4, 3]
    assert found["missing"] == []
