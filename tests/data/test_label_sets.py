"""Several labels for a text: lists, labels joined in one text, a column for each; and what a run says about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.class_weights import class_weights
from engine.data.examples import Examples
from engine.data.findings import data_findings
from engine.data.load import load_task
from engine.data.overview import overview
from engine.data.recognition import recognised
from engine.data.types import TaskData
from engine.errors import DataError
from engine.preset.load import load_preset
from engine.preset.schema import Columns, Files, Task

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bread", ("food",)), ("bank", ("money",)), ("dinner bill", ("food", "money")), ("today", ()), ("soup", ("food",)),
)  # fmt: skip
GOLD = [[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]]


def task(train: Path, **words: Any) -> Task:
    words.setdefault("kind", "multilabel")
    return Task(name="custom", files=Files(train=str(train), dev=str(train)), **words)


def joined(folder: Path, mark: str = "|", name: str = "train.csv") -> Path:
    (folder / name).write_text("text,label\n" + "".join(f'{text},"{mark.join(names)}"\n' for text, names in ROWS))
    return folder / name


def written(folder: Path, *cells: str) -> Path:
    (folder / "train.csv").write_text("text,label\n" + "".join(f"t{n},{cell}\n" for n, cell in enumerate(cells)))
    return folder / "train.csv"


def gold(data: TaskData) -> list[list[int]]:
    labels = Examples.of(data.train).labels
    assert labels is not None
    assert labels.dtype == np.uint8
    found: list[list[int]] = labels.tolist()
    return found


def refusal(train: Path, **words: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        load_task(task(train, **words))
    return caught.value


# -- forms


@pytest.mark.parametrize("mark", ["|", ";", ",", "; "])
def test_labels_joined_in_one_text(tmp_path: Path, mark: str) -> None:
    data = load_task(task(joined(tmp_path, mark)))
    assert data.spec.labels == ("food", "money")
    assert data.spec.metrics == ("f1_micro",)
    assert data.spec.outputs == 2
    assert gold(data) == GOLD
    assert data.train[2].label == (1, 1)
    assert "Of 5 rows of train.csv, 1 have none" in data.notes[0]


def test_another_separator_has_to_be_named(tmp_path: Path) -> None:
    path = joined(tmp_path, " / ")
    error = refusal(path)
    assert (error.kind, error.key) == ("no-separator", "task.columns.separator")
    assert gold(load_task(task(path, columns=Columns(separator="/")))) == GOLD


def test_two_possible_separators_are_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, '"a,b"', "a;c", "b")
    assert refusal(path).kind == "several-separators"
    assert load_task(task(path, columns=Columns(separator=";"))).spec.labels == ("a", "a,b", "b", "c")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_lists(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"train.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": names}) + "\n" for text, names in ROWS))
    else:
        columns = {"text": [text for text, _ in ROWS], "label": [list(names) for _, names in ROWS]}
        pq.write_table(pa.table(columns), path)
    assert gold(load_task(task(path))) == GOLD


def test_lists_that_were_written_as_text(tmp_path: Path) -> None:
    """As pandas writes them into CSV, or JSON."""
    path = written(tmp_path, "\"['food', 'money']\"", "[]", '"[""money""]"')
    assert gold(load_task(task(path))) == [[1, 1], [0, 0], [0, 1]]


def test_a_number_that_only_pythons_source_may_hold_is_a_name(tmp_path: Path) -> None:
    """As in a column of classes, where 1_0 is a word."""
    data = load_task(task(written(tmp_path, '"[1_0, 2]"', '"[2]"')))
    assert data.spec.labels == ("1_0", "2")
    assert gold(data) == [[1, 1], [0, 1]]


def test_numbers_of_a_file_that_names_its_labels(tmp_path: Path) -> None:
    """As `datasets` writes a list of classes into Parquet."""
    features = {"label": {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["zeal", "awe", "joy"]}}}
    table = pa.table({"text": ["a", "b"], "label": [[0, 2], [2]]})
    described = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(described, tmp_path / "train.parquet")
    data = load_task(task(tmp_path / "train.parquet"))
    assert data.spec.labels == ("zeal", "awe", "joy")
    assert gold(data) == [[1, 0, 1], [0, 0, 1]]


def test_a_column_for_each_label(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,money,food\na,1,0\nb,0,1.0\nc,true,1\n")
    data = load_task(task(tmp_path / "train.csv", columns=Columns(labels=["food", "money"])))
    assert data.spec.labels == ("food", "money"), "in the preset's order"
    assert gold(data) == [[0, 1], [1, 0], [1, 1]]


def test_a_label_twice_in_a_row_counts_once(tmp_path: Path) -> None:
    assert gold(load_task(task(written(tmp_path, "a|a|b", "b")))) == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a|b", "a||b"], "bad-label-in-list"),
        (["a|b", '"[[1], 2]"'], "bad-label-in-list"),
        (["[]", '"[""a""]"'], "single-label"),
        (["", ""], "single-label"),
        ([f"x{n}|y{n}" for n in range(60)], "too-many-labels"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, cells: list[str], kind: str) -> None:
    error = refusal(written(tmp_path, *cells))
    assert error.kind == kind
    if kind == "bad-label-in-list":
        assert error.line == 3


def test_labels_that_are_missing_in_json_are_not_no_labels(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": null}\n')
    error = refusal(tmp_path / "train.jsonl")
    assert (error.kind, error.line) == ("missing-label", 2)


def test_other_values_than_0_and_1_in_a_column_of_a_label_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,money,food\na,1,0\nb,0,2\nc,1,\n")
    error = refusal(tmp_path / "train.csv", columns=Columns(labels=["food", "money"]))
    assert (error.kind, error.line) == ("label-not-switch", 3)
    assert "line 4" in error.sentence


def test_a_label_of_dev_that_train_lacks_is_refused(tmp_path: Path) -> None:
    train = joined(tmp_path)
    (tmp_path / "dev.csv").write_text("text,label\na,food|Money\n")
    files = Files(train=str(train), dev=str(tmp_path / "dev.csv"))
    with pytest.raises(DataError) as caught:
        load_task(Task(name="custom", files=files, kind="multilabel"))
    assert (caught.value.kind, caught.value.line) == ("unknown-label", 2)
    assert "Money" in caught.value.sentence


# -- recognition


def test_columns_of_0_and_1_are_labels_where_the_kind_is_set(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("id,comment_text,toxic,rude\n1,a b,1,1\n2,c d,0,1\n3,e f,0,0\n")
    found = recognised(task(path), by_name_alone=True)
    assert found.task.columns is not None
    assert (found.task.columns.text, found.task.columns.labels) == ("comment_text", ["toxic", "rude"])
    assert gold(load_task(found.task)) == [[1, 1], [0, 1], [0, 0]]
    with pytest.raises(DataError) as caught:
        recognised(task(path, kind=None), by_name_alone=True)
    assert caught.value.kind == "one-hot-labels"
    assert "task.kind=multilabel" in caught.value.sentence


def test_lists_are_recognised_and_joined_labels_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "labels": ["x"]}\n{"text": "b", "labels": ["y", "x"]}\n')
    assert recognised(task(tmp_path / "a.jsonl", kind=None), by_name_alone=True).task.kind == "multilabel"
    with pytest.raises(DataError) as caught:
        recognised(task(joined(tmp_path), kind=None), by_name_alone=True)
    assert caught.value.kind == "several-labels"
    assert "task.kind=multilabel" in caught.value.sentence
    named = task(joined(tmp_path), kind=None, columns=Columns(separator="|"))
    assert recognised(named, by_name_alone=True).task.kind == "multilabel"


# -- what is done with them


def many(folder: Path, rows: int = 100) -> Path:
    cells = ("x", "x|y", "z", "")
    return written(folder, *(cells[row % 4] for row in range(rows)))


def test_dev_shares_subsets_and_noise(tmp_path: Path) -> None:
    files = Files(train=str(many(tmp_path)))
    data = load_task(Task(name="custom", files=files, kind="multilabel", examples=40, label_noise=0.5))
    assert (len(data.train), len(data.dev["dev"])) == (40, 20)
    clean = load_task(Task(name="custom", files=files, kind="multilabel", examples=40))
    changed = sum(one != other for one, other in zip(gold(data), gold(clean), strict=True))
    assert 5 < changed <= 20, "20 rows have the labels of another row, which may be equal"
    assert [row.id for row in data.train] == [row.id for row in clean.train]


def test_balanced_weights_make_both_answers_weigh_the_same(tmp_path: Path) -> None:
    data = load_task(task(written(tmp_path, "x|y", "x", "x|z", "x", "")))
    assert class_weights("balanced", data) == (1 / 4, 4.0, 4.0)
    assert class_weights({"x": 1.0, "y": 2.0, "z": 3.0}, data) == (1.0, 2.0, 3.0)


def test_a_label_without_rows_or_in_every_row_is_found(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,a,b,c\nred,1,0,1\nblue,1,0,0\n")
    found = {each.kind: each for each in data_findings(load_task(task(path, columns=Columns(labels=["a", "b", "c"]))))}
    assert found["class-missing-in-train"].facts["classes"] == ["b"]
    assert found["label-in-every-row"].facts["classes"] == ["a"]
    path.write_text("text,a,b,c\nred,1,0,0\nblue,1,0,0\n")
    constant = data_findings(load_task(task(path, columns=Columns(labels=["a", "b", "c"]))))
    assert [each.kind for each in constant if each.severity == "refusal"] == ["one-class-in-train"]


def test_equal_texts_with_other_labels_conflict(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nred,a|b\nred,a\nblue,b|a\nblue,a|b\n")
    (found,) = [each for each in data_findings(load_task(task(tmp_path / "train.csv"))) if "conflict" in each.kind]
    assert found.facts["conflicting"] == 2


def test_the_overview_counts_each_label(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        f"""schema = 1
[task]
name = "custom"
kind = "multilabel"
files = {{ train = "{joined(tmp_path)}", dev = "{joined(tmp_path)}" }}
[teacher]
model = "scratch"
finetune = {{ epochs = 1 }}
[[stage]]
name = "kd"
objectives = {{ logits = 1.0 }}
"""
    )
    found = overview(load_preset([str(tmp_path / "p.toml")]).preset)
    assert found["splits"][0]["labels"] == {"food": 3, "money": 2}
    assert [example["label"] for example in found["examples"]] == [["food"], ["money"], []]
