"""The model card can be published as it is: metadata that the hub reads, and nothing of this machine."""

from __future__ import annotations

import copy
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from engine.data.types import TaskSpec
from engine.preset.load import load_preset
from engine.preset.schema import Preset
from engine.train.card import model_card, run_command
from tests.cli.samples import RESULTS
from tests.evaluate.test_timing import sample
from tests.train.tiny_run import PRESET

SPEC = TaskSpec("rte", "classification", ("entailment", "not_entailment"), ("accuracy", "f1"), is_pair=True)
DATA = {"train": 2490, "classes": {"entailment": 1249, "not_entailment": 1241}, "dev": {"dev": 277}}


def results(**changes: Any) -> dict[str, Any]:
    document = {**copy.deepcopy(RESULTS), "latency": sample().to_dict(), "data": DATA, "findings": []}
    document["baseline"]["layers"] = 6
    return {**document, "command": "crild run /home/somebody/runs/x/preset.toml", **changes}


def glue(*settings: str) -> Preset:
    return load_preset(["crild", "rte"], settings).preset


def metadata(card: str) -> ModelCardData:
    return ModelCard(card).data


def own_data(folder: Path) -> Preset:
    """A teacher, data and a student's model in folders."""
    folder.mkdir()
    file = folder / "mine.toml"
    file.write_text(PRESET.format(folder=folder))
    settings = [f"student.init={folder}/first model", f"teacher.tokenizer={folder}/words", f"description='in {folder}'"]
    return load_preset([str(file)], settings).preset


def test_the_hub_reads_its_metadata() -> None:
    found = metadata(model_card(glue(), results(), SPEC, ["crild", "rte"]))
    assert (found.base_model, found.datasets, found.language) == (["bert-base-uncased"], ["nyu-mll/glue"], "en")
    assert (found.library_name, found.pipeline_tag, found.license) == ("transformers", "text-classification", None)
    assert {"distillation", "crild"} <= set(found.tags or ())
    assert found.eval_results is not None
    assert [(each.metric_type, each.metric_value) for each in found.eval_results] == [
        ("accuracy", 0.6751),
        ("f1", 0.69),
    ]
    first = found.eval_results[0]
    assert (first.dataset_type, first.dataset_config, first.dataset_split) == (
        "nyu-mll/glue", "rte", "validation",
    )  # fmt: skip


def test_metrics_have_the_hubs_names_and_every_dev_set_counts() -> None:
    spec = TaskSpec("cola", "classification", ("unacceptable", "acceptable"), ("matthews",), is_pair=False)
    document = results(metric="matthews", majority={"matthews": 0.0}, baseline=None)
    document["student"] |= {"metrics": {"matthews": 0.5}, "dev_extra": {"dev_other": {"matthews": 0.25}}}
    found = metadata(model_card(glue(), document, spec))
    assert [(each.metric_type, each.dataset_split, each.metric_value) for each in found.eval_results or ()] == [
        ("matthews_correlation", "validation", 0.5), ("matthews_correlation", "dev_other", 0.25),
    ]  # fmt: skip


def test_the_commit_of_the_hubs_data_is_named() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    for settings, known in ((f"task.revision={commit}", commit), ("task.source=/glue", None)):
        found = metadata(model_card(glue(settings), results(), SPEC))
        assert {each.dataset_revision for each in found.eval_results or ()} == {known}


def test_nothing_of_this_machine_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "secret project"
    sentence = f"3 rows of {folder}/train.csv were cut (see /var/somewhere/else.txt, or and/or examples/s)"
    findings = [{"sentence": sentence, "kind": "texts-cut", "severity": "note", "facts": {}}]
    spec = TaskSpec("custom", "classification", ("bad", "good"), ("accuracy",), is_pair=False)
    card = model_card(own_data(folder), results(findings=findings), spec, ["mine"])
    for private in (str(tmp_path), "secret project", "/home/", "/root", "/var/", "/tmp", socket.gethostname()):
        assert private not in card, private
    assert not re.search(r"(?m)(^|[\s\"'(`])~?/\w", card)
    assert "3 rows of train.csv were cut (see else.txt, or and/or examples/s)" in card
    assert "the model `teacher`" in card
    assert 'init = "first model"' in card
    found = metadata(card)
    assert (found.base_model, found.datasets, found.language) == (None, None, None)


