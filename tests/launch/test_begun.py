"""What may still be changed of a run that was begun, told from documents alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from engine.launch.resume_check import Begun, begun, unfit_changes

DOCUMENT: dict[str, Any] = {
    "seed": 1,
    "description": "",
    "task": {"name": "custom", "files": {"train": "/data/train.csv", "dev": "/data/dev.csv"}},
    "train": {"epochs": 4.0, "device": "cpu", "batch_size": 32},
    "stage": [
        {"name": "ild", "objectives": {"hidden": 1.0}, "layer_map": [[4, 2]]},
        {"name": "kd", "objectives": {"logits": 1.0}, "epochs": 2.0},
    ],
}
FINISHED = {"teacher": {"steps": 9, "total": 9}, "ild": {"steps": 40, "total": 40}}
STATE = {"preset": DOCUMENT, "finished": FINISHED, "total": 20, "progress": {"step": 8}}


def at(stage: str, step: int, **changes: Any) -> Begun:
    there = Begun.of(stage, step, {**STATE, **changes})
    assert there is not None
    return there


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


def problems(there: Begun, document: dict[str, Any]) -> list[str]:
    return [f"{key}: {sentence}" for key, sentence in unfit_changes(there, document)]


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
    ],
)
def test_what_can_change(document: dict[str, Any]) -> None:
    assert problems(at("kd", 8), document) == []


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (changed(seed=2), "seed: seed was 1 when this run was begun, and is 2 now"),
        (changed(train__batch_size=None), "train.batch_size: train.batch_size was 32 when this run was begun, and is left open now"),
        (changed(stage__0__layer_map="last"), 'stage.ild.layer_map: stage.ild.layer_map was [[4, 2]] when this run was begun, and is "last" now'),
        (changed(task__files={"train": "/data/other.csv", "dev": "/data/dev.csv"}), "task.files.train: "),
        (changed(train__epochs=8.0), "train.epochs: stage ild of this run ended after 40 steps and later stages build on it"),
        (changed(stage__0__steps=50), "stage.ild.steps: stage ild of this run ended after 40 steps"),
        (changed(stage__1__epochs=0.7), "stage.kd.epochs: stage kd of this run has done 8 steps, and epochs = 0.7 would be 7"),
        (changed(stage__1__steps=7, stage__1__epochs=None), "stage.kd.steps: stage kd of this run has done 8 steps, and steps = 7 would be 7"),
    ],
)  # fmt: skip
def test_what_cannot_change(document: dict[str, Any], key: str) -> None:
    (problem,) = problems(at("kd", 8), document)
    assert problem.startswith(key)


def test_stages_that_are_not_begun_are_free_in_length() -> None:
    there = at("teacher", 5, finished={}, total=9)
    assert problems(there, changed(train__epochs=1.0, stage__1__epochs=9.0)) == []
    assert problems(there, changed(seed=2))


def test_other_stages_are_told_once() -> None:
    document = changed()
    del document["stage"][0]
    (problem,) = problems(at("kd", 8), document)
    assert problem.startswith('stage: the list of stages was ["ild", "kd"] when this run was begun, and is ["kd"] now')


@pytest.mark.parametrize(
    "state",
    [{}, {"preset": 5, "finished": {}}, {"preset": {}, "finished": {}}, {"preset": DOCUMENT}, {**STATE, "total": "x"},
     {**STATE, "finished": {"ild": 3}}, {**STATE, "preset": {**DOCUMENT, "stage": [{}]}}],
)  # fmt: skip
def test_a_state_that_says_nothing_forbids_nothing(state: dict[str, Any]) -> None:
    assert Begun.of("kd", 8, state) is None


def test_the_newest_checkpoint_that_can_be_read_counts(tmp_path: Path) -> None:
    assert begun(tmp_path) is None
    for name, seed in (
        ("001-ild-00000040", 1),
        ("002-kd-00000004", 2),
        ("002-kd-00000008", None),
        ("best-kd-00000009", 5),
    ):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        text = "{" if seed is None else json.dumps({**STATE, "preset": {**DOCUMENT, "seed": seed}})
        (folder / "state.json").write_text(text)
    there = begun(tmp_path)
    assert there is not None
    assert (there.stage, there.step, there.document["seed"]) == ("kd", 4, 2)
