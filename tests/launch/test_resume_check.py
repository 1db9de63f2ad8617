"""Which settings may change when a run is resumed, from documents alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from engine.launch.resume_check import RunProgress, incompatible_changes, run_progress
from tests.record.checkpoint_samples import write_best, write_checkpoint

DOCUMENT: dict[str, Any] = {
    "seed": 1,
    "description": "",
    "task": {"name": "custom", "files": {"train": "/data/train.csv", "dev": "/data/dev.csv"}},
    "train": {"epochs": 4.0, "device": "cpu", "batch_size": 32},
    "stage": [
        {
            "name": "ild",
            "objectives": {"hidden": 1.0},
            "layer_map": [[4, 2]],
            "data": {"files": ["/data/more.csv", "/data/pile/*.txt"]},
        },
        {"name": "kd", "objectives": {"logits": 1.0}, "epochs": 2.0},
    ],
}
FINISHED = {"teacher": {"steps": 9, "total": 9}, "ild": {"steps": 40, "total": 40}}
STATE = {"preset": DOCUMENT, "finished": FINISHED, "total": 20, "progress": {"step": 8}}


def at(stage: str, step: int, **changes: Any) -> RunProgress:
    point = RunProgress.of(stage, step, {**STATE, **changes})
    assert point is not None
    return point


def changed(**paths: Any) -> dict[str, Any]:
    """The document with `stage_1_epochs=3` put at ["stage"][1]["epochs"]; None takes the key away."""
    document = copy.deepcopy(DOCUMENT)
    for path, value in paths.items():
        *parts, last = path.split("__")
        table: Any = document
        for part in parts:
            table = table[int(part) if part.isdigit() else part]
        if value is None:
            del table[last]
        else:
            table[last] = value
    return document


def problems(point: RunProgress, document: dict[str, Any]) -> list[str]:
    return [f"{key}: {sentence}" for key, sentence in incompatible_changes(point, document)]


def test_the_same_preset_fits_however_it_was_read() -> None:
    again = json.loads(json.dumps(DOCUMENT))
    again["stage"][0]["layer_map"] = [(4, 2)]
    assert problems(at("kd", 8), again) == []


@pytest.mark.parametrize(
    "document",
    [
        changed(train__device="cuda"),
        changed(description="again"),
        changed(stage__1__evaluate=5, stage__1__patience=2, stage__1__keep_best=True),
        changed(stage__1__epochs=3.0),
        changed(stage__1__epochs=0.8),  # as many as are done
        changed(stage__1__epochs=None),  # train's four
        changed(task__files={"train": "/elsewhere/train.csv", "dev": "/elsewhere/dev.csv"}),
        changed(stage__0__data={"files": ["/elsewhere/more.csv", "/data/pile/*.txt"]}),
    ],
)
def test_what_can_change(document: dict[str, Any]) -> None:
    assert problems(at("kd", 8), document) == []


@pytest.mark.parametrize(
    ("document", "key", "facts"),
    [
        (changed(seed=2), "seed", ["was 1 ", "is 2 now"]),
        (changed(train__batch_size=None), "train.batch_size", ["was 32 ", "not set now"]),
        (changed(stage__0__layer_map="last"), "stage.ild.layer_map", ["[[4, 2]]", '"last"']),
        (changed(task__files={"train": "/data/other.csv", "dev": "/data/dev.csv"}), "task.files.train", []),
        (changed(stage__0__data={"files": ["/data/more.csv", "/data/other.txt"]}), "stage.ild.data.files", ["other.txt"]),
        (changed(stage__0__data={"files": ["/data/more.csv"]}), "stage.ild.data.files", ["pile"]),
        (changed(train__epochs=8.0), "train.epochs", ["stage ild", "40 steps"]),
        (changed(stage__0__steps=50), "stage.ild.steps", ["stage ild", "40 steps"]),
        (changed(stage__1__epochs=0.7), "stage.kd.epochs", ["stage kd", "8 steps", "epochs = 0.7", " 7"]),
        (changed(stage__1__steps=7, stage__1__epochs=None), "stage.kd.steps", ["stage kd", "8 steps", "steps = 7"]),
    ],
)  # fmt: skip
def test_what_cannot_change(document: dict[str, Any], key: str, facts: list[str]) -> None:
    ((blamed, sentence),) = incompatible_changes(at("kd", 8), document)
    assert blamed == key
    assert all(fact in sentence for fact in facts), sentence


def test_stages_that_have_not_started_are_free_in_length() -> None:
    point = at("teacher", 5, finished={}, total=9)
    assert problems(point, changed(train__epochs=1.0, stage__1__epochs=9.0)) == []
    assert problems(point, changed(seed=2))


def test_other_stages_are_reported_once() -> None:
    document = changed()
    del document["stage"][0]
    ((key, sentence),) = incompatible_changes(at("kd", 8), document)
    assert key == "stage"
    assert '["ild", "kd"]' in sentence
    assert 'is ["kd"] now' in sentence


@pytest.mark.parametrize(
    "state",
    [{}, {"preset": 5, "finished": {}}, {"preset": {}, "finished": {}}, {"preset": DOCUMENT}, {**STATE, "total": "x"},
     {**STATE, "finished": {"ild": 3}}, {**STATE, "preset": {**DOCUMENT, "stage": [{}]}}],
)  # fmt: skip
def test_a_state_without_a_preset_forbids_nothing(state: dict[str, Any]) -> None:
    assert RunProgress.of("kd", 8, state) is None


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    assert run_progress(tmp_path) is None
    for stage, step, seed in (("ild", 40, 1), ("kd", 4, 2), ("kd", 8, 3)):
        write_checkpoint(tmp_path, stage, step, preset={**DOCUMENT, "seed": seed})
    write_best(tmp_path, "kd", 9)
    newest = tmp_path / "checkpoints" / "002-kd-00000008" / "state.json"
    newest.write_text(newest.read_text().replace('"seed": 3', '"seed": 7'))
    point = run_progress(tmp_path)
    assert point is not None
    assert (point.stage, point.step, point.document["seed"]) == ("kd", 4, 2)