def test_the_licence_is_that_of_the_teachers_own_card(tmp_path: Path) -> None:
    preset = own_data(tmp_path / "mine")
    spec = TaskSpec("custom", "classification", ("bad", "good"), ("accuracy",), is_pair=False)
    folder = tmp_path / "mine" / "teacher"
    folder.mkdir()
    for text, licence in (
        ("---\nlicense: mit\n---\nA model.", "mit"),
        ("---\nlicense: [mit]\n---", None),
        ("---\nlicense: other\n---", None),
        ("---\n: : {\n---", None),
        ("no metadata", None),
    ):
        (folder / "README.md").write_text(text)
        assert metadata(model_card(preset, results(), spec)).license == licence


def test_it_has_results_latency_use_data_method_and_command() -> None:
    card = model_card(glue("student.layers=6"), results(), SPEC, ["crild", "rte"])
    for fact in (
        "| teacher | 12 | 109,483,778 | 69.43 |", "| **this student** | 6 |", "labels alone", "| majority guess |",
        "2.00 times as fast as its teacher at batch 1", "45 tokens", "1 thread", "AMD EPYC", "entailment, not_entailment",
        "at most 128 tokens", "2,490 rows", "| entailment | 1,249 | 50.2 % |", "277 of dev", "mixup", "moving average",
        "crild run crild rte \\\n    --set student.layers=6\n", "https://huggingface.co/bert-base-uncased",
    ):  # fmt: skip
        assert fact in card, fact


def test_it_says_that_a_stage_chose_its_inputs() -> None:
    chosen = ("stage.kd.data={augment={words='delete',copies=8}}", "stage.kd.select={worst=2,of=8}")
    assert "2 of every 8 inputs" in model_card(glue(*chosen), results(), SPEC)
    assert "of every" not in model_card(glue(), results(), SPEC)


def test_the_agreement_of_scores_is_a_correlation() -> None:
    spec = TaskSpec("stsb", "regression", (), ("accuracy",), is_pair=True)
    data = {"train": 2490, "scores": [0.0, 5.0], "dev": {"dev": 277}}
    card = model_card(glue(), results(data=data, agreement=0.344), spec)
    assert "The scores of student and teacher correlate with 0.34 (Pearson) on it." in card
    assert "same answer" not in card


def test_equal_classes_are_no_agreement_of_rankings() -> None:
    models = {name: {**RESULTS[name], "metrics": {"mrr": 0.6}} for name in ("teacher", "student")}
    card = model_card(glue(), results(metric="mrr", majority={"mrr": 0.5}, **models), SPEC)
    assert "same answer" not in card
    assert "same answer" in model_card(glue(), results(), SPEC)


def test_results_without_latency_data_or_baseline_have_a_card_too() -> None:
    document = results(latency=None, data=None, baseline=None)
    card = model_card(glue(), document, SPEC)
    assert "## Latency" not in card
    assert "crild run preset.toml" in card


@pytest.mark.parametrize(
    ("names", "settings", "command"),
    [
        (["crild", "rte"], [], "crild run crild rte"),
        (["crild", "rte"], ["train.device=cpu", "train.threads=2"], "crild run crild rte"),
        (["crild", "rte"], ["stage.kd.epochs=2"], "crild run crild rte \\\n    --set stage.kd.epochs=2.0"),
        (["crild", "rte"], ["teacher.finetune=false"], "crild run crild rte \\\n    --set teacher.finetune=false"),
        (["kd", "rte"], [], None),
        (["mine"], [], None),
        ([], [], None),
    ],
)
def test_the_command_names_shipped_presets_and_what_differs(
    names: list[str], settings: list[str], command: str | None
) -> None:
    assert run_command(glue(*settings), names) == command


def test_text_from_data_cannot_break_the_tables() -> None:
    spec = TaskSpec("custom", "classification", ("a|b", "c\nd"), ("accuracy",), is_pair=False)
    document = results(data={"train": 2, "classes": {"a|b": 1, "c\nd": 1}, "dev": {"dev": 1}})
    card = model_card(glue(), document, spec)
    assert "| a\\|b | 1 | 50.0 % |" in card
    assert "c\\nd" in card
