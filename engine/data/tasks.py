"""The nine GLUE tasks: labels, metrics, and their format in the official files and on the hub."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.data.types import TaskSpec

HUB_DATASET = "nyu-mll/glue"
"""The hub data set with all nine, one configuration each, under the names used here."""


@dataclass(frozen=True)
class GlueTask:
    """One GLUE task.

    `folder` is the name of its official folder. `text`, `pair` and `label` name the columns of its TSV files; `header`
    names all columns of a task whose files have no header line. `tokens` is how the classes are written in the files,
    in index order. `ragged` says that a few official rows lack columns, which are skipped. `dev` gives for each dev set
    its file (less ".tsv") and its split on the hub; `hub_text` and `hub_pair` the columns there.
    """

    spec: TaskSpec
    folder: str
    text: str
    pair: str | None
    label: str
    hub_text: str
    hub_pair: str | None
    tokens: tuple[str, ...] = ("0", "1")
    header: tuple[str, ...] | None = None
    ragged: bool = False
    dev: dict[str, tuple[str, str]] = field(default_factory=lambda: {"dev": ("dev", "validation")})


def _classes(name: str, labels: tuple[str, ...], metrics: tuple[str, ...], *, is_pair: bool) -> TaskSpec:
    return TaskSpec(name=name, kind="classification", labels=labels, metrics=metrics, is_pair=is_pair)


_ENTAILMENT = ("entailment", "not_entailment")

GLUE: dict[str, GlueTask] = {
    "cola": GlueTask(
        spec=_classes("cola", ("unacceptable", "acceptable"), ("matthews", "accuracy"), is_pair=False),
        folder="CoLA",
        header=("source", "label", "star", "sentence"),
        text="sentence",
        pair=None,
        label="label",
        hub_text="sentence",
        hub_pair=None,
    ),
    "sst2": GlueTask(
        spec=_classes("sst2", ("negative", "positive"), ("accuracy",), is_pair=False),
        folder="SST-2",
        text="sentence",
        pair=None,
        label="label",
        hub_text="sentence",
        hub_pair=None,
    ),
    "mrpc": GlueTask(
        spec=_classes("mrpc", ("not_equivalent", "equivalent"), ("accuracy", "f1"), is_pair=True),
        folder="MRPC",
        text="#1 String",
        pair="#2 String",
        label="Quality",
        hub_text="sentence1",
        hub_pair="sentence2",
    ),
    "stsb": GlueTask(
        spec=TaskSpec("stsb", "regression", (), ("pearson", "spearman"), is_pair=True, label_range=(0.0, 5.0)),
        folder="STS-B",
        tokens=(),
        text="sentence1",
        pair="sentence2",
        label="score",
        hub_text="sentence1",
        hub_pair="sentence2",
    ),
    "qqp": GlueTask(
        spec=_classes("qqp", ("not_duplicate", "duplicate"), ("accuracy", "f1"), is_pair=True),
        folder="QQP",
        ragged=True,
        text="question1",
        pair="question2",
        label="is_duplicate",
        hub_text="question1",
        hub_pair="question2",
    ),
    "mnli": GlueTask(
        spec=_classes("mnli", ("entailment", "neutral", "contradiction"), ("accuracy",), is_pair=True),
        folder="MNLI",
        tokens=("entailment", "neutral", "contradiction"),
        text="sentence1",
        pair="sentence2",
        label="gold_label",
        hub_text="premise",
        hub_pair="hypothesis",
        dev={
            "dev_matched": ("dev_matched", "validation_matched"),
            "dev_mismatched": ("dev_mismatched", "validation_mismatched"),
        },
    ),
    "qnli": GlueTask(
        spec=_classes("qnli", _ENTAILMENT, ("accuracy",), is_pair=True),
        folder="QNLI",
        tokens=_ENTAILMENT,
        text="question",
        pair="sentence",
        label="label",
        hub_text="question",
        hub_pair="sentence",
    ),
    "rte": GlueTask(
        spec=_classes("rte", _ENTAILMENT, ("accuracy",), is_pair=True),
        folder="RTE",
        tokens=_ENTAILMENT,
        text="sentence1",
        pair="sentence2",
        label="label",
        hub_text="sentence1",
        hub_pair="sentence2",
    ),
    "wnli": GlueTask(
        spec=_classes("wnli", ("not_entailment", "entailment"), ("accuracy",), is_pair=True),
        folder="WNLI",
        text="sentence1",
        pair="sentence2",
        label="label",
        hub_text="sentence1",
        hub_pair="sentence2",
    ),
}
