"""Data at a glance: rows, classes, lengths, repeated rows, unknown tokens, examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from engine.data.overview import overview
from engine.preset.load import load_preset
from tests.cli.conftest import Call, crild  # noqa: F401 - a fixture

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
