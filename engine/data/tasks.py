"""The nine GLUE tasks: labels, metrics, and their format in the official files and on the hub."""

from __future__ import annotations

from dataclasses import dataclass

from engine.data.types import TaskSpec

HUB_DATASET = "nyu-mll/glue"
"""The hub data set with all nine, one configuration each, under the names used here."""


Columns = tuple[str, str | None]
"""The sentence, or the first of a pair; and the second one, None for a one-sentence task."""


@dataclass(frozen=True)
class GlueTask:
    """One GLUE task.

    `folder` is the name of its official folder; `columns` and `label` name the columns of its TSV files, `hub_columns`
    those on the hub. `tokens` is how the classes are written in the files, in index order. `header` names all columns of
    a task whose files have no header line. `ragged` says that a few official rows lack columns, which are skipped.
    `dev` gives for each dev set its file (less ".tsv") and its split on the hub.
    """

    spec: TaskSpec
    folder: str
    columns: Columns
    label: str
    hub_columns: Columns
    tokens: tuple[str, ...]
    header: tuple[str, ...]
    ragged: bool
    dev: dict[str, tuple[str, str]]


_PAIR = ("sentence1", "sentence2")
_ACCURACY = ("accuracy",)
_ENTAILMENT = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")


def _task(
    name: str,
    folder: str,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    label: str,
    columns: Columns,
    *,
    hub_columns: Columns | None = None,
    tokens: tuple[str, ...] = ("0", "1"),
    header: tuple[str, ...] = (),
    ragged: bool = False,
    dev: tuple[str, ...] = ("",),
) -> GlueTask:
    """A task from its row of the table; `dev` are the endings of the names of its dev sets."""
    is_pair, scale = columns[1] is not None, None if labels else (0.0, 5.0)
    spec = TaskSpec(name, "classification" if labels else "regression", labels, metrics, is_pair, scale)
    splits = {f"dev{ending}": (f"dev{ending}", f"validation{ending}") for ending in dev}
    return GlueTask(spec, folder, columns, label, hub_columns or columns, tokens, header, ragged, splits)


_TASKS = (
    _task("cola", "CoLA", ("unacceptable", "acceptable"), ("matthews", "accuracy"), "label", ("sentence", None),
          header=("source", "label", "star", "sentence")),
    _task("sst2", "SST-2", ("negative", "positive"), _ACCURACY, "label", ("sentence", None)),
    _task("mrpc", "MRPC", ("not_equivalent", "equivalent"), ("accuracy", "f1"), "Quality", ("#1 String", "#2 String"),
          hub_columns=_PAIR),
    _task("stsb", "STS-B", (), ("pearson", "spearman"), "score", _PAIR, tokens=()),
    _task("qqp", "QQP", ("not_duplicate", "duplicate"), ("accuracy", "f1"), "is_duplicate", ("question1", "question2"),
          ragged=True),
    _task("mnli", "MNLI", _NLI, _ACCURACY, "gold_label", _PAIR, tokens=_NLI, hub_columns=("premise", "hypothesis"),
          dev=("_matched", "_mismatched")),
    _task("qnli", "QNLI", _ENTAILMENT, _ACCURACY, "label", ("question", "sentence"), tokens=_ENTAILMENT),
    _task("rte", "RTE", _ENTAILMENT, _ACCURACY, "label", _PAIR, tokens=_ENTAILMENT),
    _task("wnli", "WNLI", ("not_entailment", "entailment"), _ACCURACY, "label", _PAIR),
)  # fmt: skip
GLUE = {task.spec.name: task for task in _TASKS}


def hub_split(task: str, split: str) -> str:
    """What the hub's data set calls a dev set of a GLUE task (dev is its `validation`); of other tasks, the split's own name."""
    return GLUE[task].dev.get(split, ("", split))[1] if task in GLUE else split


@dataclass(frozen=True)
class GlueTestSet:
    """A test set as the GLUE site takes its predictions: labels are withheld, rows are numbered from 0.

    `file` is the name of the predictions, `stem` that of the official file (less ".tsv"), `hub_split` its split on the hub,
    `rows` how many there are, `words` the labels as the site takes them (none: a number from 0 to 5).
    """

    file: str
    stem: str
    hub_split: str
    rows: int
    words: tuple[str, ...]


def _test_sets(name: str, *sets: tuple[str, str, int]) -> tuple[GlueTestSet, ...]:
    """The test sets of a task: of each the site's file, the ending of its name in the official folder, and its rows."""
    return tuple(
        GlueTestSet(file, f"test{ending}", f"test{ending}", rows, GLUE[name].tokens) for file, ending, rows in sets
    )


TEST_SETS = {
    "cola": _test_sets("cola", ("CoLA.tsv", "", 1063)),
    "sst2": _test_sets("sst2", ("SST-2.tsv", "", 1821)),
    "mrpc": _test_sets("mrpc", ("MRPC.tsv", "", 1725)),
    "stsb": _test_sets("stsb", ("STS-B.tsv", "", 1379)),
    "qqp": _test_sets("qqp", ("QQP.tsv", "", 390_965)),
    "mnli": _test_sets("mnli", ("MNLI-m.tsv", "_matched", 9796), ("MNLI-mm.tsv", "_mismatched", 9847)),
    "qnli": _test_sets("qnli", ("QNLI.tsv", "", 5463)),
    "rte": _test_sets("rte", ("RTE.tsv", "", 3000)),
    "wnli": _test_sets("wnli", ("WNLI.tsv", "", 146)),
}
DIAGNOSTIC = GlueTestSet("AX.tsv", "diagnostic", "test", 1104, _NLI)
"""GLUE's diagnostic set, which a model of MNLI answers; it has a folder and a hub configuration of its own, `ax`."""
SITE_FILES = {each.file: each for sets in TEST_SETS.values() for each in sets} | {DIAGNOSTIC.file: DIAGNOSTIC}
"""All that the site wants in one archive."""
