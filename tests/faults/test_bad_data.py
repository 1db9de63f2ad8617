"""Data that cannot be used: exit code 3 and the file with its line; what only looks odd is read."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.record.events import read_events
from engine.record.logs import log_tail
from engine.record.run import read_status
from tests.conftest import PATIENCE
from tests.faults.conftest import QUICK, Crild, Failed, Refused, Tiny

Spoil = Callable[[str], str]

# -- seen before a run is made


@pytest.mark.parametrize(
    ("spoil", "facts"),
    [
        (lambda _: "", ["empty"]),
        (lambda _: "\n \n", ["empty"]),
        (lambda text: text.replace("text,label", "text,lable"), ['"label"', '"text", "lable"', '"lable"?']),
        (lambda text: text.replace(",", ";"), ["another character"]),
        (lambda text: text.replace("text,label", "te\x1b[31mxt,label"), ['"text"', '"te\\x1b[31mxt", "label"']),
    ],
)
def test_a_file_whose_head_shows_it(refused: Refused, tiny: Tiny, spoil: Spoil, facts: list[str]) -> None:
    tiny.train.write_text(spoil(tiny.train.read_text()))
    output = refused(*tiny.run(), code=3)
    assert output.startswith(f"error: {tiny.train}:")
    assert all(fact in output for fact in facts), output
    assert f"(task.files.train, set in {tiny.preset}:{tiny.line_of('files')})" in output


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("text,label\na,b\n".encode("utf-16"), ["UTF-16", "UTF-8"]),
        (b"t\xe9xt,label\n", [":1: ", "byte 0xe9", "UTF-8"]),
        (b"text,label\nw1,good\ncaf\xe9,good\n", [":3: ", "byte 0xe9", "UTF-8"]),
        (b"text,label\nw1 \0 w2,good\n", [":2: ", "NUL byte"]),
    ],
)
def test_a_file_that_is_not_utf8_text(refused: Refused, tiny: Tiny, content: bytes, facts: list[str]) -> None:
    tiny.dev.write_bytes(content)
    output = refused(*tiny.run(), code=3)
    assert output.startswith(f"error: {tiny.dev}:")
    assert all(fact in output for fact in facts), output


def test_files_that_are_not_there_or_are_none(refused: Refused, tiny: Tiny) -> None:
    output = refused(*tiny.run("task.files.train=./gone.csv", f"task.files.dev={tiny.folder}"), code=3)
    assert "gone.csv: there is no such file" in output
    assert f"{tiny.folder}: unknown file format" in output
    folder = tiny.folder / "folder.csv"
    folder.mkdir()
    assert f"error: {folder}: this is a folder" in refused(*tiny.run(f"task.files.dev={folder}"), code=3)
    assert "train.csv?" in refused(*tiny.run(f"task.files.train={tiny.folder / 'trian.csv'}"), code=3)
    assert ".csv, .tsv" in refused(*tiny.run(f"task.files.train={tiny.preset}"), code=3)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_and_devices_are_not_waited_for(
    refused: Refused, tiny: Tiny, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    for name, setting in (
        ("odd.csv", "task.files.train={path}"),
        ("odd.parquet", "task.files.dev={path}"),
        ("odd.txt", "stage.ild.data={{corpus = '{path}'}}"),
    ):
        path = tmp_path / name
        make(path)
        output = refused(*tiny.run(setting.format(path=path)), code=3)
        assert output.startswith(f"error: {path}: ")
        assert "pipe or device" in output


def test_a_header_that_is_longer_than_csv_readers_like(
    refused: Refused, tiny: Tiny, request: pytest.FixtureRequest
) -> None:
    before = csv.field_size_limit(131_072)  # what a fresh process has; a test that read a longer field has raised it
    request.addfinalizer(lambda: csv.field_size_limit(before))
    tiny.train.write_text("x" * 200_000 + ",label\nw1,good\n")
    output = refused(*tiny.run(), code=3)
    assert output.startswith(f"error: {tiny.train}:1: ")
    assert 'column "text"' in output


def glue_folder(folder: Path, **files: str) -> Path:
    task = folder / "RTE"
    task.mkdir(parents=True)
    for name, text in files.items():
        (task / f"{name}.tsv").write_text(text)
    return folder


HEADER = "index\tsentence1\tsentence2\tlabel\n"
ROWS = HEADER + "0\tw1 w2\tw3\tentailment\n1\tw21\tw22 w23\tnot_entailment\n"


def glue_preset(tiny: Tiny, folder: Path) -> tuple[str, ...]:
    """The tiny preset on RTE from a folder."""
    text = tiny.preset.read_text()
    start, end = text.index("[task]"), text.index("[teacher]")
    task = f'[task]\nname = "rte"\nsource = "{folder}"\nmax_length = 24\n'
    tiny.preset.write_text(text[:start] + task + text[end:])
    return tiny.run()


def test_a_glue_folder_without_a_split(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    folder = glue_folder(tmp_path / "glue", train=ROWS)
    output = refused(*glue_preset(tiny, folder), code=3)
    assert f"{folder / 'RTE' / 'dev.tsv'}: there is no such file" in output
    assert f"(task.source, set in {tiny.preset}:{tiny.line_of('source')})" in output


def test_a_glue_file_without_a_column(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    folder = glue_folder(tmp_path / "glue", train=ROWS, dev=ROWS.replace("label", "gold"))
    output = refused(*glue_preset(tiny, folder), code=3)
    assert "dev.tsv:1: " in output
    assert all(fact in output for fact in ('"label"', '"index", "sentence1", "sentence2", "gold"')), output


def test_a_glue_folder_that_is_none(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    assert "a folder RTE nor a file train.tsv" in refused(*glue_preset(tiny, tmp_path / "glue"), code=3)
    tiny.spoil(str(tmp_path / "glue"), str(tmp_path / "gleu"))
    assert "gleu: there is no such folder" in refused(*tiny.run(), code=3)


# -- met by the engine, that reads every row


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("w1 w2,", 'the label in column "label" is missing'),
        (",good", 'the text in column "text" is missing'),
        ("   ,good", 'the text in column "text" is missing'),
        ("w1 w2", "this row has 1 fields"),
        ("w1, w2,good", "this row has 3 fields"),
        ("w1 w2,1", 'the label "1" in column "label" is a number'),
        ('"w1 w2,good', "never closed"),
        ('"w1" w2,good', "after a closing quote"),
        ("w1 " * 400_000 + ",good", "1,200,000 characters"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be(failed: Failed, tiny: Tiny, row: str, said: str) -> None:
    text = tiny.train.read_text()
    tiny.train.write_text(f"{text}{row}\n")
    told, status = failed(*tiny.quick())
    line = text.count("\n") + 1
    assert f"error: {tiny.train}:{line}: " in told
    assert said in told
    assert status.error is not None
    assert (status.error.kind, status.error.file, status.error.line) == ("data", str(tiny.train), line)


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("train", lambda _: "text,label\n", "the file has column names but no rows"),
        ("dev", lambda _: "text,label\n", "the file has column names but no rows"),
        ("train", lambda text: text.replace("good", "bad"), 'every label in column "label" is "bad"'),
        ("dev", lambda text: text.replace("good", "gud\x1b[1m"), 'the label "gud\\x1b[1m" in column "label" is not in train.csv, whose labels are "bad", "good"'),
    ],
)  # fmt: skip
def test_rows_and_labels_that_are_missing(failed: Failed, tiny: Tiny, name: str, spoil: Spoil, said: str) -> None:
    file = tiny.folder / f"{name}.csv"
    file.write_text(spoil(file.read_text()))
    told, _ = failed(*tiny.quick())
    assert f"error: {file}" in told
    assert said in told


def test_bytes_that_are_no_text(failed: Failed, tiny: Tiny) -> None:
    """After the head that checks before a run read."""
    tiny.dev.write_bytes(tiny.dev.read_bytes() + b"w1 w2,good\n" * 100_000 + b"caf\xe9,good\n")
    line = tiny.dev.read_bytes().count(b"\n")
    output, _ = failed(*tiny.quick())
    assert f"error: {tiny.dev}:{line}: " in output
    assert "byte 0xe9" in output


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("nan", 'the score in column "label"'),
        ("", 'the score in column "label"'),
        ("inf", 'the score "inf" in column "label" is not a finite number'),
        ("1e300", 'the score "1e300" in column "label" is too large to learn'),
        ("high", 'the score "high" in column "label" is not a finite number'),
        ('"1,5"', 'the score "1,5" in column "label" is not a finite number'),
    ],
)
def test_scores_that_are_none(failed: Failed, tiny: Tiny, score: str, said: str) -> None:
    tiny.spoil('kind = "classification"', 'kind = "regression"')
    for file in (tiny.train, tiny.dev):
        file.write_text(file.read_text().replace(",good", ",1.5").replace(",bad", ",0"))
    lines = tiny.train.read_text().splitlines()
    lines[3] = f"w1 w2,{score}"
    tiny.train.write_text("\n".join(lines) + "\n")
    told, _ = failed(*tiny.quick())
    assert f"error: {tiny.train}:4: {said}" in told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "w1", "label": 1}', 'the label "1" in column "label" is a number'),
        ('{"text": "w1", "label": null}', 'the label in column "label" is missing'),
        ('{"text": 5, "label": "good"}', '"5" in column "text" is a number, not text'),
        ('{"text": "w1", "la', "this line is not JSON"),
        ('{"text": "\\ud800", "label": "good"}', "half of a surrogate pair"),
        ('["w1", "good"]', "object"),
    ],
)
def test_json_lines_that_do_not_fit(failed: Failed, tiny: Tiny, line: str, said: str) -> None:
    file = tiny.folder / "train.jsonl"
    rows = [row.rsplit(",", 1) for row in tiny.train.read_text().splitlines()[1:]]
    file.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows) + line + "\n")
    told, _ = failed(*tiny.quick(f"task.files.train={file}"))
    assert f"error: {file}:{len(rows) + 1}: " in told
    assert said in told


def test_parquet_that_is_none(failed: Failed, refused: Refused, tiny: Tiny) -> None:
    file = tiny.folder / "train.parquet"
    for cut in (b"", b"PAR1", b"PAR1 and no end"):
        file.write_bytes(cut)
        assert f"{file}: this is not a Parquet file" in refused(*tiny.run(f"task.files.train={file}"), code=3)
    file.write_bytes(b"PAR1" + b"x" * 20 + b"PAR1")
    assert f"{file}: cannot read the file as Parquet" in failed(*tiny.quick(f"task.files.train={file}"))[0]


def test_more_examples_than_there_are(failed: Failed, tiny: Tiny) -> None:
    told, status = failed(*tiny.quick("task.examples=1000"))
    assert "task.examples asks for 1,000 training examples, but custom has 56" in told
    assert status.error is not None
    assert status.error.key == "task.examples"


def test_a_glue_label_that_is_none(failed: Failed, tiny: Tiny, tmp_path: Path) -> None:
    folder = glue_folder(tmp_path / "glue", train=ROWS, dev=ROWS.replace("not_entailment", "maybe"))
    told, _ = failed(*glue_preset(tiny, folder))
    assert (
        f'{folder / "RTE" / "dev.tsv"}:3: unknown label "maybe"; the labels are "entailment", "not_entailment"' in told
    )


# -- what looks odd and is fine


def test_marks_line_ends_quotes_and_control_characters_are_read(
    crild: Crild, engine_here: None, tiny: Tiny, runs_dir: Path
) -> None:
    """A byte order mark, CRLF, quoted commas, stray quotes inside a text, escape sequences and an unusual label."""
    rows = tiny.train.read_text().splitlines()
    rows[1:4] = ['"w1, ""w2""",good', 'w3 "w4" w5,bad', "w1 \x1b[31mw2\x07 w3,good"]
    odd = "\r\n".join(rows).replace("good", "go\x1b[2Jod")
    tiny.train.write_bytes(b"\xef\xbb\xbf" + odd.encode())
    tiny.dev.write_bytes(tiny.dev.read_bytes().replace(b"\n", b"\r\n").replace(b"good", b"go\x1b[2Jod"))
    said = crild(*tiny.quick(), "--name", "odd")
    assert said.code == 0
    run_dir = runs_dir / "odd-s7"
    started = next(iter(read_events(run_dir, {"stage_started"})))
    assert started["examples"] == len(rows) - 1
    labels = json.loads((run_dir / "student" / "config.json").read_text())["id2label"]
    assert set(labels.values()) == {"bad", "go\x1b[2Jod"}
    assert "go\\x1b[2Jod" in (run_dir / "student" / "README.md").read_text()
    assert crild("show", "odd").code == 0


# -- with an engine process of its own, as a user meets it


def test_an_engine_process_ends_with_the_sentence_and_no_traceback(tiny: Tiny, runs_dir: Path) -> None:
    tiny.train.write_text(tiny.train.read_text() + "w1 w2,\n")
    command = [sys.executable, "-P", "-c", "import sys; from crild_tui.cli import main; sys.exit(main())"]
    words = [*tiny.run(), *(word for setting in QUICK for word in ("--set", setting)), "--name", "mine", "--quiet"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first == f'error: {tiny.train}:58: the label in column "label" is missing; remove rows without a label'
    assert not any("Traceback" in line for line in rest)
    run_dir = runs_dir / "mine-s7"
    status = read_status(run_dir)
    assert (status.state, status.exit_code) == ("failed", 3)
    assert not any("Traceback" in line for line in log_tail(run_dir, 1000))
