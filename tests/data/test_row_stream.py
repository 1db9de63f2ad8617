"""Rows read in chunks: the same as whole files give, with the mistakes at their lines, and files that change noticed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data import row_stream, text_files
from engine.data.files import read_table
from engine.data.row_stream import RowReader, format_of
from tests.errors import raises


def rows_of(path: Path, most: int = 3) -> list[dict[str, Any]]:
    form = format_of(path)
    assert form is not None
    with RowReader(path, form) as reader:
        return [
            dict(zip(chunk.columns, row, strict=True)) for chunk in reader.chunks(most) for row in chunk.rows()
        ]  # fmt: skip


CONTENT = {
    "a.csv": 'text,n\n"one, two",1\n\n"a ""b""\nc",2\nplain,3\né,4\n',
    "a.tsv": 'text\tn\n"one" two\t1\nsay "no\t2\n\tempty\n',
    "quoted.tsv": 'text\tn\n"one ""two"""\t1\n"tab\there"\t2\nplain\t3\n',
    "crlf.csv": "text,n\r\none,1\r\ntwo,2\r\n",
    "a.jsonl": '{"text": "one", "n": 1}\n\n{"text": "zwei é", "n": 2.50}\n',
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("block", [4, 1 << 18])
def test_rows_are_those_of_the_whole_file(
    tmp_path: Path, name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block == 4 and "quoted" in name:
        pytest.skip("whether a TSV is quoted shows in its first block")
    monkeypatch.setattr(text_files, "BLOCK", block)
    path = tmp_path / name
    path.write_bytes(CONTENT[name].encode())
    table = read_table(path, ["text", "n"])
    expected = [dict(zip(table.values, row, strict=True)) for row in zip(*table.values.values(), strict=True)]
    assert rows_of(path) == expected
    with RowReader(path, str(format_of(path))) as reader:
        assert [line for chunk in reader.chunks(2) for line in chunk.lines] == list(table.lines)


def test_parquet_comes_in_chunks_with_its_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", None, "d"], "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    with RowReader(tmp_path / "a.parquet", "parquet") as reader:
        chunks = list(reader.chunks(3))
    assert [list(chunk.lines) for chunk in chunks] == [[1, 2, 3], [4]]
    assert chunks[0].values("text") == ["a", "b", None]
    assert reader.estimate() == 4


def test_every_line_of_plain_text_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nthree")
    assert rows_of(tmp_path / "a.txt") == [{"text": "one"}, {"text": ""}, {"text": "three"}]


def test_an_input_without_rows_has_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\n")
    with RowReader(tmp_path / "a.csv", "csv") as reader:
        (chunk,) = reader.chunks()
    assert (chunk.columns, len(chunk.lines)) == (("text", "n"), 0)


def test_the_estimate_of_rows_comes_from_the_bytes_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "BLOCK", 1024)
    (tmp_path / "a.txt").write_text("ten chars\n" * 10_000)
    with RowReader(tmp_path / "a.txt", "text") as reader:
        chunks = reader.chunks(1000)
        next(chunks)
        assert 9_000 < (reader.estimate() or 0) < 11_000
        assert sum(len(chunk.lines) for chunk in chunks) == 9_000


def test_a_chunk_of_long_texts_has_fewer_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(text_files, "BLOCK", 1024)
    (tmp_path / "a.txt").write_text(f"{'x' * 500}\n" * 2000)
    with RowReader(tmp_path / "a.txt", "text") as reader:
        sizes = [len(chunk.lines) for chunk in reader.chunks()]
    assert sum(sizes) == 2000
    assert max(sizes) <= 256


@pytest.mark.parametrize(
    ("name", "content", "kind", "line"),
    [
        ("a.csv", "text,n\none,1\ntwo\n", "wrong-field-count", 3),
        ("a.csv", 'text,n\none,1\n"two,2\n', "invalid-quotes", 3),
        ("a.csv", 'text\n"' + "x" * 1_000_010, "invalid-quotes", 2),
        ("a.csv", "text,n\none,1\ntext,n\n", "repeated-header", 3),
        ("a.csv", "", "empty-file", None),
        ("a.tsv", "", "empty-file", None),
        ("a.tsv", "text\tn\none\n", "wrong-field-count", 2),
        ("a.jsonl", '{"text": "one"}\n{"text": \n', "invalid-json", 2),
        ("a.jsonl", '{"text": "one"}\n["two"]\n', "not-json-object", 2),
        ("a.txt", "one\ntw\0o\n", "nul-byte", 2),
        ("a.parquet", "no parquet", "not-parquet", None),
        ("missing.csv", None, "no-such-file", None),
    ],
)
def test_mistakes_have_their_lines(
    tmp_path: Path, name: str, content: str | None, kind: str, line: int | None
) -> None:  # fmt: skip
    if content is not None:
        (tmp_path / name).write_text(content)
    with raises(kind, name if line is None else f"{name}:{line}: "):
        rows_of(tmp_path / name)


@pytest.mark.parametrize("change", ["grown", "touched", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_read_is_an_error_at_the_end(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "one\n" * 10)
    with RowReader(path, "csv") as reader:
        chunks = reader.chunks(5)
        next(chunks)
        match change:
            case "grown":
                with path.open("a") as file:
                    file.write("two\n")
            case "touched":
                os.utime(path, ns=(1, 1))
            case "replaced":
                (tmp_path / "b.csv").write_bytes(path.read_bytes())
                (tmp_path / "b.csv").replace(path)
            case _:
                path.unlink()
        with raises("input-changed", "a.csv"):
            list(chunks)
