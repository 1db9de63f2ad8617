"""Compressed files of rows: the same rows as plain ones give, and what is wrong with a file in a sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from engine.data import text_files
from engine.data.compressed import compressing, decompressed
from engine.data.files import check_table, read_table, read_table_head
from engine.data.recognition import recognised
from engine.data.row_stream import RowReader, format_of
from engine.preflight.prediction import row_formats
from engine.preset.data_files import data_layer
from engine.preset.schema import Files, Task
from tests.data.test_row_stream import CONTENT, rows_of
from tests.errors import raises

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda content: bytes(pa.compress(content, codec="zstd", asbytes=True)),
}
ROWS = "text,label\n" + "".join(f"text number {row},{'red' if row % 2 else 'blue'}\n" for row in range(4000))


def packed(folder: Path, name: str, ending: str, content: bytes) -> Path:
    path = folder / f"{name}{ending}"
    path.write_bytes(PACK[ending](content))
    return path


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("name", [*CONTENT, "a.txt"])
def test_rows_are_those_of_the_plain_file(tmp_path: Path, name: str, ending: str) -> None:
    content = CONTENT.get(name, "one\ntwo\n").encode()
    (tmp_path / name).write_bytes(content)
    path = packed(tmp_path, name, ending, content)
    assert rows_of(path) == rows_of(tmp_path / name)
    if name in CONTENT:
        plain, other = read_table(tmp_path / name, ["text"]), read_table(path, ["text"])
        assert (other.values, list(other.lines)) == (plain.values, list(plain.lines))


@pytest.mark.parametrize("ending", PACK)
def test_a_custom_task_is_recognised_in_a_compressed_file(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, "tickets.csv", ending, ROWS.encode())
    check_table(path, ["text", "label"])
    found = recognised(Task(name="custom", files=Files(train=str(path))), by_name_alone=True)
    assert found.task.kind == "classification"
    layer = data_layer([path.name], tmp_path)
    assert layer is not None
    assert layer.root.plain()["task"]["title"] == "tickets"
    assert read_table_head(path).is_whole
    monkeypatch.setattr(text_files, "HEAD", 20_000)
    assert path.stat().st_size < 20_000 < len(ROWS)
    assert not read_table_head(path).is_whole, "the size that counts is that of the content"


@pytest.mark.parametrize("ending", PACK)
def test_truncated_and_damaged_files_are_refused_at_any_place(tmp_path: Path, ending: str) -> None:
    whole = PACK[ending](ROWS.encode())
    path = tmp_path / f"rows.csv{ending}"
    for content, kind in (
        (whole[:-3], "truncated-compressed-file"),
        (whole[: len(whole) // 2], "truncated-compressed-file"),
        (ROWS.encode(), "damaged-compressed-file"),
        (whole + b"more that was not compressed", "damaged-compressed-file"),
    ):
        path.write_bytes(content)
        with raises(kind, str(path)):
            rows_of(path)
        with raises(kind, str(path)):
            read_table(path, ["text"])


def test_a_damaged_checksum_is_noticed(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(ROWS.encode()))
    whole[-8] ^= 1
    (tmp_path / "rows.csv.gz").write_bytes(whole)
    with raises("damaged-compressed-file"):
        rows_of(tmp_path / "rows.csv.gz")


def test_the_estimate_is_by_compressed_bytes_and_chunks_by_those_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, "rows.csv", ".gz", (ROWS + "x" * 999 + ",red\n" + ROWS[11:]).encode())
    monkeypatch.setattr(text_files, "BLOCK", 2000)
    monkeypatch.setattr("engine.data.row_stream.CHUNK_BYTES", 20_000)
    with RowReader(path, "csv") as reader:
        sizes = [len(chunk.lines) for chunk in reader.chunks()]
    assert max(sizes) < 2000
    assert reader.estimate() == sum(sizes) == 8001


@pytest.mark.parametrize("ending", PACK)
def test_what_is_written_is_read_again_and_the_same_each_time(tmp_path: Path, ending: str) -> None:
    contents = []
    for name in ("a.csv", "b.csv"):
        path = tmp_path / f"{name}{ending}"
        with path.open("wb") as file, compressing(file, path) as sink:
            sink.write(b"text\none\n")
            sink.write(b"two\n" * 1000)
        contents.append(path.read_bytes())
        with path.open("rb") as written:
            assert decompressed(written, path).read() == b"text\none\n" + b"two\n" * 1000
    assert contents[0] == contents[1]


def test_formats_are_told_by_the_ending_before_and_parquet_stays_as_it_is(tmp_path: Path) -> None:
    assert [format_of(Path(name)) for name in ("a.CSV.GZ", "a.txt.zst", "a.gz")] == ["csv", "text", None]
    packed_rows = tmp_path / "a.parquet.gz"
    for inputs, output, form in (([packed_rows], None, None), ([], packed_rows, None), ([], Path("a.gz"), "parquet")):
        with raises("compressed-parquet"):
            row_formats(inputs, output, form=form, input_form=None)
    packed_rows.touch()
    with raises("compressed-parquet", str(packed_rows)):
        read_table(packed_rows, ["text"])
