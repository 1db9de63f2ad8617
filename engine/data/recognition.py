"""What a custom task leaves open, recognised in its training file: columns, kind, share of dev. Imports no torch.

Only what can be read in one way is recognised; otherwise the error names the columns and the setting that decides.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.data.column_names import IDS, LABELS, PAIRED, PAIRS, TEXTS, WORDS, normal
from engine.data.conll import likely_columns
from engine.data.dev_split import DEV_SHARE, refuse_single_texts
from engine.data.files import Table, check_table, read_table_head
from engine.data.label_columns import (
    MANY_CLASSES,
    SWITCHES,
    class_names,
    is_fraction,
    mismatch,
    natural,
    several_labels,
)
from engine.data.missing_labels import empty_columns, is_joined, lacks_labels, may_lack_labels, or_without_labels
from engine.data.text_files import listed, shown
from engine.errors import DataError
from engine.preset.kinds import KINDS, WORD_LABELS, Kind
from engine.preset.source_names import is_conll
from engine.preset.text import plain
from engine.record.entities import names_entities

if TYPE_CHECKING:
    from engine.preset.schema import Task

FEW_ROWS = 10
"""Rows for each class on average, below which many different labels are not taken for classes unless the user says so."""
_SHOWN_CLASSES = 6


@dataclass(frozen=True)
class Recognised:
    """A custom task with nothing left open, and sentences about what was recognised."""

    task: Task
    notes: tuple[str, ...] = ()


Classes = Callable[[], tuple[str, Sequence[str]]]
"""What a teacher that needs no labels is called, and the classes that it knows."""


def recognised(
    task: Task, *, by_name_alone: bool = False, classes: Classes | None = None, lacking: Callable[[], str] | None = None
) -> Recognised:
    """The task with the columns, kind and share of dev that it leaves open, from the head of its training file.

    With `by_name_alone` (the user named a file, and no preset), every column that could be meant counts. Otherwise columns
    that are left out are "text" and "label": always where the task has its kind, else if the file has such columns.
    Training rows may have no labels where `task.class_names` or `classes` say which there are: then the dev file shows the
    columns. `lacking` says what a run on rows without labels lacks, for the errors about files that seem to have none.

    Raises DataError for what cannot be recognised. Tasks that are not custom stay as they are.
    """
    if task.name != "custom" or task.files is None:
        return Recognised(task)
    named = set() if task.columns is None else task.columns.model_fields_set
    changes: dict[str, Any] = {}
    notes: list[str] = []
    if task.files.dev is None and task.dev_share is None:
        changes["dev_share"] = DEV_SHARE
    is_named = {"text", "label"} <= named or {"text", "labels"} <= named
    path = Path(task.files.train)
    if task.kind is not None and (is_named or (not by_name_alone and task.kind != WORD_LABELS)):
        if task.class_names is None and classes is not None and may_lack_labels(task, path, named):
            return _without_labels(task, named, classes, by_name_alone=by_name_alone)
        return Recognised(task.model_copy(update=changes) if changes else task)
    table = read_table_head(path)
    if (words := _word_columns(task, table, named)) is not None:
        _refuse_of_words(task)
        from engine.preset.schema import Columns

        own = {} if task.columns is None else task.columns.model_dump(exclude_unset=True)
        changes |= {"kind": WORD_LABELS, "columns": Columns(**{**own, "text": words[0], "label": words[1]})}
        check_table(path, list(words))
        what = "column" if is_conll(path) else "list"
        note = f"{plain(path.name)}: {what} {shown(words[0])} is the words, {what} {shown(words[1])} their labels (token classification)."
        return Recognised(task.model_copy(update=changes), (note,))
    if task.class_names is not None or (classes is not None and lacks_labels(task, table, named)):
        return _without_labels(task.model_copy(update=changes), named, classes, by_name_alone=by_name_alone)
    try:
        columns, switches = _columns(task, table, named, by_name_alone=by_name_alone)
    except DataError as error:
        is_of_label = error.key == "task.columns.label" and error.kind != "one-hot-labels"
        is_single = error.kind == "single-column" and not is_joined(next(iter(table.values)))
        raise (or_without_labels(error, task, lacking) if is_of_label or is_single else error) from None
    check_table(path, [*columns.values(), *switches])
    if by_name_alone or any(role not in named and name != role for role, name in columns.items()):
        from engine.preset.schema import Columns

        own = {} if task.columns is None else task.columns.model_dump(exclude_unset=True)
        changes["columns"] = Columns(**{**own, **columns, **({"labels": switches} if switches else {})})
        notes.append(_columns_note(path, columns, switches))
    if not len(table) and (task.kind is None or task.files.dev is None):
        raise DataError("the file has column names but no rows", kind="no-rows", file=str(path))
    if task.kind is None:
        try:
            changes["kind"], note = _kind(task, table, columns.get("label"))
        except DataError as error:
            label = columns.get("label", "")
            is_guess = "label" not in named and normal(label) not in LABELS
            raise (
                or_without_labels(error, task, lacking) if is_guess or label in empty_columns(table) else error
            ) from None
        notes.append(note)
    if "pair" in columns and "group" not in named and (hint := _ranking_hint(table, columns["text"])) is not None:
        notes.append(hint)
    kind = changes.get("kind", task.kind)
    if kind == "classification" and task.files.dev is None and table.is_whole:
        _refuse_small_classes(table, columns)
    return Recognised(task.model_copy(update=changes), tuple(notes))


# -- training rows without labels


def _without_labels(task: Task, named: set[str], classes: Classes | None, *, by_name_alone: bool) -> Recognised:
    """A task of classes whose training rows have no labels. Raises DataError where no dev file has any."""
    from engine.preset.schema import Columns

    assert task.files is not None
    path = Path(task.files.train)
    whose, known = _class_names(task, classes)
    if task.files.dev is None:
        sentence = (
            "the rows have no labels, so that a share of them measures nothing: label some, a few hundred say, in a file of their "
            "own, and name it: --set task.files.dev=FILE"
        )
        raise DataError(sentence, kind="unlabelled-dev", file=str(path), key="task.files.dev")
    dev = read_table_head(Path(task.files.dev))
    if lacks_labels(task, dev, named):
        sentence = "neither the training rows nor these have labels: label these rows, a few hundred say, to measure the student"
        raise DataError(sentence, kind="unlabelled-dev", file=dev.path, key="task.files.dev")
    columns, switches = _columns(task, dev, named, by_name_alone=by_name_alone)
    if switches or task.kind not in (None, "classification"):
        sentence = (
            "training rows without labels are for texts with one class each, and this dev file has several labels"
        )
        raise DataError(sentence, kind="class-names-of-other-kind", file=dev.path, key="task.kind")
    own = {} if task.columns is None else task.columns.model_dump(exclude_unset=True)
    changes = {"kind": "classification", "class_names": list(known), "columns": Columns(**{**own, **columns})}
    found = task.model_copy(update=changes)
    check_table(path, found.columns_of("train"))
    text = " and ".join(shown(columns[role]) for role in ("text", "pair") if role in columns)
    note = (
        f"{plain(path.name)}: {text} {'are the texts' if 'pair' in columns else 'is the text'}, and the rows are read without "
        f"labels; {shown(columns['label'])} is the label in {plain(Path(dev.path).name)}. The {len(known)} classes are those of "
        f"{plain(whose)}: {listed(known, _SHOWN_CLASSES)}."
    )
    return Recognised(found, (note,))


def _class_names(task: Task, classes: Classes | None) -> tuple[str, Sequence[str]]:
    """Who names the classes, and which they are: the task itself, or `classes`."""
    if task.class_names is not None:
        return "task.class_names", task.class_names
    assert classes is not None, "somebody names the classes"
    return classes()


def _ranking_hint(table: Table, column: str) -> str | None:
    """A sentence for pairs whose first text stands in more than three rows on average, as a query with its passages does (and
    a premise with its three hypotheses doesn't); None for others."""
    texts = list(table.values[column])
    if len(texts) <= 3 * len(set(map(str, texts))):
        return None
    return (
        f"Most texts in {shown(column)} stand in several rows. If these are ranked against each other, say so: "
        f"{_setting('task.columns.group', column)}"
    )


# -- words and labels


def _word_columns(task: Task, table: Table, named: set[str]) -> tuple[str, str] | None:
    """The columns of words and of their labels; None where the file has no such lists.

    Raises DataError where several columns could be the labels, or where no list has a label for each word.
    """
    names = list(table.values)
    own = {role: str(getattr(task.columns, role)) for role in ("text", "label") if role in named}
    conll = is_conll(Path(table.path))
    if task.kind not in (None, WORD_LABELS) or (not conll and task.kind is None and not _has_lists(table, names)):
        return None
    if conll:
        words, label = likely_columns(names)
        if _marks_entities(table, words) and not _marks_entities(table, label):
            words, label = label, words  # as in the MIT corpora
        return own.get("text", words), own.get("label", label)
    lists = [name for name in names if _are_lists(table.values[name])]
    words_named = [own["text"]] if "text" in own else [name for name in lists if normal(name) in WORDS]
    if task.kind is None and not set(words_named) & set(lists):
        return None
    if len(words_named) != 1:
        raise _undecided(table, "text", words_named)
    sizes = [len(row) for row in table.values[words_named[0]]] if words_named[0] in lists else []
    alike = [name for name in lists if name != words_named[0] and [len(row) for row in table.values[name]] == sizes]
    labels = [own["label"]] if "label" in own else [name for name in lists if name != words_named[0]]
    if "label" not in own and alike:  # a list of labels that a few damaged rows have must not give way to another one
        labels = [name for name in labels if name in alike or _mostly_alike(table.values[name], sizes)]
    if task.kind is None and not set(labels) & set(alike):
        has_text = any(normal(name) in TEXTS | PAIRED for name in names if name not in lists)
        if labels[0] in lists and labels != words_named and ("text" in own or not has_text):
            raise _mismatch(table, words_named[0], labels[0])
        return None
    if len(labels) != 1:
        raise _undecided(table, "label", labels)
    return words_named[0], labels[0]


def _mostly_alike(lists: Sequence[Sequence[Any]], sizes: Sequence[int]) -> bool:
    """Whether more than half of the lists have these sizes."""
    return 2 * sum(len(row) == size for row, size in zip(lists, sizes, strict=True)) > len(sizes)


def _mismatch(table: Table, words: str, labels: str) -> DataError:
    pairs = zip(table.values[words], table.values[labels], strict=True)
    return mismatch(table, words, labels, next(row for row, (one, other) in enumerate(pairs) if len(one) != len(other)))


def _refuse_of_words(task: Task) -> None:
    """Raise DataError for settings that labels of words don't take, where the file alone said that it has some."""
    if task.label_noise > 0:
        sentence = "label_noise is not defined for labels of words"
        raise DataError(sentence, kind="noise-in-word-labels", key="task.label_noise")
    if task.columns is not None and (task.columns.group is not None or task.columns.pair is not None):
        key = "group" if task.columns.group is not None else "pair"
        sentence = f"this file has a label for each word, and columns.{key} is for whole texts: remove it"
        raise DataError(sentence, kind="whole-text-column", key=f"task.columns.{key}")
    if wrong := [name for name in task.metrics or () if name not in KINDS[WORD_LABELS].metrics]:
        sentence = f"{wrong[0]} is not a metric for {WORD_LABELS}; choose from {listed(KINDS[WORD_LABELS].metrics)}"
        raise DataError(sentence, kind="unsuitable-metric", key="task.metrics")


def _are_lists(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, list | tuple) for value in values)


