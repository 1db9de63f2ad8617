"""What is recognised in a training file: columns, kind, share of dev."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.dev_split import DEV_SHARE, draw_dev
from engine.data.load import load_task
from engine.data.recognition import recognised
from engine.data.types import Example, TaskSpec
from engine.errors import DataError
from engine.preset.schema import Columns, Files, Task


def write(folder: Path, header: str, *rows: str, name: str = "tickets.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path: Path, **keys: Any) -> Task:
    return recognised(Task(name="custom", files=Files(train=str(path)), **keys), by_name_alone=True).task


def columns(path: Path, **keys: Any) -> tuple[str, str | None, str]:
    found = read(path, **keys).columns
    assert found is not None
    return found.text, found.pair, found.label


def refusal(path: Path, **keys: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, **keys)
    assert caught.value.file == str(path)
    return caught.value


ROWS = ("one fine day,a", "a bad night,b", "two of them,a", "the others,b")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("text,label", ("text", None, "label")),
        ("Sentence,Class", ("Sentence", None, "Class")),
        ("message,team", ("message", None, "team")),
        ("what they wrote,category", ("what they wrote", None, "category")),
    ],
)
def test_two_columns_of_which_one_is_known_by_its_name(tmp_path: Path, header: str, expected: object) -> None:
    assert columns(write(tmp_path, header, *ROWS)) == expected


def test_pairs_and_other_columns(tmp_path: Path) -> None:
    rows = [f"{n},who {n},he,x,{n % 2}" for n in range(4)]
    path = write(tmp_path, "idx,sentence1,sentence2,source,label", *rows)
    assert columns(path) == ("sentence1", "sentence2", "label")
    path = write(tmp_path, "id,question,answer,verdict,n", *(f"{n},who {n},he,{n % 2},{n}" for n in range(4)))
    assert columns(path) == ("question", "answer", "verdict")


def test_rows_that_may_be_ranked_for_a_query_are_named(tmp_path: Path) -> None:
    for each, is_said in ((5, True), (3, False)):
        rows = (f"how to do {n // each},answer {n},{int(n % each == 0)}" for n in range(30))
        task = Task(name="custom", files=Files(train=str(write(tmp_path, "query,passage,relevant", *rows))))
        found = recognised(task.model_copy(update={"columns": Columns(text="query", pair="passage", label="relevant")}))
        assert any("task.columns.group=query" in note for note in found.notes) == is_said


def test_json_lines_and_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"score": 0.5, "sentence": "a"}\n{"sentence": "b", "score": 2}\n')
    task = read(path)
    assert (task.kind, task.columns) == ("regression", Columns(text="sentence", label="score", pair=None, id=None))
    pq.write_table(pa.table({"text": ["a", "b", "c", "d"], "class": [True, False] * 2}), tmp_path / "a.parquet")
    assert (read(tmp_path / "a.parquet").kind, columns(tmp_path / "a.parquet")) == (
        "classification",
        ("text", None, "class"),
    )


@pytest.mark.parametrize(
    ("header", "kind", "key", "names"),
    [
        ("text", "single-column", None, ["text"]),
        ("text;label", "single-column", None, ["separated"]),
        ("text,label,category", "several-candidate-columns", "task.columns.label", ["label", "category"]),
        ("text,comment,label", "several-candidate-columns", "task.columns.text", ["text", "comment"]),
        ("text,first,second", "no-candidate-column", "task.columns.label", ["first", "second"]),
        ("one,two,label", "no-candidate-column", "task.columns.text", ["one", "two"]),
        ("text,label,text", "repeated-column", None, ["text"]),
        ("one fine day,a", "no-candidate-column", "task.columns.label", ["first line", "task.columns.text="]),
        ("a,b,c", "no-candidate-column", "task.columns.label", ["task.columns.text="]),
    ],
)
def test_what_is_not_clear_is_refused_with_the_setting_that_decides(
    tmp_path: Path, header: str, kind: str, key: str | None, names: list[str]
) -> None:
    width = header.count(",") + 1
    error = refusal(write(tmp_path, header, *(",".join([f"w{n} x"] * width) for n in range(4))))
    assert (error.kind, error.key) == (kind, key)
    assert all(name in error.sentence for name in names)
    assert key is None or f"--set {key}=" in error.sentence.replace("'", "")


def test_the_setting_decides(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label,category", "one,a,x", "two,b,y", "three,a,x", "four,b,y")
    assert columns(path, columns=Columns(label="category")) == ("text", None, "category")


def test_a_preset_without_columns_means_text_and_label_as_ever(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label,category", "one,a,x", "two,b,y", "three,a,x", "four,b,y")
    files = Files(train=str(path), dev=str(path))
    task = Task(name="custom", files=files, kind="classification")
    assert recognised(task).task is task
    found = recognised(Task(name="custom", files=files))
    assert (found.task.kind, found.task.columns) == ("classification", None)
    other = str(write(tmp_path, "sentence,class", *ROWS, name="other.csv"))
    found = recognised(Task(name="custom", files=Files(train=other, dev=other)))
    assert found.task.columns == Columns(text="sentence", label="class", pair=None, id=None)


def test_nothing_is_read_where_nothing_is_open(tmp_path: Path) -> None:
    files = Files(train=str(tmp_path / "none.csv"), dev=str(tmp_path / "none.csv"))
    task = Task(name="custom", files=files, kind="regression", columns=Columns(text="a", label="b"))
    assert recognised(task, by_name_alone=True).task is task


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", "b", "a", "b"], "classification"),
        (["0", "1", "1", "0"], "classification"),
        (["1.0", "2.0", "1", "2"], "classification"),
        (["0.5", "1", "2", "3"], "regression"),
        (["true", "false", "true", "false"], "classification"),
        (["007", "008", "007", "008"], "classification"),
    ],
)
def test_kind_from_the_labels(tmp_path: Path, labels: list[str], kind: str) -> None:
    path = write(tmp_path, "text,label", *(f"text {n},{label}" for n, label in enumerate(labels)))
    found = recognised(Task(name="custom", files=Files(train=str(path))), by_name_alone=True)
    assert found.task.kind == kind
    assert len(found.notes) == 2
    assert found.task.dev_share == DEV_SHARE


def test_metrics_decide_the_kind(tmp_path: Path) -> None:
    path = write(tmp_path, "text,stars", *(f"text {n},{n % 5}" for n in range(20)))
    assert read(path).kind == "classification"
    assert read(path, metrics=["spearman"]).kind == "regression"


def test_five_thousand_classes_are_not_taken_for_classes_unasked(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label", *(f"text {n},name {n % 5000}" for n in range(15_000)))
    error = refusal(path)
    assert (error.kind, error.key) == ("too-many-classes", "task.kind")
    assert "5,000" in error.sentence
    data = load_task(read(path, kind="classification"))
    assert len(data.spec.labels) == 5000
    assert len({row.label for row in data.dev["dev"]}) == len({row.label for row in data.train}) == 5000


@pytest.mark.parametrize(
    ("header", "rows", "kind"),
    [
        ("text,toxic,rude", ["a,1,0", "b,0,1", "c,1,0"], "one-hot-labels"),
        ("text,toxic,rude", ["a,1,1", "b,0,1", "c,0,0"], "one-hot-labels"),
        ("text,labels", ["a,x|y", "b,y", "c,x"], "several-labels"),
        ("text,labels", ["a,x; y", "b,y", "c,x"], "several-labels"),
        ("text,labels", ['a,"[""x"", ""y""]"', "b,[]", "c,[]"], "several-labels"),
    ],
)
def test_several_labels_for_one_text_are_refused(tmp_path: Path, header: str, rows: list[str], kind: str) -> None:
    assert refusal(write(tmp_path, header, *rows)).kind == kind


def test_lists_of_json_are_several_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "labels": ["x"]}\n{"text": "b", "labels": ["y"]}\n')
    assert recognised(Task(name="custom", files=Files(train=str(path))), by_name_alone=True).task.kind == "multilabel"


def test_class_names_with_marks_in_them_are_classes(tmp_path: Path) -> None:
    rows = ["a,Health|Beauty", "b,Toys", "c,Health|Beauty", "d,Toys"]
    assert read(write(tmp_path, "text,label", *rows)).kind == "classification"


def test_a_class_with_one_text_is_refused_before_a_run(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label", "one,a", "two,a", "three,b", "three,b")
    error = refusal(path)
    assert error.kind == "class-too-small-to-split"
    assert '"b"' in error.sentence
    task = Task(
        name="custom", files=Files(train=str(path)), kind="classification", columns=Columns(text="text", label="label")
    )
    with pytest.raises(DataError) as caught:
        load_task(task)
    assert caught.value.kind == "class-too-small-to-split"


# -- the split


def examples(count: int, classes: int) -> list[Example]:
    return [Example(f"row-{n}", f"text {n}", None, n % classes) for n in range(count)]


def spec(classes: int) -> TaskSpec:
    labels = tuple(map(str, range(classes)))
    return TaskSpec("t", "classification" if classes else "regression", labels, ("accuracy",), is_pair=False)


@pytest.mark.parametrize(("count", "classes", "share"), [(100, 3, 0.2), (10, 5, 0.1), (9, 3, 0.5), (4, 2, 0.5)])
def test_every_class_is_on_both_sides_and_keeps_its_share(count: int, classes: int, share: float) -> None:
    rows = examples(count, classes)
    train, dev = draw_dev(rows, share, spec(classes), 0, "f.csv")
    assert sorted((*train, *dev), key=lambda row: int(row.id[4:])) == rows
    for label in range(classes):
        own = sum(row.label == label for row in rows)
        drawn = sum(row.label == label for row in dev)
        assert 1 <= drawn < own
        assert abs(drawn - share * own) <= 1


def test_the_same_seed_draws_the_same_and_another_seed_others() -> None:
    rows = examples(60, 2)
    first = draw_dev(rows, 0.2, spec(2), 3, "f.csv")
    assert draw_dev(rows, 0.2, spec(2), 3, "f.csv") == first
    assert {row.id for row in draw_dev(rows[::-1], 0.2, spec(2), 3, "f.csv")[1]} == {row.id for row in first[1]}
    assert draw_dev(rows, 0.2, spec(2), 4, "f.csv") != first


def test_rows_with_the_same_text_stay_together() -> None:
    rows = [Example(f"row-{n}", f"text {n % 20}", None, n % 2) for n in range(60)]
    train, dev = draw_dev(rows, 0.25, spec(2), 0, "f.csv")
    assert not {row.text for row in train} & {row.text for row in dev}
    assert len(train) + len(dev) == 60


def test_scores_are_drawn_whatever_they_are() -> None:
    rows = [Example(f"row-{n}", f"text {n}", None, n / 7) for n in range(50)]
    train, dev = draw_dev(rows, 0.2, spec(0), 0, "f.csv")
    assert (len(train), len(dev)) == (40, 10)


def test_a_run_says_what_was_drawn_and_names_rows_by_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label", *(f"text {n},{'ab'[n % 2]}" for n in range(20)))
    task = Task(name="custom", title="tickets", files=Files(train=str(path)), dev_share=0.3, data_seed=5)
    data = load_task(task)
    assert data.spec.name == "tickets"
    assert len(data.dev["dev"]) == 6
    assert all(row.text == f"text {row.id[4:]}" for row in (*data.train, *data.dev["dev"]))
    assert any("6 of the 20" in note and "data_seed 5" in note for note in data.notes)
