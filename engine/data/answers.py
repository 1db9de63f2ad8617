"""A teacher's answers from a file, joined with the rows of a task: by id, by text, or by row number. Imports no torch.

The file is read once, in chunks; what stays in memory are a key of 16 bytes for each row of the task and the answers. Every
training row needs an answer. The rows of dev or test may have them: then they are measured as those of a model are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.data.answer_columns import AnswerColumn, answer_columns, answers_path
from engine.data.answer_values import column_values
from engine.data.examples import Examples, NumberedIds
from engine.data.findings import Finding
from engine.data.rank_weights import Ranking
from engine.data.row_stream import RowChunk, RowReader, format_of
from engine.data.text_columns import columns_of_task
from engine.data.text_files import listed, shown
from engine.data.types import Example, TaskData
from engine.errors import DataError
from engine.preset.kinds import WORD_LABELS
from engine.preset.schema import Columns, Task, Teacher
from engine.preset.text import plain, plural
from engine.record.phases import Report, unreported

FLOOR = 1e-6
"""Probabilities below it count as it, because logits are their logarithms: the smallest that `crild predict` writes."""
ROUNDING = 0.02
"""How far probabilities of a row may be from a sum of 1; they are divided by their sum."""
Join: TypeAlias = Literal["id", "text", "row"]
Logits = npt.NDArray[np.float32]
_Keys: TypeAlias = npt.NDArray[Any]  # of rows: digests of 16 bytes, or row numbers
_KEY = "S16"
_SAME = 1e-6  # two answers to one input that differ less are the same
_AT_ONCE = 8192


@dataclass(frozen=True)
class Answers:
    """Answers as logits (rows, outputs), by split: of "train", and of each dev set and test whose rows all have one.

    Probabilities, and those that ranks stand for, are logits by their logarithm; of several labels for a text by log p - log(1 - p) of each. Scores of a
    regression task stay scores. `notes` say how they were read.
    """

    source: str
    logits: Mapping[str, Logits]
    notes: tuple[str, ...]

    @property
    def train(self) -> Logits:
        """Those of the training rows."""
        return self.logits["train"]

    @property
    def measured(self) -> dict[str, Logits]:
        """Those of the dev sets and of test, by split."""
        return {split: logits for split, logits in self.logits.items() if split != "train"}

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(map(len, self.logits.values()))

    def content(self) -> str:
        """SHA-256 of the answers in the order of the task's rows: it depends on neither the file's form nor its order."""
        state = hashlib.sha256()
        for split, logits in self.logits.items():
            state.update(f"{split} {logits.shape} ".encode())
            state.update(np.ascontiguousarray(logits).data)
        return state.hexdigest()


def load_answers(teacher: Teacher, task: Task, data: TaskData, *, report: Report = unreported) -> Answers:
    """The answers in `teacher.answers` to the rows of a task.

    Raises DataError, with file and line, for a training row without an answer, two answers to one input that differ,
    numbers that cannot be answers, and columns that are missing or can be read in several ways.
    """
    path = answers_path(teacher)
    if data.spec.kind == WORD_LABELS:
        sentence = (
            "a file of answers has one for each text, and in this task each word has a label: name a teacher.model"
        )
        raise DataError(sentence, kind="answers-to-texts", file=str(path), key="teacher.answers")
    with RowReader(path, format_of(path) or "csv") as reader:
        chunks = reader.chunks(_AT_ONCE)
        first = next(chunks)
        while not first.columns and (more := next(chunks, None)) is not None:
            first = more
        columns = answer_columns(first, teacher, data.spec, path)
        join, named = _join(first, teacher, task, data, path)
        rows = _TaskRows(task, data, join, path)
        if join == "row" and teacher.join is None:
            rows.check_order(first)
        found = _Found(rows, data.spec.outputs)
        done = lacking = 0
        for chunk in _with(first, chunks):
            report(f"reading {plain(path.name)}", done, reader.estimate(), "rows")
            if len(chunk.lines):
                keys = rows.keys_of(chunk, named, done)
                values, missing = column_values(chunk, columns, path)
                lacking += int(missing.any(axis=1).sum())
                found.add(keys, _logits(values, missing, chunk, columns, path), chunk, path)
            done += len(chunk.lines)
    if not done:
        raise DataError("the file has column names but no rows", kind="no-rows", file=str(path))
    rows.check_count(done)
    logits, partly = found.by_split()
    notes = [columns.note(path), *_join_notes(join, named, found, done, path), *_missing_notes(partly, path)]
    if lacking:
        how = (
            "come after those with a rank"
            if columns.form == "ranks"
            else "have what lacks to 1 where it is one class, and count as 0 where they are several"
        )
        notes.append(
            f"{lacking:,} of {done:,} rows of {plain(path.name)} leave out classes without a number: these {how}."
        )
    return Answers(str(path), logits, tuple(notes))


def agreement_findings(answers: Answers, data: TaskData) -> Iterator[Finding]:
    """How far the answers agree with the classes of the training rows, where these are known: a warning where the most
    frequent class alone agrees as often, since then rows or classes may have been exchanged."""
    labels = Examples.of(data.train).labels
    if data.spec.kind != "classification" or labels is None or labels.dtype == object or not len(labels):
        return
    agree = float(np.mean(answers.train.argmax(axis=1) == labels))
    floor = int(np.bincount(labels).max()) / len(labels)
    is_low = agree <= floor
    sentence = (
        f"the answers of {plain(Path(answers.source).name)} agree with {100 * agree:.1f} % of the training labels"
    )
    if is_low:
        sentence += (
            f", and the most frequent class alone with {100 * floor:.1f} %: check that each answer belongs to its row, and each "
            "number to its class"
        )
    facts = {"agree": agree, "majority": floor}
    severity: Literal["warning", "note"] = "warning" if is_low else "note"
    yield Finding(sentence, kind="agreement-of-answers", severity=severity, facts=facts)


def _with(first: RowChunk, rest: Iterator[RowChunk]) -> Iterator[RowChunk]:
    yield first
    yield from rest


# -- how rows find each other


def _join(chunk: RowChunk, teacher: Teacher, task: Task, data: TaskData, path: Path) -> tuple[Join, tuple[str, ...]]:
    """How the rows find those of the task, and the columns of the file that say so."""
    own, names = teacher.columns, chunk.columns
    paired = data.spec.is_pair
    by_id = own.id if own is not None else None
    by_text = None if own is None or own.text is None else (own.text, *([own.pair] if own.pair is not None else []))
    if by_text is not None and (len(by_text) == 2) != paired:
        sentence = f"teacher.columns names {'no second text, but' if paired else 'a second text, but'} the task has "
        sentence += "pairs of texts" if paired else "single texts"
        raise DataError(sentence, kind="pair-does-not-fit", file=str(path), key="teacher.columns")
    task_columns = task.columns or Columns() if task.name == "custom" else None
    if by_id is None and task_columns is not None and task_columns.id in names:
        by_id = task_columns.id
    if by_text is None:
        known = columns_of_task(task)[0] or [("text", "pair" if paired else None)]
        complete = (tuple(name for name in pair if name is not None) for pair in known)
        by_text = next((pair for pair in complete if all(names.count(name) == 1 for name in pair)), None)
    wanted: Join | None = teacher.join
    if wanted is None and own is not None and own.id is None and own.text is not None:
        wanted = "text"
    if wanted is None:
        wanted = "id" if by_id is not None else "text" if by_text is not None else "row"
    columns: dict[Join, tuple[str, ...] | None] = {
        "id": None if by_id is None else (by_id,),
        "text": by_text,
        "row": (),
    }
    used = columns[wanted]
    if used is None:
        sentence = (
            f"teacher.join is {shown(wanted)}, but it is unclear which column has the {wanted}s: name it, as "
            f'teacher.columns = {{ {wanted} = "..." }}; the columns are {listed(names)}'
        )
        raise DataError(sentence, kind="join-without-column", file=str(path), key="teacher.join")
    for name in used:
        if names.count(name) != 1:
            what = "there is no column" if name not in names else "two columns are named"
            sentence = f"{what} {shown(name)}; the columns are {listed(names)}"
            raise DataError(sentence, kind="no-such-column", file=str(path), key="teacher.columns")
    return wanted, used


class _TaskRows:
    """The rows of a task by what the file's rows are joined with: their ids, their texts, or their numbers in the training
    file."""

    def __init__(self, task: Task, data: TaskData, join: Join, path: Path) -> None:
        self.join, self.path = join, path
        self.sets: dict[str, Examples] = {"train": Examples.of(data.train)}
        measured = {split: Examples.of(rows) for split, rows in data.measured.items()}
        self._is_subset = task.examples is not None or task.holdout is not None
        if join == "row":
            train = self.sets["train"].ids
            if isinstance(train, NumberedIds):
                self.sets |= {
                    split: rows
                    for split, rows in measured.items()
                    if isinstance(rows.ids, NumberedIds) and rows.ids.prefix == train.prefix
                }
            elif self._is_subset or (task.files is not None and task.files.dev is None):
                sentence = (
                    "the training rows are a part of their file, so that row numbers don't tell which answer is whose: name the "
                    "column of ids or texts in teacher.columns"
                )
                raise DataError(sentence, kind="rows-not-numbered", file=str(path), key="teacher.join")
        else:
            self.sets |= measured
        keys = {split: self._keys(rows) for split, rows in self.sets.items()}
        if join == "id":  # ids are unique in a split, and two splits can have the same
            known = keys["train"]
            for split in [split for split in keys if split != "train" and np.isin(keys[split], known).any()]:
                del keys[split], self.sets[split]
        self.unique, places = np.unique(np.concatenate(list(keys.values())), return_inverse=True)
        ends = np.cumsum([len(each) for each in keys.values()])[:-1]
        self.places = dict(zip(keys, np.split(places, ends), strict=True))
        """For each row of each split its place among the different keys."""

    def keys_of(self, chunk: RowChunk, named: tuple[str, ...], before: int) -> _Keys:
        """The keys of the file's rows; `before` counts those of earlier chunks."""
        if self.join == "row":
            return np.arange(before, before + len(chunk.lines))
        columns = [_texts(chunk, name, self.path, strip=self.join == "id") for name in named]
        return _digests(zip(*columns, strict=True), len(chunk.lines))

    def check_order(self, chunk: RowChunk) -> None:
        """Raise DataError where a column of the file's first rows has texts of training rows, and others than those at the same
        places: then the answers are in another order."""
        texts, numbers = self.sets["train"].texts, self._keys(self.sets["train"])
        here = {int(number): row for row, number in enumerate(numbers) if number < len(chunk.lines)}
        known: _Keys | None = None
        for name in dict.fromkeys(chunk.columns):
            values = chunk.values(name)
            others = [number for number, row in here.items() if values[number] != texts[row]]
            if not others or not isinstance(values[others[0]], str):
                continue
            known = _digests(((text,) for text in texts), len(texts)) if known is None else known
            found = _digests(((str(values[number]),) for number in others), len(others))
            if 2 * np.isin(found, known).sum() > len(others):
                sentence = (
                    f"column {shown(name)} has the texts of the training rows, but not at the same places, and rows are joined by their "
                    f'number where no column is known: name it, as teacher.columns = {{ text = "{plain(name)}" }}'
                )
                line = chunk.lines[others[0]]
                raise DataError(
                    sentence, kind="answers-in-other-order", file=str(self.path), line=line, key="teacher.columns"
                )

    def check_count(self, count: int) -> None:
        """Raise DataError unless the file has as many rows as the training file, where they are joined by number."""
        if self.join != "row":
            return
        expected = int(self.unique[-1]) + 1
        if count < expected or (count > expected and not self._is_subset):
            sentence = (
                f"the file has {count:,} rows and the training file {'at least ' * self._is_subset}{expected:,}: joined by row "
                "number, each row answers the training row at the same place. If the rows are others, name the column "
                "of ids or texts in teacher.columns"
            )
            raise DataError(sentence, kind="wrong-number-of-answers", file=str(self.path), key="teacher.join")

    def example(self, split: str, row: int) -> Example:
        """A row of a split."""
        return self.sets[split][row]

    def _keys(self, rows: Examples) -> _Keys:
        if self.join == "row":
            return np.asarray(rows.ids.numbers if isinstance(rows.ids, NumberedIds) else range(len(rows)), np.int64)
        if self.join == "id":
            return _digests(((name,) for name in rows.ids), len(rows))
        return _digests(rows.inputs() if rows.pairs is not None else ((text,) for text in rows.texts), len(rows))


