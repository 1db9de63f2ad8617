"""Read words and their labels from the columns of the user's files: lists of both, as long as each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.data.examples import LabelArray, TextColumn
from engine.data.files import Table
from engine.data.label_columns import MANY_CLASSES, mismatch, natural
from engine.data.text_files import check_text, listed, shown
from engine.data.types import WordLabels
from engine.errors import DataError
from engine.preset.text import plain, plural
from engine.record.entities import OUTSIDE, entities, marks_entity, names_entities, scheme_of

if TYPE_CHECKING:
    from engine.preset.schema import Columns

_NEW_NAMES = '--set \'task.columns.label_names=["O", "B-PER", ...]\''


def word_labels(
    tables: Mapping[str, Table], columns: Columns
) -> tuple[dict[str, TextColumn], dict[str, LabelArray], tuple[str, ...], list[str]]:
    """Words (joined by spaces) and labels of each split, the names of the labels in order, and sentences about them.

    Raises DataError, naming rows, for words and labels that are no lists, or not as many as each other; for words with a
    space; for labels without a name, or that the training file lacks.
    """
    words = {split: _words(table, columns.text) for split, table in tables.items()}
    names = {split: _names(table, columns, words[split]) for split, table in tables.items()}
    train = tables["train"]
    order = _order(train, columns, names["train"])
    texts = {split: _texts(table, words[split]) for split, table in tables.items()}
    index = {name: number for number, name in enumerate(order)}
    labels = {}
    for split, table in tables.items():
        if split != "train":
            _check_known(table, columns.label, names[split], order, Path(train.path).name)
        found = np.empty(len(names[split]), object)
        found[:] = [WordLabels(index[name] for name in row) for row in names[split]]
        labels[split] = found
    return texts, labels, order, _notes(tables, names, order)


def _words(table: Table, column: str) -> list[Sequence[str]]:
    """The words of each row."""
    rows: list[Sequence[str]] = []
    for row, value in enumerate(table.values[column]):
        if not isinstance(value, list | tuple):
            sentence = f"{shown(value)} in column {shown(column)} is not a list of words"
            raise table.fault(sentence, [row], kind="words-not-list")
        if not value:
            raise table.fault(f"there is no word in column {shown(column)}: remove this row", [row], kind="no-words")
        for word in value:
            if not isinstance(word, str):
                sentence = f"{shown(word)} among the words in column {shown(column)} is not a text"
                raise table.fault(sentence, [row], kind="not-text")
            if " " in word:
                sentence = (
                    f"the word {shown(word)} in column {shown(column)} has a space in it: write it as several words with a "
                    "label each, or with another character in place of the space"
                )
                raise table.fault(sentence, [row], kind="space-in-word")
        rows.append(value)
    return rows


def _texts(table: Table, words: Sequence[Sequence[str]]) -> TextColumn:
    texts = [" ".join(row) for row in words]
    for row, text in enumerate(texts):
        try:
            check_text(text, table.path, None)
        except DataError as fault:
            raise table.fault(fault.sentence, [row], kind=fault.kind) from None
    return TextColumn.of(texts)


def _names(table: Table, columns: Columns, words: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The names of each row's labels."""
    column = columns.label
    own = columns.label_names or table.class_names.get(column)
    rows: list[Sequence[str]] = []
    for row, value in enumerate(table.values[column]):
        if not isinstance(value, list | tuple):
            sentence = f"{shown(value)} in column {shown(column)} is not a list of labels"
            raise table.fault(sentence, [row], kind="labels-not-list")
        if len(value) != len(words[row]):
            raise mismatch(table, columns.text, column, row)
        rows.append([_name(table, column, label, row, own) for label in value])
    return rows


def _name(table: Table, column: str, label: Any, row: int, names: Sequence[str] | None) -> str:
    if isinstance(label, str) and label.strip():
        return label.strip()
    if not isinstance(label, int) or isinstance(label, bool):
        sentence = f"{shown(label)} among the labels in column {shown(column)} is no name of a label"
        raise table.fault(sentence, [row], kind="bad-word-label")
    if names is None:
        sentence = (
            f"the labels in column {shown(column)} are numbers without names: name them in their order, {_NEW_NAMES}"
        )
        raise table.fault(sentence, [row], kind="unnamed-word-labels")
    if not 0 <= label < len(names):
        sentence = (
            f"the label {label} in column {shown(column)} has no name; named are 0 to {len(names) - 1}: {listed(names)}"
        )
        raise table.fault(sentence, [row], kind="label-not-named")
    return names[label]


