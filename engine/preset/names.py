"""Names of tasks, objectives and metrics. Imports no pydantic, so that lists of presets stay quick."""

from __future__ import annotations

from typing import Literal, get_args

GlueName = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
ToyName = Literal["toy-sentiment", "toy-entailment", "toy-similarity", "toy-switch"]
TaskName = Literal[GlueName, ToyName, "custom"]
GLUE_TASKS: tuple[str, ...] = get_args(GlueName)
TOY_TASKS: tuple[str, ...] = get_args(ToyName)
_TITLES = {
    "cola": "CoLA", "sst2": "SST-2", "mrpc": "MRPC", "stsb": "STS-B", "qqp": "QQP", "mnli": "MNLI", "qnli": "QNLI",
    "rte": "RTE", "wnli": "WNLI",
}  # fmt: skip

ObjectiveName = Literal["labels", "logits", "attention", "query", "key", "value", "hidden", "cls", "embedding"]
HEAD_OBJECTIVES = frozenset({"labels", "logits"})  # send gradient to the classifier
LAYER_OBJECTIVES = frozenset({"attention", "query", "key", "value", "hidden", "cls"})  # read pairs of layers
RELATIONS = frozenset({"query", "key", "value"})  # compared in relation heads (MiniLMv2)
EMD_OBJECTIVES = frozenset({"attention", "hidden"})  # what BERT-EMD transports between layers
LABELS = ("description", "tags", "project")
"""Keys of a preset that help people to find a run, and say nothing of what is trained."""
SCORES = frozenset({"stsb", "toy-similarity"})  # tasks whose labels are scores


def task_title(name: str) -> str:
    """A task as people write it: `SST-2`; other names stay as they are."""
    return _TITLES.get(name, name)
