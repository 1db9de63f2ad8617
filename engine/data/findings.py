"""Findings about a task's rows and classes: what looks wrong before anything is trained. Imports no torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.data.examples import Examples, flat_labels, label_numbers
from engine.data.similar_names import CASE, difference, normal
from engine.data.text_files import listed, shown
from engine.data.types import Example, TaskData, TaskSpec
from engine.preset.kinds import Kind
from engine.preset.text import plural

Severity = Literal["note", "warning", "refusal"]

WARN_FROM = 0.05
"""Share of the rows from which a finding about single rows is a warning; below, it is a note."""
NOTE_FROM = 0.01
"""Share of repeated rows, or of texts with damaged characters, from which it is mentioned: GLUE itself has a few."""

_Keys = npt.NDArray[np.int64]

# UTF-8 that was read as Windows-1252 or Latin-1: Ã©, Â°, Ð°, â€™
_MOJIBAKE = re.compile("[ÂÃÐÑ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â[€\u0080]")
_REPLACEMENT = "\ufffd"
_INVISIBLE = frozenset({"Cf", "Cc", "Zs", "Zl", "Zp"})


@dataclass(frozen=True)
class Finding:
    """Something about data, tokenizer or model that a user should know before training.

    A note is good to know; after a warning, the result is probably not what was meant; a refusal means that training
    makes no sense. `kind` names the finding in a few fixed words, `facts` are its figures and names, `subject` says
    whose files it is about.
    """

    sentence: str
    kind: str
    severity: Severity
    facts: Mapping[str, Any] = field(default_factory=dict)
    subject: Literal["data", "model"] = "data"

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON."""
        return asdict(self)


def severity_of(share: float, warn_from: float = WARN_FROM) -> Severity:
    """A warning from a share of `warn_from`, below it a note."""
    return "warning" if share >= warn_from else "note"


def percent(share: float) -> str:
    """A share in words: "37 %"; what is not nothing or all is not rounded to it."""
    rounded = round(100 * share)
    if rounded in (0, 100) and share not in (0, 1):
        return "less than 1 %" if rounded == 0 else "more than 99 %"
    return f"{rounded} %"


def data_findings(data: TaskData) -> tuple[Finding, ...]:
    """What looks wrong with a task's rows and classes, as far as it shows without a model.

    One pass over the texts, which are compared by hash: 0.1 to 0.2 seconds for 100,000 rows.
    """
    return (
        *_similar_classes(data.spec.labels),
        *_OF_LABELS[data.spec.kind](data),
        *_text_findings(data),
        *_row_findings(data),
    )


def is_blank(text: str) -> bool:
    """Whether nothing of a text is visible: no characters, or only white space, control and format characters."""
    if text[:1].isalnum():  # nearly every text
        return False
    return not text.strip() or all(unicodedata.category(character) in _INVISIBLE for character in text)


# -- names of classes


def _similar_classes(labels: Sequence[str]) -> Iterator[Finding]:
    for label in labels:
        if is_blank(label):
            sentence = f"the name {label!a} of a class is invisible: name it in the data"
            yield Finding(sentence, kind="invisible-class", severity="refusal", facts={"class": label})
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(normal(label), []).append(label)
    for one, other, *_ in (group for group in groups.values() if len(group) > 1):
        what = difference(one, other)
        facts = {"classes": [one, other], "difference": what}
        if what == CASE:
            sentence = (
                f"the classes {shown(one)} and {shown(other)} differ only in case; they are trained as two classes"
            )
            yield Finding(sentence, kind="classes-differ-in-case", severity="warning", facts=facts)
        else:
            sentence = (
                f"the classes {one!a} and {other!a} differ only in {what}, and would be trained as two: "
                "write them alike in the data"
            )
            yield Finding(sentence, kind="look-alike-classes", severity="refusal", facts=facts)


# -- labels


