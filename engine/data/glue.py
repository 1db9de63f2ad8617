"""GLUE tasks from a folder in the official TSV layout. Imports no torch: preflight asks too."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.numbers import as_number
from engine.data.spool import count
from engine.data.tasks import DIAGNOSTIC, GLUE, TEST_SETS, GlueTask, GlueTestSet
from engine.data.text_files import (
    check_text,
    content_lines,
    listed,
    read_content,
    read_head,
    repeated_header,
    shown,
    split_lines,
)
from engine.data.types import TaskData, UnlabelledTexts
from engine.errors import DataError
from engine.record.files import cause
from engine.record.phases import Report, counted, unreported

if TYPE_CHECKING:
    from engine.data.examples import Examples

RAGGED_SHARE = 0.001
"""Share of rows that may lack columns in a file known for it; official QQP has 3 in 363,849."""


def load_glue(name: str, source: Path, *, report: Report = unreported) -> TaskData:
    """Rows of a GLUE task from its folder, or from the one that holds the folders of all tasks.

    The files are read as GLUE's own code reads them: a row a line, columns by tabs, quotes plain characters, control
    characters unchanged. Raises DataError with file and line when something is missing or is not as in the official files.
    """
    task = GLUE[name]
    folder = _find_folder(task, source)
    notes: list[str] = []
    train = _rows(task, _file(folder, "train"), "train", notes, report)
    dev = {split: _rows(task, _file(folder, stem), split, notes, report) for split, (stem, _) in task.dev.items()}
    return TaskData(spec=task.spec, train=train, dev=dev, notes=tuple(notes))


def glue_files(name: str, source: Path) -> list[Path]:
    """The files of a GLUE task that `load_glue` reads. Raises DataError as it does."""
    folder = _find_folder(GLUE[name], source)
    return [_file(folder, stem) for stem in ("train", *(stem for stem, _ in GLUE[name].dev.values()))]


def check_glue(name: str, source: Path) -> None:
    """Check that a folder has the files of a GLUE task and their columns, from the heads of the files.

    Raises DataError as `load_glue` does.
    """
    task = GLUE[name]
    folder = _find_folder(task, source)
    for stem in ("train", *(stem for stem, _ in task.dev.values())):
        path = _file(folder, stem)
        lines = split_lines(read_head(path))
        if lines and not task.header:
            for column in (*task.columns, task.label):
                _column(task, path, lines[0].split("\t"), column)


def load_glue_test(name: str, source: Path, *, report: Report = unreported) -> dict[GlueTestSet, UnlabelledTexts]:
    """The texts of a GLUE task's test sets from its folder, and of the diagnostic set, where MNLI's folder holds it.

    Raises DataError as `load_glue` does, and for rows that are not numbered 0, 1, 2, ... or not as many as GLUE's.
    """
    folder = _find_folder(GLUE[name], source)
    found = {each: _test_texts(GLUE[name], each, _file(folder, each.stem), report) for each in TEST_SETS[name]}
    if name == "mnli" and (path := _diagnostic(folder.parent)) is not None:
        found[DIAGNOSTIC] = _test_texts(GLUE[name], DIAGNOSTIC, path, report)
    return found


def _diagnostic(root: Path) -> Path | None:
    """The diagnostic set's file, under the names that GLUE's download and its copies give it."""
    names = (f"{folder}/{file}.tsv" for folder in ("diagnostic", "AX", "ax") for file in ("diagnostic", "AX", "test"))
    return next((root / name for name in names if (root / name).is_file()), None)


def _test_texts(task: GlueTask, known: GlueTestSet, path: Path, report: Report) -> UnlabelledTexts:
    numbered = content_lines(read_content(path), path)
    names = next(numbered)[1].split("\t")
    text, pair = (_column(task, path, names, name) for name in task.columns)
    number = next((names.index(name) for name in ("index", "id") if name in names), None)
    assert text is not None
    texts, pairs = list[str](), list[str]()
    for line_number, line in counted(numbered, report, f"reading {path.name}", total=known.rows):
        if not line:
            continue
        row = line.split("\t")
        if len(row) != len(names):
            sentence = f"this line has {len(row)} columns, but the header has {len(names)}"
            raise DataError(sentence, kind="wrong-field-count", file=str(path), line=line_number)
        if number is not None and row[number] != str(len(texts)):
            sentence = f"this row has the number {shown(row[number])}, but it is row {len(texts):,}, counted from 0"
            raise DataError(sentence, kind="rows-not-numbered", file=str(path), line=line_number)
        check_text(line, str(path), line_number)
        texts.append(row[text])
        pairs += [] if pair is None else [row[pair]]
    return UnlabelledTexts(texts, None if pair is None else pairs).checked(known.rows, str(path))


def _find_folder(task: GlueTask, source: Path) -> Path:
    """The task's folder: inside `source`, whatever the case and hyphens of its name, or `source` itself."""
    try:
        entries = sorted(source.iterdir())
    except FileNotFoundError:
        sentence = 'there is no such folder; task.source is "hub" or a folder in the official GLUE layout'
        raise DataError(sentence, kind="no-such-folder", file=str(source), key="task.source") from None
    except OSError as fault:
        reason = "it is a file" if isinstance(fault, NotADirectoryError) else cause(fault)
        sentence = f'this folder cannot be read: {reason}; task.source is "hub" or a folder in the official GLUE layout'
        raise DataError(sentence, kind="unreadable-folder", file=str(source), key="task.source") from None
    wanted = _plain_name(task.folder)
    for entry in entries:
        if _plain_name(entry.name) == wanted and entry.is_dir():
            return entry
    if any(entry.name.lower() == "train.tsv" for entry in entries):
        return source
    holds = f"it holds {listed([entry.name for entry in entries])}" if entries else "it is empty"
    sentence = f"this folder has neither a folder {task.folder} nor a file train.tsv; {holds}"
    raise DataError(sentence, kind="not-glue-layout", file=str(source), key="task.source")


