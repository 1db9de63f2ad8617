"""Runs on changed copies of their rows: of every kind, resumed to the same bytes, with one pool for all runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.data.examples import Examples
from engine.data.types import Example, TaskData, TaskSpec, WordLabels
from engine.data.word_edits import SHARES
from engine.errors import DataError
from engine.preset.kinds import Kind
from engine.preset.load import load_preset
from engine.preset.schema import Augment
from engine.preset.write import dump
from engine.record.inputs import read_inputs
from engine.record.inventory import POOLS
from engine.record.paths import cache_dir
from engine.train.augmentation import with_copies
from engine.train.engine_tools import plan
from tests.models.test_masked_words import masked, pieces
from tests.models.tiny_models import saved
from tests.train.tiny_run import file_of, make, materials, work

QUICK = (
    "teacher.finetune.epochs=0.5", "stage.kd.epochs=1", "baseline.enabled=false", "stage.ild.objectives={hidden=1.0}",
    "stage.ild.mixup=false", "stage.ild.consistency=false", "stage.ild.epochs=1",
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))


def rows(split: str, *texts: str, pair: str | None = None) -> list[Example]:
    return [Example(f"{split}-{number}", text, pair, 0) for number, text in enumerate(texts)]


def task(*train: str, pair: str | None = None) -> TaskData:
    spec = TaskSpec("mine", "classification", ("a", "b"), ("accuracy",), is_pair=pair is not None)
    return TaskData(spec, rows("train", *train, pair=pair), {"dev": rows("dev", "w2 w1 w3", "w1 w3 w2")})


def copies_of(data: TaskData, **keys: object) -> Examples:
    augment = Augment.model_validate({"words": "swap", **keys})
    rows = Examples.of(data.train).unlabelled()
    inputs, (finding,), pool = with_copies(rows, augment, data, precision="fp32", device=CPU)
    assert pool.rows == len(pool.copied_rows()) == len(inputs) - len(rows)
    assert finding.facts["copies"] == len(inputs) - len(data.train)
    share = keys.get("share", SHARES[augment.words])
    assert (finding.facts["share"], f"share {share}" in finding.sentence) == (share, True), "also where it is left out"
    assert inputs.labels is None
    return inputs.take(torch.arange(len(data.train), len(inputs)).numpy())


def test_copies_of_dev_rows_and_of_other_rows_never_enter() -> None:
    found = list(copies_of(task("w1 w2 w3"), copies=50).texts)
    assert found == ["w3 w2 w1"], "of the three exchanges, two give rows of dev"
    assert sorted(copies_of(task("w1 w2 w3", "w3 w2 w1"), copies=50).texts) == ["w2 w3 w1", "w3 w1 w2"]
    with pytest.raises(DataError) as error:
        copies_of(task("w1 w2", "w2 w1"), copies=50)
    assert error.value.kind == "empty-pool", "each is the other's copy"


def test_of_pairs_one_side_changes() -> None:
    data = task("w1 w2 w4 w5", pair="w6 w7 w8")
    found = [(text != "w1 w2 w4 w5", pair != "w6 w7 w8") for text, pair in copies_of(data, copies=40).inputs()]
    assert set(found) == {(True, False), (False, True)}


def test_a_script_without_spaces_is_refused() -> None:
    with pytest.raises(DataError) as error:
        copies_of(task("我喜欢这部电影", "这部电影不好"))
    assert error.value.kind == "script-without-spaces"


@pytest.mark.parametrize("kind", ["multilabel", "token-classification"])
def test_labels_of_any_kind_are_no_part_of_copies(kind: Kind) -> None:
    plain = task("w1 w2 w3")
    label = (1, 0) if kind == "multilabel" else WordLabels((1, 0, 1))
    data = replace(
        plain,
        spec=replace(plain.spec, kind=kind),
        train=[replace(row, label=label) for row in plain.train],
        dev={"dev": [replace(row, label=label) for row in plain.dev["dev"]]},
    )
    assert list(copies_of(data, copies=50).texts) == list(copies_of(plain, copies=50).texts)


def test_other_rows_settings_and_models_are_another_pool(tmp_path: Path) -> None:
    data, folder = task("w1 w2 in the w3 w9"), cache_dir() / POOLS
    model = str(saved(tmp_path / "mlm", masked(), pieces()))
    others: list[dict[str, object]] = [
        {}, {"seed": 1}, {"copies": 9}, {"share": 0.5}, {"words": "delete"}, {"words": "mlm", "model": model},
    ]  # fmt: skip
    for number, keys in enumerate(others, 1):
        copies_of(data, **keys)
        copies_of(data, **keys)
        assert len(list(folder.glob("*.jsonl"))) == number
    copies_of(task("w1 w2 in the w3 w8"))
    assert len(list(folder.glob("*.jsonl"))) == 7


def test_a_run_on_copies_resumes_exactly_and_shares_its_pool(tmp_path: Path) -> None:
    text = materials(tmp_path)
    saved(tmp_path / "mlm", masked(), pieces())
    (tmp_path / "more.csv").write_text("text\n" + "".join(f"w{row} w3 w4 w5\n" for row in range(10)))
    settings = (
        *QUICK,
        "stage.ild.data={augment={words='mlm',model='./mlm',copies=2}}",
        "stage.kd.objectives={logits=1.0}",
        f"stage.kd.data={{files=['{tmp_path}/more.csv'],augment={{words='delete',share=0.3,copies=3}}}}",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        whole = make(tmp_path, text, *settings, name="whole")
        stopped = make(tmp_path, text, *settings, name="stopped")
    results = work(whole)
    assert results is not None
    found = {
        finding["facts"]["words"]: finding["facts"]
        for finding in results["findings"]
        if finding["kind"] == "copies-of-rows"
    }
    assert (found["mlm"]["rows"], found["delete"]["rows"]) == (56, 10)
    read = read_inputs(whole)
    assert read is not None
    assert {name: rows.rows for name, rows in read.stages.items()} == {
        "ild": 56 + found["mlm"]["copies"], "kd": 10 + found["delete"]["copies"],
    }  # fmt: skip
    pools = sorted(path.name for path in (cache_dir() / POOLS).glob("*.jsonl"))
    assert len(pools) == 2
    assert work(stopped, stop_after=("ild", 3)) is None
    for path in (cache_dir() / POOLS).glob("*.jsonl"):
        path.unlink()
    assert work(stopped) is not None
    assert sorted(path.name for path in (cache_dir() / POOLS).glob("*.jsonl")) == pools, "made again, to the same bytes"
    weights = [(run_dir / "student/model.safetensors").read_bytes() for run_dir in (whole, stopped)]
    assert weights[0] == weights[1]
    lines = [json.loads(line) for pool in pools for line in (cache_dir() / POOLS / pool).read_text().splitlines()]
    assert all(set(line) == {"row", "text"} for line in lines)


def test_a_plan_counts_every_copy_and_makes_none(tmp_path: Path) -> None:
    text = materials(tmp_path)
    settings = (*QUICK, "stage.ild.data={augment={words='delete',copies=3}}")
    loaded = load_preset([str(file_of(tmp_path, text))], settings)
    file = tmp_path / "plan.toml"
    file.write_text(dump(loaded.preset))
    planned = plan(file)
    assert {row["name"]: row["examples"] for row in planned["stages"]} == {"teacher": 56, "ild": 4 * 56, "kd": 56}
    assert not (cache_dir() / POOLS).exists()
    vocabulary = planned["vocabulary"]
    assert vocabulary["teacher"] == vocabulary["student"]
    assert "the stage ild compares hidden" in vocabulary["shared"], "which a chain must know"


def test_a_plan_names_a_masked_language_model_that_is_not_there(tmp_path: Path) -> None:
    text = materials(tmp_path)
    settings = (*QUICK, "stage.ild.data={augment={words='mlm',model='some/absent'}}")
    file = tmp_path / "plan.toml"
    file.write_text(dump(load_preset([str(file_of(tmp_path, text))], settings).preset))
    planned = plan(file)
    (sentence,) = planned["missing"]
    assert "some/absent" in sentence