def _has_lists(table: Table, names: Sequence[str]) -> bool:
    return sum(_are_lists(table.values[name]) for name in names) > 1


def _marks_entities(table: Table, column: str) -> bool:
    return names_entities({label for row in table.values[column] for label in row})


# -- columns


def _columns(task: Task, table: Table, named: set[str], *, by_name_alone: bool) -> tuple[dict[str, str], list[str]]:
    """The column of each role: text, label and, where there is one, pair; and the columns with one label each, instead of
    that of the label."""
    own = task.columns
    switches = list(own.labels or ()) if own is not None else []
    columns: dict[str, str] = {
        role: str(getattr(own, role)) for role in ("text", "label", "pair") if role in named and getattr(own, role)
    }
    names = list(table.values)
    if not names:
        raise DataError("no column has a name of its own", kind="repeated-column", file=table.path)
    if not by_name_alone:
        columns |= {role: role for role in ("text", "label") if role not in columns and role in names}
    if switches:
        columns.pop("label", None)
    if "text" in columns and ("label" in columns or switches):
        return columns, switches
    if repeated := [name for name in table.repeated_names if normal(name) in TEXTS | PAIRED | LABELS]:
        sentence = f"two columns are named {shown(repeated[0])}"
        raise DataError(sentence, kind="repeated-column", file=table.path)
    if len(names) == 1:
        raise _single_column(table, names[0])
    free = [name for name in names if name not in columns.values() and name != getattr(own, "id", None)]
    free = [name for name in free if normal(name) not in IDS]
    group = None if own is None or normal(own.group or "") in TEXTS | PAIRED else own.group
    free = [name for name in free if name not in (group, *switches)]
    if "label" not in columns and not switches:
        if task.kind == "multilabel" and not any(normal(name) in LABELS for name in free):
            switches = one_hot(table, free)
        if not switches:
            columns["label"] = _label(table, free, text_known="text" in columns)
        free = [name for name in free if name not in (columns.get("label"), *switches)]
    if "text" not in columns:
        texts = _texts(table, free)
        if "pair" in columns and len(texts) > 1:
            raise _undecided(table, "text", texts)
        columns |= dict(zip(("text", "pair"), texts, strict=False))
    return columns, switches