def _splits(data: TaskData) -> Iterator[tuple[str, Examples]]:
    """Each split with its name in sentences."""
    yield "train", Examples.of(data.train)
    for split, rows in data.measured.items():
        yield split, Examples.of(rows)


def _class_findings(data: TaskData) -> Iterator[Finding]:
    labels = data.spec.labels
    for split, rows in _splits(data):
        if rows.labels is None:
            continue
        present = _values(rows)
        missing = [label for index, label in enumerate(labels) if index not in present]
        facts = {"split": split, "classes": missing}
        if not missing or not rows:
            continue
        (only, *more) = (label for index, label in enumerate(labels) if index in present)
        if split == "train" and not more:
            sentence = f"all {len(rows):,} training examples are of class {shown(only)}: there is nothing to learn"
            yield Finding(sentence, kind="one-class-in-train", severity="refusal", facts=facts)
        elif split == "train":
            sentence = f"train has no example of {_classes(missing)}: the student cannot learn {_them(missing)}"
            yield Finding(sentence, kind="class-missing-in-train", severity="warning", facts=facts)
        elif not more:
            sentence = (
                f"all {len(rows):,} examples of {split} are of class {shown(only)}: its metrics cannot tell a good student "
                "from one that always gives this answer"
            )
            yield Finding(sentence, kind="one-class-in-dev", severity="warning", facts=facts)
        else:
            sentence = (
                f"{split} has no example of {_classes(missing)}: what is learnt of {_them(missing)} is not measured"
            )
            yield Finding(sentence, kind="class-missing-in-dev", severity="warning", facts=facts)


def _classes(names: Sequence[str]) -> str:
    return f"class {shown(names[0])}" if len(names) == 1 else f"the classes {listed(names)}"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _score_findings(data: TaskData) -> Iterator[Finding]:
    for split, rows in _splits(data):
        scores = _values(rows)
        if len(scores) != 1 or len(rows) < 2:
            continue
        (score,) = scores
        facts = {"split": split, "score": score}
        if split == "train":
            sentence = f"all {len(rows):,} training examples have the score {score}: there is nothing to learn"
            yield Finding(sentence, kind="one-score-in-train", severity="refusal", facts=facts)
        else:
            sentence = (
                f"all {len(rows):,} examples of {split} have the score {score}: correlations with it are reported as 0"
            )
            yield Finding(sentence, kind="one-score-in-dev", severity="warning", facts=facts)
    for split, examples in data.measured.items():
        yield from _other_scale(split, Examples.of(data.train), Examples.of(examples))


def _several_findings(data: TaskData) -> Iterator[Finding]:
    """Labels that no row has, or every row."""
    for split, rows in _splits(data):
        if rows.labels is None or not len(rows):
            continue
        counts = rows.labels.sum(axis=0, dtype=int).tolist()
        missing = [name for name, count in zip(data.spec.labels, counts, strict=True) if not count]
        constant = [name for name, count in zip(data.spec.labels, counts, strict=True) if count == len(rows)]
        facts = {"split": split}
        if split == "train" and len(missing) + len(constant) == len(counts):
            sentence = f"all {len(rows):,} training examples have the same labels: there is nothing to learn"
            yield Finding(sentence, kind="one-class-in-train", severity="refusal", facts=facts)
            return
        if missing and split == "train":
            sentence = f"train has no example of {_labels(missing)}: the student cannot learn {_them(missing)}"
            yield Finding(
                sentence, kind="class-missing-in-train", severity="warning", facts={**facts, "classes": missing}
            )
        elif missing:
            sentence = (
                f"{split} has no example of {_labels(missing)}: what is learnt of {_them(missing)} is not measured"
            )
            yield Finding(
                sentence, kind="class-missing-in-dev", severity="warning", facts={**facts, "classes": missing}
            )
        if constant and split == "train":
            sentence = f"all {len(rows):,} training examples have {_labels(constant)}: nothing can be learnt about {_them(constant)}"
            yield Finding(sentence, kind="label-in-every-row", severity="warning", facts={**facts, "classes": constant})