def _plain_name(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _file(folder: Path, stem: str) -> Path:
    path = folder / f"{stem}.tsv"
    try:
        if path.is_file():
            return path
        entries = sorted(folder.iterdir())
    except OSError as fault:
        sentence = f"this folder cannot be read: {cause(fault)}"
        raise DataError(sentence, kind="unreadable-folder", file=str(folder), key="task.source") from None
    for entry in entries:
        if entry.name.lower() == path.name:
            return entry
    sentence = f"there is no such file; the folder holds {listed([entry.name for entry in entries])}"
    raise DataError(sentence, kind="no-such-file", file=str(path))


def _rows(task: GlueTask, path: Path, split: str, notes: list[str], report: Report) -> Examples:
    from engine.data.examples import CHUNK, Examples, NumberedIds, TextBuilder, labels_of

    content = read_content(path)
    total = count(content, b"\n")
    numbered = content_lines(content, path)
    names = list(task.header) if task.header else next(numbered)[1].split("\t")
    text, pair, label = (_column(task, path, names, name) for name in (*task.columns, task.label))
    assert text is not None
    assert label is not None
    classes = {token: index for index, token in enumerate(task.tokens)}
    texts, pairs, labels = TextBuilder(), TextBuilder(), list[int | float | None]()
    short: list[int] = []
    width = 0
    rows = counted(numbered, report, f"reading {path.name}", total=total)
    while part := list(islice(rows, CHUNK)):
        whole: list[list[str]] = []
        for number, line in part:
            if not line:
                continue
            row = line.split("\t")
            if len(row) != len(names):
                width = width or len(row)
                short.append(number)
                continue
            if row == names and number > 1:
                raise repeated_header(str(path), number)
            value = classes.get(row[label]) if classes else _score(row[label], path, number)
            if value is None:
                sentence = f"unknown label {shown(row[label])}; the labels are {listed(task.tokens)}"
                raise DataError(sentence, kind="unknown-label", file=str(path), line=number)
            check_text(line, str(path), number)
            labels.append(value)
            whole.append(row)
        texts.append([row[text] for row in whole])
        if pair is not None:
            pairs.append([row[pair] for row in whole])
    if short and not (task.ragged and len(short) <= max(RAGGED_SHARE * (len(labels) + len(short)), 1)):
        official = f"an official {task.folder} file has {len(names)}"
        more = f" (also {len(short) - 1:,} more lines)" if len(short) > 1 else ""
        sentence = f"this line has {width} columns, but {official}{more}"
        raise DataError(sentence, kind="wrong-field-count", file=str(path), line=short[0])
    if short:
        which = "1 row that lacks columns was" if len(short) == 1 else f"{len(short)} rows that lack columns were"
        notes.append(f"{path.name}: {which} skipped, as GLUE's own code does.")
    if not labels:
        raise DataError("the file has no rows", kind="no-rows", file=str(path))
    ids = NumberedIds(split, range(len(labels)))
    return Examples(ids, texts.column(), None if pair is None else pairs.column(), labels_of(labels))


def _column(task: GlueTask, path: Path, names: list[str], name: str | None) -> int | None:
    """Where a column stands; None for the second sentence of a one-sentence task."""
    if name is None:
        return None
    if name not in names:
        sentence = (
            f"an official {task.folder} file has a column {shown(name)}; the columns of this one are {listed(names)}"
        )
        raise DataError(sentence, kind="no-such-column", file=str(path), line=1)
    return names.index(name)


def _score(word: str, path: Path, line: int) -> float:
    try:
        score = as_number(word)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 5:
        sentence = f"the score {shown(word)} is not a number from 0 to 5"
        raise DataError(sentence, kind="invalid-score", file=str(path), line=line)
    return score
