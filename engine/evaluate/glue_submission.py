"""Predictions in the form that the GLUE site takes: a file for each test set, and one flat archive of them. No torch."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.numbers import as_number
from engine.data.tasks import SITE_FILES, GlueTestSet
from engine.errors import DataError, RunError
from engine.preset.text import shown
from engine.record.files import cause, replacement, write_atomic

ARCHIVE = "submission.zip"
HEADER = "index\tprediction"
_HIGHEST_SCORE = 5.0


@dataclass(frozen=True)
class Archive:
    """The archive: the files in it, and those that the site still misses."""

    path: Path
    files: tuple[str, ...]
    missing: tuple[str, ...]


def score_word(score: float) -> str:
    """A similarity as the site takes it: from 0 to 5, with three decimals."""
    return f"{min(max(score, 0.0), _HIGHEST_SCORE):.3f}"


def write_answers(folder: Path, known: GlueTestSet, words: Sequence[str]) -> Path:
    """Write a test set's predictions, `words` in the order of its rows, and check them.

    Raises RunError when they cannot be written, DataError as `check_answers` does.
    """
    path = folder / known.file
    lines = "".join(f"{index}\t{word}\n" for index, word in enumerate(words))
    try:
        write_atomic(path, f"{HEADER}\n{lines}")
    except OSError as error:
        raise _unwritable(path, error) from None
    check_answers(path)
    return path


def check_answers(path: Path) -> None:
    """Raise DataError where a file of predictions is not as the site takes it: its name, header, rows, words."""
    known = SITE_FILES[path.name]
    try:
        header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        reason = cause(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"cannot be read: {reason}", kind="unreadable-answers", file=str(path)) from None
    if header != HEADER:
        sentence = f"begins with {shown(header)}, but the GLUE site wants the columns index and prediction"
        raise DataError(sentence, kind="wrong-answer-columns", file=str(path), line=1)
    if len(lines) != known.rows:
        sentence = f"has {len(lines):,} predictions, but GLUE's test set has {known.rows:,} rows"
        raise DataError(sentence, kind="wrong-number-of-rows", file=str(path))
    for index, line in enumerate(lines):
        number, _, word = line.partition("\t")
        if number != str(index) or not _is_answer(word, known):
            wanted = ", ".join(known.words) or "a number from 0 to 5"
            sentence = f"this line is {shown(line)}, but should be {index}, a tab, and one of: {wanted}"
            raise DataError(sentence, kind="wrong-answer", file=str(path), line=index + 2)


def _is_answer(word: str, known: GlueTestSet) -> bool:
    if known.words:
        return word in known.words
    try:
        return 0 <= as_number(word) <= _HIGHEST_SCORE
    except ValueError:
        return False


def write_archive(folder: Path) -> Archive:
    """Put all of the site's files in a folder into its `submission.zip`, without folders, each checked.

    Raises DataError for a file that the site would refuse, RunError when the archive cannot be written.
    """
    files = [name for name in SITE_FILES if (folder / name).is_file()]
    for name in files:
        check_answers(folder / name)
    path = folder / ARCHIVE
    try:
        with (
            replacement(path) as handle,
            os.fdopen(os.dup(handle), "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name in files:
                archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise _unwritable(path, error) from None
    return Archive(path, tuple(files), tuple(name for name in SITE_FILES if name not in files))


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(f"cannot be written: {cause(error)}", kind="cannot-write-submission", file=str(path))