def _label(table: Table, free: Sequence[str], *, text_known: bool) -> str:
    """The column of the labels among those that are free."""
    candidates = [name for name in free if normal(name) in LABELS]
    if not candidates:
        refuse_one_hot(table, free)
        others = [name for name in free if text_known or normal(name) not in TEXTS | PAIRED]
        candidates = others if len(others) == 1 and (text_known or len(free) > 1) else []
    if len(candidates) != 1:
        text_open = not text_known and len(_known_texts(free)) != 1 and _pair(free) is None
        raise _undecided(table, "label", candidates, also_text=text_open)
    return candidates[0]


def _texts(table: Table, free: Sequence[str]) -> list[str]:
    """The column of the texts among those that are free, or the two of a pair."""
    if (pair := _pair(free)) is not None:
        return pair
    candidates = _known_texts(free)
    if not candidates and len(free) == 1 and _is_text(table.values[free[0]]):
        return list(free)
    if len(candidates) != 1:
        raise _undecided(table, "text", candidates)
    return candidates


def _known_texts(free: Sequence[str]) -> list[str]:
    return [name for name in free if normal(name) in TEXTS | PAIRED]


def _pair(free: Sequence[str]) -> list[str] | None:
    """The two columns of a pair, if these and no others could hold the texts."""
    by_normal = {normal(name): name for name in _known_texts(free)}
    for first, second in PAIRS:
        if by_normal.keys() == {first, second}:
            return [by_normal[first], by_normal[second]]
    return None


