"""Unlabelled rows of the user's own, as inputs of stages that need no labels: any number of them, in flat memory.

Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.data.custom import value_kind
from engine.data.examples import Examples, NumberedIds, TextBuilder
from engine.data.findings import Finding
from engine.data.row_stream import ArrowChunk, RowChunk, RowReader, text_of_words
from engine.data.stored_rows import Inputs, stored_inputs
from engine.data.subset import drawn_rows
from engine.data.text_columns import TextColumns, columns_of_task
from engine.data.text_files import check_text, listed, shown
from engine.data.types import TEST, Example, TaskData, TaskSpec
from engine.data.unlabelled_files import columns_of_file, file_format, files_of
from engine.errors import DataError
from engine.preset.kinds import WORD_LABELS
from engine.preset.text import plain
from engine.record.phases import Report, unreported

if TYPE_CHECKING:
    from engine.preset.schema import Task, UnlabelledFiles

Keys = npt.NDArray[np.int64]


def unlabelled_inputs(
    source: UnlabelledFiles, task: Task, data: TaskData, *, report: Report = unreported
) -> tuple[Examples, tuple[Finding, ...], int]:
    """The inputs of a stage that reads unlabelled files, findings that say which rows were left out, and how many of the inputs,
    the last ones, are rows of the task.

    Left out are rows without text, rows that repeat an earlier one, and rows of a dev or test set (texts are compared
    without regard to white space). `with_task` adds the task's training rows, without their labels; of the files' rows,
    those of the task are left out then. The rows that a share takes are drawn with the task's `data_seed`, if it doesn't
    take all. Raises DataError for files that cannot be read or give no inputs, for missing columns, and for pairs where the
    task has single texts or the reverse.
    """
    files = files_of(source)
    name = _name(files)
    rows, facts = _read(source, files, task, data.spec, report)
    report("comparing the unlabelled rows with the task's")
    train = Examples.of(data.train).unlabelled()
    keys, measured = text_keys(rows), keys_of(data.measured.values())
    if len(rows) > 1 and (keys == keys[0]).all():
        sentence = f"all {len(rows):,} rows of {name} have the same text: check which column is read"
        raise DataError(sentence, kind="all-texts-equal", file=str(files[0]))
    training = keys_of([train] if source.with_task else [])
    kept = first_of(keys, np.concatenate((measured, training)))
    findings = [*_reading_findings(name, facts), *_left_out(name, keys, kept, measured, training)]
    own = rows if len(kept) == len(rows) else rows.take(kept)
    if not len(own):
        where = "train, dev or test" if source.with_task else "dev or test"
        sentence = f"every row of {name} is also a row of {where}, so there is nothing more to learn from"
        raise DataError(sentence, kind="no-new-rows", file=str(files[0]))
    if not source.with_task:
        return own, tuple(findings), 0
    if source.with_task is True:
        return Examples.joined([own, train], "input"), tuple(findings), len(train)
    share = float(source.with_task)
    count = max(1, round(share / (1 - share) * len(own)))
    times, rest = divmod(count, len(train))
    drawn = train.take(drawn_rows(len(train), rest, task.data_seed))
    sentence = (
        f"each epoch has {len(own):,} unlabelled rows and {count:,} inputs of the {len(train):,} training rows"
        + (f": each {times:,} time{'s' * (times > 1)}{' or once more' * (rest > 0)}" if times else "")
    )
    facts = {"rows": len(own), "of_task": count, "training_rows": len(train)}
    findings.append(Finding(sentence, kind="share-of-task", severity="note", facts=facts))
    return Examples.joined([own, *[train] * times, drawn], "input"), tuple(findings), count


def texts_of(task: Task, *, report: Report = unreported) -> TaskData:
    """The texts of a custom task's files, which nothing can train on as they are: a task without classes, whatever columns of
    labels there are. Rows without text are left out. Raises DataError for files and columns that cannot be read."""
    from engine.preset.schema import UnlabelledFiles

    assert task.files is not None
    is_pair = columns_of_task(task)[1] is True
    spec = TaskSpec(task.display_name, "classification", (), ("accuracy",), is_pair=is_pair)
    splits: dict[str, Examples] = {}
    notes = []
    for split, file in task.files.splits().items():
        splits[split], facts = _read(UnlabelledFiles(files=[file]), [Path(file)], task, spec, report)
        if blank := facts["blank"]:
            have = "row has" if blank == 1 else "rows have"
            notes.append(f"{blank:,} {have} no text in {plain(Path(file).name)}: a run refuses them, so remove them.")
        if split == "train" and facts["ignored"]:
            notes.append(f"Other columns of {plain(Path(file).name)} are not read: {listed(facts['ignored'])}.")
    train, test = splits.pop("train"), splits.pop(TEST, ())
    return TaskData(spec, train, splits, notes=tuple(notes), test=test)


def first_of(keys: Keys, taken: Keys) -> npt.NDArray[np.int64]:
    """The positions, ascending, of the keys that neither occur earlier nor among those that are `taken`."""
    found, first = np.unique(keys, return_index=True)
    return np.sort(first[~np.isin(found, taken)]).astype(np.int64, copy=False)


def keys_of(parts: Iterable[Sequence[Example]]) -> Keys:
    """The keys of the texts of several sets of rows."""
    return np.concatenate([np.zeros(0, np.int64), *(text_keys(Examples.of(part)) for part in parts)])


def text_keys(rows: Examples) -> Keys:
    """The key of each row (rows,)."""
    return np.fromiter((text_key(text, pair) for text, pair in rows.inputs()), np.int64, len(rows))


def text_key(text: str, pair: str | None) -> int:
    """A number that is equal, in this process, for texts that differ in white space alone."""
    return hash((" ".join(text.split()), None if pair is None else " ".join(pair.split())))


def read_pool(path: Path, *, is_pair: bool, report: Report = unreported) -> Examples:
    """The copies in a pool: JSON lines with the columns text and, for pairs, pair."""
    columns: TextColumns = ("text", "pair" if is_pair else None)
    return _rows([path], lambda *_: columns, {"pool": 1, "is_pair": is_pair}, is_pair=is_pair, report=report)[0]


def _read(source: UnlabelledFiles, files: Sequence[Path], task: Task, spec: TaskSpec, report: Report) -> Inputs:
    """The rows of some files, without those that lack a text; and `blank`, their number, and `ignored`, the columns that were
    not read."""
    is_pair, by_word = spec.is_pair, spec.kind == WORD_LABELS
    chosen = None if source.columns is None else source.columns.model_dump()
    settings = {
        "unlabelled": 1,
        "columns": chosen,
        "known": columns_of_task(task)[0],
        "is_pair": is_pair,
        "by_word": by_word,
    }
    choose = partial(columns_of_file, source, task, is_pair=is_pair)
    return _rows(files, choose, settings, is_pair=is_pair, by_word=by_word, report=report)


def _rows(
    files: Sequence[Path],
    choose: Callable[[Sequence[str], Path, str], TextColumns],
    settings: Mapping[str, Any],
    *,
    is_pair: bool,
    by_word: bool = False,
    report: Report,
) -> Inputs:
    """As `_read`; `choose` gives the columns of the texts, of a file's columns, its path and its format. With `by_word`, a text
    may be a list of words."""

    def load() -> Inputs:
        texts, pairs = TextBuilder(), TextBuilder()
        rows = blank = 0
        ignored: dict[str, None] = {}
        for path in files:
            form = file_format(path)
            with RowReader(path, form) as reader:
                columns: TextColumns | None = None
                for chunk in reader.chunks():
                    report(f"reading {path.name}", reader.rows, reader.estimate(), "rows")
                    if columns is None and chunk.columns:
                        columns = choose(chunk.columns, path, form)
                        ignored.update(dict.fromkeys(name for name in chunk.columns if name not in columns))
                    if columns is None:
                        continue
                    inputs = list(_inputs(chunk, columns, path, by_word=by_word))
                    texts.append([text for text, _ in inputs])
                    pairs.append([pair for _, pair in inputs if pair is not None])
                    rows, blank = rows + len(inputs), blank + len(chunk.lines) - len(inputs)
        if not rows:
            what = "only rows without text" if blank else "no rows"
            raise DataError(f"there are {what}", kind="no-rows", file=str(files[0]))
        examples = Examples(NumberedIds("input", range(rows)), texts.column(), pairs.column() if is_pair else None)
        return examples, {"blank": blank, "ignored": [name[:100] for name in ignored][:50]}

    return stored_inputs(files, settings, load, report)


def _inputs(chunk: RowChunk, columns: TextColumns, path: Path, *, by_word: bool) -> Iterator[tuple[str, str | None]]:
    """The inputs of a chunk, without rows that lack a text. Raises DataError for what is no text."""
    read = [list(_texts(chunk, column, path, by_word=by_word)) for column in columns if column is not None]
    if len(read) == 1:
        yield from ((text, None) for text in read[0] if text)
    else:
        yield from ((text, pair) for text, pair in zip(*read, strict=True) if text and pair)


def _texts(chunk: RowChunk, column: str, path: Path, *, by_word: bool) -> Iterator[str]:
    """The texts in a column; "" where there is none."""
    values: Sequence[Any] = chunk.values(column) if column in chunk.columns else [None] * len(chunk.lines)
    texts: Iterable[Any] = map(text_of_words, values) if by_word else values
    for line, value in zip(chunk.lines, texts, strict=True):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            yield ""
            continue
        is_row = isinstance(chunk, ArrowChunk)
        if not isinstance(value, str):
            sentence = f"{shown(value)} in column {shown(column)} is {value_kind(value)}, not text"
            sentence = f"row {line:,}: {sentence}" if is_row else sentence
            raise DataError(sentence, kind="not-text", file=str(path), line=None if is_row else line)
        check_text(value, str(path), None if is_row else line)
        yield "" if value.isspace() else value


def _name(files: Sequence[Path]) -> str:
    """What sentences call some files."""
    first = plain(files[0].name)
    return first if len(files) == 1 else f"{first} and {len(files) - 1:,} more"


def _reading_findings(name: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    blank, ignored = int(facts.get("blank", 0)), list(facts.get("ignored", ()))
    if ignored:
        sentence = f"of {name}, the column{'s' * (len(ignored) > 1)} {listed(ignored)} {'are' if len(ignored) > 1 else 'is'} not read: these rows need no labels"
        yield Finding(sentence, kind="columns-not-read", severity="note", facts={"columns": ignored})
    if blank:
        sentence = f"left out of {name}: {blank:,} row{'s' * (blank > 1)} without text"
        yield Finding(sentence, kind="rows-without-text", severity="note", facts={"rows": blank})


def _left_out(name: str, keys: Keys, kept: npt.NDArray[np.int64], measured: Keys, training: Keys) -> Iterator[Finding]:
    if len(kept) == len(keys):
        return
    is_measured = np.isin(keys, measured)
    counts = {
        "of dev or test": int(is_measured.sum()),
        "of train": int((np.isin(keys, training) & ~is_measured).sum()),
    }
    counts["repeated"] = len(keys) - len(kept) - sum(counts.values())
    parts = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    of_measured, of_training, repeated = counts.values()
    facts = {"rows": len(keys), "measured": of_measured, "training": of_training, "repeated": repeated}
    sentence = f"left out of {name}: {len(keys) - len(kept):,} of {len(keys):,} rows ({parts})"
    yield Finding(sentence, kind="rows-left-out", severity="note", facts=facts)
