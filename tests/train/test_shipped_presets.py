"""Every shipped preset, none skipped, trains: two steps of each stage on tiny models and files of its task's layout.

Each method with one of the tasks in turn, the base of all with every task, those with a single stage on scores too,
each setting beside the base.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from engine.preset.load import load_preset
from engine.preset.shipped import shipped
from engine.preset.write import dump
from engine.record.events import read_events
from engine.record.run import create_run
from engine.train import results
from tests.data.test_glue import laid_out
from tests.models.tiny_models import saved, tiny, words
from tests.train.tiny_run import unmeasured, work

ALL = shipped()
METHODS = [preset.name for preset in ALL if preset.kind == "method"]
TASKS = [preset.name for preset in ALL if preset.kind == "task"]
RUNS = [preset.name for preset in ALL if preset.kind == "run"]
SETTINGS = [preset.name for preset in ALL if preset.kind == "variant"]
MERGED = [
    *(("crild", task) for task in TASKS),
    *((method, TASKS[at % len(TASKS)]) for at, method in enumerate(METHODS) if method != "crild"),
    *((method, "stsb") for method in ("finetune", "kd", "mixkd", "pkd")),
    *(("crild", "mrpc", setting) for setting in SETTINGS),
]


def test_nothing_is_left_out() -> None:
    assert len(ALL) == len(METHODS) + len(TASKS) + len(RUNS) + len(SETTINGS)
    assert {name for names in MERGED for name in names} == {*METHODS, *TASKS, *SETTINGS}
    assert len(TASKS) == 9


@pytest.mark.parametrize("names", [*MERGED, *((name,) for name in RUNS)], ids="+".join)
def test_it_trains(names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "measure", unmeasured)  # takes longer than all the rest
    stand_in = [] if {"quickstart", "answers"} & set(names) else ["teacher.model=/nowhere"]
    before = load_preset(list(names), stand_in).preset
    changes = ["train.device=cpu", "train.threads=1", "student.layers=2", "train.log_every=1"]
    for stage in before.stage:
        changes += [f"stage.{stage.name}.steps=2", f"stage.{stage.name}.epochs=false"]
    task = before.task.name
    if not task.startswith("toy-"):
        source = laid_out(tmp_path / "glue", task)
        names_of = {"mnli": 3, "stsb": 1}
        labels = names_of.get(task, 2)
        folder = saved(tmp_path / "teacher", tiny("bert", layers=4, labels=labels), words("bert"))
        changes += [f"task.source={source}"]
        changes += _answers(tmp_path, folder) if "answers" in names else [f"teacher.model={folder}"]
    changes += _data(names[-1], tmp_path)
    if before.teacher.finetune is not None:
        changes += ["teacher.finetune.epochs=0.001"]
    elif not task.startswith("toy-") and "answers" not in names:
        changes += ["teacher.finetune.epochs=1"]
    loaded = load_preset(list(names), changes)
    run_dir = create_run(tmp_path / "runs", dump(loaded.preset), name="two-steps")
    found = work(run_dir)
    assert found is not None
    trained = {stage["name"]: stage["steps"] for stage in found["stages"]}
    assert {name: trained[name] for name in (s.name for s in before.stage)} == {s.name: 2 for s in before.stage}
    steps = [e for e in read_events(run_dir, {"step"}) if e["stage"] in trained]
    assert all(math.isfinite(e["loss"]) and e["gradient_norm"] > 0 for e in steps)
    for stage in before.stage:
        own = [e for e in steps if e["stage"] == stage.name]
        assert all(set(e["terms"]) == set(stage.terms()) for e in own)
        assert all(("consistency" in e) == bool(stage.consistency) for e in own)
    config = json.loads((run_dir / "student" / "config.json").read_text())
    assert config["num_hidden_layers"] == 2


def _answers(folder: Path, model: Path) -> list[str]:
    """A file of answers to the training rows by their number, and a model for the student."""
    rows = len((folder / "glue" / "RTE" / "train.tsv").read_text().splitlines()) - 1
    (folder / "answers.csv").write_text("entailment,not_entailment\n" + "0.25,0.75\n" * rows)
    return [f"teacher.answers={folder / 'answers.csv'}", f"student.init={model}"]


def _data(setting: str, folder: Path) -> list[str]:
    """Small data at hand in place of those that a setting asks for."""
    if setting == "augmented":  # without the model, which is on the hub
        return [f"stage.{stage}.data={{augment={{words='delete',copies=2,share=0.5}}}}" for stage in ("ild", "kd")]
    if setting == "glitter":
        return ["stage.kd.data={augment={words='delete',copies=2,share=0.5}}", "stage.kd.select={worst=1,of=2}"]
    if setting == "few-sample":
        return ["task.examples=2"]
    if setting.startswith("noise"):  # of two rows, one wrong label leaves a single class
        for file in (folder / "glue").rglob("train.tsv"):
            rows = file.read_bytes().splitlines(keepends=True)
            file.write_bytes(b"".join([*rows, rows[-1].rstrip() + b"\n", *rows[1:]]))
    if setting == "supplementary":
        (folder / "plain.txt").write_text("One here. Two there.\nThree.\n")
        return [f"stage.ild.data.corpus={folder / 'plain.txt'}"]
    if setting == "supplementary-task":
        return [f"stage.ild.data.task.source={laid_out(folder / 'other', 'mnli')}", "stage.ild.data.task.examples=3"]
    return []
