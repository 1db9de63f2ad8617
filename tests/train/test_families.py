"""A whole run for every family of models, every kind of task, and every kind of a stage's data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from engine.models import family_rules
from engine.record.events import read_events
from tests.models.tiny_models import EVERY
from tests.train.tiny_run import BAD, GOOD, make, materials, work

QUICK = ("teacher.finetune.epochs=2", "stage.ild.epochs=1", "stage.kd.epochs=1", "baseline.enabled=false")


def scores(run_dir: Path, rows: list[str]) -> torch.Tensor:
    """What the saved student, loaded as anybody would, answers (rows, outputs)."""
    model = AutoModelForSequenceClassification.from_pretrained(run_dir / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "student")
    with torch.no_grad():
        answers: torch.Tensor = model(**tokenizer(rows, return_tensors="pt", padding=True)).logits
    return answers


def dev_rows(run_dir: Path) -> list[list[str]]:
    return [line.rsplit(",", 1) for line in (run_dir.parents[1] / "dev.csv").read_text().splitlines()[1:]]


def config_of(run_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((run_dir / "student" / "config.json").read_text())
    return config


@pytest.mark.parametrize("family", [name for name in EVERY if name != "bert"])
def test_every_family_is_distilled_end_to_end(tmp_path: Path, family: str) -> None:
    offered = family_rules.FAMILIES[family]
    objectives = ("attention", "hidden", "value") if "attention" in offered else ("query", "hidden", "value")
    run_dir = make(
        tmp_path, materials(tmp_path, family=family), *QUICK, "stage.kd.epochs=6", "stage.ild.layer_map=uniform",
        f"stage.ild.objectives={{{', '.join(f'{name} = 1.0' for name in objectives)}}}",
    )  # fmt: skip
    results = work(run_dir)
    assert results is not None
    config = config_of(run_dir)
    assert config["model_type"] == family
    assert config["n_layers" if family == "distilbert" else "num_hidden_layers"] == 2
    rows = dev_rows(run_dir)
    answers = scores(run_dir, [text for text, _ in rows]).argmax(1).tolist()
    right = sum(config["id2label"][str(answer)] == label for answer, (_, label) in zip(answers, rows, strict=True))
    assert results["student"]["metrics"]["accuracy"] == pytest.approx(right / len(rows))
    assert results["student"]["metrics"]["accuracy"] > 0.6
    for event in read_events(run_dir, {"step"}):
        assert event["stage"] != "ild" or set(event["terms"]) == set(objectives)


@pytest.mark.parametrize("family", ["bert", "electra", "albert", "modernbert"])
def test_a_narrower_student_learns_through_a_projection_that_stays_behind(tmp_path: Path, family: str) -> None:
    run_dir = make(
        tmp_path, materials(tmp_path, family=family), *QUICK,
        "student.init=scratch", "student.hidden_size=16", "train.checkpoint_every=1", "train.keep_checkpoints=20",
        "stage.ild.objectives={hidden=1.0, attention=1.0, embedding=0.5}",
    )  # fmt: skip
    assert work(run_dir) is not None
    parts = sorted((run_dir / "checkpoints").glob("001-ild-*/projections.safetensors"))
    first, last = load_file(parts[0]), load_file(parts[-1])
    names = {name.split(".")[0] for name in first}
    assert "hidden" in names
    assert first["hidden.weight"].shape == (32, 16)
    assert all(not torch.equal(first[name], last[name]) for name in first)  # every one is trained
    saved = load_file(run_dir / "student" / "model.safetensors")
    assert not any("projection" in name and "embeddings_project" not in name for name in saved)
    assert config_of(run_dir)["hidden_size"] == 16
    assert scores(run_dir, ["w1 w2"]).shape == (1, 2)


def regression(folder: Path) -> str:
    """The same sentences with the share of good words as their score."""
    text = materials(folder)
    for name in ("train", "dev"):
        lines = (folder / f"{name}.csv").read_text().splitlines()[1:]
        words = [line.rsplit(",", 1)[0].split() for line in lines]
        mixed = [
            row[: len(row) // 2] + other[: len(other) // 2]
            for row, other in zip(words, words[1:] + words[:1], strict=True)
        ]
        rows = [
            f"{' '.join(row)},{sum(word in GOOD for word in row) / len(row):.3f}" for row in (*words, *mixed) if row
        ]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    assert not set(GOOD) & set(BAD)
    return text.replace('kind = "classification"', 'kind = "regression"').replace("labels = 0.5", "labels = 1.0")


def test_a_regression_task_ends_in_a_student_that_gives_scores(tmp_path: Path) -> None:
    run_dir = make(
        tmp_path, regression(tmp_path), "teacher.finetune.epochs=8", "stage.kd.epochs=8", "baseline.enabled=false"
    )
    results = work(run_dir)
    assert results is not None
    assert results["metric"] == "pearson"
    assert results["teacher"]["metrics"]["pearson"] > 0.5
    assert results["student"]["metrics"]["pearson"] > 0.5
    config = config_of(run_dir)
    assert (config["problem_type"], len(config["id2label"])) == ("regression", 1)
    rows = dev_rows(run_dir)
    gold = torch.tensor([float(label) for _, label in rows])
    found = scores(run_dir, [text for text, _ in rows]).squeeze(1)
    assert torch.corrcoef(torch.stack([gold, found]))[0, 1].item() == pytest.approx(
        results["student"]["metrics"]["pearson"], abs=1e-4
    )


@pytest.mark.parametrize("target", ["ema", "student"])
def test_consistency_needs_no_mixup(tmp_path: Path, target: str) -> None:
    run_dir = make(
        tmp_path, materials(tmp_path), *QUICK, "stage.ild.mixup=false", f"stage.ild.consistency.target={target}"
    )
    assert work(run_dir) is not None
    pulls = [event["consistency"] for event in read_events(run_dir, {"step"}) if event["stage"] == "ild"]
    assert pulls
    assert max(pulls) > 0


def test_a_stage_reads_plain_text_and_another_task(tmp_path: Path) -> None:
    text = materials(tmp_path)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = (tmp_path / "train.csv").read_text().splitlines()[1:]
    (corpus / "some.txt").write_text("\n\n".join(line.rsplit(",", 1)[0] for line in lines[:20]))
    run_dir = make(
        tmp_path, text, *QUICK, f"stage.ild.data={{corpus = '{corpus}'}}",
        "stage.kd.data={task = {name = 'toy-sentiment', examples = 24}}", "stage.kd.objectives={logits = 1.0}",
    )  # fmt: skip
    assert work(run_dir) is not None
    examples = {event["stage"]: event["examples"] for event in read_events(run_dir, {"stage_started"})}
    assert (examples["ild"], examples["kd"], examples["teacher"]) == (20, 24, 56)


def test_a_stage_reads_wikitext(tmp_path: Path, shared: Path) -> None:
    run_dir = make(
        tmp_path, materials(tmp_path), *QUICK,
        f"stage.ild.data={{corpus = '{shared / 'wikitext-2'}', examples = 30, unit = 'sentence'}}",
    )  # fmt: skip
    assert work(run_dir) is not None
    examples = {event["stage"]: event["examples"] for event in read_events(run_dir, {"stage_started"})}
    assert examples["ild"] == 30
