"""`--set`: values as TOML writes them, bare words, and what is wrong with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.preset.support import MINIMAL, load, mistakes, refused, write

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
        ("description=echo a=b", "description", "echo a=b"),
        ("teacher.tokenizer=1234567", "teacher.tokenizer", "1234567"),
        ('stage.kd.objectives={ labels = 1, logits = 0.5 }', "stage.1.objectives", {"labels": 1.0, "logits": 0.5}),
        ("stage.kd.patience=false", "stage.1.patience", None),
        ("task.revision=false", "task.revision", None),
        ("teacher.trust_remote_code=false", "teacher.trust_remote_code", False),
        ("notify.command=false", "description", ""),
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
    ("override", "kind", "facts"),
    [
        ("epochs", "malformed-override", ["--set train.epochs=5"]),
        ("=5", "malformed-override", []),
        ("a..b=5", "malformed-override", []),
        ("train.ep\nochs=5", "malformed-override", []),
        ("stage.kdd.epochs=3", "unknown-stage", ['"kdd"', '"kd"?']),
        ("stage.zz.epochs=3", "unknown-stage", ['"zz"', '"ild" and "kd"']),
        ("stage.epochs=3", "override-without-stage", ["--set stage.ild.epochs=...", '"ild" and "kd"']),
        ("stage.kd=3", "override-without-key", ["--set stage.kd.epochs=5"]),
        ("stage=3", "override-without-stage", ["--set stage.ild.epochs=..."]),
        ("stages=[kd, iild]", "unknown-stage", ['"iild"', '"ild"?']),
        ("stages=[]", "wrong-value", ["stages", "not []"]),
        ("stages=3", "wrong-value", ["stages", "not 3"]),
        ("stages.kd=3", "wrong-value", ["stages", "not a table"]),
        ("extends=kd", "extends-override", []),
        ("sed=3", "unknown-key", ['"sed"', '"seed"?']),
        ("epochs=3", "unknown-key", ['"epochs"', "[train]"]),
        ("train.epohcs=3", "unknown-key", ['"epohcs" in train', '"epochs"?']),
        ("train.epochs=many", "wrong-value", ["train.epochs", "above 0", "100000", 'not "many"']),
        ("baseline.enabled=True", "wrong-value", ["true or false", 'not "True"']),
        ("train=3", "wrong-value", ["a table", "not 3"]),
        ("train.epochs.x=3", "wrong-value", ["train.epochs", "not a table"]),
        ("student.keep=[1, 2", "invalid-toml", ['"[1, 2"']),
        ("seed={a=", "invalid-toml", ['"{a="']),
        ("seed=" + "[" * 2000, "nested-too-deep", []),
        ("tags=a", "wrong-value", ["a list of texts", 'not "a"']),
        ("description=\udcff", "not-utf8", []),
        ("notify.command=echo a=b", "command-in-preset", ["settings.toml", "[notify]"]),
        ("teacher.trust_remote_code=true", "trust-in-preset", ["--trust-remote-code", "settings.toml"]),
        ("stage.kd.objectives.logist=1", "unknown-key", ['"logist" in stage.kd.objectives', '"logits"?']),
    ],
)
def test_what_is_wrong_with_an_override(tmp_path: Path, override: str, kind: str, facts: list[str]) -> None:
    write(tmp_path, MINIMAL)
    (problem,) = refused(tmp_path, ["mine.toml"], override)
    assert problem.kind == kind
    assert str(problem).startswith("--set ")
    assert all(fact in problem.sentence for fact in facts), problem.sentence
    assert str(problem).isprintable()


def test_a_preset_without_stages_has_none_to_change(tmp_path: Path) -> None:
    found = mistakes(tmp_path, MINIMAL.partition("[[stage]]")[0], "stage.kd.epochs=3")
    assert found[-1] == "--set stage.kd.epochs=3 no-stages"


def test_a_problem_is_located_at_the_override_that_caused_it(tmp_path: Path) -> None:
    assert mistakes(tmp_path, MINIMAL, "stage.kd.epochs=x", "stage.ild.mixup.alpha=-1") == [
        "--set stage.ild.mixup.alpha=-1 wrong-value stage.ild.mixup.alpha",
        "--set stage.kd.epochs=x wrong-value stage.kd.epochs",
    ]
    assert mistakes(tmp_path, MINIMAL, "stage.kd.steps=5", "stage.kd.epochs=5") == [
        "--set stage.kd.steps=5 epochs-and-steps stage.kd.steps"
    ]