def _digests(parts: Iterator[tuple[str | None, ...]], count: int) -> _Keys:
    """A key of 16 bytes for each row: equal for equal texts alone."""
    found = bytearray()
    for row in parts:
        text = "\0".join(map(str, row)).encode("utf-8", "surrogatepass")
        found += hashlib.blake2b(text, digest_size=16).digest()
    return np.frombuffer(bytes(found), _KEY, count)


def _texts(chunk: RowChunk, column: str, path: Path, *, strip: bool) -> list[str]:
    """The ids or texts in a column. Raises DataError where one is missing."""
    values = chunk.values(column) if column in chunk.columns else [None] * len(chunk.lines)
    for row, value in enumerate(values):
        if value is None or value == "":
            sentence = f"this row has nothing in column {shown(column)}, by which answers find their rows"
            raise DataError(sentence, kind="answer-without-key", file=str(path), line=chunk.lines[row])
    return [str(value).strip() for value in values] if strip else list(map(str, values))


class _Found:
    """The answers that were read, for each different key of the task's rows."""

    def __init__(self, rows: _TaskRows, outputs: int) -> None:
        self._rows = rows
        self._logits = np.full((len(rows.unique), outputs), np.nan, np.float32)
        self.others = self.repeated = 0
        """Rows of the file that answer no row of the task; that repeat an answer."""

    def add(self, keys: _Keys, logits: Logits, chunk: RowChunk, path: Path) -> None:
        """Add the answers of some rows. Raises DataError where an input has another answer already."""
        unique = self._rows.unique
        places = np.minimum(np.searchsorted(unique, keys), len(unique) - 1)
        known = np.flatnonzero(unique[places] == keys)
        self.others += len(keys) - len(known)
        order = known[np.argsort(places[known], kind="stable")]
        first = order[np.r_[True, places[order][1:] != places[order][:-1]]] if len(order) else order
        again = np.setdiff1d(order, first, assume_unique=True)
        had = ~np.isnan(self._logits[places[first], 0])
        again = np.sort(np.concatenate([again, first[had]]))
        self._logits[places[first[~had]]] = logits[first[~had]]
        differ = np.abs(self._logits[places[again]] - logits[again]).max(axis=1, initial=0.0) > _SAME
        if differ.any():
            row = int(again[differ][0])
            by = {"id": "id", "text": "text", "row": "number"}[self._rows.join]
            sentence = f"an earlier row with the same {by} has another answer: keep one of them"
            raise DataError(sentence, kind="answers-differ", file=str(path), line=chunk.lines[row])
        self.repeated += len(again)

    def by_split(self) -> tuple[dict[str, Logits], dict[str, tuple[int, int]]]:
        """The answers of each split that has them all; of dev sets and test that lack some, how many rows have one, and how
        many there are. Raises DataError where a training row has none."""
        complete: dict[str, Logits] = {}
        partly: dict[str, tuple[int, int]] = {}
        for split, places in self._rows.places.items():
            logits = self._logits[places]
            missing = np.flatnonzero(np.isnan(logits[:, 0]))
            if not len(missing):
                complete[split] = logits
            elif split != "train":
                partly[split] = len(logits) - len(missing), len(logits)
            else:
                row = self._rows.example(split, int(missing[0]))
                sentence = (
                    f"{len(missing):,} of {len(logits):,} training rows have no answer in this file; the first has the id "
                    f"{shown(row.id)} and the text {shown(row.text)}"
                )
                raise DataError(sentence, kind="missing-answers", file=str(self._rows.path), key="teacher.answers")
        return complete, partly


