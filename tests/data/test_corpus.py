from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.data.corpus import load_corpus, sentences
from engine.errors import DataError
from engine.preset.schema import Corpus

WIKI = " \n = Lobsters = \n \n They are large . They live in the sea . \n \n = = Food = = \n\n Some eat them ! \n"


def texts(path: Path, **words: Any) -> list[tuple[str, str | None]]:
    return [(example.text, example.pair) for example in load_corpus(Corpus(corpus=str(path), **words), 0)]


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    path = tmp_path / "wiki.raw"
    path.write_text(WIKI)
    return path


def test_a_line_is_an_input_and_headings_and_blanks_are_not(wiki: Path) -> None:
    examples = load_corpus(Corpus(corpus=str(wiki)), 0)
    assert [example.text for example in examples] == ["They are large . They live in the sea .", "Some eat them !"]
    assert [example.id for example in examples] == ["corpus-0", "corpus-1"]
    assert {(example.pair, example.label) for example in examples} == {(None, None)}


def test_sentences_and_pairs(wiki: Path) -> None:
    three = ["They are large .", "They live in the sea .", "Some eat them !"]
    assert texts(wiki, unit="sentence") == [(text, None) for text in three]
    assert texts(wiki, unit="sentence", pairs=True) == [(three[0], three[1])]
    assert texts(wiki, pairs=True) == [("They are large . They live in the sea .", "Some eat them !")]


def test_pairs_do_not_reach_over_files(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("three\nfour\nfive\n")
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\nodd")
    (folder / "deep" / "c").write_text("six")
    (folder / "empty.txt").touch()
    (folder / ".hidden.txt").write_text("no")
    (folder / "table.csv").write_text("no")
    assert [text for text, _ in texts(folder)] == ["one", "two", "odd", "three", "four", "five", "six"]
    assert texts(folder, pairs=True) == [("one", "two"), ("three", "four")]


def test_a_subset_is_drawn_with_its_seed_and_keeps_names(tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("".join(f"line {row}\n" for row in range(100)))
    drawn = load_corpus(Corpus(corpus=str(path), examples=10), 3)
    assert [f"line {example.id.removeprefix('corpus-')}" for example in drawn] == [example.text for example in drawn]
    numbers = [int(example.id.removeprefix("corpus-")) for example in drawn]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 10
    assert load_corpus(Corpus(corpus=str(path), examples=10), 3) == drawn
    assert load_corpus(Corpus(corpus=str(path), examples=10), 4) != drawn
    assert len(load_corpus(Corpus(corpus=str(path), examples=1000), 3)) == 100, "at most so many"


def test_wikitext(shared: Path) -> None:
    examples = load_corpus(Corpus(corpus=str(shared / "wikitext-2" / "wiki.valid.raw")), 0)
    assert not any(example.text.startswith("=") for example in examples)
    assert examples[0].text.startswith("Homarus gammarus , known as the European lobster")
    assert 1800 < len(examples) < 2000
    parts = load_corpus(Corpus(corpus=str(shared / "wikitext-2"), unit="sentence", examples=500, pairs=True), 0)
    assert len(parts) == 500
    assert all(example.pair for example in parts)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said " no . " Then he left .', ['He said " no . "', "Then he left ."]),
        ('"No." "Yes."', ['"No."', '"Yes."']),
        ("Dr. Smith met H. Jones vs. Mr. Brown.", ["Dr. Smith met H. Jones vs. Mr. Brown."]),
        ("It cost 3.5 euros. 20 came.", ["It cost 3.5 euros.", "20 came."]),
        ("Well ... yes", ["Well ... yes"]),
        ("one. two", ["one. two"]),
        ("   ", []),
    ],
)
def test_where_a_sentence_ends(line: str, parts: list[str]) -> None:
    assert sentences(line) == parts


def test_no_text_makes_the_splitter_slow() -> None:
    for nasty in (". " * 100_000, '."' * 100_000, "." * 200_000, "!" + " " * 200_000, '. "' * 100_000, "= " * 100_000):
        assert "".join(sentences(nasty)).replace(" ", "") == nasty.replace(" ", "")


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", None, ('empty-corpus',)),
        (b"\n = Only = \n\n", None, ('empty-corpus',)),
        (b"text\nbin\0ary\n", 2, ('nul-byte',)),
        (b"text\ncaf\xe9\n", 2, ('not-utf8', 'is not UTF-8')),
        ("text\n".encode("utf-16"), 1, ('utf16-text',)),
        (b"one\n" + b"x" * 1_100_000, 2, ('line-too-long', '1,000,000')),
    ],
)  # fmt: skip
def test_a_file_that_is_no_corpus(content: bytes, line: int | None, words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        texts(path)
    kind, *facts = words
    assert error.value.kind == kind
    assert all(fact in error.value.sentence for fact in facts)
    assert (error.value.file, error.value.exit_code) == (str(path), 3)
    if words[0] != "utf16-text":
        assert error.value.line == line


def test_one_line_makes_no_pair(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("alone")
    with pytest.raises(DataError, match="no two in a row in any file"):
        texts(tmp_path / "a.txt", pairs=True)


def test_missing_files_and_folders_without_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        texts(tmp_path / "none")
    folder = tmp_path / "tables"
    folder.mkdir()
    with pytest.raises(DataError, match="the folder holds no text file"):
        texts(folder)
    (folder / "a.csv").touch()
    with pytest.raises(DataError, match=r'it holds "a\.csv"') as error:
        texts(folder)
    assert error.value.key == "corpus"


def test_a_folder_that_cannot_be_opened_is_not_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DataError) as caught:
        texts(tmp_path / "a")
    assert caught.value.kind == "unreadable-file"
