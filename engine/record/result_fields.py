"""The fields of `results.json`: the reference of the documentation. `engine/train/results.py` writes them."""

from __future__ import annotations

from collections.abc import Mapping

_MODEL = {
    "metrics.{metric}": "metrics on the primary dev set, as shares of 1",
    "dev_extra.{split}.{metric}": "metrics on the other dev sets",
    "test.{metric}": "metrics on the test set, if there is one",
    "layers": "Transformer layers",
    "parameters": "number of parameters",
    "bytes": "size of the weights",
    "thresholds.{label}": "from which probability a label applies, where the run chose it (task.thresholds)",
}
_SPEED = {
    "latency_ms": "median milliseconds for one input ([latency](../latency.md))",
    "throughput": "inputs a second in batches of 32",
}
_CONTENT = {"content": "hash that identifies the model"}
_EVALUATION = {
    "stage": "name of its stage",
    "step": "its step",
    "score": "what picks the best: the primary metric, or minus the loss where no classifier is trained",
    "metrics.{metric}": "metrics on the primary dev set",
    "label_loss": "mean loss on the gold labels there, which decides between equal scores; null in a run that an older crild began",
}


def _below(name: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Fields of the object `name`."""
    return {f"{name}.{field}": meaning for field, meaning in fields.items()}


FIELDS: Mapping[str, str] = {
    "schema": "version of this format: 1",
    "run": "id of the run",
    "task": "name of the task",
    "metric": "name of the primary metric",
    "split": "name of the primary dev set",
    "majority.{metric}": "metrics on dev of the majority guess: the most frequent class of the training rows (of dev, where these have no labels)",
    "teacher": "null for a file of answers that lacks rows of the primary dev set, else (without sizes and speed for a file):",
    **_below("teacher", {**_MODEL, **_SPEED, **_CONTENT}),
    **_below(
        "student",
        {
            **_MODEL,
            **_SPEED,
            **_CONTENT,
            "head_trained": "whether a stage trained the classifier; if not, its metrics mean nothing",
        },
    ),
    "baseline": "null without a baseline, else:",
    **_below("baseline", _MODEL),
    "teacher.models": "how many teachers, where there are several: the metrics are those of the mean of their answers",
    "self_teacher": "null without a self-teacher in a stage that trains the classifier, else:",
    "self_teacher.{metric}": "its metrics on the primary dev set",
    "agreement": "share of dev rows on which student and teacher give the same answer; correlation of scores; null "
    "where the teacher has no answers",
    "kept_margin": "share of the teacher's margin over the majority guess that the student keeps; null if the teacher "
    "has none, or the student's classifier was not trained",
    **_below("last", _EVALUATION),
    "best": "null if the last stage trains no classifier, else:",
    **_below("best", _EVALUATION),
    "saved": "which of the two has the saved weights: last or best",
    "saved_why": "why, as a sentence",
    "test.rows": "rows of the test set, if there is one",
    "test.majority.{metric}": "metrics of the majority guess on it",
    "test.agreement": "as `agreement`, on the test set",
    "latency": "how latency was measured, with quartiles: see below",
    "data.train": "training rows",
    "data.dev.{split}": "rows of each dev set",
    "data.classes.{class}": "training rows of each class",
    "data.scores[]": "least and greatest score, where labels are scores",
    "stages[].name": "name of the stage",
    "stages[].steps": "steps done",
    "stages[].seconds": "training time, without evaluations and checkpoints",
    "stages[].examples_per_second": "mean speed",
    "stages[].cached": "whether this is a fine-tuned teacher from the cache",
    "seconds": "training time of all stages",
    "command": "command that repeats the run",
    "checkpoints_deleted": "bytes of checkpoints that were deleted when the run finished; null if they were kept",
    "findings[].kind": "what the checks of the data found, in two to four words",
    "findings[].severity": "note or warning",
    "findings[].sentence": "the finding as a sentence",
    "findings[].facts.{fact}": "its figures and names",
    "findings[].subject": "whose files it is about: data or model",
}
"""The meaning of each field by its path. `{metric}` and the like stand for any name, `[]` for each entry of a list."""