def _join_notes(join: Join, named: Sequence[str], found: _Found, rows: int, path: Path) -> Iterator[str]:
    how = {"id": "id", "text": "text", "row": "row number"}[join]
    where = f" (column{'s' * (len(named) > 1)} {listed(named)})" if named else ""
    yield f"The answers of {plain(path.name)} are joined with the rows by {how}{where}."
    if found.others:
        yield f"{found.others:,} of {rows:,} rows of {plain(path.name)} answer no row of the task; they are ignored."
    if found.repeated:
        repeated = plural(found.repeated, "row")
        yield f"{repeated} of {plain(path.name)} {'repeats' if found.repeated == 1 else 'repeat'} an answer."


def _missing_notes(missing: Mapping[str, tuple[int, int]], path: Path) -> Iterator[str]:
    for split, (known, rows) in missing.items():
        if known:
            yield (
                f"{plain(path.name)} answers {known:,} of the {rows:,} rows of {plain(split)}, so the teacher isn't measured "
                "there."
            )


# -- what the numbers mean


def _logits(
    values: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_], chunk: RowChunk, columns: AnswerColumn, path: Path
) -> Logits:
    """The answers of some rows, as `column_values` gives them, as logits (rows, outputs). Raises DataError for numbers that
    cannot be answers."""

    def refuse(wrong: Any, kind: str) -> None:
        """Raise the DataError of the first wrong row, if there is one."""
        if not wrong.any():
            return
        row = int(np.flatnonzero(wrong)[0])
        cells = zip(values[row], missing[row], strict=True)
        numbers = ", ".join("none" if lacks else f"{value:.6g}" for value, lacks in cells)
        sentence = f"the answer ({numbers}) {_REASONS[kind]}"
        raise DataError(sentence, kind=kind, file=str(path), line=chunk.lines[row])

    with np.errstate(over="ignore"):
        single: Logits = values.astype(np.float32)
    refuse(~np.isfinite(single).all(axis=1), "answer-not-finite")
    if columns.form in ("logits", "score"):
        return single
    if columns.form == "ranks":
        refuse((~missing & ((values < 1) | (values % 1 != 0))).any(axis=1), "answer-not-rank")
        ranking = Ranking.of(values, missing)
        refuse(ranking.has_gaps(), "ranks-with-gaps")
        return np.asarray(np.log(np.maximum(ranking.weights(), FLOOR)), np.float32)
    refuse((values < 0).any(axis=1), "negative-answer")
    if columns.each_alone:
        refuse((values > 1).any(axis=1), "answer-above-one")
        chances = np.clip(values, FLOOR, 1 - FLOOR)
        return np.asarray(np.log(chances) - np.log1p(-chances), np.float32)
    if columns.form == "probabilities":
        values = _with_rest(values, missing)
    sums = values.sum(axis=1)
    off = np.abs(sums - 1) > ROUNDING + 1e-9  # 0.98 in binary is a little less
    refuse(missing.any(axis=1) & off & (sums < 1), "answer-lacks-classes")
    refuse(sums <= 0, "answer-of-zeros")
    if columns.form == "probabilities":
        refuse(off, "answer-not-one")
    logits: Logits = np.log(np.maximum(values / sums[:, None], FLOOR)).astype(np.float32)
    return logits


