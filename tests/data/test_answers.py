"""Answers of a teacher in a file: how rows find each other, which columns count, what is refused."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.answer_classes import answer_classes
from engine.data.answers import FLOOR, Answers, agreement_findings, load_answers
from engine.data.examples import named_label
from engine.data.load import load_task
from engine.data.types import TaskData
from engine.errors import DataError
from engine.preset.schema import AnswerColumns, Columns, Files, Task, Teacher

TEXTS = ("good one", "bad one", "so so, mostly", "bad two", "good two", "a fine end")
LABELS = ("pos", "neg", "neg", "neg", "pos", "pos")
SHARES = ((0.9, 0.1), (0.2, 0.8), (0.5, 0.5), (0.0, 1.0), (0.75, 0.25), (0.6, 0.4))
"""Of pos and neg."""


def task_of(folder: Path, *, dev: bool = True, ids: bool = False, **settings: Any) -> Task:
    """A task of these rows: the last two are dev, or the dev set is drawn."""
    names = [f"r{row}" for row in range(len(TEXTS))]
    lines = [f'{name},"{text}",{label}' for name, text, label in zip(names, TEXTS, LABELS, strict=True)]
    (folder / "train.csv").write_text("\n".join(["key,text,label", *(lines[:4] if dev else lines)]) + "\n")
    (folder / "dev.csv").write_text("\n".join(["key,text,label", *lines[4:]]) + "\n")
    files = Files(train=str(folder / "train.csv"), dev=str(folder / "dev.csv") if dev else None)
    columns = Columns(text="text", label="label", id="key" if ids else None)
    return Task(name="custom", files=files, columns=columns, kind="classification", **settings)


def write(folder: Path, rows: Sequence[Sequence[Any]], name: str = "answers.csv") -> str:
    """A CSV or TSV file of these rows, the first of which names the columns."""
    mark = "\t" if name.endswith(".tsv") else ","
    text = "\n".join(mark.join(f'"{cell}"' if mark == "," else str(cell) for cell in row) for row in rows) + "\n"
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def answers(task: Task, file: str, data: TaskData | None = None, **teacher: Any) -> Answers:
    """The answers of a file to a task."""
    return load_answers(Teacher(answers=file, **teacher), task, data or load_task(task))


def shares(logits: np.ndarray) -> np.ndarray:
    """Probabilities in the order pos, neg; the classes are neg, pos."""
    found = np.exp(logits.astype(np.float64))
    ordered: np.ndarray = (found / found.sum(axis=1, keepdims=True))[:, ::-1]
    return ordered


def refused(task: Task, file: str, **teacher: Any) -> DataError:
    """The error of a file that cannot be used."""
    with pytest.raises(DataError) as caught:
        answers(task, file, **teacher)
    return caught.value


Rows = list[list[Any]]
BY_TEXT: Rows = [["text", "probability_pos", "probability_neg"], *([t, *p] for t, p in zip(TEXTS, SHARES, strict=True))]


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "jsonl", "parquet"])
def test_every_format_gives_the_same_answers_in_the_order_of_the_task(tmp_path: Path, form: str) -> None:
    task, rows = task_of(tmp_path), [BY_TEXT[0], *BY_TEXT[:0:-1]]  # in another order
    if form == "jsonl":
        lines = [{"text": t, "label": "pos", "probabilities": {"pos": p, "neg": n}} for t, p, n in rows[1:]]
        file = str(tmp_path / "answers.jsonl")
        Path(file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    elif form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = str(tmp_path / "answers.parquet")
        columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
        pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), file)
    else:
        file = write(tmp_path, rows, f"answers.{form}")
    found = answers(task, file)
    assert shares(found.train) == pytest.approx(np.array(SHARES[:4]), abs=2e-6)
    assert shares(found.measured["dev"]) == pytest.approx(np.array(SHARES[4:]), abs=2e-6)
    assert found.rows == 6
    assert any("by text" in note for note in found.notes)
    assert found.train[3, 1] == pytest.approx(math.log(FLOOR)), "the logarithm of 0 is that of the floor"
    assert found.content() == answers(task, write(tmp_path, BY_TEXT)).content(), (
        "neither form nor order of a file counts"
    )


def test_ids_and_row_numbers_join_as_texts_do(tmp_path: Path) -> None:
    by_text = answers(task_of(tmp_path), write(tmp_path, BY_TEXT))
    task = task_of(tmp_path, ids=True)
    rows: Rows = [["key", "pos", "neg"], *([f"r{row}", *each] for row, each in enumerate(SHARES))]
    by_id = answers(task, write(tmp_path, rows))
    assert any('by id (column "key")' in note for note in by_id.notes)
    named: Rows = [["name", *row[1:]] if row is rows[0] else row for row in rows]
    assert answers(task, write(tmp_path, named), columns=AnswerColumns(id="name")).content() == by_text.content()
    default: Rows = [["id", "pos", "neg"], *([f"train-{row}", *each] for row, each in enumerate(SHARES[:4]))]
    by_default = answers(task_of(tmp_path), write(tmp_path, default), columns=AnswerColumns(id="id"))
    by_row = answers(task_of(tmp_path), write(tmp_path, [["pos", "neg"], *SHARES[:4]]))
    assert any("by row number" in note for note in by_row.notes)
    for found in (by_id, by_default, by_row):
        assert np.array_equal(found.train, by_text.train)
    assert np.array_equal(by_id.measured["dev"], by_text.measured["dev"])
    assert list(by_row.logits) == ["train"], "row numbers of the training file say nothing of dev"


@pytest.mark.parametrize("words", [("True", "False"), ("-1.0", "1.0"), ("TRUE", "FALSE"), ("0", "1")], ids="-".join)
def test_a_column_of_classes_is_read_as_the_labels_are(tmp_path: Path, words: tuple[str, str]) -> None:
    rows: Rows = [["text", "label"], *([text, words[row % 2]] for row, text in enumerate(TEXTS))]
    file = write(tmp_path, rows, "rows.csv")
    columns = Columns(text="text", label="label")
    task = Task(name="custom", files=Files(train=file, dev=file), columns=columns, kind="classification")
    data = load_task(task)
    found = answers(task, file, data)
    assert found.train.argmax(axis=1).tolist() == [row.label for row in data.train]
    assert sorted(answer_classes(Teacher(answers=file))) == sorted(data.spec.labels)


@pytest.mark.parametrize("form", ["columns", "bare columns", "objects"])
def test_classes_that_were_read_as_numbers_are_named_as_the_labels_are(tmp_path: Path, form: str) -> None:
    rows: Rows = [["text", "label"], *([text, row % 2] for row, text in enumerate(TEXTS))]
    train = write(tmp_path, rows, "rows.csv")
    task = Task(name="custom", files=Files(train=train, dev=train), columns=Columns(), kind="classification")
    if form == "objects":
        file = str(tmp_path / "answers.jsonl")
        lines = (
            {"text": text, "probabilities": {"1.0": p, "0.0": n}} for text, (p, n) in zip(TEXTS, SHARES, strict=True)
        )
        Path(file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        before = "" if form == "bare columns" else "probability_"
        header = ["text", before + "1.0", before + "0.0"]
        file = write(tmp_path, [header, *([text, *each] for text, each in zip(TEXTS, SHARES, strict=True))])
    data = load_task(task)
    assert data.spec.labels == ("0", "1")
    assert shares(answers(task, file, data).train) == pytest.approx(np.array(SHARES), abs=2e-6)
    if form != "bare columns":
        assert answer_classes(Teacher(answers=file)) == ("0", "1")


def test_a_class_that_two_columns_are_of_is_refused(tmp_path: Path) -> None:
    rows: Rows = [["text", "label"], *([text, row % 2] for row, text in enumerate(TEXTS))]
    train = write(tmp_path, rows, "rows.csv")
    task = Task(name="custom", files=Files(train=train, dev=train), columns=Columns(), kind="classification")
    header = ["text", "probability_1", "probability_1.0", "probability_0"]
    error = refused(task, write(tmp_path, [header, *([text, 0.5, 0.5, 0.5] for text in TEXTS)]))
    assert error.kind == "other-classes"
    assert '"probability_1.0"' in error.sentence


def test_texts_in_another_order_are_not_joined_by_row(tmp_path: Path) -> None:
    rows: Rows = [["Prompt", "pos", "neg"], *([text, *each] for text, each in zip(TEXTS[:4], SHARES, strict=False))]
    in_order = answers(task_of(tmp_path), write(tmp_path, rows))
    assert any("by row number" in note for note in in_order.notes)
    file = write(tmp_path, [rows[0], *rows[:0:-1]])
    error = refused(task_of(tmp_path), file)
    assert (error.kind, error.line) == ("answers-in-other-order", 2)
    assert 'text = "Prompt"' in error.sentence
    by_text = answers(task_of(tmp_path), file, columns=AnswerColumns(text="Prompt"))
    assert np.array_equal(by_text.train, in_order.train)
    assert answers(task_of(tmp_path), file, join="row").notes, "as the user says"
    other: Rows = [["Reason", "pos", "neg"], *([f"reason {row}", *each] for row, each in enumerate(SHARES[:4]))]
    assert np.array_equal(answers(task_of(tmp_path), write(tmp_path, other)).train, in_order.train)


def test_row_numbers_reach_the_dev_set_that_is_drawn_from_the_same_file(tmp_path: Path) -> None:
    task = task_of(tmp_path, dev=False, dev_share=0.34)
    data = load_task(task)
    found = answers(task, write(tmp_path, [["pos", "neg"], *SHARES]), data)
    for split, rows in {"train": data.train, "dev": data.dev["dev"]}.items():
        expected = [SHARES[TEXTS.index(row.text)] for row in rows]
        assert shares(found.logits[split]) == pytest.approx(np.array(expected), abs=2e-6), split


def test_a_subset_takes_its_answers_from_a_file_for_all_rows(tmp_path: Path) -> None:
    task = task_of(tmp_path, examples=2)
    data = load_task(task)
    for rows, note in ((BY_TEXT, "answer no row of the task"), ([["pos", "neg"], *SHARES[:4]], "by row number")):
        found = answers(task, write(tmp_path, rows), data)
        expected = [SHARES[TEXTS.index(row.text)] for row in data.train]
        assert shares(found.train) == pytest.approx(np.array(expected), abs=2e-6)
        assert any(note in sentence for sentence in found.notes)


def test_dev_counts_only_where_every_row_has_an_answer(tmp_path: Path) -> None:
    found = answers(task_of(tmp_path), write(tmp_path, BY_TEXT[:-1]))
    assert list(found.logits) == ["train"]
    assert any("1 of the 2 rows of dev" in note for note in found.notes)


def test_ids_that_train_and_dev_share_belong_to_train(tmp_path: Path) -> None:
    task = task_of(tmp_path, ids=True)
    (tmp_path / "dev.csv").write_text("key,text,label\nr0,good two,pos\nr1,a fine end,pos\n")
    rows: Rows = [["key", "pos", "neg"], *([f"r{row}", *each] for row, each in enumerate(SHARES[:4]))]
    found = answers(task, write(tmp_path, rows))
    assert list(found.logits) == ["train"]
    assert shares(found.train)[0] == pytest.approx(SHARES[0], abs=2e-6)


def test_predictions_count_before_a_gold_column_of_the_same_name(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    hard: Rows = [["text", "label", "predicted_label"], *([t, "pos", "neg"] for t in TEXTS)]
    found = answers(task, write(tmp_path, hard))
    assert np.allclose(shares(found.train)[:, 1], 1, atol=1e-5)
    assert any("classes alone" in note for note in found.notes)
    again: Rows = [
        ["text", "probability_pos", "probability_neg", "predicted_probability_pos", "predicted_probability_neg"],
        *([t, 0.5, 0.5, *p] for t, p in zip(TEXTS, SHARES, strict=True)),
    ]
    assert shares(answers(task, write(tmp_path, again)).train) == pytest.approx(np.array(SHARES[:4]), abs=2e-6)


def test_scores_and_logits_are_taken_as_declared(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    votes: Rows = [["text", "pos", "neg"], *([t, 20 * p, 20 * n] for t, (p, n) in zip(TEXTS, SHARES, strict=True))]
    assert shares(answers(task, write(tmp_path, votes), values="scores").train) == pytest.approx(
        np.array(SHARES[:4]), abs=2e-6
    )
    raw: Rows = [["text", "p", "n"], *([t, row, -2 * row] for row, t in enumerate(TEXTS))]
    columns = AnswerColumns(classes={"pos": "p", "neg": "n"})
    found = answers(task, write(tmp_path, raw), values="logits", columns=columns)
    assert found.train.tolist() == [[-2 * row, row] for row in range(4)]
    for one, other in ((0.33, 0.66), (0.33, 0.65), (0.36, 0.66)):
        rounded: Rows = [["text", "pos", "neg"], *([t, one, other] for t in TEXTS)]
        first = shares(answers(task, write(tmp_path, rounded)).train)[0]
        assert first == pytest.approx((one / (one + other), other / (one + other)))


def test_scores_of_a_regression_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\none,1.5\ntwo,4\nthree,0.25\n")
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "train.csv"))
    task = Task(name="custom", files=files, columns=Columns(), kind="regression")
    found = answers(
        task, write(tmp_path, [["text", "label", "predicted_score"], ["two", 9, 3.5], ["one", 9, -1], ["three", 9, 0]])
    )
    assert found.train.tolist() == [[-1.0], [3.5], [0.0]]
    assert refused(task, write(tmp_path, [["text", "predicted_score"], ["one", "nan"]])).kind == "answer-not-finite"
    assert refused(task, write(tmp_path, [["text", "label"], ["one", 1]]), values="ranks").kind == "ranks-of-scores"


def test_pairs_are_joined_by_both_texts(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("one,two,label\na,b,x\na,c,y\n")
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "train.csv"))
    task = Task(name="custom", files=files, columns=Columns(text="one", pair="two"), kind="classification")
    found = answers(task, write(tmp_path, [["one", "two", "x", "y"], ["a", "c", 0.25, 0.75], ["a", "b", 1, 0]]))
    assert np.exp(found.train[1]) == pytest.approx((0.25, 0.75))
    assert found.train[0, 0] == 0
    error = refused(task, write(tmp_path, [["one", "x", "y"], ["a", 1, 0]]), columns=AnswerColumns(text="one"))
    assert error.kind == "pair-does-not-fit"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (["bad one", 0.5, 0.6], "answer-not-one"),
        (["bad one", -0.5, 1.5], "negative-answer"),
        (["bad one", "nan", 0.5], "answer-not-finite"),
        (["bad one", "inf", 0.5], "answer-not-finite"),
        (["bad one", "", 0.5], "missing-answer"),
        (["bad one", "0,5", 0.5], "answer-not-number"),
        (["bad one", "1_0", 0.5], "answer-not-number"),
        (["bad one", 0, 0], "answer-of-zeros"),
        (["", 0.5, 0.5], "answer-without-key"),
        (["good one", 0.5, 0.5], "answers-differ"),
    ],
)
def test_a_row_that_is_no_answer_is_named(tmp_path: Path, row: list[object], kind: str) -> None:
    error = refused(task_of(tmp_path), write(tmp_path, [*BY_TEXT[:2], row, *BY_TEXT[3:]]))
    assert (error.kind, error.line) == (kind, 3)
    assert (error.file or "").endswith("answers.csv")


def test_the_same_answer_twice_is_one(tmp_path: Path) -> None:
    found = answers(task_of(tmp_path), write(tmp_path, [*BY_TEXT, BY_TEXT[1], BY_TEXT[1]]))
    assert any("2 rows of answers.csv repeat" in note for note in found.notes)
    found = answers(task_of(tmp_path), write(tmp_path, [*BY_TEXT, BY_TEXT[1]]))
    assert any("1 row of answers.csv repeats" in note for note in found.notes)


def test_other_rows_are_refused_or_said(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    error = refused(task, write(tmp_path, [BY_TEXT[0], *BY_TEXT[2:]]))
    assert error.kind == "missing-answers"
    assert "1 of 4" in error.sentence
    assert '"train-0"' in error.sentence
    for rows in (SHARES[:3], SHARES):
        assert refused(task, write(tmp_path, [["pos", "neg"], *rows])).kind == "wrong-number-of-answers"
    more = answers(task, write(tmp_path, [*BY_TEXT, ["another", 0.5, 0.5]]))
    assert any(note.startswith("1 of 7 rows") for note in more.notes)
    assert refused(task, write(tmp_path, [["text", "pos", "neg"]])).kind == "no-rows"


@pytest.mark.parametrize(
    ("names", "teacher", "kind"),
    [
        (["text", "good", "bad"], {}, "no-answer-column"),
        (["text", "pos", "bad"], {}, "other-classes"),
        (["text", "probability_pos", "probability_neg", "probability_mixed"], {}, "other-classes"),
        (["text", "pos", "neg", "neg"], {}, "no-such-column"),
        (["text", "pos", "neg"], {"columns": AnswerColumns(label="verdict")}, "no-such-column"),
        (["text", "pos", "neg"], {"columns": AnswerColumns(classes={"pos": "pos"})}, "other-classes"),
        (["text", "pos", "neg"], {"columns": AnswerColumns(id="key")}, "no-such-column"),
        (["text", "pos", "neg"], {"join": "id"}, "join-without-column"),
        (["pos", "neg"], {"join": "text"}, "join-without-column"),
        (["text", "label"], {"values": "logits"}, "no-answer-column"),
    ],
    ids=str,
)
def test_columns_that_cannot_be_the_answers(
    tmp_path: Path, names: list[str], teacher: dict[str, Any], kind: str
) -> None:
    assert refused(task_of(tmp_path), write(tmp_path, [names, [0.5] * len(names)]), **teacher).kind == kind


def test_a_class_that_the_task_lacks(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    error = refused(task, write(tmp_path, [["text", "label"], ["good one", "pos"], ["bad one", "mixed"]]))
    assert (error.kind, error.line) == ("unknown-class", 3)
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"text": "good one", "probabilities": {"pos": 0.5, "neg": 0.5, "mixed": 0.0}}) + "\n"
    )
    error = refused(task, str(tmp_path / "a.jsonl"))
    assert error.kind == "other-classes"
    assert '"mixed"' in error.sentence


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_one_class_that_an_object_leaves_out_has_the_rest(tmp_path: Path, form: str) -> None:
    task = task_of(tmp_path)
    given: list[dict[str, float]] = [{"pos": 0.995}, {"neg": 1.0}, {"pos": 0.5, "neg": 0.5}, {"neg": 0.7}]
    lines = [{"text": text, "probabilities": each} for text, each in zip(TEXTS, given, strict=False)]
    file = tmp_path / f"answers.{form}"
    if form == "jsonl":
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(lines), file)  # a struct has all keys, some of them null
    found = answers(task, str(file))
    assert shares(found.train) == pytest.approx(np.array([[0.995, 0.005], [0, 1], [0.5, 0.5], [0.3, 0.7]]), abs=2e-6)
    assert any(note.startswith(f"3 of 4 rows of answers.{form} leave out classes") for note in found.notes)


def test_of_several_classes_that_an_object_leaves_out_nobody_knows_the_rest(tmp_path: Path) -> None:
    lines = [f'"{text}",{label}' for text, label in zip(TEXTS, ("a", "b", "c", "a", "b", "c"), strict=False)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "train.csv"))
    task = Task(name="custom", files=files, columns=Columns(text="text", label="label"), kind="classification")
    file = tmp_path / "a.jsonl"

    def of(first: dict[str, float]) -> None:
        given = [first, *({"a": 0.2, "b": 0.3, "c": 0.5} for _ in lines[1:])]
        rows = ({"text": text, "probabilities": each} for text, each in zip(TEXTS, given, strict=False))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    of({"a": 0.6, "c": 0.1})
    assert shares(answers(task, str(file)).train)[0] == pytest.approx([0.1, 0.3, 0.6], abs=2e-6)  # c, b, a
    of({"a": 1.0})
    assert shares(answers(task, str(file)).train)[0] == pytest.approx([0, 0, 1], abs=3e-6)
    of({"a": 0.6})
    error = refused(task, str(file))
    assert (error.kind, error.line) == ("answer-lacks-classes", 1)
    assert "divide the rest" in error.sentence


@pytest.mark.parametrize(
    ("object_", "settings", "kind"),
    [
        ({"pos": 1.5}, {}, "answer-not-one"),
        ({"pos": None}, {}, "missing-answer"),
        ({}, {}, "missing-answer"),
        ({"pos": 3}, {"values": "scores"}, "other-classes"),
        ({"pos": 3.0}, {"values": "logits"}, "other-classes"),
    ],
    ids=str,
)
def test_classes_that_cannot_be_left_out(
    tmp_path: Path, object_: dict[str, float], settings: dict[str, Any], kind: str
) -> None:
    task = task_of(tmp_path)
    first = {"text": TEXTS[0], "probabilities": {"pos": 0.9, "neg": 0.1}}
    lines = [first, {"text": TEXTS[1], "probabilities": object_}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    error = refused(task, str(tmp_path / "a.jsonl"), **settings)
    assert (error.kind, error.line) == (kind, 2)


RANKED = (
    # ranks of a, b, c (None: not ranked), and the weights by hand: (1/3)(1 + 1/2 + 1/3), (1/3)(1/2 + 1/3), (1/3)(1/3)
    ((1, 2, 3), (11 / 18, 5 / 18, 2 / 18)),
    ((3, 1, 2), (2 / 18, 11 / 18, 5 / 18)),
    ((1, 1, 2), (8 / 18, 8 / 18, 2 / 18)),
    ((1, 1, 3), (8 / 18, 8 / 18, 2 / 18)),
    ((1, 2, 2), (11 / 18, 3.5 / 18, 3.5 / 18)),
    ((1, 1, 1), (1 / 3, 1 / 3, 1 / 3)),
    ((None, 1, None), (3.5 / 18, 11 / 18, 3.5 / 18)),
    ((2, 1, None), (5 / 18, 11 / 18, 2 / 18)),
    ((1, 1, None), (8 / 18, 8 / 18, 2 / 18)),
)


def ranked_task(folder: Path) -> Task:
    """A task of three classes whose training rows are `RANKED`."""
    names = "abc" * 3
    (folder / "train.csv").write_text("text,label\n" + "".join(f"row {n},{names[n]}\n" for n in range(len(RANKED))))
    (folder / "dev.csv").write_text("text,label\nrow 20,a\n")
    files = Files(train=str(folder / "train.csv"), dev=str(folder / "dev.csv"))
    return Task(name="custom", files=files, kind="classification")


@pytest.mark.parametrize("form", ["csv", "rank_", "jsonl", "wide.jsonl"])
def test_ranks_are_the_weights_that_are_worked_out_by_hand(tmp_path: Path, form: str) -> None:
    task = ranked_task(tmp_path)
    ranks = [dict(zip("abc", given, strict=True)) for given, _ in RANKED]
    if form.endswith("jsonl"):
        rows = [{name: rank for name, rank in each.items() if rank is not None} for each in ranks]
        lines = [{"ranks": row} if form == "jsonl" else {"text": f"row {n}"} | row for n, row in enumerate(rows)]
        file = str(tmp_path / "answers.jsonl")
        Path(file).write_text("".join(json.dumps({"text": f"row {n}"} | line) + "\n" for n, line in enumerate(lines)))
    else:
        before = form.removesuffix("csv")
        cells = [["" if rank is None else rank for rank in each.values()] for each in ranks]
        file = write(tmp_path, [[before + name for name in "abc"], *cells])
    found = answers(task, file, values="ranks")
    expected = np.array([weights for _, weights in RANKED])
    assert np.exp(found.train.astype(np.float64)) == pytest.approx(expected, abs=1e-6)
    assert any("are ranks" in note for note in found.notes)
    assert any(note.startswith("3 of 9 rows") and "come after" in note for note in found.notes)


@pytest.mark.parametrize(
    ("ranks", "kind"),
    [
        ((0, 1, 2), "answer-not-rank"),
        ((-1, 1, 2), "answer-not-rank"),
        ((1.5, 1.5, 3), "answer-not-rank"),
        ((1, 2, 4), "ranks-with-gaps"),
        ((2, 3, ""), "ranks-with-gaps"),
        ((1, 1, 4), "ranks-with-gaps"),
        (("", "", ""), "missing-answer"),
        (("first", 2, 3), "answer-not-number"),
        (("nan", 1, 2), "answer-not-finite"),
    ],
    ids=str,
)
def test_numbers_that_rank_nothing(tmp_path: Path, ranks: tuple[Any, ...], kind: str) -> None:
    rows: Rows = [["text", "a", "b", "c"], ["row 0", 1, 2, 3], ["row 1", *ranks]]
    error = refused(ranked_task(tmp_path), write(tmp_path, rows), values="ranks")
    assert (error.kind, error.line) == (kind, 3)


def test_two_ways_to_count_ties_in_one_row_are_a_gap(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"row {n},{n}\n" for n in range(6)))
    (tmp_path / "dev.csv").write_text("text,label\nrow 20,1\n")
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "dev.csv"))
    task = Task(name="custom", files=files, kind="classification")
    for ranks, is_gap in (((1, 1, 2, 3, 3, 4), False), ((1, 1, 3, 4, 4, 6), False), ((1, 1, 2, 4, 5, 6), True)):
        file = write(tmp_path, [list("012345"), *([ranks] * 6)])
        if is_gap:
            assert refused(task, file, values="ranks").kind == "ranks-with-gaps"
        else:
            assert np.exp(answers(task, file, values="ranks").train).sum() == pytest.approx(6)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text("pos\n")
    assert refused(task_of(tmp_path), str(tmp_path / "answers.txt")).kind == "unknown-file-format"


def test_each_of_several_labels_has_a_probability_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\none,neg|pos\ntwo,pos\nthree,\nfour,neg\n")
    (tmp_path / "dev.csv").write_text("text,label\nfive,pos\n")
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "dev.csv"))
    task = Task(name="custom", files=files, kind="multilabel")
    rows: list[list[Any]] = [
        ["text", "neg", "pos"],
        ["one", 0.9, 0.8],
        ["two", 0.25, 0.5],
        ["three", 0, 0.1],
        ["four", 1, 0.2],
    ]
    found = answers(task, write(tmp_path, rows)).train
    chances = 1 / (1 + np.exp(-found.astype(np.float64)))
    assert chances == pytest.approx(np.array([row[1:] for row in rows[1:]], float), abs=2e-6), "no sum is asked for"
    assert found[2, 0] == pytest.approx(math.log(FLOOR / (1 - FLOOR)), rel=1e-5)
    above = refused(task, write(tmp_path, [*rows[:-1], ["four", 1.1, 0.2]]))
    assert (above.kind, above.line) == ("answer-above-one", 5)
    for settings in ({"values": "scores"}, {"values": "ranks"}, {"columns": AnswerColumns(label="neg")}):
        assert refused(task, write(tmp_path, rows), **settings).kind == "answers-of-one-class"


def test_rows_that_are_held_out_leave_row_numbers_as_they_are(tmp_path: Path) -> None:
    task = task_of(tmp_path, holdout=0.5, measure_holdout=True)
    data = load_task(task)
    found = answers(task, write(tmp_path, [["pos", "neg"], *SHARES[:4]]), data)
    assert shares(found.train) == pytest.approx(
        np.array([SHARES[TEXTS.index(row.text)] for row in data.train]), abs=2e-6
    )


def test_answers_that_contradict_the_labels_are_a_warning(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    data = load_task(task)
    gold = [str(named_label(row.label, data.spec.labels)) for row in data.train]
    other = {"pos": "neg", "neg": "pos"}
    for said, severity, share in ((gold, "note", 1.0), ([other[name] for name in gold], "warning", 0.0)):
        found = answers(task, write(tmp_path, [["label"], *([name] for name in said)]), data)
        (finding,) = agreement_findings(found, data)
        assert (finding.severity, finding.facts["agree"]) == (severity, share)
