"""What a student gets wrong where labels are by word: rows are sentences, and classes are types of entity, or labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from engine.record.entities import counts_by_type, entities, names_entities
from engine.report.answered_rows import AnsweredRow, by_worth, whose
from engine.report.class_metrics import ClassFigures, Confusion, Matrix, class_figures, confusion_matrix, confusions
from engine.report.predictions import ModelAnswers, RowText, WordAnswers

NO_ENTITY = "(no entity)"
"""What stands for the entities of a sentence that has none, and for an entity that is missing or too much."""
OTHER_WORDS = "(other words)"
"""What stands for an entity whose words only partly agree with another one's."""

_WordPairs = Sequence[tuple[WordAnswers, WordAnswers]]
"""Of each sentence the labels and the predictions of its words."""


def word_rows(
    student: ModelAnswers, teacher: ModelAnswers, texts: Mapping[str, RowText]
) -> tuple[tuple[AnsweredRow, ...], tuple[AnsweredRow, ...]]:
    """The sentences that the models answer differently, and those that the student gets wrong, in the order of
    `StudentErrors`."""
    own, theirs = student.answers.words, teacher.answers.words
    entity = names_entities(_labels(own, theirs))
    found, wrong, apart = [], set(), set()
    for index, name in enumerate(student.ids):
        (gold, answer), (_, other) = own[index], theirs[index]
        if answer == other == gold:
            continue
        if answer != gold:
            wrong.add(name)
        if answer != other:
            apart.add(name)
        text = texts.get(name)
        words = [] if text is None else text.text.split(" ")
        texts_of = [_entity_text(side, words) if entity else _label_text(side, words) for side in (gold, answer, other)]
        own_share, their_share = (prod(model.probabilities[index]) for model in (student, teacher))
        right = whose(gold, answer, other)
        found.append(
            AnsweredRow(name, text, texts_of[0], texts_of[1], texts_of[2], own_share, their_share, (), (), right)
        )
    rows = by_worth(found)
    mistakes = sorted((row for row in rows if row.id in wrong), key=lambda row: row.id in apart)
    return tuple(row for row in rows if row.id in apart), tuple(mistakes)


def word_figures(
    own: _WordPairs, theirs: _WordPairs
) -> tuple[tuple[ClassFigures, ...], tuple[ClassFigures, ...], Matrix, tuple[Confusion, ...]]:
    """The figures of each class of the student and of the teacher, the student's matrix (none of entities) and what it
    confuses."""
    every = _labels(own, theirs)
    if names_entities(every):
        return *_aligned(_entity_figures(own), _entity_figures(theirs)), (), _entity_confusions(own)
    order = sorted(every)
    matrix, of_teacher = (_word_matrix(side, order) for side in (own, theirs))
    return class_figures(matrix, order), class_figures(of_teacher, order), matrix, confusions(matrix, order)


def _labels(*sides: _WordPairs) -> set[str]:
    """Every label that stands on a word or was predicted for one."""
    return {label for side in sides for pair in side for labels in pair for label in labels if label is not None}


def _entity_figures(pairs: _WordPairs) -> tuple[ClassFigures, ...]:
    """The figures of each type of entity."""
    counts = counts_by_type((gold for gold, _ in pairs), (answer for _, answer in pairs))
    return tuple(
        ClassFigures(
            kind or "entity", each.gold, each.predicted, each.precision if each.predicted else None,
            each.recall if each.gold else None, each.f1 if each.gold + each.predicted else None,
        )
        for kind, each in counts.items()
    )  # fmt: skip


def _aligned(
    own: tuple[ClassFigures, ...], theirs: tuple[ClassFigures, ...]
) -> tuple[tuple[ClassFigures, ...], tuple[ClassFigures, ...]]:
    """Both with the same classes: of one that a model neither met nor predicted, no rows."""
    rows = {each.name: each.rows for each in (*own, *theirs)}
    sides = ({each.name: each for each in side} for side in (own, theirs))
    first, second = (
        tuple(side.get(name, ClassFigures(name, rows[name], 0, None, None, None)) for name in sorted(rows))
        for side in sides
    )
    return first, second


def _entity_confusions(pairs: _WordPairs) -> tuple[Confusion, ...]:
    """What the student took entities for, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for gold, answer in pairs:
        own, theirs = set(entities(gold)), set(entities(answer))
        missed, extra = own - theirs, theirs - own
        spans = {(start, end): kind for kind, start, end in extra}
        for kind, start, end in missed:
            taken = spans.pop((start, end), None)
            if taken is None:
                overlaps = any(begin < end and start < stop for begin, stop in ((b, e) for _, b, e in theirs))
                taken = OTHER_WORDS if overlaps else NO_ENTITY
            counts[kind, taken] = counts.get((kind, taken), 0) + 1
        for (start, end), kind in spans.items():
            if not any(begin < end and start < stop for _, begin, stop in own):
                counts[NO_ENTITY, kind] = counts.get((NO_ENTITY, kind), 0) + 1
    found = (Confusion(kind or "entity", taken or "entity", number) for (kind, taken), number in counts.items())
    return tuple(sorted(found, key=lambda pair: (-pair.rows, pair.label, pair.prediction)))


def _word_matrix(pairs: _WordPairs, order: Sequence[str]) -> Matrix:
    index = {name: number for number, name in enumerate(order)}
    gold, answers = ([index[label] for pair in pairs for label in pair[side] if label is not None] for side in (0, 1))
    return confusion_matrix(gold, answers, len(order))


def _entity_text(labels: WordAnswers, words: Sequence[str]) -> str:
    """The entities of a sentence: "PER Anna Adler, LOC Bonn"; by the numbers of their words, where these are not known."""
    found = []
    for kind, start, end in entities(labels):
        where = " ".join(words[start:end]) if words else f"words {start + 1} to {end}"
        found.append(f"{kind or 'entity'} {where}")
    return ", ".join(found) or NO_ENTITY


def _label_text(labels: WordAnswers, words: Sequence[str]) -> str:
    """The labels of words: "runs/VERB fast/ADV"."""
    names = words or [str(number) for number in range(1, len(labels) + 1)]
    return " ".join(f"{word}/{label}" for word, label in zip(names, labels, strict=False) if label is not None)