def _is_text(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str) and any(letter.isalpha() for letter in value) for value in values)


def one_hot(table: Table, columns: Sequence[str]) -> list[str]:
    """Those of these columns that hold nothing but 0 and 1, if there are several: a column for each label."""
    switches = [name for name in columns if table.values[name] and _switches(table.values[name])]
    return switches if len(switches) > 1 else []


def refuse_one_hot(table: Table, columns: Sequence[str]) -> None:
    """Raise DataError where several of these columns hold nothing but 0 and 1: a column for each class."""
    switches = one_hot(table, columns)
    if not switches:
        return
    rows = zip(*(table.values[name] for name in switches), strict=True)
    single = all(sum(str(value).strip().lower() in ("1", "1.0", "true") for value in row) == 1 for row in rows)
    way_out = "write one column with the name of the class instead. I" if single else "i"
    sentence = (
        f"the columns {listed(switches)} hold only 0 and 1, one column for each class: {way_out}f a text can have several "
        f"labels, say so: --set task.kind=multilabel. To learn one of these columns: "
        f"{_setting('task.columns.label', switches[0])}"
    )
    raise DataError(sentence, kind="one-hot-labels", file=table.path, key="task.columns.label")


def _switches(values: Sequence[Any]) -> bool:
    return {str(value).strip().lower() for value in values} <= SWITCHES.keys()


def _single_column(table: Table, name: str) -> DataError:
    hint = ""
    if is_joined(name):
        hint = "; the columns seem to be separated by another character than the file's ending says"
    sentence = f"the file has one column, {shown(name)}, and a task needs two: a text and its label{hint}"
    return DataError(sentence, kind="single-column", file=table.path)