def _order(train: Table, columns: Columns, names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The labels of the training file: in the order in which they are named, otherwise sorted naturally."""
    found = {name for row in names for name in row}
    if len(found) < 2:
        sentence = (
            f"every label in column {shown(columns.label)} is {shown(next(iter(found)))}: there is nothing to learn"
        )
        raise DataError(sentence, kind="single-class", file=train.path)
    total = sum(map(len, names))
    if len(found) > MANY_CLASSES and len(found) > total / 10:
        sentence = (
            f"column {shown(columns.label)} has {len(found):,} different labels for {total:,} words: are these labels? "
            "Choose another column: --set task.columns.label=COLUMN"
        )
        raise DataError(sentence, kind="too-many-labels", file=train.path, key="task.columns.label")
    named = columns.label_names or train.class_names.get(columns.label)
    if named is not None and found <= set(named):
        return tuple(named)
    return tuple(sorted(found, key=natural))


def _check_known(table: Table, column: str, names: Sequence[Sequence[str]], order: Sequence[str], train: str) -> None:
    """Raises DataError for a label that the training file lacks."""
    known = set(order)
    unknown = [row for row, labels in enumerate(names) if not known.issuperset(labels)]
    if unknown:
        name = next(name for name in names[unknown[0]] if name not in known)
        sentence = (
            f"the label {shown(name)} in column {shown(column)} is not in {train}, whose labels are {listed(order)}"
        )
        raise table.fault(sentence, unknown, kind="unknown-label")


def _notes(
    tables: Mapping[str, Table], names: Mapping[str, Sequence[Sequence[str]]], order: Sequence[str]
) -> list[str]:
    """What the labels are, and where they depart from their scheme."""
    notes = [f"Each word has one of {len(order)} labels, in the order of the model's outputs: {listed(order)}."]
    if not names_entities(order):
        if reason := _damaged(tables["train"], names["train"], order):
            notes.append(f"warning: entities are not counted, and each word counts by itself, because {reason}.")
        else:
            notes.append(
                "The labels mark no entities (O, and labels such as B-PER and I-PER), so each word counts by itself."
            )
        return notes
    types = sorted({kind for row in names["train"] for kind, _, _ in entities(row)})
    scheme = scheme_of(names["train"])
    notes.append(
        f"The labels mark entities of {plural(len(types), 'type')} ({listed([kind or 'entity' for kind in types])}) in the scheme {scheme.name}: "
        f"{scheme.entities:,} in {plural(len(names['train']), 'sentence')} of {plain(Path(tables['train'].path).name)}."
    )
    for split, table in tables.items():
        found = scheme if split == "train" else scheme_of(names[split])
        if found.broken and found.example is not None:
            row, word = found.example
            notes.append(
                f"warning: {found.broken:,} of {found.entities:,} entities in {plain(Path(table.path).name)} do not begin or end as in "
                f"{found.name} (the first in {_place(table, row, word)}, {shown(names[split][row][word])}); each is read as an entity."
            )
    return notes


def _damaged(train: Table, names: Sequence[Sequence[str]], order: Sequence[str]) -> str | None:
    """Why labels of which some are those of entities are not taken for such, as a clause; None if none of them is."""
    if not any(marks_entity(name) and "-" in name for name in order):
        return None
    others = [name for name in order if name != OUTSIDE and not marks_entity(name)]
    if not others:
        return f"no word has the label {OUTSIDE}"
    places = ((row, word) for row, labels in enumerate(names) for word, name in enumerate(labels) if name in others)
    first = next(places, None)
    where = "" if first is None else f" (the first in {_place(train, *first)} of {plain(Path(train.path).name)})"
    return (
        f"{listed(others)}{where} {'is' if len(others) == 1 else 'are'} neither O nor of a form such as B-PER and I-PER"
    )


def _place(table: Table, row: int, word: int) -> str:
    unit = "line" if table.has_lines else "row"
    return f"{unit} {table.lines[row] + (word if table.has_lines and table.is_text else 0):,}"
