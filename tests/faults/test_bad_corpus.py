"""Plain text for a stage: what is none is refused with its file and line, and nothing endless is read into memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data.corpus import load_corpus
from engine.errors import DataError
from engine.preset.schema import Corpus
from engine.record.events import read_events
from tests.faults.conftest import Crild, Failed, Refused, Tiny

ENDLESS = 100_000_000
MEGABYTE = 1_000_000


def endless(path: Path, before: bytes = b"") -> None:
    """A line of 100 MB."""
    with path.open("wb") as file:
        file.write(before)
        for _ in range(100):
            file.write(b"word " * 200_000)


def reading(path: Path, **words: object) -> str:
    """The setting under which the ild stage reads a corpus."""
    more = "".join(
        f", {key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in words.items()
    )
    return f"stage.ild.data={{corpus = '{path}'{more}}}"


def test_what_is_not_there(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    told = refused(*tiny.run(reading(tmp_path / "nowhere.txt")), code=3)
    assert "nowhere.txt: there is no such file or folder (stage.ild.data.corpus, set in --set " in told
    assert "no text file" in refused(*tiny.run(reading(tiny.teacher)), code=3)


@pytest.mark.parametrize(
    ("content", "line", "fact"),
    [
        (b"", "", "empty"),
        (b"\n \r\n\t\n", "", "empty"),
        (b"one\ntwo\n\x7fELF\0\1", ":3", "NUL byte"),
        (b"one\ncaf\xe9\n", ":2", "byte 0xe9 is not UTF-8"),
        ("one\n".encode("utf-16"), "", "UTF-16"),
        (b"\x80\x03}q\x00X", ":1", "NUL byte"),
    ],
)
def test_what_is_no_text_is_seen_before_a_run_is_made(
    refused: Refused, tiny: Tiny, tmp_path: Path, content: bytes, line: str, fact: str
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    output = refused(*tiny.run(reading(path)), code=3)
    assert output.startswith(f"error: {path}{line}: ")
    assert fact in output
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "empty.txt").touch()
    path.rename(folder / "corpus.txt")
    output = refused(*tiny.run(reading(folder)), code=3)
    assert output.startswith(f"error: {folder if fact == 'empty' else folder / 'corpus.txt'}{line}: ")
    assert fact in output


def test_text_after_a_megabyte_of_blanks_is_text(crild: Crild, engine_here: None, tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "late.txt"
    path.write_bytes(b"\n" * 1_200_000 + b"w1 w2\nw3\n")
    assert crild(*tiny.quick(reading(path)), "--quiet").code == 0


def test_headings_alone_are_no_text(failed: Failed, tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "headings.txt"
    path.write_text("= One =\n\n= Two =\n")
    told, _ = failed(*tiny.quick(reading(path, unit="sentence")))
    assert f"{path}: the corpus has no sentences: only blank lines and headings" in told


def test_one_sentence_makes_no_pair(failed: Failed, tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("Only one here\n")
    told, _ = failed(*tiny.quick(reading(path, unit="sentence", pairs=True)))
    assert f"{path}: the corpus has no sentences: no two in a row in any file" in told


def test_a_line_of_100_megabytes_is_refused_with_its_line(
    refused: Refused, failed: Failed, tiny: Tiny, tmp_path: Path
) -> None:
    first, later = tmp_path / "first.txt", tmp_path / "later.txt"
    endless(first)
    sentence = "this line is longer than 1,000,000 bytes; a corpus has one paragraph on each line"
    assert f"error: {first}:1: {sentence} (stage.ild.data.corpus, set in --set" in refused(
        *tiny.run(reading(first)), code=3
    )
    endless(later, before=b"a short line\n" * 100_000)
    told, status = failed(*tiny.quick(reading(later)))
    assert f"{later}:100001: {sentence}" in told
    assert status.stage is None, "nothing was trained before"


@pytest.mark.parametrize("unit", ["line", "sentence"])
def test_an_endless_line_is_not_held_in_memory(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "endless.txt"
    endless(path, before=b"A short one. And another.\n")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="this line is longer than"):
            load_corpus(Corpus.model_validate({"corpus": str(path), "unit": unit, "examples": 5}), 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * MEGABYTE < ENDLESS


def test_a_corpus_that_goes_away_is_said_with_its_name(
    failed: Failed, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked, and gone when the engine wants it."""
    path = tmp_path / "here.txt"
    path.write_text("Here.\n")
    monkeypatch.setattr("crild_tui.runs.chain.create_chains", _then(path.unlink))
    told, _ = failed(*tiny.quick(reading(path)))
    assert f"{path}: there is no such file or folder" in told


def _then(what: Callable[[], object]) -> Callable[..., object]:
    from crild_tui.runs.chain import create_chains

    def both(*arguments: object, **words: object) -> object:
        made = create_chains(*arguments, **words)  # type: ignore[arg-type]
        what()
        return made

    return both


@pytest.mark.parametrize(
    ("words", "inputs"),
    [({}, 3), ({"unit": "sentence"}, 5), ({"unit": "sentence", "pairs": True}, 2), ({"pairs": True, "examples": 1}, 1)],
)
def test_a_stage_reads_it_and_the_next_returns_to_the_task(
    crild: Crild, engine_here: None, tiny: Tiny, runs_dir: Path, tmp_path: Path, words: dict[str, object], inputs: int
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("= Heading =\n\nw1 w2 w3. W4 w5!\nw6 w7? W8 w9.\nw10\n")
    (folder / "table.csv").write_bytes(b"\0")
    said = crild(*tiny.quick(reading(folder, **words)), "--name", "texts", "--quiet")
    assert said.code == 0, said.err
    started = {e["stage"]: e["examples"] for e in read_events(runs_dir / "texts-s7", {"stage_started"})}
    assert started == {"teacher": 56, "ild": inputs, "kd": 56}


def test_how_many_inputs_were_cut_is_said(
    crild: Crild, engine_here: None, tiny: Tiny, runs_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.txt"
    path.write_text("w1 " * 300_000 + "\nw2 w3\n")
    assert crild(*tiny.quick(reading(path)), "--name", "long", "--quiet").code == 0
    told = [event["text"] for event in read_events(runs_dir / "long-s7", {"message"})]
    assert "1 of 2 inputs of ild are longer than max_length 24 and were cut" in told