def _undecided(
    table: Table, role: Literal["text", "label"], candidates: Sequence[str], *, also_text: bool = False
) -> DataError:
    """The error for a role that no column has, or several could have; with `also_text`, the text is not clear either."""
    key = f"task.columns.{role}"
    names = list(table.values)
    too = f", and the text: {_setting('task.columns.text', 'COLUMN')}" if also_text else ""
    if candidates:
        choices = " or ".join(_setting(key, name) for name in candidates[:3])
        sentence = (
            f"the {role} could be {listed(candidates)}; the columns are {listed(names)}. Choose one: {choices}{too}"
        )
        return DataError(sentence, kind="several-candidate-columns", file=table.path, key=key)
    known = any(normal(name) in TEXTS | PAIRED | LABELS for name in names)
    header = "" if known else " (the first line must hold the names of the columns)"
    sentence = (
        f"it is unclear which column holds the {role}; the columns are {listed(names)}{header}. Name it: "
        f"{_setting(key, 'COLUMN')}{too}"
    )
    return DataError(sentence, kind="no-candidate-column", file=table.path, key=key)


def _setting(key: str, name: str) -> str:
    return f"--set {plain(shlex.quote(f'{key}={name}'))}"


def _columns_note(path: Path, columns: dict[str, str], switches: Sequence[str]) -> str:
    text = f"{shown(columns['text'])} is the text"
    if "pair" in columns:
        text = f"{shown(columns['text'])} and {shown(columns['pair'])} are the two texts"
    if switches:
        return f"{plain(path.name)}: {text}, each of {listed(switches)} a label."
    return f"{plain(path.name)}: {text}, {shown(columns['label'])} the label."


# -- kind


def _kind(task: Task, table: Table, column: str | None) -> tuple[Kind, str]:
    """The kind of the labels, which are in a column or in one each, and a sentence that says why."""
    if column is None or (task.columns is not None and task.columns.separator is not None):
        return "multilabel", "The columns of the labels say that a text can have several."
    kinds = [kind for kind in KINDS if not task.metrics or task.metrics[0] in KINDS[kind].metrics]
    values = table.values[column]
    if "multilabel" in kinds and values and all(isinstance(value, (list, tuple)) for value in values):
        return "multilabel", f"The labels in {shown(column)} are lists: a text can have several of them."
    if task.metrics:
        return kinds[0], f"{task.metrics[0]} is a metric for {kinds[0]}, so the labels are {KINDS[kinds[0]].answers}."
    if column not in table.class_names and is_fraction(values, is_text=table.is_text):
        return "regression", f"The labels in {shown(column)} are numbers with fractions: they are scores (regression)."
    if (sentence := several_labels(table, column)) is not None:
        raise DataError(sentence, kind="several-labels", file=table.path, key="task.columns.label")
    names = class_names(table, column)
    order = sorted(set(names), key=natural)
    are_numbers = all(name.lstrip("-").isdecimal() for name in order)
    if len(order) > MANY_CLASSES and len(names) < FEW_ROWS * len(order):
        raise _too_many(table, column, len(order), are_numbers=are_numbers)
    several = f"{len(order)} classes ({listed(order, _SHOWN_CLASSES)})"
    if are_numbers:
        sentence = f"The labels in {shown(column)} are whole numbers: {several}. For scores: --set task.kind=regression"
        return "classification", sentence
    return "classification", f"The labels in {shown(column)} are words: {several}."


def _too_many(table: Table, column: str, classes: int, *, are_numbers: bool) -> DataError:
    part = "" if table.is_whole else "the first "
    scores = "; if they are scores: --set task.kind=regression" if are_numbers else ""
    sentence = (
        f"column {shown(column)} has {classes:,} different labels in {part}{len(table):,} rows, fewer than {FEW_ROWS} rows "
        f"for each. If they are classes: --set task.kind=classification{scores}; if another column is the label, name it: "
        "--set task.columns.label=COLUMN"
    )
    return DataError(sentence, kind="too-many-classes", file=table.path, key="task.kind")


def _refuse_small_classes(table: Table, columns: dict[str, str]) -> None:
    """Raise DataError for a class with too few texts to draw a dev set, as the run would."""
    refuse_single_texts(_labels_of_texts(table, columns), table.path)


def _labels_of_texts(table: Table, columns: dict[str, str]) -> Iterator[str]:
    """The class of each different text."""
    sides = [table.values[columns[role]] for role in ("text", "pair") if role in columns]
    labels: dict[tuple[Any, ...], str] = {}
    for text, name in zip(zip(*sides, strict=True), class_names(table, columns["label"]), strict=True):
        labels.setdefault(tuple(map(str, text)), name)
    yield from labels.values()
