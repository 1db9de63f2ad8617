"""Tasks with a label for each word: what is read from files, what is recognised, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.class_weights import class_weights
from engine.data.content import rows_hash
from engine.data.examples import Examples
from engine.data.findings import data_findings
from engine.data.load import load_task
from engine.data.recognition import recognised
from engine.data.subset import few_samples
from engine.data.types import TaskData, WordLabels
from engine.errors import DataError
from engine.preset.schema import Columns, Files, Task
from tests.data.word_tasks import Rows, sentences, write_conll, write_json_lines
from tests.errors import raises

KIND = "token-classification"
ROWS: Rows = [(["Anna", "met", "Ben", "Berg"], ["B-PER", "O", "B-PER", "I-PER"]), (["in", "Oslo"], ["O", "B-LOC"])]


def task(train: Path, dev: Path | None = None, **settings: Any) -> Task:
    files = Files(train=str(train), dev=None if dev is None else str(dev))
    return Task(name="custom", files=files, **settings)


def json_lines(folder: Path, *rows: dict[str, Any], name: str = "x.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labels_of(data: TaskData) -> list[Any]:
    return [row.label for row in data.train]


def test_words_and_labels_of_a_conll_file(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", ROWS)
    data = load_task(task(file, file))
    assert data.spec.kind == KIND
    assert data.spec.labels == ("B-LOC", "B-PER", "I-PER", "O")
    assert data.spec.metrics == ("entity_f1", "entity_precision", "entity_recall", "accuracy")
    assert [row.text for row in data.train] == ["Anna met Ben Berg", "in Oslo"]
    assert labels_of(data) == [WordLabels((1, 3, 1, 2)), WordLabels((3, 0))]
    notes = " ".join(data.notes)
    for fact in (
        'column "1" is the words, column "3"',
        "2 types",
        '"LOC", "PER"',
        "IOB2",
        "3 in 2 sentences of x.conll",
    ):
        assert fact in notes


def test_the_same_rows_as_json_lines_are_the_same_data(tmp_path: Path) -> None:
    conll = load_task(task(write_conll(tmp_path / "x.conll", ROWS), dev_share=0.5))
    lists = load_task(task(write_json_lines(tmp_path / "x.jsonl", ROWS), dev_share=0.5))
    assert rows_hash(conll.train, conll.spec.labels) == rows_hash(lists.train, lists.spec.labels)
    assert lists.spec == conll.spec.__class__(**{**vars(conll.spec), "name": lists.spec.name})


def test_class_indices_of_a_parquet_file_have_the_names_that_it_gives(tmp_path: Path) -> None:
    names = ["O", "B-PER", "I-PER"]
    features = {"ner_tags": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "List"}}
    table = pa.table({"tokens": [["Anna", "ran"], ["Ben"]], "ner_tags": [[1, 0], [1]]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "x.parquet")
    data = load_task(task(tmp_path / "x.parquet", tmp_path / "x.parquet"))
    assert data.spec.labels == ("O", "B-PER", "I-PER")
    assert labels_of(data) == [(1, 0), (1,)]


def test_numbers_take_the_names_of_the_preset(tmp_path: Path) -> None:
    file = json_lines(tmp_path, {"tokens": ["Anna", "ran"], "ner_tags": [1, 0]})
    with raises("unnamed-word-labels", "ner_tags", "label_names", error=DataError):
        load_task(task(file, file))
    columns = Columns(text="tokens", label="ner_tags", label_names=["O", "B-PER"])
    data = load_task(task(file, file, kind=KIND, columns=columns))
    assert (data.spec.labels, labels_of(data)) == (("O", "B-PER"), [(1, 0)])


@pytest.mark.parametrize(
    ("tokens", "tags", "kind", "facts"),
    [
        (["a", "b"], ["O"], "labels-do-not-match-words", ["1 label in", "2 words"]),
        ([], [], "no-words", []),
        (["a", 7], ["O", "O"], "not-text", ["7"]),
        (["New York"], ["O"], "space-in-word", ["New York"]),
        (["a"], [None], "bad-word-label", []),
        (["a"], [""], "bad-word-label", []),
        ("a", ["O"], "words-not-list", []),
        (["a"], "O", "labels-not-list", []),
        (["a"], [9], "label-not-named", ["9", "0 to 1"]),
    ],
    ids=["fewer-labels", "no-words", "number", "space", "null-label", "empty-label", "text", "one-label", "no-name"],
)
def test_what_does_not_fit_is_refused_with_its_line(
    tmp_path: Path, tokens: Any, tags: Any, kind: str, facts: list[str]
) -> None:
    good = {"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}
    file = json_lines(tmp_path, good, {"tokens": tokens, "ner_tags": tags})
    columns = Columns(text="tokens", label="ner_tags", label_names=["O", "B-X"])
    with raises(kind, ":2", *facts, error=DataError):
        load_task(task(file, file, kind=KIND, columns=columns))


def test_labels_that_train_lacks_and_files_with_one_label(tmp_path: Path) -> None:
    train = write_conll(tmp_path / "train.conll", ROWS)
    dev = write_conll(tmp_path / "dev.conll", [(["noon"], ["B-TIME"])])
    with raises("unknown-label", "B-TIME", "train.conll", error=DataError):
        load_task(task(train, dev))
    with raises("single-class", '"O"', error=DataError):
        load_task(task(write_conll(tmp_path / "one.conll", [(["a", "b"], ["O", "O"])]), train))


def test_parts_of_speech_are_measured_by_word(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", [(["dogs", "bark"], ["NOUN", "VERB"])])
    data = load_task(task(file, file))
    assert data.spec.metrics == ("accuracy",)
    assert "mark no entities" in " ".join(data.notes)
    with raises("metric-without-entities", "entity_f1", error=DataError):
        load_task(task(file, file, kind=KIND, metrics=["entity_f1"]))


@pytest.mark.parametrize("damaged", ["X-foo", "B-", "PER"])
def test_labels_that_turn_off_entity_metrics_are_named(tmp_path: Path, damaged: str) -> None:
    file = write_conll(tmp_path / "x.conll", [*ROWS, (["to", "Lille"], ["O", damaged])])
    data = load_task(task(file, file))
    assert data.spec.metrics == ("accuracy",)
    (note,) = [note for note in data.notes if note.startswith("warning")]
    assert f'"{damaged}" (the first in line 12 of x.conll) is neither O nor' in note
    assert "B-LOC" not in note


def test_entities_without_words_outside_of_them_are_explained(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", [(["Anna", "Berg"], ["B-PER", "I-PER"])])
    assert "no word has the label O" in " ".join(load_task(task(file, file)).notes)


def test_broken_sequences_are_counted_and_located(tmp_path: Path) -> None:
    rows = [*ROWS, (["to", "New", "York"], ["O", "O", "I-LOC"])]
    data = load_task(task(write_conll(tmp_path / "x.conll", rows), write_conll(tmp_path / "dev.conll", ROWS[:1])))
    (warning,) = [note for note in data.notes if note.startswith("warning")]
    for fact in ("1 of 4 entities", "x.conll", "IOB2", "line 13", "I-LOC"):
        assert fact in warning


# -- what is recognised


def test_one_type_in_one_sentence_is_called_one(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", [(["Anna", "ran"], ["B-PER", "O"])])
    notes = " ".join(load_task(task(file, file)).notes)
    assert 'entities of 1 type ("PER")' in notes
    assert "1 in 1 sentence of x.conll" in notes


def test_the_label_may_come_first(tmp_path: Path) -> None:
    (tmp_path / "x.bio").write_text("B-PER\tAnna\nO\tran\n")
    found = recognised(task(tmp_path / "x.bio", tmp_path / "x.bio"), by_name_alone=True).task
    assert found.columns is not None
    assert (found.kind, found.columns.text, found.columns.label) == (KIND, "2", "1")


def test_several_lists_of_labels_are_asked_about(tmp_path: Path) -> None:
    row = {"tokens": ["a", "b"], "pos_tags": ["X", "Y"], "ner_tags": ["O", "B-X"]}
    with raises("several-candidate-columns", "pos_tags", "ner_tags", error=DataError):
        recognised(task(json_lines(tmp_path, row), kind=KIND))
    chosen = task(json_lines(tmp_path, row), columns=Columns(label="pos_tags"))
    found = recognised(chosen).task
    assert found.columns is not None
    assert (found.kind, found.columns.text, found.columns.label) == (KIND, "tokens", "pos_tags")


@pytest.mark.parametrize("kind", [None, KIND])
def test_a_damaged_row_does_not_make_another_list_the_labels(tmp_path: Path, kind: Any) -> None:
    good = {"tokens": ["a", "b"], "pos_tags": ["X", "Y"], "ner_tags": ["O", "B-X"], "topics": ["x"]}
    file = json_lines(tmp_path, good, {**good, "ner_tags": ["O"]}, good)
    with pytest.raises(DataError) as caught:
        recognised(task(file, kind=kind), by_name_alone=True)
    assert caught.value.kind == "several-candidate-columns"
    candidates = caught.value.sentence.split("; the columns are")[0]
    assert [name in candidates for name in ("pos_tags", "ner_tags", "topics")] == [True, True, False]
    with raises("labels-do-not-match-words", ":2", "ner_tags", error=DataError):
        recognised(task(file, columns=Columns(label="ner_tags")), by_name_alone=True)
    found = recognised(task(json_lines(tmp_path, {**good, "ner_tags": ["O"]}, good), kind=kind), by_name_alone=True)
    assert found.task.columns is not None
    assert found.task.columns.label == "pos_tags", "a list that rarely has a label for each word is not one of labels"


@pytest.mark.parametrize(
    "columns", [None, Columns(label="ner_tags"), Columns(text="tokens")], ids=["open", "label", "text"]
)
@pytest.mark.parametrize("others", [{}, {"pos_tags": ["X"]}, {"domain": "news"}], ids=["alone", "pos", "domain"])
def test_a_row_with_fewer_labels_than_words_is_named_also_where_nothing_else_is_known(
    tmp_path: Path, columns: Columns | None, others: dict[str, Any]
) -> None:
    good = {"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]} | others
    bad = {"tokens": ["a", "b", "c"], "ner_tags": ["O", "B-X"]} | others
    file = json_lines(tmp_path, good, bad, good)
    with raises("labels-do-not-match-words", ":2", "3 words", "2 labels", "ner_tags", error=DataError):
        recognised(task(file, columns=columns), by_name_alone=True)


def test_the_words_themselves_are_no_labels(tmp_path: Path) -> None:
    file = json_lines(tmp_path, {"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]})
    with pytest.raises(DataError):
        recognised(task(file, columns=Columns(label="tokens")), by_name_alone=True)


def test_a_text_beside_its_words_can_have_several_labels(tmp_path: Path) -> None:
    row = {"text": "a b", "tokens": ["a", "b"], "labels": ["x", "y", "z"]}
    assert recognised(task(json_lines(tmp_path, row))).task.kind == "multilabel"


def test_lists_of_another_length_are_several_labels_of_a_text(tmp_path: Path) -> None:
    file = json_lines(tmp_path, {"text": "a b", "labels": ["x", "y"]}, {"text": "c", "labels": []})
    assert recognised(task(file)).task.kind == "multilabel"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"metrics": ["pearson"]}, "unsuitable-metric"),
        ({"label_noise": 0.1}, "noise-in-word-labels"),
        ({"columns": Columns(group="1")}, "whole-text-column"),
        ({"columns": Columns(pair="2")}, "whole-text-column"),
    ],
    ids=["metric", "noise", "group", "pair"],
)
def test_settings_of_whole_texts_are_refused_once_words_are_recognised(
    tmp_path: Path, settings: dict[str, Any], kind: str
) -> None:
    file = write_conll(tmp_path / "x.conll", ROWS)
    with raises(kind, error=DataError):
        recognised(task(file, file, **settings))


# -- what a task does with such rows


def test_subsets_weights_and_findings(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", sentences(30, 1))
    data = load_task(task(file, file, examples=10))
    assert len(data.train) == 10
    rows = Examples.of(data.train)
    assert [row.label for row in few_samples(rows, 10, 0)] == [row.label for row in rows]
    weights = class_weights("balanced", data)
    assert rows.labels is not None
    counts = np.bincount([label for row in rows.labels for label in row], minlength=len(weights))
    assert np.allclose(np.array(weights) * counts, counts.sum() / np.count_nonzero(counts))
    dev = write_conll(tmp_path / "dev.conll", ROWS[:1])
    kinds = {(each.kind, each.severity) for each in data_findings(load_task(task(file, dev)))}
    assert ("class-missing-in-dev", "note") in kinds


def test_a_dev_set_is_drawn_by_sentence(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", sentences(60, 1))
    data = load_task(task(file, dev_share=0.25))
    train, dev = ({row.text for row in rows} for rows in (data.train, data.dev["dev"]))
    assert not train & dev
    assert "each class" not in " ".join(data.notes)


def test_noise_in_labels_is_refused(tmp_path: Path) -> None:
    file = write_conll(tmp_path / "x.conll", ROWS)
    with raises("noise-in-word-labels", error=DataError):
        load_task(task(file, file, label_noise=0.1))
