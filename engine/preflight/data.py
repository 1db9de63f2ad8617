"""What the files of a task say about a preset: are they there, and have they the columns that it names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from engine.errors import CrildError, DataError
from engine.preset.base import GLUE_TASKS
from engine.preset.load import Loaded
from engine.preset.paths import not_a_file
from engine.preset.schema import Columns, Corpus, OtherTask, Task
from engine.preset.source_names import TEXT_ENDINGS, is_corpus_path
from engine.preset.text import listed, nearest, plain, shown

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_GLUE_FOLDERS = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
}
_GLUE_COLUMNS: dict[str, tuple[str, ...]] = {
    "cola": (),  # its files have no header
    "sst2": ("sentence", "label"),
    "mrpc": ("Quality", "#1 String", "#2 String"),
    "stsb": ("sentence1", "sentence2", "score"),
    "qqp": ("question1", "question2", "is_duplicate"),
    "mnli": ("sentence1", "sentence2", "gold_label"),
    "qnli": ("question", "sentence", "label"),
    "rte": ("sentence1", "sentence2", "label"),
    "wnli": ("sentence1", "sentence2", "label"),
}
_HEADS = 100  # text files of a corpus whose heads are looked at
_HEAD = 1_000_000  # bytes in which a header or the first row must end


def data_problems(loaded: Loaded) -> list[CrildError]:
    """Everything that is wrong with the data of a preset, as far as the heads of its files show."""
    problems = list(_task(loaded, loaded.preset.task, "task"))
    for stage in loaded.preset.stage:
        key = f"stage.{stage.name}.data"
        if isinstance(stage.data, OtherTask):
            problems += _task(loaded, stage.data.task, f"{key}.task")
        elif isinstance(stage.data, Corpus):
            problems += _corpus(loaded, stage.data, key)
    return problems


def _task(loaded: Loaded, task: Task, key: str) -> Iterator[CrildError]:
    if task.name in GLUE_TASKS and task.source != "hub":
        try:
            _check_glue(task)
        except DataError as error:
            yield _set_in(loaded, error, f"{key}.source")
    if task.name == "custom" and task.files is not None:
        columns = task.columns or Columns()
        wanted = [name for name in (columns.text, columns.pair, columns.label, columns.id) if name is not None]
        for split in ("train", "dev", "dev_mismatched"):
            path = getattr(task.files, split)
            if path is not None:
                try:
                    _check_table(Path(path), wanted)
                except DataError as error:
                    yield _set_in(loaded, error, f"{key}.files.{split}")


def _set_in(loaded: Loaded, error: DataError, key: str) -> DataError:
    """The error with the key that named the file, and the place that set the key."""
    place = loaded.place(key)
    where = f" ({key}, set in {place.file}{f':{place.line}' if place.line else ''})"
    return DataError(error.sentence + where, file=error.file, line=error.line, key=key)


def _check_glue(task: Task) -> None:
    """Raises DataError unless `task.source` is, or holds, the task's folder with all of its files."""
    source = Path(task.source)
    if not source.is_dir():
        what = "this is a file" if source.exists() else "there is no such folder"
        raise DataError(f'{what}; give "hub" or a folder in the official GLUE layout', file=plain(str(source)))
    official = _GLUE_FOLDERS[task.name]
    splits = ("train", "dev_matched", "dev_mismatched") if task.name == "mnli" else ("train", "dev")
    inside = [item for item in _entries(source) if item.is_dir() and _bare(item.name) == _bare(official)]
    folder = inside[0] if inside else source
    there = {item.name.lower(): item for item in _entries(folder)}
    missing = [f"{split}.tsv" for split in splits if f"{split}.tsv" not in there]
    if len(missing) == len(splits) and not inside:
        files = listed((f"{split}.tsv" for split in splits), "and")
        sentence = f"there is neither a folder {official} in here nor the files {files} of {task.name}"
        raise DataError(sentence, file=plain(str(source)))
    if missing:
        raise DataError(f"{listed(missing, 'and')} of {task.name} is not in this folder", file=plain(str(folder)))
    for split in splits:
        path = there[f"{split}.tsv"]
        header = _head(path).splitlines()[0]
        if _GLUE_COLUMNS[task.name]:
            _check_columns(path, header.split("\t"), _GLUE_COLUMNS[task.name])


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"this folder cannot be read: {error.strerror}", file=plain(str(folder))) from None


def _check_table(path: Path, wanted: Sequence[str]) -> None:
    """Raises DataError unless the file is there, of a known kind, and has the wanted columns."""
    ending = path.suffix.lower()
    if path.is_dir():
        raise DataError("this is a folder, where a file is expected", file=plain(str(path)))
    if not path.exists():
        near = nearest(path.name, [item.name for item in _entries(path.parent)]) if path.parent.is_dir() else None
        hint = f"; did you mean {plain(near)}?" if near else ""
        raise DataError(f"there is no such file{hint}", file=plain(str(path)))
    if ending not in ENDINGS:
        sentence = f"what this file is cannot be told by its name; files end in {listed(ENDINGS)}"
        raise DataError(sentence, file=plain(str(path)))
    if ending == ".parquet":
        _check_parquet(path)
        return
    head = _head(path)
    if ending in (".jsonl", ".json"):
        names = _keys(path, head.splitlines()[0])
    elif ending == ".csv":
        names = _csv_header(path, head)
    else:
        names = [name[1:-1] if name[:1] == name[-1:] == '"' else name for name in head.splitlines()[0].split("\t")]
    _check_columns(path, names, wanted)