def _with_rest(values: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The values with what lacks to 1 for the one class that an answer leaves out; where it leaves out more, nobody knows."""
    rest = np.maximum(1 - values.sum(axis=1), 0.0)
    return np.where(missing & (missing.sum(axis=1) == 1)[:, None], rest[:, None], values)


_NOT_PROBABILITIES = (
    'set teacher.values = "scores" where the numbers are shares of another sum, or "logits" where they are logits'
)
_REASONS = {
    "answer-not-finite": "has a number that is not finite, or too large",
    "negative-answer": f"has a negative number: {_NOT_PROBABILITIES}",
    "answer-of-zeros": "has no number above 0, so that it says nothing",
    "answer-above-one": f"has a probability above 1: {_NOT_PROBABILITIES}",
    "answer-lacks-classes": "leaves out classes, and the others do not sum to 1: divide the rest of 1 among those left out",
    "answer-not-rank": "has a number that is no rank: 1 is the first class, and equal ones are ties",
    "ranks-with-gaps": "leaves out ranks: they count from 1, and only after a tie may some be missing (1, 2, 2, 4)",
    "answer-not-one": f"does not sum to 1, as probabilities do: {_NOT_PROBABILITIES}",
}
"""What is wrong with an answer, as the end of a sentence, by the error's kind."""
