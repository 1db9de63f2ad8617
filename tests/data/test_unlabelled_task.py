"""Training rows without labels: when a file is read so, which classes there are then, what is refused."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.answer_classes import answer_classes
from engine.data.answers import agreement_findings, load_answers
from engine.data.class_weights import class_weights
from engine.data.examples import Examples
from engine.data.findings import data_findings
from engine.data.load import load_task
from engine.data.overview import overview
from engine.data.recognition import recognised
from engine.errors import DataError
from engine.preset.load import load_preset
from engine.preset.schema import AnswerColumns, Columns, Files, Task, Teacher

DEV = ("text,label", "a fine one,pos", "a bad one,neg")
TRAIN = ("text", "first row", "second row", "third row")


def task_of(folder: Path, train: Sequence[str], dev: Sequence[str] | None = DEV, **keys: Any) -> Task:
    """A task of a training and a dev file."""
    names = {"train": train, "dev": dev} if dev is not None else {"train": train}
    for name, lines in names.items():
        (folder / f"{name}.csv").write_text("\n".join(lines or ()) + "\n")
    return Task(name="custom", files=Files(**{name: str(folder / f"{name}.csv") for name in names}), **keys)


def read(task: Task) -> Task:
    """The task as it is read beside a teacher that knows three classes."""
    return recognised(task, by_name_alone=True, classes=lambda: ("teacher", ("neg", "pos", "mixed"))).task


@pytest.mark.parametrize(
    "train",
    [
        TRAIN,
        ("id,text", "1,first row", "2,second row"),
        ("text,label", "first row,", "second row, "),
        ("text,label,source", "first row,,web", "second row,,web"),
        ("text,source,lang", "first row,web,en", "second row,web,de"),
    ],
    ids=["one column", "with ids", "an empty column", "an empty column among others", "no column of dev's labels"],
)
def test_rows_without_labels_have_the_teachers_classes_and_devs_columns(tmp_path: Path, train: Sequence[str]) -> None:
    task = read(task_of(tmp_path, train))
    assert (task.kind, task.class_names, task.dev_share) == ("classification", ["neg", "pos", "mixed"], None)
    assert (task.columns_of("train"), task.columns_of("dev")) == (["text"], ["text", "label"])
    assert read(task) == task, "nothing is open any more"
    data = load_task(task)
    assert data.spec.labels == ("neg", "pos", "mixed")
    assert Examples.of(data.train).labels is None
    assert [row.label for row in data.dev["dev"]] == [1, 0]
    assert len(data.train) == len(train) - 1


@pytest.mark.parametrize(
    ("train", "keys"),
    [
        (TRAIN, {}),
        (("text,source,lang", "first row,web,en", "second row,web,de"), {}),
        (("text,grade", "first row,", "second row,"), {}),
        (TRAIN, {"kind": "classification", "text": "text"}),
    ],
    ids=["one column", "other columns", "an empty column", "a complete task"],
)
def test_naming_the_column_of_devs_labels_leaves_the_training_rows_without(
    tmp_path: Path, train: Sequence[str], keys: dict[str, Any]
) -> None:
    """The message about an unclear dev file asks for it."""
    dev = ("text,grade,lang", "a fine one,pos,en", "a bad one,neg,de")
    if train == TRAIN and not keys:
        with pytest.raises(DataError) as caught:
            read(task_of(tmp_path, TRAIN, dev))
        assert (caught.value.kind, caught.value.file) == ("no-candidate-column", str(tmp_path / "dev.csv"))
        assert "task.columns.label" in caught.value.sentence
        assert "class_names" not in caught.value.sentence, "dev must have labels"
    own = {"label": "grade", **{key: value for key, value in keys.items() if key == "text"}}
    kind = {key: value for key, value in keys.items() if key == "kind"}
    task = read(task_of(tmp_path, train, dev, columns=Columns(**own), **kind))
    data = load_task(task)
    assert Examples.of(data.train).labels is None
    assert [row.label for row in data.dev["dev"]] == [1, 0]


def test_a_named_column_that_neither_file_has_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(task_of(tmp_path, ("text,label", "first row,pos", "second row,neg"), columns=Columns(label="lable")))
    assert caught.value.kind == "no-such-column"
    labelled = ("text,verdict", "first row,pos", "second row,neg")
    assert read(task_of(tmp_path, labelled, labelled, columns=Columns(label="verdict"))).class_names is None


@pytest.mark.parametrize(
    ("train", "kind"),
    [
        (TRAIN, "single-column"),
        (("text,source,lang", "first row,web,en", "second row,web,de"), "no-candidate-column"),
        (("text,class,target", "first row,web,en", "second row,web,de"), "several-candidate-columns"),
        (("text,label", "first row,", "second row,"), "missing-label"),
        (("text,note", "first row,a", "second row,"), "missing-label"),
        (("text,note", "first row,['a']", "second row,['a']"), "several-labels"),
        (("text,note", *(f"row {number},the note {number}" for number in range(120))), "too-many-classes"),
    ],
    ids=["one column", "no label", "several", "an empty column", "a gap", "lists", "notes"],
)
def test_who_has_no_labels_is_told_what_leads_to_a_run(tmp_path: Path, train: Sequence[str], kind: str) -> None:
    task = task_of(tmp_path, train)
    with pytest.raises(DataError) as caught:
        recognised(task, by_name_alone=True, lacking=lambda: "what lacks")
    assert caught.value.kind == kind
    assert caught.value.sentence.endswith("add what lacks")
    named = task.model_copy(update={"class_names": ["neg", "pos"]})
    assert Examples.of(load_task(recognised(named, by_name_alone=True).task).train).labels is None, "it does"


@pytest.mark.parametrize(
    ("train", "kind"),
    [
        (("text,label", "first row,pos", "second row,"), "missing-label"),
        (("text,label", "first row,['a']", "second row,['b']"), "several-labels"),
        (("text,label", *(f"row {number},the label {number}" for number in range(120))), "too-many-classes"),
        (("text,a,b", "first row,1,0", "second row,0,1"), "one-hot-labels"),
    ],
)
def test_labels_that_are_there_are_not_said_to_be_missing(tmp_path: Path, train: Sequence[str], kind: str) -> None:
    with pytest.raises(DataError) as caught:
        recognised(task_of(tmp_path, train), by_name_alone=True)
    assert caught.value.kind == kind
    assert "task.class_names" not in caught.value.sentence


@pytest.mark.parametrize(
    ("train", "dev"),
    [
        (("text,label", "first row,pos", "second row,neg"), DEV),
        (("text,team", "first row,a", "second row,b"), ("text,team", "third row,a", "fourth row,b")),
        (("text,category", "first row,a", "second row,b"), DEV),
    ],
    ids=["labels", "labels by another name", "labels that dev calls otherwise"],
)
def test_rows_with_labels_are_read_as_ever(tmp_path: Path, train: Sequence[str], dev: Sequence[str]) -> None:
    assert read(task_of(tmp_path, train, dev)).class_names is None


def test_rows_of_which_some_have_labels_are_refused_as_ever(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(task_of(tmp_path, ("text,label", "first row,pos", "second row,")))
    assert (caught.value.kind, caught.value.line) == ("missing-label", 3)


def test_a_column_that_is_there_is_not_read_where_the_preset_names_the_classes(tmp_path: Path) -> None:
    train = ("text,label", "first row,pos", "second row,odd", "third row,")
    task = recognised(task_of(tmp_path, train, class_names=["neg", "pos"]), by_name_alone=True).task
    assert Examples.of(load_task(task).train).labels is None


def test_without_a_teacher_that_knows_the_task_they_are_refused_as_ever(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        recognised(task_of(tmp_path, TRAIN), by_name_alone=True)
    assert caught.value.kind == "single-column"


@pytest.mark.parametrize(
    ("dev", "kind", "file"),
    [
        (None, "unlabelled-dev", "train.csv"),
        (("text", "a row"), "unlabelled-dev", "dev.csv"),
        (("text,label", "a row,"), "unlabelled-dev", "dev.csv"),
        (("message,label", "a row,pos"), "no-such-column", "train.csv"),
    ],
    ids=["no dev file", "no column in dev", "an empty column in dev", "other columns in dev"],
)
def test_the_student_must_be_measured_somewhere(
    tmp_path: Path, dev: Sequence[str] | None, kind: str, file: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(task_of(tmp_path, TRAIN, dev))
    assert (caught.value.kind, caught.value.file) == (kind, str(tmp_path / file))


def test_a_class_that_only_dev_has(tmp_path: Path) -> None:
    task = read(task_of(tmp_path, TRAIN, (*DEV, "another,odd")))
    with pytest.raises(DataError) as caught:
        load_task(task)
    assert (caught.value.kind, caught.value.line) == ("unknown-label", 4)
    assert "task.class_names" in caught.value.sentence


def test_what_looks_at_labels_finds_none(tmp_path: Path) -> None:
    task = read(task_of(tmp_path, (*TRAIN, "first row"), examples=3))
    data = load_task(task)
    assert {finding.facts.get("split") for finding in data_findings(data)} == {"dev", None}
    assert class_weights(None, data) == ()
    answers = tmp_path / "answers.csv"
    answers.write_text(
        "text,neg,pos,mixed\n"
        + "".join(f"{row.text},0.5,0.25,0.25\n" for row in {r.text: r for r in data.train}.values())
    )
    found = load_answers(Teacher(answers=str(answers)), task, data)
    assert np.exp(found.train).tolist() == pytest.approx(np.array([[0.5, 0.25, 0.25]] * 3))
    assert list(agreement_findings(found, data)) == []


def test_the_overview_counts_classes_where_there_are_labels(tmp_path: Path) -> None:
    task = read(task_of(tmp_path, TRAIN))
    preset = load_preset(["kd", "rte"], ["teacher.model=nowhere/none"]).preset.model_copy(update={"task": task})
    found = overview(preset)
    assert [split["labels"] for split in found["splits"]] == [{}, {"neg": 1, "pos": 1, "mixed": 0}]
    assert [example["label"] for example in found["examples"]] == [None] * 3


FILES = {
    "columns": "text,probability_pos,probability_neg\na,0.5,0.5\n",
    "predicted": "text,label,predicted_label,predicted_probability_pos,predicted_probability_neg\na,x,pos,0.9,0.1\n",
    "labels": "text,label\na,pos\nb,neg\nc, pos\nd,\n",
}


@pytest.mark.parametrize("name", FILES)
def test_the_classes_of_a_file_of_answers(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(FILES[name])
    assert answer_classes(Teacher(answers=str(tmp_path / "a.csv"))) == ("neg", "pos")


def test_the_classes_of_objects_ranks_and_named_columns(tmp_path: Path) -> None:
    objects, file = [{"pos": 1.0}, {"neg": 0.6, "pos": 0.4}, {"10": 1.0}, {"9": 1.0}], tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": "a", "probabilities": each}) + "\n" for each in objects))
    assert answer_classes(Teacher(answers=str(file))) == ("9", "10", "neg", "pos")
    (tmp_path / "b.csv").write_text("text,rank_x,rank_y,verdict\na,1,2,1\nb,2,1,2.0\nc,1,2,1.0\n")
    ranks = Teacher(answers=str(tmp_path / "b.csv"), values="ranks")
    assert answer_classes(ranks) == ("x", "y")
    named = AnswerColumns(classes={"one": "rank_x", "other": "rank_y"})
    assert answer_classes(ranks.model_copy(update={"columns": named})) == ("one", "other")
    labels = Teacher(answers=str(tmp_path / "b.csv"), columns=AnswerColumns(label="verdict"))
    assert answer_classes(labels) == ("1", "2")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.csv", "text,probability_,probability_pos\na,0.5,0.5\n", None),
        ("a.csv", "text,predicted_probability_ ,predicted_probability_pos\na,0.5,0.5\n", None),
        ("a.jsonl", '{"probabilities": {"a": 1}}\n{"probabilities": {"": 0.5, "b": 0.5}}\n', 2),
    ],
    ids=["column", "white space", "object"],
)
def test_a_class_without_a_name_is_refused_and_not_written_into_the_preset(
    tmp_path: Path, name: str, text: str, line: int | None
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        answer_classes(Teacher(answers=str(tmp_path / name)))
    assert (caught.value.kind, caught.value.line) == ("class-without-name", line)
    assert "probabilit" in caught.value.sentence
    named = Teacher(answers=str(tmp_path / name), columns=AnswerColumns(classes={"": "x", "pos": "y"}))
    with pytest.raises(DataError) as caught:
        answer_classes(named)
    assert caught.value.kind == "class-without-name"


@pytest.mark.parametrize("name", ["answer", "response", "Category"])
@pytest.mark.parametrize("first", ["text", "question"])
def test_the_one_column_besides_the_text_has_the_classes(tmp_path: Path, name: str, first: str) -> None:
    (tmp_path / "a.csv").write_text(f"id,{first},{name}\n1,a,pos\n2,b,neg\n3,c,pos\n4,d,neg\n")
    assert answer_classes(Teacher(answers=str(tmp_path / "a.csv"))) == ("neg", "pos")


def test_what_to_add_where_the_classes_are_unclear_is_a_whole_setting(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,the answer\na,pos\nb,neg\n")
    with pytest.raises(DataError) as caught:
        answer_classes(Teacher(answers=str(tmp_path / "a.csv")))
    setting = shlex.split(caught.value.sentence.partition("--set ")[2])[0]
    assert setting.rstrip(",") == "teacher.columns.label=the answer"
    named = Teacher(answers=str(tmp_path / "a.csv"), columns=AnswerColumns(label="the answer"))
    assert answer_classes(named) == ("neg", "pos")


def test_white_space_in_a_column_of_classes_names_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,pos\nb, \nc,neg\n")
    assert answer_classes(Teacher(answers=str(tmp_path / "a.csv"))) == ("neg", "pos")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("text,pos,neg\na,0.5,0.5\n", "no-class-names"),
        ("text,label\n", "no-class-names"),
        ("text,answer\n" + "".join(f"row {n},the answer {n}\n" for n in range(101)), "no-class-names"),
        ("text,answer\na,pos\nb,neg\nc,pos\n", "no-class-names"),
        ("text,reason,answer\n" + "a,x,pos\nb,x,neg\n" * 2, "no-class-names"),
        ("text,label\na,pos\nb,pos\n", "odd-number-of-classes"),
        ("text,label\n" + "".join(f"row {n},the answer {n}\n" for n in range(101)), "odd-number-of-classes"),
    ],
    ids=["bare columns", "no rows", "free text by another name", "few rows", "two columns", "one class", "free text"],
)
def test_answers_that_do_not_say_which_classes_there_are(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        answer_classes(Teacher(answers=str(tmp_path / "a.csv")))
    key = "teacher.columns.label" if kind == "no-class-names" else "task.class_names"
    assert (caught.value.kind, caught.value.key) == (kind, key)