def _labels(names: Sequence[str]) -> str:
    return f"the label {shown(names[0])}" if len(names) == 1 else f"the labels {listed(names)}"


def _word_findings(data: TaskData) -> Iterator[Finding]:
    """Labels of words that no word of a split has."""
    for split, rows in _splits(data):
        if rows.labels is None:
            continue
        present = set(np.unique(flat_labels(rows.labels)).tolist())
        missing = [name for index, name in enumerate(data.spec.labels) if index not in present]
        if missing and present:
            rest = "the student cannot learn" if split == "train" else "what is learnt of"
            end = "" if split == "train" else " is not measured"
            sentence = f"no word of {split} has {_labels(missing)}: {rest} {_them(missing)}{end}"
            kind = "class-missing-in-train" if split == "train" else "class-missing-in-dev"
            facts = {"split": split, "classes": missing}
            yield Finding(sentence, kind=kind, severity="warning" if split == "train" else "note", facts=facts)


def _values(rows: Examples) -> set[int | float | None]:
    """The different labels."""
    if rows.labels is None:
        return {None} if len(rows) else set()
    return set(rows.labels.tolist() if rows.labels.dtype == object else np.unique(rows.labels).tolist())


def _other_scale(split: str, train: Examples, rows: Examples) -> Iterator[Finding]:
    """Dev scores that lie farther outside the training scores than these lie apart."""
    (low, high), (least, most) = (
        (float(min(scores)), float(max(scores)))
        for scores in ([value or 0.0 for value in _values(one)] for one in (train, rows))
    )
    if most > high + (high - low) or least < low - (high - low):
        sentence = (
            f"the scores of {split} are from {least:g} to {most:g}, but those of train from {low:g} to {high:g}: are they on "
            "the same scale?"
        )
        facts = {"split": split, "scores": [least, most], "train": [low, high]}
        yield Finding(sentence, kind="other-score-scale", severity="warning", facts=facts)


# -- texts


def _text_findings(data: TaskData) -> Iterator[Finding]:
    for split, rows in _splits(data):
        what = "training examples" if split == "train" else f"examples of {split}"
        yield from _blank_texts(split, what, rows)
        yield from _damaged_texts(split, what, rows)
    rows = Examples.of(data.train)
    if data.spec.is_pair and len(rows) > 1 and all(text == pair for text, pair in rows.inputs()):
        sentence = f"both texts are the same in all {len(rows):,} training examples: check [task.columns]"
        yield Finding(sentence, kind="text-equals-pair", severity="warning", facts={"rows": len(rows)})


def _blank_texts(split: str, what: str, rows: Examples) -> Iterator[Finding]:
    blank = sum(is_blank(text) or (pair is not None and is_blank(pair)) for text, pair in rows.inputs())
    if blank:
        sentence = f"{blank:,} of {len(rows):,} {what} have an empty text"
        facts = {"split": split, "rows": len(rows), "empty": blank}
        yield Finding(sentence, kind="empty-texts", severity=severity_of(blank / len(rows)), facts=facts)


def _damaged_texts(split: str, what: str, rows: Examples) -> Iterator[Finding]:
    texts = (text for row in rows.inputs() for text in row if text is not None and not text.isascii())
    damaged, example = 0, ""
    for text in texts:
        match = _MOJIBAKE.search(text)
        if match is None and _REPLACEMENT not in text:
            continue
        damaged += 1
        at = text.index(_REPLACEMENT) if match is None else match.start()
        example = example or text[max(at - 12, 0) : at + 12]
    if damaged and damaged / len(rows) >= NOTE_FROM:
        sentence = (
            f"damaged characters are in {plural(damaged, 'text')} of the {len(rows):,} {what}, as in {shown(example)}: decoded with "
            "the wrong encoding before crild read them"
        )
        facts = {"split": split, "rows": len(rows), "damaged": damaged, "example": example}
        yield Finding(sentence, kind="damaged-characters", severity=severity_of(damaged / len(rows)), facts=facts)


