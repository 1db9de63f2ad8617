"""Examples by column are the sequence that a tuple of them would be, in memory and in mapped files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import spool
from engine.data.columns import FEW, ColumnBuilder
from engine.data.examples import CHUNK, Examples, NumberedIds, TextBuilder, TextColumn
from engine.data.types import Example

TEXT = st.text(max_size=12)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.integers(0, 2)), max_size=30)


@given(ROWS, st.sampled_from(["classes", "scores", "none", "some"]), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_they_are_what_a_tuple_is(
    rows: list[tuple[str, str, int]], labels: str, paired: bool, data: st.DataObject
) -> None:
    def label(row: int, value: int) -> int | float | None:
        return {"classes": value, "scores": value / 2, "none": None, "some": value if row % 2 else None}[labels]

    expected = tuple(
        Example(f"t-{row}", text, pair if paired else None, label(row, value))
        for row, (text, pair, value) in enumerate(rows)
    )
    found = Examples.of(expected)
    assert tuple(found) == expected == found
    assert [found[row] for row in range(len(rows))] == list(expected)
    assert list(found.inputs()) == [(row.text, row.pair) for row in expected]
    assert [type(row.label) for row in found] == [type(row.label) for row in expected]
    start, end = sorted(data.draw(st.tuples(st.integers(0, 30), st.integers(0, 30))))
    assert found[start:end] == expected[start:end]
    chosen = np.array([row for row in range(len(rows)) if row % 3], np.int64)
    some = found.take(chosen)
    assert some == tuple(expected[row] for row in chosen)
    assert some[1:] == tuple(expected[row] for row in chosen[1:])
    assert TextColumn(*some.texts.flat()) == some.texts
    assert found.unlabelled() == tuple(row.unlabelled() for row in expected)


def test_others_are_not_equal() -> None:
    rows = (Example("1", "a", None, 0), Example("2", "b", None, 1))
    found = Examples.of(rows)
    assert found != rows[:1]
    assert found != rows[::-1]
    assert TextColumn.of(["a", "b"]) != "ab"


def test_a_row_that_does_not_exist_is_an_index_error() -> None:
    found = Examples.of([Example("1", "a", None, 0)])
    with pytest.raises(IndexError):
        found[1]
    assert found[-1].text == "a"


def test_large_columns_are_mapped_and_small_ones_are_not(tmp_path: Path) -> None:
    texts = [f"text {row} é" for row in range(3 * CHUNK)]
    content = "".join(texts).encode()
    assert len(content) < spool.SMALL
    assert not (tmp_path / "cache").exists()
    small = TextColumn.of(texts)
    assert not (tmp_path / "cache").exists()
    large = TextColumn.of([text * 40 for text in texts])
    assert (tmp_path / "cache" / spool.FOLDER).is_dir(), "where the file without a name is"
    assert list((tmp_path / "cache" / spool.FOLDER).iterdir()) == []
    assert list(large) == [text * 40 for text in small]
    assert pickle.loads(pickle.dumps(large)) == large


@pytest.mark.parametrize("fail_at", [1, 2, 7])
def test_a_disk_without_room_leaves_the_rows_in_memory(
    fail_at: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "SMALL", 1000)
    monkeypatch.setattr(spool, "_LOOK", 3000)
    looks = iter(range(1, 1000))
    monkeypatch.setattr(spool, "room", lambda _: -1 if next(looks) >= fail_at else 1)
    builder = TextBuilder()
    texts = [f"{row:0100}" for row in range(400)]
    for start in range(0, 400, 3):
        builder.append(texts[start : start + 3])
    assert list(builder.column()) == texts
    assert caplog.text.count("stay in memory") == 2, "once for the texts, once for where they end"


def test_a_cache_folder_that_cannot_be_made_leaves_the_rows_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    texts = ["x" * 1000] * 3000
    assert list(TextColumn.of(texts)) == texts
    assert "stay in memory" in caplog.text


def test_numbered_ids_keep_their_numbers_in_subsets() -> None:
    ids = NumberedIds("train", range(10))
    assert ids.take(np.array([3, 7])) == ("train-3", "train-7")
    assert ids.take(np.array([3, 7])).take(np.array([1])) == ("train-7",)
    assert ids[2:4] == ("train-2", "train-3")


@pytest.mark.parametrize(
    "odd", [None, 1, 2.5, ["a"], "\ud800"], ids=["null", "number", "fraction", "list", "half a surrogate pair"]
)
@pytest.mark.parametrize("at", [0, 10, FEW + 10])
def test_a_column_holds_whatever_a_file_does(odd: object, at: int) -> None:
    values: list[object] = [f"text {row}" for row in range(FEW + 20)]
    values[at] = odd
    builder = ColumnBuilder()
    for start in range(0, len(values), 100):
        builder.extend(values[start : start + 100])
    assert list(builder.column()) == values


def test_a_column_of_few_different_texts_has_each_of_them_once() -> None:
    builder = ColumnBuilder()
    for _ in range(3):
        builder.extend([word[1:] for word in ("ayes", "ano")])  # not one object for each
    column = builder.column()
    assert column == ["yes", "no"] * 3
    assert len(set(map(id, column))) == 2
