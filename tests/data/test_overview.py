"""Data at a glance: rows, classes, lengths, repeated rows, unknown tokens, examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from engine.data.overview import overview
from engine.errors import DataError, ModelError
from engine.preflight.own_data import TextsAlone, completed, texts_alone
from engine.preset.load import load_preset
from engine.preset.schema import Columns
from tests.cli.conftest import Call, crild  # noqa: F401 - a fixture
from tests.preset.support import BERT

TRAIN = ["a b c,x", "a b,y", "a b c,x", "a b,y", "c c c c,y", "a,x"]
DEV = ["a b c,x", "q r s t,y"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files, and a tokenizer that knows the words a, b and c."""
    monkeypatch.chdir(tmp_path)
    for name, rows in (("train", TRAIN), ("dev", DEV)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    words = {word: index for index, word in enumerate(("[UNK]", "[CLS]", "[SEP]", "a", "b", "c"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    return tmp_path


def described(*settings: str) -> dict[str, Any]:
    return overview(load_preset(["kd", "train.csv", "dev.csv"], ["task.kind=classification", *settings]).preset)


def kinds(result: dict[str, Any]) -> set[str]:
    return {finding["kind"] for finding in result["findings"]}


def test_rows_classes_and_lengths_in_words_where_no_tokenizer_is_at_hand(folder: Path) -> None:
    result = described("teacher.model=nobody/nothing", "task.max_length=4")
    train, dev = result["splits"]
    assert (result["unit"], result["tokenizer"], result["classes"]) == ("words", None, ["x", "y"])
    assert (train["rows"], train["repeated"], train["source"]) == (6, 2, "train.csv")
    assert train["labels"] == {"x": 3, "y": 3}
    assert train["lengths"] == {"median": 3, "p95": 4, "longest": 4, "longer": 0}
    assert train["unknown"] is None
    assert {"repeated-examples", "dev-overlaps-train"} <= kinds(result)
    assert [example["text"] for example in result["examples"]] == ["a b c", "a b c", "c c c c"]
    assert dev["rows"] == 2


def test_lengths_in_tokens_and_unknown_ones(folder: Path) -> None:
    result = described("teacher.model=./model", "task.max_length=5")
    train, dev = result["splits"]
    assert result["unit"] == "tokens"
    assert train["lengths"] == {"median": 5, "p95": 6, "longest": 6, "longer": 1}
    assert (train["unknown"], dev["unknown"]) == (0.0, pytest.approx(4 / 7))
    assert "unknown-tokens" in kinds(result)


def test_a_tokenizer_that_cannot_be_read_is_none(folder: Path) -> None:
    (folder / "model" / "tokenizer.json").write_text("{")
    assert described("teacher.model=./model")["unit"] == "words"


def test_conflicts_and_scores(folder: Path) -> None:
    (folder / "train.csv").write_text("text,label\na,x\na,y\nb,x\nc,y\n")
    (folder / "dev.csv").write_text("text,label\nd,x\ne,y\n")
    assert "conflicting-labels" in kinds(described())
    (folder / "train.csv").write_text("text,label\na,1\nb,2.5\n")
    (folder / "dev.csv").write_text("text,label\nd,2\ne,3\n")
    result = described("task.kind=regression")
    assert result["splits"][0]["labels"] == {"lowest": 1.0, "mean": 1.75, "highest": 2.5}


def test_the_command_shows_it_and_says_how_the_file_was_read(folder: Path, crild: Call) -> None:  # noqa: F811
    said = crild("data", "train.csv", "dev.csv", "--set", "teacher.model=./model")
    assert said.code == 0, said.err
    assert '"text"' in said.err
    for fact in ("classification", "57.1 %", "a b c", "warning:"):
        assert fact in said.out, said.out
    assert max(map(len, [line for line in said.out.splitlines() if "─" in line])) <= 80


def test_the_command_refuses_what_a_run_refuses(folder: Path, crild: Call) -> None:  # noqa: F811
    (folder / "odd.csv").write_text("text,one,two\na,x,y\n")
    said = crild("data", "odd.csv")
    assert (said.code, said.out) == (3, "")
    assert "task.columns.label" in said.err


# -- texts without labels


@pytest.fixture
def texts(folder: Path) -> Path:
    """The folder with texts alone, and answers to them; dev has labels."""
    rows = ["a b c", "a b", "a b c", "q r"]
    (folder / "texts.csv").write_text("id,body\n" + "".join(f"{index},{row}\n" for index, row in enumerate(rows)))
    (folder / "bodies.csv").write_text("body,label\na q,x\nb,y\n")
    (folder / "answers.csv").write_text("body,probability_x,probability_y\n" + "".join(f"{row},1,0\n" for row in rows))
    (folder / "model" / "config.json").write_text(json.dumps({**BERT, "architectures": ["BertModel"]}))
    return folder


def alone(*settings: str, refs: Sequence[str] = ("kd", "texts.csv")) -> TextsAlone | None:
    loaded = load_preset(list(refs), settings)
    with pytest.raises((DataError, ModelError)) as caught:
        completed(loaded)
    return texts_alone(loaded, caught.value)


DEV_FILE, ANSWERS, BARE = "task.files.dev=bodies.csv", "teacher.answers=answers.csv", "teacher.model=./model"


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ((), ["task.files.dev", "teacher.finetune=false"]),
        ((DEV_FILE,), ["teacher.finetune=false"]),
        ((ANSWERS, "student.init=scratch"), ["task.files.dev"]),
        (("teacher.answers=none.csv", "student.init=scratch"), ["task.files.dev", "teacher.answers"]),
        ((DEV_FILE, BARE, "teacher.finetune=false"), ["no classification head"]),
        ((DEV_FILE, "teacher.model=nobody/nothing", "teacher.finetune=false"), ["task.class_names"]),
        (("task.files.dev=texts.csv", ANSWERS, "student.init=scratch"), ["neither"]),
    ],
    ids=str,
)
def test_what_a_run_on_texts_without_labels_lacks(texts: Path, settings: Sequence[str], facts: Sequence[str]) -> None:
    found = alone(*settings)
    assert found is not None
    assert len(found.missing) == len(facts)
    assert all(fact in sentence for fact, sentence in zip(facts, found.missing, strict=True))
    assert found.loaded.preset.task.columns == Columns(text="body", pair=None)


def test_texts_are_looked_at_without_labels(texts: Path) -> None:
    found = alone(BARE, DEV_FILE)
    assert found is not None
    result = overview(found.loaded.preset, texts_alone=True)
    train, dev = result["splits"]
    assert (result["kind"], result["metric"], result["classes"], result["unit"]) == (None, None, [], "tokens")
    assert (train["rows"], train["repeated"], train["labels"], train["unknown"]) == (4, 1, {}, pytest.approx(2 / 10))
    assert (dev["rows"], dev["labels"]) == (2, {})
    assert [example["label"] for example in result["examples"]] == [None] * 3
    assert any('"id"' in note for note in result["notes"]), "what is not read"
    (texts / "texts.csv").write_text("id,body\n0,a\n1,\n2,b\n")
    again = overview(found.loaded.preset, texts_alone=True)
    assert again["splits"][0]["rows"] == 2
    assert any("no text" in note for note in again["notes"])


def test_the_students_tokenizer_reads_the_rows_that_answers_are_of(folder: Path) -> None:
    result = described("teacher.answers=answers.csv", "student.init=./model")
    assert (result["unit"], result["tokenizer"]) == ("tokens", str(folder / "model"))
    assert described("teacher.answers=answers.csv", "student.init=scratch")["unit"] == "words"


@pytest.mark.parametrize(
    "text", ["text;label\na;x\nb;y\n", "text,one,two\na,x,y\n", "text,label\na,x\nb,\n", "text,text\na,b\n"]
)
def test_files_that_have_labels_are_refused_as_ever(texts: Path, text: str) -> None:
    (texts / "odd.csv").write_text(text)
    assert alone(refs=("kd", "odd.csv")) is None


def test_the_command_shows_texts_without_labels_and_what_is_missing(texts: Path, crild: Call) -> None:  # noqa: F811
    said = crild("data", "texts.csv", "--set", ANSWERS)
    assert said.code == 0, said.err
    assert '"body"' in said.err
    assert all(fact in said.out for fact in ("texts without labels", "a b c", "--set task.files.dev=FILE"))
    assert "teacher.model" not in said.out, "the teacher is there"
    whole = crild("data", "texts.csv", "--set", ANSWERS, "--set", DEV_FILE, "--json")
    assert (whole.json["missing"], whole.json["classes"]) == ([], ["x", "y"])


def test_no_method_that_the_user_did_not_name_stands_in_the_way(texts: Path, crild: Call) -> None:  # noqa: F811
    said = crild("data", "texts.csv", "--set", DEV_FILE, "--set", "task.class_names=[x, y]", "--json")
    assert said.code == 0, said.err
    assert said.json["classes"] == ["x", "y"]
    assert crild("data", "kd", "texts.csv", "--set", DEV_FILE, "--set", "task.class_names=[x, y]").code == 2
