"""Files of words and labels in columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.files import check_table, read_table, read_table_head
from engine.data.row_stream import RowReader
from engine.errors import DataError
from tests.errors import raises


def file_of(folder: Path, text: str, name: str = "x.conll") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_by_spaces_documents_and_empty_lines(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\nAnna NNP B-PER\nruns  VB O\n\n\n# NN O\n1 CD O\n-DOCSTART- -X- O\nOslo NNP B-LOC"
    table = read_table(file_of(tmp_path, text), ["1", "3"])
    assert table.values == {
        "1": [("Anna", "runs"), ("#", "1"), ("Oslo",)],
        "3": [("B-PER", "O"), ("O", "O"), ("B-LOC",)],
    }
    assert list(table.lines) == [3, 7, 10]


def test_universal_dependencies_with_comments_contractions_and_omitted_words(tmp_path: Path) -> None:
    rest = "\t".join("_" * 6)
    lines = [
        "# sent_id = 1", "# text = zum Haus", f"1-2\tzum\t_\t_\t{rest}", f"1\tzu\tzu\tADP\t{rest}", f"2\tdem\tder\tDET\t{rest}",
        f"2.1\tist\t_\tAUX\t{rest}", f"3\tHaus\tHaus\tNOUN\t{rest}", "",
    ]  # fmt: skip
    table = read_table(file_of(tmp_path, "\n".join(lines), "x.conllu"), ["2", "4"])
    assert table.values == {"2": [("zu", "dem", "Haus")], "4": [("ADP", "DET", "NOUN")]}


def test_with_tabs_a_word_may_be_anything_else(tmp_path: Path) -> None:
    table = read_table(file_of(tmp_path, "# a comment\nNew York\tB-LOC\n#\tO\n\n#\tO\n"), ["1", "2"])
    assert table.values["1"] == [("New York", "#"), ("#",)]


def test_windows_line_ends_and_blank_lines_of_spaces(tmp_path: Path) -> None:
    table = read_table(file_of(tmp_path, "a O\r\n \r\nb O\r\n"), ["1"])
    assert table.values == {"1": [("a",), ("b",)]}


@pytest.mark.parametrize(
    ("text", "kind", "line", "facts"),
    [
        ("a O\nb c O\n", "wrong-field-count", 2, ["3 fields", "line 1"]),
        ("a O\nb\n", "wrong-field-count", 2, ["1 field,", "line 1"]),
        ("a\nb\n", "one-column-conll", 1, []),
        ("-DOCSTART- O\n\n", "no-rows", None, []),
        ("a O\n", "no-such-column", 1, ['"3"', "1 to 2"]),
    ],
    ids=["more-fields", "fewer-fields", "one-column", "no-words", "no-such-column"],
)
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, kind: str, line: int | None, facts: list[str]
) -> None:
    path = file_of(tmp_path, text)
    wanted = ["1", "3" if kind == "no-such-column" else "2"]
    where = [] if line is None else [f":{line}"]
    with raises(kind, *facts, *where, error=DataError):
        read_table(path, wanted)
    with raises(kind, error=DataError):
        check_table(path, wanted)


def test_the_head_of_a_long_file_leaves_out_the_sentence_in_which_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.data.text_files.HEAD", 20)
    head = read_table_head(file_of(tmp_path, "a O\nb O\n\nc O\nd O\ne O\nf O\n"))
    assert head.values["1"] == [("a", "b")]
    assert not head.is_whole


def test_rows_to_predict_are_sentences(tmp_path: Path) -> None:
    path = file_of(tmp_path, "a X\nb Y\n\nc Z\n")
    with RowReader(path, "conll") as reader:
        chunks = list(reader.chunks(1))
    assert [chunk.columns for chunk in chunks] == [("1", "2")] * 2
    assert [chunk.values("1") for chunk in chunks] == [[["a", "b"]], [["c"]]]
    assert [list(chunk.lines) for chunk in chunks] == [[1], [4]]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Anna\nleft\n\nit\n", [["Anna", "left"], ["it"]]),
        ("# text = Anna\n-DOCSTART-\n\nAnna\n", [["Anna"]]),
        ("#cats\nsleep\n\n#\n", [["#cats", "sleep"], ["#"]]),
        ("New York\tO\n", [["New York"]]),
        ("#made-by-hand\nAnna O\n", [["Anna"]]),
    ],
    ids=["words", "comment-and-document", "hashes", "two-columns", "comment-above-two-columns"],
)
def test_rows_to_predict_may_be_words_alone(tmp_path: Path, text: str, sentences: list[list[str]]) -> None:
    with RowReader(file_of(tmp_path, text), "conll") as reader:
        assert [row for chunk in reader.chunks() for row in chunk.values("1")] == sentences