def _csv_header(path: Path, head: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(head, newline="")), [])
    except csv.Error as error:
        raise DataError(f"the names of the columns cannot be read: {error}", file=plain(str(path)), line=1) from None


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name in names:
            continue
        near = nearest(name, names)
        hint = f"; did you mean {shown(near)}?" if near else ""
        if len(names) == 1 and any(mark in names[0] for mark in ";\t,|"):
            hint = "; the columns seem to be separated by another character than the file's ending says"
        columns = listed(map(shown, names[:20]), "and") + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise DataError(f"there is no column {shown(name)}; the columns are {columns}{hint}", file=plain(str(path)))


def _check_parquet(path: Path) -> None:
    """Only the marks at both ends: the columns stand in a footer that takes a library to read."""
    with _opened(path) as file:
        first = file.read(4)
        length = file.seek(0, 2)
        file.seek(max(length - 4, 0))
        if length < 12 or first != b"PAR1" or file.read(4) != b"PAR1":
            raise DataError("this is not a Parquet file, or it is cut short", file=plain(str(path)))


def _keys(path: Path, line: str) -> list[str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        sentence = "the first line is not a JSON object; JSON lines has one object on each line"
        raise DataError(sentence, file=plain(str(path)), line=1)
    return list(row)


def _head(path: Path) -> str:
    """The beginning of the file from its first line that is not blank, without a byte order mark.

    Raises DataError when there is none, or when that line is not UTF-8 text.
    """
    with _opened(path) as file:
        head = file.read(_HEAD)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("the file is UTF-16 text: save it as UTF-8", file=plain(str(path)))
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n") if not head.isspace() else b""
    if not head:
        raise DataError("the file is empty", file=plain(str(path)))
    first = head.splitlines()[0]
    try:
        first.decode("utf-8")
    except UnicodeDecodeError as error:
        sentence = f"the file is not UTF-8 text (byte 0x{first[error.start]:02x} in its first line)"
        raise DataError(sentence, file=plain(str(path))) from None
    return head.decode("utf-8", "replace")  # what comes after the header is the engine's to judge


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if (odd := not_a_file(path)) is not None:
        raise DataError(odd, file=plain(str(path)))
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", file=plain(str(path))) from None


def _corpus(loaded: Loaded, corpus: Corpus, key: str) -> Iterator[CrildError]:
    path = Path(corpus.corpus)
    if not is_corpus_path(corpus.corpus):
        return
    if not path.exists():
        error = DataError("there is no such file or folder of plain text", file=plain(str(path)))
    else:
        try:
            _check_corpus(path)
            return
        except DataError as found:
            error = found
    yield _set_in(loaded, error, f"{key}.corpus")


def _check_corpus(path: Path) -> None:
    """Raises DataError unless this is a text file, or a folder with one, whose heads look like paragraphs of text."""
    if not path.is_dir():
        files = [path]
    elif not (files := list(islice((file for file in path.rglob("*") if _is_text(file)), _HEADS))):
        raise DataError(f"this folder holds no text file ({', '.join(TEXT_ENDINGS)})", file=plain(str(path)))
    if not sum([_check_text(file) for file in files]) and len(files) < _HEADS:
        what = "the file is" if files == [path] else "every text file of this folder is"
        raise DataError(f"{what} empty: a corpus has a paragraph of text on each line", file=plain(str(path)))


def _check_text(path: Path) -> bool:
    """Whether anything stands in the head of a text file; raises DataError where it is no text, or one endless line."""
    with _opened(path) as file:
        head = file.read(_HEAD + 1)
    where = plain(str(path))
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("the file is UTF-16 text: save it as UTF-8", file=where)
    if (nul := head.find(b"\0")) >= 0:
        sentence = "a NUL byte stands here: this is not a text file, or a damaged one"
        raise DataError(sentence, file=where, line=head.count(b"\n", 0, nul) + 1)
    whole = head.rfind(b"\n") if len(head) > _HEAD else len(head)
    if whole < 0:
        sentence = f"this line is longer than {_HEAD:,} bytes; a corpus has one paragraph on each line"
        raise DataError(sentence, file=where, line=1)
    try:
        head[:whole].decode("utf-8")
    except UnicodeDecodeError as error:
        sentence = f"byte 0x{head[error.start]:02x} is not UTF-8 text; save the file as UTF-8"
        raise DataError(sentence, file=where, line=head.count(b"\n", 0, error.start) + 1) from None
    return len(head) > _HEAD or bool(head.strip())


def _is_text(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix.lower() in ("", *TEXT_ENDINGS) and file.is_file()
