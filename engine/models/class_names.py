"""Match a model's outputs with the task's classes: by name, never by position.

Checkpoints order their classes differently (several orders are in use for MNLI), and a wrong order looks like a very
bad teacher. A config with only LABEL_0, LABEL_1, … says nothing about the order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from engine.data.types import TaskSpec
from engine.models.families import output_of
from engine.models.thresholds import store_thresholds, thresholds_of
from engine.preset.kinds import KINDS

# Names that different checkpoints give to one class. The negative of a class follows a rule: see `_canonical`.
_SAME = (
    ("entailment", "entail", "entails", "entailed", "implied"),
    ("contradiction", "contradict", "contradicts", "contradicted", "contradictory"),
    ("neutral", "undetermined"),
    ("equivalent", "semantically equivalent", "duplicate", "duplicates", "is duplicate", "paraphrase", "paraphrases"),
    ("acceptable", "grammatical", "linguistically acceptable", "correct"),
    ("positive", "pos", "positive sentiment"),
    ("negative", "neg", "negative sentiment"),
)
_MEANING = {name: group[0] for group in _SAME for name in group}
_NEGATION = re.compile(r"^(?:not|non|no)\s*(?=[a-z])(.+)$")
_OPPOSITE = {"unacceptable": "acceptable", "ungrammatical": "acceptable", "incorrect": "acceptable"}


def _plain_name(name: str) -> str:
    """Lower case, words separated by single spaces: "Not_Duplicate", "notDuplicate" and "NOT-DUPLICATE" are the same.

    So are names that differ in Unicode form or in invisible characters alone.
    """
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", visible))
    return re.sub(r"[\W_]+", " ", words).strip().lower()


def _canonical(name: str) -> tuple[bool, str]:
    """Whether a class is the absence of something, and of what: "non-duplicate" is (True, "equivalent")."""
    words = _plain_name(name)
    if words in _MEANING:
        return False, _MEANING[words]
    if words in _OPPOSITE:
        return True, _OPPOSITE[words]
    negated = _NEGATION.match(words)
    # "nothing" and "notable" are not negations: a negation is a word of its own, or leaves a known class.
    if negated and (re.match(r"(?:not|non|no)\s", words) or negated[1] in _MEANING):
        return True, _MEANING.get(negated[1], negated[1])
    return False, words


def order_by_name(names: Sequence[str], labels: Sequence[str]) -> tuple[int, ...] | None:
    """For each of the task's `labels` its index among a model's `names`; None when the names don't match.

    Names are first compared literally (apart from case and word separators), then by meaning: "duplicate" is
    "equivalent", "non-entailment" is "not_entailment". Every class must occur exactly once.
    """
    for normalise in (_plain_name, _canonical):
        ours = [normalise(label) for label in labels]
        theirs = [normalise(name) for name in names]
        if len(set(ours)) == len(ours) and sorted(map(str, ours)) == sorted(map(str, theirs)):
            return tuple(theirs.index(label) for label in ours)
    return None


def align(model: PreTrainedModel, permutation: Sequence[int], spec: TaskSpec) -> None:
    """Reorder the classifier's rows in place: output `permutation[i]` becomes output i, named `spec.labels[i]`."""
    output, labels = output_of(model), spec.labels
    if sorted(permutation) != list(range(output.out_features)) or len(labels) != output.out_features:
        raise ValueError(f"{tuple(permutation)} does not order {output.out_features} classes named {tuple(labels)}")
    rows = torch.tensor(permutation, device=output.weight.device)
    with torch.no_grad():
        output.weight.copy_(output.weight[rows].clone())
        output.bias.copy_(output.bias[rows].clone())
    thresholds = thresholds_of(model.config)
    store_thresholds(model.config, [thresholds[index] for index in permutation])
    name_outputs(model, spec)


def name_outputs(model: PreTrainedModel, spec: TaskSpec) -> None:
    """Write into a model's config what its outputs are for a task: the names of the classes, and the kind of problem."""
    names = list(spec.labels) or ["score"]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.config.problem_type = KINDS[spec.kind].problem_type
    model.num_labels = len(names)


def names_of(model: PreTrainedModel) -> tuple[str, ...]:
    """The names of a model's outputs in its config, in their order."""
    named = model.config.id2label
    return tuple(str(named.get(index, f"LABEL_{index}")) for index in range(model.config.num_labels))


def has_names(model: PreTrainedModel) -> bool:
    """Whether a model's config names its outputs; LABEL_0, LABEL_1, … are no names."""
    return not all(re.fullmatch(r"LABEL_\d+", name) for name in names_of(model))


def describe(spec: TaskSpec) -> str:
    """The task's outputs in words, for messages."""
    what = "labels" if spec.kind == "multilabel" else "classes"
    return f"{spec.outputs} {what} ({', '.join(spec.labels)})" if spec.labels else "one score"
