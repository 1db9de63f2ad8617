"""`--set`: values as TOML writes them, bare words, and what is wrong with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.preset.support import MINIMAL, load, problems

TASK = MINIMAL.replace("[teacher]", "[student]\nlayers = 3\n[teacher]")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=5", "train.epochs", 5.0),
        (" train.epochs = 5 ", "train.epochs", 5.0),
        ("stage.kd.learning_rate=2e-5", "stage.1.learning_rate", 2e-5),
        ("train.schedule=constant", "train.schedule", "constant"),
        ("train.schedule='constant'", "train.schedule", "constant"),
        ("baseline.enabled=true", "baseline.enabled", True),
        ("student.keep=[0, 2, 4]", "student.keep", [0, 2, 4]),
        ("student.keep=last", "student.keep", "last"),
        ("stage.ild.layer_map=[[4, 2]]", "stage.0.layer_map", [(4, 2)]),
        ("tags=[a, b]", "tags", ["a", "b"]),
        ('tags=["a, b", "c"]', "tags", ["a, b", "c"]),
        ("tags=[]", "tags", []),
        ("description=a # b", "description", "a # b"),
        ("description=", "description", ""),
        ("description=true", "description", "true"),
        ("notify.command=echo a=b", "notify.command", "echo a=b"),
        ("teacher.tokenizer=1234567", "teacher.tokenizer", "1234567"),
        ('stage.kd.objectives={ labels = 1, logits = 0.5 }', "stage.1.objectives", {"labels": 1.0, "logits": 0.5}),
        ("stage.kd.patience=false", "stage.1.patience", None),
        ("notify.command=false", "notify.command", None),
        ("train.clip=1_0", "train.clip", 10.0),
    ],
)  # fmt: skip
def test_values(tmp_path: Path, override: str, path: str, value: object) -> None:
    found: Any = load(tmp_path, TASK, override).preset
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == value


def test_later_ones_win_and_all_count_as_one_layer(tmp_path: Path) -> None:
    preset = load(tmp_path, MINIMAL, "seed=1", "seed=2", "stage.kd.mixup=false", "stage.kd.mixup.alpha=3").preset
    assert preset.seed == 2
    assert preset.stage[1].mixup
    assert preset.stage[1].mixup.alpha == 3.0
    assert load(tmp_path, MINIMAL, "teacher.architecture.layers=2", "teacher.model=scratch").preset.teacher.architecture


def test_stages_are_selected(tmp_path: Path) -> None:
    for text in ("stages=kd", "stages=[kd]", 'stages=["kd"]'):
        assert [stage.name for stage in load(tmp_path, MINIMAL, text).preset.stage] == ["kd"]
    order = load(tmp_path, MINIMAL, "stages=[kd,ild]").preset.stage
    assert [stage.name for stage in order] == ["kd", "ild"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("epochs", "write a key, = and a value, as in --set train.epochs=5 or --set stage.kd.temperature=2.0"),
        ("=5", "write a key, = and a value"),
        ("a..b=5", "write a key, = and a value"),
        ("train.ep\nochs=5", "write a key, = and a value"),
        ("stage.kdd.epochs=3", 'there is no stage "kdd"; did you mean "kd"?'),
        ("stage.zz.epochs=3", 'there is no stage "zz"; the stages are "ild" and "kd"'),
        ("stage.epochs=3", 'say which stage: --set stage.ild.epochs=...; the stages are "ild" and "kd"'),
        ("stage.kd=3", "say which key of the stage: --set stage.kd.epochs=5"),
        ("stage=3", "say which stage: --set stage.ild.epochs=...;"),
        ("stages=[kd, iild]", 'there is no stage "iild"; did you mean "ild"?'),
        ("stages=[]", "stages must be a list of names of stages, not []"),
        ("stages=3", "stages must be a list of names of stages, not 3"),
        ("extends=kd", "extends belongs into a preset file; on the command line, name the presets one after another"),
        ("sed=3", 'unknown key "sed"; did you mean "seed"?'),
        ("epochs=3", 'unknown key "epochs"; it belongs to [train]'),
        ("train.epohcs=3", 'unknown key "epohcs" in train; did you mean "epochs"?'),
        ("train.epochs=many", 'train.epochs must be a number above 0 and at most 100000, not "many"'),
        ("baseline.enabled=True", 'baseline.enabled must be true or false, not "True"'),
        ("train=3", "train must be a table, not 3"),
        ("train.epochs.x=3", "train.epochs must be a number above 0 and at most 100000, not a table"),
        ("student.keep=[1, 2", 'the value "[1, 2" begins like TOML but cannot be read as it'),
        ("seed={a=", 'the value "{a=" begins like TOML'),
        ("seed=" + "[" * 2000, "this value nests too deep"),
        ("tags=a", 'tags must be a list of texts, not "a"'),
        ("notify.command=\udcff", "this is not UTF-8 text"),
        ("stage.kd.objectives.logist=1", 'unknown objective "logist" in stage.kd.objectives; did you mean "logits"?'),
    ],
)
def test_what_is_wrong_with_an_override(tmp_path: Path, override: str, sentence: str) -> None:
    found = problems(tmp_path, MINIMAL, override)
    assert len(found) == 1
    assert found[0].startswith("--set ")
    assert sentence in found[0]
    assert found[0].isprintable()


def test_the_place_of_a_problem_is_the_override_that_caused_it(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL, "stage.kd.epochs=x", "stage.ild.mixup.alpha=-1") == [
        "--set stage.ild.mixup.alpha=-1: stage.ild.mixup.alpha must be a number above 0, not -1",
        '--set stage.kd.epochs=x: stage.kd.epochs must be a number above 0 and at most 100000, not "x"',
    ]
    assert problems(tmp_path, MINIMAL, "stage.kd.steps=5", "stage.kd.epochs=5") == [
        "--set stage.kd.steps=5: stage.kd: give epochs or steps, not both"
    ]
