"""What plain transformers makes of a saved student, and the metrics of any answers, without a line of crild's own code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from seqeval.metrics import f1_score as entity_f1  # type: ignore[import-untyped]
from sklearn.metrics import f1_score, ndcg_score
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from tests.train.real_files import TaskFiles


@dataclass(frozen=True)
class Answers:
    """Of each row: what it was given (a class, labels or the labels of its words; nothing where it has a score), and
    the numbers behind it, by class, or the score (none for words)."""

    choices: list[Any]
    numbers: list[list[float]]


def answers_of(task: TaskFiles, rows: Sequence[Mapping[str, Any]]) -> Answers:
    """The answers in a table that crild wrote; labels of words as they are in CoNLL files."""
    if task.kind == "token-classification":
        return Answers([list(row["label"]) for row in rows], [])
    names = sorted(name for name in rows[0] if name.startswith("probability_") or name == "score")
    choices = [] if task.kind == "regression" else [row["label"] for row in rows]
    return Answers([sorted(one) if task.kind == "multilabel" else one for one in choices], [
        [float(row[name]) for name in names] for row in rows
    ])  # fmt: skip


def plain_answers(student: Path, task: TaskFiles) -> Answers:
    """The answers of a student to the rows of dev, by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(student)
    if task.kind == "token-classification":
        return Answers(_labels_of(student, tokenizer, [row["words"] for row in task.rows]), [])
    model = AutoModelForSequenceClassification.from_pretrained(student).eval()
    columns = [[row[column] for row in task.rows] for column in task.texts]
    batch = tokenizer(*columns, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits.double()
    if task.kind == "regression":
        return Answers([], logits.tolist())
    names = [model.config.id2label[column] for column in range(logits.shape[1])]
    order = sorted(range(len(names)), key=names.__getitem__)
    if task.kind == "multilabel":
        chosen = [sorted(names[column] for column in np.flatnonzero(row >= 0)) for row in logits.numpy()]
        return Answers(chosen, logits.sigmoid()[:, order].tolist())
    return Answers([names[column] for column in logits.argmax(1).tolist()], logits.softmax(1)[:, order].tolist())


def _labels_of(student: Path, tokenizer: Any, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each word has the label of its first piece."""
    model = AutoModelForTokenClassification.from_pretrained(student).eval()
    batch = tokenizer([list(row) for row in rows], is_split_into_words=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(**batch).logits.argmax(-1)
    labels = []
    for number, row in enumerate(rows):
        words = batch.word_ids(number)
        labels.append([model.config.id2label[int(found[number, words.index(word)])] for word in range(len(row))])
    return labels


def metric(task: TaskFiles, answers: Answers) -> float:
    """The primary metric of a task, by scikit-learn, numpy and seqeval."""
    gold = [row[task.label] for row in task.rows]
    if task.kind == "token-classification":
        return float(entity_f1(gold, answers.choices))
    if task.group is not None:
        return _mean_reciprocal_rank([row[task.group] for row in task.rows], np.array(gold, float), _scores(answers))
    if task.kind == "regression":
        return float(np.corrcoef(np.array(gold, float), _scores(answers))[0, 1])
    if task.kind == "multilabel":
        names = sorted({name for labels in gold for name in labels})
        one, other = (np.array([[name in own for name in names] for own in side]) for side in (gold, answers.choices))
        return float(f1_score(one, other, average="micro", zero_division=0))
    return float(np.mean([one == other for one, other in zip(gold, answers.choices, strict=True)]))


def _scores(answers: Answers) -> npt.NDArray[Any]:
    """What ranks the rows: the score, or the probability of the second class."""
    return np.array(answers.numbers)[:, -1]


def ndcg(task: TaskFiles, answers: Answers) -> float:
    """nDCG@10 of a task whose queries have four passages each."""
    gold = np.array([float(row[task.label]) for row in task.rows]).reshape(-1, 4)
    return float(ndcg_score(gold, _scores(answers).reshape(-1, 4), k=10))


def _mean_reciprocal_rank(groups: Sequence[str], gold: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float:
    found = []
    for group in dict.fromkeys(groups):
        rows = np.flatnonzero([one == group for one in groups])
        best = scores[rows][gold[rows] > 0].max()
        found.append(1 / (1 + int((scores[rows] > best).sum())))
    return float(np.mean(found))
