"""Unlabelled rows of the user's own: every format, which rows are left out, how the task's are mixed in, what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.examples import Examples
from engine.data.findings import Finding
from engine.data.load import inputs_for
from engine.data.stored_rows import LARGE
from engine.data.types import Example, TaskData, TaskSpec
from engine.data.unlabelled_files import check_unlabelled, files_of
from engine.errors import DataError
from engine.preset.schema import Columns, Files, Task, UnlabelledFiles
from engine.record.paths import cache_dir
from tests.errors import raises

CSV = 'idx,body,label\n1,"one, two",x\n2,three,y\n3,,x\n4,four,y\n'
BODIES = ["one, two", "three", "four"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))


def rows(split: str, *texts: str | tuple[str, str]) -> list[Example]:
    pairs = [text if isinstance(text, tuple) else (text, None) for text in texts]
    return [Example(f"{split}-{number}", text, pair, 0) for number, (text, pair) in enumerate(pairs)]


def task_of(*, pairs: bool = False) -> tuple[Task, TaskData]:
    """A task of two training rows and one row each for dev and test."""
    spec = TaskSpec("mine", "classification", ("a", "b"), ("accuracy",), is_pair=pairs)

    def texts(*words: str) -> Sequence[str | tuple[str, str]]:
        return [(word, f"{word}!") for word in words] if pairs else words

    data = TaskData(
        spec,
        rows("train", *texts("train one", "train two")),
        {"dev": rows("dev", *texts("in dev"))},
        (),
        rows("test", *texts("in test")),
    )
    columns = Columns(text="question", pair="answer" if pairs else None)
    return Task(name="custom", files=Files(train="/t.csv", dev="/d.csv"), columns=columns), data


def read(*files: Path | str, pairs: bool = False, **keys: Any) -> tuple[Examples, dict[str, Finding]]:
    source = UnlabelledFiles.model_validate({"files": [str(file) for file in files], **keys})
    inputs, findings, _ = inputs_for(source, *task_of(pairs=pairs))
    assert {finding.severity for finding in findings} <= {"note"}
    return Examples.of(inputs), {finding.kind: finding for finding in findings}


def texts(inputs: Examples) -> list[str]:
    assert inputs.labels is None
    return list(inputs.texts)


def as_csv(path: Path) -> Path:
    path = path.with_suffix(".csv")
    path.write_text(CSV)
    return path


def as_tsv(path: Path) -> Path:
    path = path.with_suffix(".tsv")
    path.write_text("body\tlabel\none, two\tx\nthree\ty\n \tz\nfour\tz\n")
    return path


def as_packed_json(path: Path) -> Path:
    path = path.with_suffix(".jsonl.gz")
    lines = [{"label": 1, "body": "one, two"}, {"body": "three"}, {"label": 2}, {"body": "four"}]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


def as_parquet(path: Path) -> Path:
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table({"body": ["one, two", "three", None, "four"], "label": [1, 2, 3, 4]}), path)
    return path


def as_text(path: Path) -> Path:
    path = path.with_suffix(".txt")
    path.write_text("one, two\nthree\n\nfour\n")
    return path


@pytest.mark.parametrize("write", [as_csv, as_tsv, as_packed_json, as_parquet, as_text])
@pytest.mark.parametrize("named", [True, False])
def test_every_format(write: Callable[[Path], Path], named: bool, tmp_path: Path) -> None:
    file = write(tmp_path / "more")
    keys: dict[str, Any] = {"columns": {"text": "body"}} if named else {}
    inputs, findings = read(file, **keys)
    assert texts(inputs) == BODIES
    assert findings["rows-without-text"].facts == {"rows": 1}
    ignored = findings["columns-not-read"].facts["columns"] if "columns-not-read" in findings else []
    assert ("label" in ignored) == (write is not as_text), "a label column is not read, and the note says so"


def test_pairs(tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text("a,b,question,answer\n1,2,q,r\n3,4,s,\n5,6,q,r2\n")
    inputs, findings = read(file, pairs=True)
    assert [(row.text, row.pair) for row in inputs] == [("q", "r"), ("q", "r2")]
    assert findings["columns-not-read"].facts == {"columns": ["a", "b"]}
    inputs, _ = read(file, pairs=True, columns={"text": "a", "pair": "b"})
    assert [(row.text, row.pair) for row in inputs] == [("1", "2"), ("3", "4"), ("5", "6")]


def test_several_files_and_patterns_read_each_file_once(tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    pile.mkdir()
    for name in ("b", "a", "c[1]"):
        (pile / f"{name}.txt").write_text(f"text of {name}\n")
    (pile / "folder.txt").mkdir()
    assert texts(read(pile / "b.txt", pile / "*.txt")[0]) == ["text of b", "text of a", "text of c[1]"]
    assert texts(read(pile / "c[1].txt")[0]) == ["text of c[1]"], "a file of this name is no pattern"


def test_rows_of_dev_and_test_and_repeated_ones_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("new\nin dev\nnew\n in  test \ntrain one\nother\nin dev\n")
    inputs, findings = read(file)
    assert texts(inputs) == ["new", "train one", "other"]
    assert findings["rows-left-out"].facts == {"rows": 7, "measured": 3, "training": 0, "repeated": 1}
    inputs, findings = read(file, with_task=True)
    assert texts(inputs) == ["new", "other", "train one", "train two"], "each row of both once"
    assert findings["rows-left-out"].facts == {"rows": 7, "measured": 3, "training": 1, "repeated": 1}


def test_a_pair_is_another_input_when_one_side_differs(tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text("question,answer\nin dev,in dev!\nin dev,no\n")
    assert [(row.text, row.pair) for row in read(file, pairs=True)[0]] == [("in dev", "no")]


@pytest.mark.parametrize(
    ("share", "of_task"), [(0.2, [3, 2]), (0.5, [10, 10]), (0.01, [1])], ids=["fifth", "half", "least"]
)
def test_a_share_of_each_epoch_is_the_tasks(share: float, of_task: list[int], tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("".join(f"row {number}\n" for number in range(20)))
    inputs, findings = read(file, with_task=share)
    found = texts(inputs)
    assert found[:20] == [f"row {number}" for number in range(20)]
    counts = sorted((found.count(text) for text in ("train one", "train two") if text in found), reverse=True)
    assert counts == of_task
    assert findings["share-of-task"].facts == {"rows": 20, "of_task": sum(of_task), "training_rows": 2}
    assert read(file, with_task=share)[0] == inputs, "the same rows are drawn every time"


def test_large_files_are_read_from_the_cache_with_what_was_said_of_them(tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    count = LARGE // 10
    file.write_text("idx,text\n" + "".join(f"{number},row {number}\n" for number in range(count)) + "0,\n")
    first, said = read(file)
    assert len(first) == count
    (entry,) = (cache_dir() / "rows").glob("*.safetensors")
    file_now = tmp_path / "moved" / "more.csv"
    file_now.parent.mkdir()
    file.rename(file_now)
    again, said_again = read(file_now)
    assert (again, said_again) == (first, said)
    assert list((cache_dir() / "rows").glob("*.safetensors")) == [entry]
    named, _ = read(file_now, columns={"text": "idx"})
    assert named.texts[1] == "1", "other columns are another entry"


@pytest.mark.parametrize(
    ("name", "content", "keys", "kind", "facts"),
    [
        ("more.csv", "", {}, "empty-file", ()),
        ("more.txt", "", {}, "no-rows", ("no rows",)),
        ("more.txt", "\n \n", {}, "no-rows", ("only rows without text",)),
        ("more.csv", "text\n", {}, "no-rows", ()),
        ("more.txt", "same\nsame\n", {}, "all-texts-equal", ("2",)),
        ("more.txt", "in dev\nin test\n", {}, "no-new-rows", ("dev or test",)),
        ("more.txt", "train one\n", {"with_task": True}, "no-new-rows", ("train",)),
        ("more.csv", "body,x\na,b\n", {"columns": {"text": "boddy"}}, "no-such-column", ('"boddy"', '"body"?')),
        ("more.csv", "u,v\na,b\n", {}, "no-text-column", ("columns = {", '"u"', '"question"')),
        ("more.csv", "question,answer\na,b\n", {"columns": {"text": "question", "pair": "answer"}}, "pair-does-not-fit", ("single", "leave out")),
        ("more.jsonl", '{"text": 3}\n', {}, "not-text", ("a number",)),
        ("more.docx", "text", {}, "unknown-file-format", (".jsonl", ".txt")),
        ("more.parquet.gz", "text", {}, "compressed-parquet", ()),
        ("*.csv", None, {}, "no-file-matches", ()),
        ("gone.csv", None, {}, "no-such-file", ()),
    ],
)  # fmt: skip
def test_what_is_refused(
    name: str, content: str | None, keys: dict[str, Any], kind: str, facts: tuple[str, ...], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        read(tmp_path / name, **keys)
    assert error.value.kind == kind
    assert error.value.file == str(tmp_path / name)
    assert all(fact in error.value.sentence for fact in facts), error.value.sentence


@pytest.mark.parametrize(
    ("name", "content", "keys", "kind"),
    [
        ("more.txt", "one\n", {}, "pairs-in-plain-text"),
        ("more.csv", "question,answer\na,b\n", {"columns": {"text": "question"}}, "pair-does-not-fit"),
        ("more.csv", "text,x\na,b\n", {}, "no-text-column"),
    ],
)
def test_what_a_task_of_pairs_refuses(name: str, content: str, keys: dict[str, Any], kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    source = UnlabelledFiles.model_validate({"files": [str(tmp_path / name)], **keys})
    for check in (
        lambda: check_unlabelled(source, task_of(pairs=True)[0]),
        lambda: read(tmp_path / name, pairs=True, **keys),
    ):
        with pytest.raises(DataError) as error:
            check()
        assert error.value.kind == kind


def test_the_check_before_a_run_reads_the_beginning_alone(tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text("question\n" + "word\n" * 200_000 + '"never closed\n')
    source = UnlabelledFiles(files=[str(file)])
    check_unlabelled(source, task_of()[0])
    assert files_of(source) == [file]
    with pytest.raises(DataError, match="never closed"):
        read(file)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.conll", "Anna\nleft\n\nin\ndev\n"),
        ("labelled.conll", "Anna B-PER\nleft O\n\nin O\ndev O\n"),
        ("lists.jsonl", '{"tokens": ["Anna", "left"]}\n{"tokens": ["in", "dev"]}\n'),
    ],
    ids=["words-alone", "words-with-labels", "lists"],
)
def test_a_list_of_words_is_a_text_where_words_have_labels(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    source = UnlabelledFiles(files=[str(tmp_path / name)])
    task, data = task_of()
    with raises("not-text", error=DataError):
        inputs_for(source, task, data)
    data = replace(data, spec=replace(data.spec, kind="token-classification"))
    inputs, findings, _ = inputs_for(source, task, data)
    assert texts(Examples.of(inputs)) == ["Anna left"], "the row of dev is left out"
    assert "rows-left-out" in {finding.kind for finding in findings}