# -- rows that occur more than once


def input_keys(rows: Sequence[Example]) -> _Keys:
    """A number for each input (rows,), equal for equal texts."""
    return np.fromiter(map(hash, Examples.of(rows).inputs()), np.int64, len(rows))


def _row_findings(data: TaskData) -> Iterator[Finding]:
    train, rows = input_keys(data.train), len(data.train)
    order = np.argsort(train, kind="stable")
    train.sort()
    starts = np.flatnonzero(np.r_[True, train[1:] != train[:-1]][:rows])
    repeated = rows - len(starts)
    if rows > 1 and len(starts) == 1:
        sentence = f"all {rows:,} training examples have the same text: check which column [task.columns] names"
        yield Finding(sentence, kind="all-texts-equal", severity="refusal", facts={"rows": rows})
        return
    if repeated and repeated / rows >= NOTE_FROM:
        sentence = f"{repeated:,} of {rows:,} training examples repeat the text of another one"
        yield Finding(sentence, kind="repeated-examples", severity="note", facts={"rows": rows, "repeated": repeated})
    conflicting = _conflicting(data.spec, Examples.of(data.train), order, starts)
    del order, starts
    if conflicting:
        sentence = (
            f"{conflicting:,} of {rows:,} training examples have the same text as another one, but a different label"
        )
        facts = {"rows": rows, "conflicting": conflicting}
        yield Finding(sentence, kind="conflicting-labels", severity=severity_of(conflicting / rows), facts=facts)
    for split, examples in data.measured.items():
        shared = int(_among(input_keys(examples), train).sum())
        if shared:
            yield _overlap(split, len(examples), shared)
    if data.test:
        picking = np.sort(np.concatenate([input_keys(examples) for examples in data.dev.values()]))
        if shared := int(_among(input_keys(data.test), picking).sum()):
            sentence = (
                f"{shared:,} of {len(data.test):,} examples of test are also in dev, which picks the best checkpoint, so "
                "results on test look a little too good"
            )
            facts = {"rows": len(data.test), "shared": shared}
            yield Finding(
                sentence, kind="test-overlaps-dev", severity=severity_of(shared / len(data.test)), facts=facts
            )


def _among(keys: _Keys, ordered: _Keys) -> npt.NDArray[np.bool_]:
    """Which keys are among others, which are in ascending order; without a copy of those."""
    if not len(ordered):
        return np.zeros(len(keys), np.bool_)
    return np.asarray(ordered[np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)] == keys)


_OF_LABELS: Mapping[Kind, Callable[[TaskData], Iterator[Finding]]] = {
    "classification": _class_findings,
    "multilabel": _several_findings,
    "regression": _score_findings,
    "token-classification": _word_findings,
}


def _conflicting(spec: TaskSpec, rows: Examples, order: _Keys, starts: _Keys) -> int:
    """The number of rows whose text also occurs with another class or other labels; `starts` are the first of each text in `order`."""
    if spec.kind == "regression" or len(starts) == len(rows) or rows.labels is None:
        return 0
    labels = label_numbers(rows.labels)[order]
    mixed = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
    return int(np.diff(np.r_[starts, len(rows)])[mixed].sum())


def _overlap(split: str, rows: int, shared: int) -> Finding:
    facts = {"split": split, "rows": rows, "shared": shared}
    if shared == rows:
        sentence = (
            f"all {rows:,} examples of {split} are also training examples: {split} measures what a model memorises, "
            "not what it learns"
        )
        return Finding(sentence, kind="dev-is-training-data", severity="warning", facts=facts)
    sentence = (
        f"{shared:,} of {rows:,} examples of {split} are also training examples, so results on {split} look too good"
    )
    return Finding(sentence, kind="dev-overlaps-train", severity=severity_of(shared / rows), facts=facts)
