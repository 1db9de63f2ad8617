"""Kinds of tasks: what a row's label is, which metrics and which model outputs belong to it. Imports no pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["classification", "multilabel", "regression", "token-classification"]
MetricName = Literal[
    "accuracy",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "f1",
    "f1_macro",
    "f1_micro",
    "matthews",
    "mrr",
    "ndcg",
    "pearson",
    "spearman",
    "subset_accuracy",
]


WORD_LABELS: Kind = "token-classification"
RANKINGS = ("mrr", "ndcg")
"""Metrics of how well the rows of each group (`task.columns.group`) are ordered."""
ENTITY_METRICS = ("entity_f1", "entity_precision", "entity_recall")
"""Metrics of labels that mark entities (`engine.record.entities`)."""


@dataclass(frozen=True)
class KindOfTask:
    """One kind of task; the losses that belong to it are in `engine.distill.objectives`."""

    answers: str
    """What the labels of rows are, in words."""
    metrics: tuple[str, ...]
    """The metrics that can be asked for, the default first."""
    problem_type: str | None
    """What `transformers` calls it in a model's config; None where the class of the model says it."""


KINDS: Mapping[Kind, KindOfTask] = MappingProxyType(
    {
        "classification": KindOfTask(
            "classes", ("accuracy", "f1", "f1_macro", "matthews", *RANKINGS), "single_label_classification"
        ),
        "multilabel": KindOfTask(
            "sets of labels", ("f1_micro", "f1_macro", "subset_accuracy"), "multi_label_classification"
        ),
        "regression": KindOfTask("scores", ("pearson", "spearman", *RANKINGS), "regression"),
        "token-classification": KindOfTask("labels of words", (*ENTITY_METRICS, "accuracy", "f1_macro"), None),
    }
)
