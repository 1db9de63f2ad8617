"""Which columns hold the texts: only one reading, or an error that names the columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.text_columns import TextColumns, columns_of_task, text_columns
from engine.preset.schema import Columns, Task
from tests.errors import raises

FILE = Path("a.csv")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["text", "label"], ("text", None)),
        (["id", " Sentence", "label"], (" Sentence", None)),
        (["ticket"], ("ticket", None)),
        (["index", "sentence1", "sentence2"], ("sentence1", "sentence2")),
        (["premise", "hypothesis", "label"], ("premise", "hypothesis")),
        (["question", "answer", "label"], ("question", "answer")),
        (["text", "text_pair", "label"], ("text", "text_pair")),
        (["id", "ticket", "label"], ("ticket", None)),
    ],
)
def test_usual_names_with_one_reading(columns: list[str], expected: TextColumns) -> None:
    assert text_columns(columns, FILE) == expected


@pytest.mark.parametrize(
    ("columns", "is_pair", "kind"),
    [
        (["text", "review"], None, "several-text-columns"),
        (["question", "answer", "text"], None, "several-text-columns"),
        (["question", "answer", "sentence"], True, "several-text-columns"),
        (["ticket", "owner"], None, "no-text-column"),
        (["text", "label"], True, "no-text-column"),
        (["sentence1", "sentence2"], False, "no-text-column"),
    ],
)
def test_no_reading_or_several_name_the_columns(columns: list[str], is_pair: bool | None, kind: str) -> None:
    with raises(kind, *columns, "--text", "a.csv"):
        text_columns(columns, FILE, is_pair=is_pair)


def test_a_pair_task_reads_question_and_answer_as_a_pair() -> None:
    assert text_columns(["question", "answer"], FILE, is_pair=True) == ("question", "answer")


def test_the_columns_of_the_run_come_first_and_the_users_before_them() -> None:
    known: list[TextColumns] = [("subject", None)]
    assert text_columns(["text", "subject"], FILE, known=known, is_pair=False) == ("subject", None)
    assert text_columns(["text", "subject"], FILE, text="text", known=known, is_pair=False) == ("text", None)
    with raises("no-such-column", "body", "subject"):
        text_columns(["text", "subject"], FILE, text="body", known=known)
    with raises("no-text-column", "subject", "title"):
        text_columns(["title", "owner"], FILE, known=known, is_pair=False)
    with raises("pair-does-not-fit"):
        text_columns(["text", "subject"], FILE, text="text", pair="subject", known=known, is_pair=False)


def test_a_column_that_is_there_twice_is_not_chosen() -> None:
    with raises("repeated-column", "text"):
        text_columns(["text", "text"], FILE)


def test_columns_of_tasks() -> None:
    mrpc = Task(name="mrpc")
    assert columns_of_task(mrpc) == ([("#1 String", "#2 String"), ("sentence1", "sentence2")], True)
    custom = Task(name="custom", columns=Columns(text="a", pair="b"))
    assert columns_of_task(custom) == ([("a", "b")], True)
