"""Every shipped preset, none skipped, trains: two steps of each stage on tiny models and files of its task's layout."""

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
from tests.data.test_glue import laid_out
from tests.models.tiny_models import saved, tiny, words
from tests.train.tiny_run import work

ALL = shipped()
METHODS = [preset.name for preset in ALL if preset.kind == "method"]
TASKS = [preset.name for preset in ALL if preset.kind == "task"]
RUNS = [preset.name for preset in ALL if preset.kind == "run"]
MERGED = [(method, task) for method in METHODS for task in TASKS]


def test_nothing_is_left_out() -> None:
    assert len(ALL) == len(METHODS) + len(TASKS) + len(RUNS)
    assert {"crild", "kd"} <= set(METHODS)
    assert len(TASKS) == 9


@pytest.mark.parametrize("names", [*MERGED, *((name,) for name in RUNS)], ids="+".join)
def test_it_trains(names: tuple[str, ...], tmp_path: Path) -> None:
    before = load_preset(list(names), ["teacher.model=/nowhere"] if "quickstart" not in names else []).preset
    changes = ["train.device=cpu", "train.threads=1", "student.layers=2", "train.log_every=1"]
    for stage in before.stage:
        changes += [f"stage.{stage.name}.steps=2", f"stage.{stage.name}.epochs=false"]
    task = before.task.name
    if not task.startswith("toy-"):
        source = laid_out(tmp_path / "glue", task)
        names_of = {"mnli": 3, "stsb": 1}
        labels = names_of.get(task, 2)
        folder = saved(tmp_path / "teacher", tiny("bert", layers=4, labels=labels), words("bert"))
        changes += [f"task.source={source}", f"teacher.model={folder}"]
    if before.teacher.finetune is not None:
        changes += ["teacher.finetune.epochs=0.001"]
    elif not task.startswith("toy-"):
        changes += ["teacher.finetune.epochs=1"]
    loaded = load_preset(list(names), changes)
    run_dir = create_run(tmp_path / "runs", dump(loaded.preset), name="two-steps")
    results = work(run_dir)
    assert results is not None
    trained = {stage["name"]: stage["steps"] for stage in results["stages"]}
    assert {name: trained[name] for name in (s.name for s in before.stage)} == {s.name: 2 for s in before.stage}
    steps = [e for e in read_events(run_dir, {"step"}) if e["stage"] in trained]
    assert all(math.isfinite(e["loss"]) and e["gradient_norm"] > 0 for e in steps)
    config = json.loads((run_dir / "student" / "config.json").read_text())
    assert config["num_hidden_layers"] == 2
