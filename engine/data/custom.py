"""Custom tasks: files of the user's own, with named columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data.dev_split import DEV_SHARE, draw_dev
from engine.data.examples import Examples, LabelArray, NumberedIds, TextColumn
from engine.data.files import Table, read_table
from engine.data.label_columns import class_indices, class_names, label_order, scores
from engine.data.label_sets import label_names, label_separator, label_sets, matrix_of, switches
from engine.data.text_files import check_text, listed, repeated_header, shown
from engine.data.types import TEST, Example, TaskData, TaskSpec
from engine.data.word_labels import word_labels
from engine.errors import DataError
from engine.preset.kinds import ENTITY_METRICS, KINDS, RANKINGS, WORD_LABELS
from engine.preset.text import plain, plural
from engine.record.entities import names_entities
from engine.record.phases import Report, unreported

if TYPE_CHECKING:
    from engine.preset.schema import Columns, Task


def load_custom(task: Task, *, report: Report = unreported) -> TaskData:
    """The rows of a custom task; raises DataError with file and line for whatever cannot be used.

    Classes are ordered by name (naturally: 2 before 10), as a note says. Texts, ids and labels are those of the columns
    named in the preset; without an id column, an example is named by its split and row, "train-0" being the first. What
    the preset leaves open is recognised; without a dev file, dev is a share of the training rows, which are named "row-0"
    on then.
    """
    from engine.preset.schema import Columns

    task, recognised_notes = _recognised(task)
    assert task.files is not None
    columns = task.columns or Columns()
    files = {split: Path(path) for split, path in task.files.splits().items()}
    tables = {split: _table(path, task.columns_of(split), report) for split, path in files.items()}
    report("checking labels and texts")
    train = tables["train"]
    labels: dict[str, LabelArray | None]
    texts: dict[str, TextColumn] = {}
    notes = [*recognised_notes, *(note for table in tables.values() for note in table.notes)]
    if task.kind == "regression":
        found = {split: scores(table, columns.label) for split, table in tables.items()}
        labels = {split: np.array(values) for split, values in found.items()}
        if min(found["train"]) == max(found["train"]):
            sentence = f"every score in column {shown(columns.label)} is {found['train'][0]}: there is nothing to learn"
            raise DataError(sentence, kind="single-score", file=train.path)
        order: tuple[str, ...] = ()
    elif task.kind == WORD_LABELS:
        texts, word_classes, order, sentences = word_labels(tables, columns)
        labels, notes = {**word_classes}, [*notes, *sentences]
    elif task.kind == "multilabel":
        labels, order, note = _several_labels(tables, columns)
        notes.append(note)
    else:
        labelled = {split: table for split, table in tables.items() if split != "train" or task.class_names is None}
        names = {split: class_names(table, columns.label) for split, table in labelled.items()}
        if task.class_names is None:
            order, known = label_order(train, columns.label, names["train"]), Path(train.path).name
        else:
            order, known = tuple(task.class_names), "task.class_names"
        labels = dict.fromkeys(tables)
        labels |= {
            split: np.array(class_indices(table, columns.label, names[split], order, known))
            for split, table in labelled.items()
        }
        notes.append(f"The classes, in the order of the model's outputs, are {listed(order)}.")
    spec = TaskSpec(
        name=task.display_name,
        kind=task.kind or "classification",
        labels=order,
        metrics=_metrics(task, order),
        is_pair=columns.pair is not None,
    )
    groups: dict[str, int] = {}
    if columns.group is not None:
        notes += _check_ranking(task, tables, columns, labels, order)
    if not texts:
        texts = {split: _texts(table, columns.text) for split, table in tables.items()}

    def examples(table: Table, split: str, prefix: str) -> Examples:
        return _examples(table, prefix, columns, texts[split], labels[split], groups)

    if task.files.dev is not None:
        rows = {split: examples(table, split, split) for split, table in tables.items()}
        test: Sequence[Example] = rows.pop(TEST, ())
        return TaskData(spec, train=rows.pop("train"), dev=rows, notes=tuple(notes), test=test)
    rows = {split: examples(table, split, "row" if split == "train" else split) for split, table in tables.items()}
    test = rows.pop(TEST, ())
    share = task.dev_share or DEV_SHARE
    queries = None if columns.group is None else list(map(str, train.values[columns.group]))
    drawn, dev = draw_dev(rows.pop("train"), share, spec, task.data_seed, train.path, queries)
    each = ", each class keeping its share" if spec.kind == "classification" else ""
    each = each if queries is None else ", the rows of a query staying together"
    notes.append(
        f"There is no dev file: {len(dev):,} of the {len(train):,} rows of {plain(Path(train.path).name)} are the dev set "
        f"({100 * share:.3g} %, drawn with data_seed {task.data_seed}{each})."
    )
    return TaskData(spec, train=drawn, dev={"dev": dev, **rows}, notes=tuple(notes), test=test)


def _recognised(task: Task) -> tuple[Task, tuple[str, ...]]:
    """The task with what it leaves open. The commands recognise it before a run starts; a preset may come without that."""
    from engine.data.recognition import recognised

    found = recognised(task)
    return found.task, found.notes


def _table(path: Path, columns: Sequence[str], report: Report) -> Table:
    """The columns of a file. Raises DataError as `read_table` does, and for rows that repeat the header."""
    table = read_table(path, columns, report=report)
    if rows := table.headers():
        error = repeated_header(table.path, None)
        raise table.fault(error.sentence, rows, kind=error.kind)
    return table


def _check_ranking(
    task: Task,
    tables: Mapping[str, Table],
    columns: Columns,
    labels: Mapping[str, LabelArray | None],
    order: Sequence[str],
) -> list[str]:
    """Sentences about what is ranked. Raises DataError for rows without a query, more than two classes, negative scores."""
    column = columns.group
    assert column is not None
    if task.kind != "regression" and len(order) != 2:
        sentence = f"columns.group ranks rows by scores or by two classes, and this task has {len(order)} classes"
        raise DataError(sentence, kind="ranking-of-classes", file=tables["train"].path, key="task.columns.group")
    notes = []
    for split, table in tables.items():
        if missing := table.missing(column):
            raise table.fault(f"the query in column {shown(column)} is missing", missing, kind="missing-group")
        found = labels[split]
        assert found is not None
        if negative := np.flatnonzero(found < 0).tolist():
            sentence = f"the score {found[negative[0]]:g} in column {shown(columns.label)} is negative: mrr and ndcg need 0 or more"
            raise table.fault(sentence, negative, kind="negative-relevance")
        queries: dict[str, bool] = {}
        for name, relevant in zip(map(str, table.values[column]), (found > 0).tolist(), strict=True):
            queries[name] = queries.get(name, False) or relevant
        without = sum(not relevant for relevant in queries.values())
        left_out = f"; {without:,} without a relevant row don't count in mrr and ndcg" if without > 1 else ""
        left_out = left_out or ("; one has no relevant row, and doesn't count in mrr and ndcg" if without else "")
        notes.append(f"{plural(len(queries), 'query', 'queries')} in {plain(Path(table.path).name)}{left_out}.")
    return notes


def _several_labels(
    tables: Mapping[str, Table], columns: Columns
) -> tuple[dict[str, LabelArray | None], tuple[str, ...], str]:
    """Which labels the rows of each split have, the labels in order, and a sentence about how they were read."""
    train = tables["train"]
    if columns.labels is not None:
        order = tuple(columns.labels)
        labels: dict[str, LabelArray | None] = {split: switches(table, order) for split, table in tables.items()}
        form = "each in a column of its own"
    else:
        column = columns.label
        separator = columns.separator or label_separator(train, column)
        sets = {split: label_sets(table, column, separator) for split, table in tables.items()}
        order = label_names(train, column, sets["train"])
        where = Path(train.path).name
        labels = {split: matrix_of(table, column, sets[split], order, where) for split, table in tables.items()}
        form = f"joined by {shown(separator)} in column {shown(column)}" if separator else f"lists in {shown(column)}"
    found = labels["train"]
    assert found is not None
    without = int((~found.any(axis=1)).sum())
    return (
        labels,
        order,
        (
            f"A text can have several of the {len(order)} labels ({form}), in the order of the model's outputs: {listed(order)}. "
            f"Of {len(train):,} rows of {plain(Path(train.path).name)}, {without:,} have none."
        ),
    )


def _metrics(task: Task, order: Sequence[str]) -> tuple[str, ...]:
    """The metrics to report; preset checks already ensure that they fit the kind of task."""
    default: tuple[str, ...] = KINDS[task.kind or "classification"].metrics[:1]
    if task.columns is not None and task.columns.group is not None:
        default = RANKINGS
    elif task.kind == WORD_LABELS:
        default = (*ENTITY_METRICS, "accuracy") if names_entities(order) else ("accuracy",)
    metrics: tuple[str, ...] = tuple(dict.fromkeys(task.metrics)) if task.metrics else default
    if "f1" in metrics and len(order) != 2:
        sentence = f"task.metrics: f1 is defined for two classes, and this task has {len(order)}; use f1_macro"
        raise DataError(sentence, kind="f1-needs-two-classes", key="task.metrics")
    if not names_entities(order) and (wrong := [name for name in metrics if name in ENTITY_METRICS]):
        sentence = f"task.metrics: {wrong[0]} counts entities, and the labels mark none: {listed(order)}; use accuracy or f1_macro"
        raise DataError(sentence, kind="metric-without-entities", key="task.metrics")
    return metrics


def _examples(
    table: Table,
    split: str,
    columns: Columns,
    texts: TextColumn,
    labels: LabelArray | None,
    numbers: dict[str, int],
) -> Examples:
    """The rows of a split; `numbers` are those of the queries that were seen before, and gains new ones."""
    pairs = _texts(table, columns.pair) if columns.pair else None
    ids = TextColumn.of(_ids(table, columns.id)) if columns.id else NumberedIds(split, range(len(table)))
    groups = None
    if columns.group is not None:
        names = map(str, table.values[columns.group])
        groups = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.int64, len(table))
    return Examples(ids, texts, pairs, labels, groups)


def _texts(table: Table, column: str) -> TextColumn:
    values = table.values[column]
    if missing := table.missing(column):
        sentence = f"the text in column {shown(column)} is missing; remove rows without text"
        raise table.fault(sentence, missing, kind="missing-text")
    others = (
        [] if isinstance(values, TextColumn) else [row for row, value in enumerate(values) if type(value) is not str]
    )
    if others:
        sentence = f"{shown(values[others[0]])} in column {shown(column)} is {value_kind(values[others[0]])}, not text"
        raise table.fault(sentence, others, kind="not-text")
    _check_characters(table, values)
    return TextColumn.of(values)


def _check_characters(table: Table, texts: Iterable[str]) -> None:
    for row, text in enumerate(texts):
        try:
            check_text(text, table.path, None)
        except DataError as fault:
            raise table.fault(fault.sentence, [row], kind=fault.kind) from None


def value_kind(value: Any) -> str:
    """What a value that is no text is, in words: "a number"."""
    if isinstance(value, bool):
        return "a boolean"
    return {"int": "a number", "float": "a number", "list": "a list", "dict": "an object"}.get(
        type(value).__name__, f"of type {type(value).__name__}"
    )


def _ids(table: Table, column: str) -> list[str]:
    values = table.values[column]
    if missing := table.missing(column):
        raise table.fault(f"the id in column {shown(column)} is missing", missing, kind="missing-id")
    ids = [str(value).strip() for value in values]
    first = {name: row for row, name in reversed(list(enumerate(ids)))}
    twice = [row for row, name in enumerate(ids) if first[name] != row]
    if twice:
        sentence = f"the id {shown(ids[twice[0]])} in column {shown(column)} is also in an earlier row"
        raise table.fault(sentence, twice, kind="repeated-id")
    _check_characters(table, ids)
    return ids
