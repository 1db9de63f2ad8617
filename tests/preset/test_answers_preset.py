"""Presets whose teacher is a file of answers: what goes together, and what each layer takes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from crild_tui.launch_form.fields import fields_of
from engine.errors import CrildError
from engine.preflight.own_data import completed
from engine.preset.load import load_preset
from tests.preset.support import checked, load, model_folder, refused, write

PRESET = """
[task]
name = "toy-entailment"
[teacher]
answers = "answers.csv"
[student]
init = "scratch"
[[stage]]
name = "kd"
objectives = { logits = 1.0, labels = 1.0 }
mixup = { alpha = 0.5 }
"""


def faults(folder: Path, *overrides: str, text: str = PRESET) -> tuple[CrildError, ...]:
    """The problems of a preset."""
    write(folder, text)
    return refused(folder, ["mine.toml"], *overrides)


def test_paths_are_relative_to_the_preset(tmp_path: Path) -> None:
    teacher = load(tmp_path, PRESET).preset.teacher
    assert (teacher.model, teacher.answers) == (None, str(tmp_path / "answers.csv"))
    (tmp_path / "answers.csv").write_text("text,label\n")
    assert checked(load(tmp_path, PRESET)) == ()


@pytest.mark.parametrize(
    ("overrides", "kind", "key"),
    [
        (["teacher.answers=false"], "missing-key", "teacher.model"),
        (["teacher.labels=['a', 'b']"], "key-of-other-teacher", "teacher.labels"),
        (["teacher.finetune.epochs=1"], "key-of-other-teacher", "teacher.finetune"),
        (["teacher.columns.pair=two"], "pair-without-text", "teacher.columns.pair"),
        (["teacher.columns.label=a", "teacher.columns.classes.a=b"], "label-and-classes", "teacher.columns.label"),
        (["teacher.columns.label=a", "teacher.values=logits"], "values-of-labels", "teacher.values"),
        (["teacher.values=shares"], "wrong-value", "teacher.values"),
        (["teacher.model=scratch", "teacher.values=logits"], "key-of-other-teacher", "teacher.values"),
        (["student.init=teacher"], "student-of-answers", "student.init"),
        (["student.init=pretrained"], "student-of-answers", "student.init"),
        (["stage.kd.objectives.hidden=1"], "answers-without-layers", "stage.kd.objectives.hidden"),
        (
            ["stage.kd.objectives={logits = 1}", "stage.kd.data={corpus = 'plain.txt'}"],
            "answers-of-other-data",
            "stage.kd.data",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_does_not_go_together(tmp_path: Path, overrides: list[str], kind: str, key: str) -> None:
    found = [problem for problem in faults(tmp_path, *overrides) if problem.kind == kind]
    assert [problem.key for problem in found] == [key]


UNLABELLED = """
[task]
name = "custom"
files = { train = "texts.csv", dev = "dev.csv" }
[teacher]
answers = "answers.csv"
[student]
init = "scratch"
[[stage]]
name = "kd"
objectives = { logits = 1.0 }
"""
CLASSES = "task.class_names=['a', 'b']"


@pytest.mark.parametrize(
    ("overrides", "kind", "key"),
    [
        (["task.class_names=['a']"], "wrong-value", "task.class_names"),
        (["task.class_names=['a', 'a']"], "repeated-class", "task.class_names"),
        (["task.kind=multilabel"], "class-names-of-other-kind", "task.class_names"),
        (["task.files.dev=false"], "unlabelled-dev", "task.class_names"),
        (["task.label_noise=0.1"], "labels-needed", "task.label_noise"),
        (["task.holdout=0.1", "task.measure_holdout=true"], "labels-needed", "task.measure_holdout"),
        (["task.columns.group=text"], "labels-needed", "task.columns.group"),
        (["teacher.model=scratch", "teacher.finetune.epochs=1"], "labels-needed", "teacher.finetune"),
        (["baseline.enabled=true"], "labels-needed", "baseline.enabled"),
        (["train.class_weights=balanced"], "labels-needed", "train.class_weights"),
        (["train.evaluate_train=5"], "labels-needed", "train.evaluate_train"),
        (["stage.kd.objectives.labels=1"], "labels-needed", "stage.kd.objectives.labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_needs_labels_of_the_training_rows(tmp_path: Path, overrides: list[str], kind: str, key: str) -> None:
    items = overrides if overrides[0].startswith("task.class_names") else [CLASSES, *overrides]
    found = [problem for problem in faults(tmp_path, *items, text=UNLABELLED) if problem.kind == kind]
    assert [problem.key for problem in found] == [key]


def test_labels_of_weight_0_are_no_labels_and_another_task_has_its_own_classes(tmp_path: Path) -> None:
    loaded = load(tmp_path, UNLABELLED, CLASSES, "stage.kd.objectives.labels=0")
    assert loaded.preset.task.class_names == ["a", "b"]
    other = "task={ name = 'rte', class_names = ['a', 'b'] }"
    assert "custom-task-key" in [problem.kind for problem in faults(tmp_path, other, text=UNLABELLED)]
    write(tmp_path, UNLABELLED.replace("[teacher]", "class_names = ['a', 'b']\n[teacher]"))
    assert load_preset(["mine.toml", "rte"], base=tmp_path).preset.task.class_names is None


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], []),
        (["baseline.enabled=true"], [("labels-needed", "baseline.enabled")]),
        (["task.label_noise=0.1"], [("labels-needed", "task.label_noise")]),
        (["task.files.dev=texts.csv"], [("unlabelled-dev", "task.files.dev")]),
        (["teacher.answers=none.csv"], [("no-such-file", "teacher.answers")]),
        (["teacher.answers=bare.csv"], [("no-class-names", "teacher.columns.label")]),
        (["teacher.answers=bare.csv", CLASSES], []),
        (["teacher.answers=llm.csv"], [("no-class-names", "teacher.columns.label")]),
        (["teacher.answers=llm.csv", CLASSES], [("no-answer-column", "teacher.columns.label")]),
        (["teacher.answers=llm.csv", "teacher.columns.label=answer"], []),
        (["teacher.answers=sole.csv"], []),
        (["teacher.answers=sole.csv", "task.class_names=['a', 'c']"], [("no-answer-column", "teacher.columns.label")]),
        (["teacher.model=./expert"], []),
        (["teacher.model=./encoder"], [("no-class-names", "task.class_names")]),
        (["teacher.model=./encoder", "teacher.labels=['a', 'b']"], []),
        (["teacher.model=./bare"], [("teacher-without-head", "teacher.model")]),
        (["teacher.model=./bare", "teacher.labels=['a', 'b']"], [("teacher-without-head", "teacher.model")]),
        (["teacher.model=./bare", CLASSES], [("teacher-without-head", "teacher.model")]),
        (["teacher.model=./bare", "task.files.dev=false"], [("teacher-without-head", "teacher.model")]),
        (["teacher.model=./encoder", "teacher.finetune.epochs=1"], [("single-column", "task.files.train")]),
    ],
    ids=str,
)
def test_a_file_that_turns_out_to_have_no_labels(
    tmp_path: Path, overrides: list[str], expected: list[tuple[str, str]]
) -> None:
    texts = {
        "texts.csv": "text\none\ntwo\n", "dev.csv": "text,label\nthree,a\nfour,b\n",
        "answers.csv": "text,probability_a,probability_b\none,1,0\n", "bare.csv": "text,a,b\none,1,0\n",
        "llm.csv": "text,model,answer\n" + "one,llm,a\ntwo,llm,b\n" * 2, "sole.csv": "text,answer\n" + "one,a\ntwo,b\n" * 2,
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    model_folder(tmp_path / "expert", id2label={"0": "b", "1": "a"})
    model_folder(tmp_path / "encoder")
    model_folder(tmp_path / "bare", architectures=["BertModel"])
    loaded = load(tmp_path, UNLABELLED, *overrides)
    problems = [problem for problem in checked(loaded) if (problem.key or "").partition(".")[0] != "student"]
    assert [(problem.kind, problem.key) for problem in problems] == expected
    if not expected:
        order = ["b", "a"] if "teacher.model=./expert" in overrides else ["a", "b"]
        assert completed(loaded).preset.task.class_names == order
        assert "read without labels" in completed(loaded).notes[0]


CLASS_NAMES = 'task.class_names=["one", "other"]'
FINETUNED = "teacher.finetune.epochs=1"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["teacher.model=./encoder", FINETUNED],
            ["teacher.model=MODEL", "teacher.finetune=false", "teacher.answers=FILE"],
        ),
        (["teacher.model=./expert", FINETUNED], ["teacher.finetune=false"]),
        (
            ["teacher.model=./expert", FINETUNED, "task.files.dev=false"],
            ["teacher.finetune=false", "task.files.dev=FILE"],
        ),
        (["task.files.train=two.csv", "task.files.dev=two-dev.csv"], [CLASS_NAMES]),
    ],
    ids=str,
)
def test_rows_without_labels_are_said_to_lack_what_lacks_alone(
    tmp_path: Path, overrides: list[str], expected: list[str]
) -> None:
    texts = {
        "texts.csv": "text\none\ntwo\n", "dev.csv": "text,label\nthree,a\nfour,b\n",
        "two.csv": "text,class,target\none,x,y\n", "two-dev.csv": "text,class,target\none,x,y\n",
        "answers.csv": "text,probability_a,probability_b\none,1,0\n",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    model_folder(tmp_path / "expert", id2label={"0": "b", "1": "a"})
    model_folder(tmp_path / "encoder")
    found = [
        str(problem) for problem in checked(load(tmp_path, UNLABELLED, *overrides)) if "no labels, add" in str(problem)
    ]
    advice = found[0].partition("no labels, add")[2]
    known = (
        "teacher.model=MODEL",
        "teacher.answers=FILE",
        "task.files.dev=FILE",
        "teacher.finetune=false",
        CLASS_NAMES,
    )
    assert {setting for setting in known if setting in advice} == set(expected)


def test_a_run_named_without_its_folder_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts.csv").write_text("text\none\ntwo\n")
    (tmp_path / "dev.csv").write_text("text,label\nthree,a\nfour,b\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRILD_RUNS_DIR", raising=False)
    loaded = load(tmp_path, UNLABELLED, "teacher.model=big-s42")
    (unknown,) = [problem for problem in checked(loaded) if problem.kind == "no-class-names"]
    assert "did you mean" not in unknown.sentence
    assert "name the classes" in unknown.sentence
    model_folder(tmp_path / "runs/big-s42/student", id2label={"0": "a", "1": "b"})
    (tmp_path / "runs/big-s42/status.json").write_text("{}")
    (found,) = [problem for problem in checked(loaded) if problem.kind == "run-without-folder"]
    assert (found.key, "did you mean runs/big-s42?" in found.sentence) == ("teacher.model", True)


def test_a_model_and_answers_displace_each_other_but_not_in_one_file(tmp_path: Path) -> None:
    both = PRESET.replace("[teacher]", '[teacher]\nmodel = "bert-base-uncased"')
    assert "model-and-answers" in [problem.kind for problem in faults(tmp_path, text=both)]
    model = load(tmp_path, PRESET, "teacher.model=bert-base-uncased").preset.teacher
    assert (model.model, model.answers) == ("bert-base-uncased", None)
    tuned = PRESET.replace('answers = "answers.csv"', 'model = "scratch"\nfinetune = { epochs = 1 }')
    answers = load(tmp_path, tuned, "teacher.answers=answers.csv").preset.teacher
    assert (answers.model, answers.finetune, answers.answers) == (None, None, str(tmp_path / "answers.csv"))


def test_the_form_has_the_file_in_place_of_a_model(tmp_path: Path) -> None:
    keys = [field.key for field in fields_of(load(tmp_path, PRESET).preset)]
    assert {"teacher.answers", "teacher.columns.label"} <= set(keys)
    assert not {"teacher.model", "teacher.finetune.epochs"} & set(keys)
    keys = [field.key for field in fields_of(load(tmp_path, SEVERAL).preset)]
    assert "teacher.model" in keys
    assert "teacher.columns.label" not in keys


def test_values_of_another_type_are_explained(tmp_path: Path) -> None:
    (problem,) = faults(tmp_path, "teacher.columns.classes=3")
    assert "a table with the column of each class" in problem.sentence


def test_files_and_named_columns_are_checked_before_a_run(tmp_path: Path) -> None:
    assert [problem.kind for problem in checked(load(tmp_path, PRESET))] == ["no-such-file"]
    (tmp_path / "answers.csv").write_text("text,label\n")
    problems = checked(load(tmp_path, PRESET, "teacher.columns.label=lable"))
    assert [problem.kind for problem in problems] == ["no-such-column"]


SEVERAL = """
[task]
name = "toy-entailment"
[teacher]
model = "scratch"
finetune = { epochs = 1 }
[teacher.others.large]
model = "./large"
[[stage]]
name = "kd"
objectives = { logits = 1.0 }
"""


def test_several_teachers_by_name(tmp_path: Path) -> None:
    teacher = load(
        tmp_path, SEVERAL, "teacher.others.large.weight=2.5", "teacher.others.hub.model=some/model"
    ).preset.teacher
    assert {key: each.model for key, each in teacher.models().items()} == {
        "teacher": "scratch", "teacher.others.large": str(tmp_path / "large"), "teacher.others.hub": "some/model"
    }  # fmt: skip
    assert teacher.weights == [1.0, 2.5, 1.0]
    problems = checked(load(tmp_path, SEVERAL))
    assert [(problem.kind, problem.key) for problem in problems] == [("no-model-folder", "teacher.others.large.model")]


@pytest.mark.parametrize(
    ("overrides", "kind", "key"),
    [
        (["teacher.others=false", "teacher.combine=logits"], "one-teacher", "teacher.combine"),
        (["teacher.others=false", "teacher.weight=2"], "one-teacher", "teacher.weight"),
        (["teacher.others.large.model=scratch"], "untrained-teacher", "teacher.others.large.model"),
        (["teacher.others.large.weight=0"], "wrong-value", "teacher.others.large.weight"),
        (["teacher.others.large.wieght=1"], "unknown-key", "teacher.others.large.wieght"),
        (["teacher.others.small.weight=1"], "missing-key", "teacher.others.small.model"),
        (["stage.kd.mixup={ alpha = 1.0 }"], "mixup-of-several-teachers", "stage.kd.mixup"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_does_not_go_together_with_several_teachers(
    tmp_path: Path, overrides: list[str], kind: str, key: str
) -> None:
    found = [problem for problem in faults(tmp_path, *overrides, text=SEVERAL) if problem.kind == kind]
    assert [problem.key for problem in found] == [key]
