"""Which output of a model is which class of the task: told by name, never by position.

Checkpoints order their classes as they like (MNLI has several orders in use), and a wrong order looks like a very bad
teacher. A config that has only LABEL_0, LABEL_1, … says nothing about the order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from engine.data.types import TaskSpec
from engine.models.families import output_of

# Names that different checkpoints give to one class. The negative of a class is made by rule: see `_canonical`.
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
    """Lower case, words parted by single spaces: "Not_Duplicate", "notDuplicate" and "NOT-DUPLICATE" are the same."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", parted).strip().lower()


def _canonical(name: str) -> tuple[bool, str]:
    """Whether a class is the absence of something, and of what: "non-duplicate" is (True, "equivalent")."""
    words = _plain_name(name)
    if words in _MEANING:
        return False, _MEANING[words]
    if words in _OPPOSITE:
        return True, _OPPOSITE[words]
    negated = _NEGATION.match(words)
    # "nothing" or "notable" are words of their own: a negation must be parted, or leave a class that is known.
    if negated and (re.match(r"(?:not|non|no)\s", words) or negated[1] in _MEANING):
        return True, _MEANING.get(negated[1], negated[1])
    return False, words


def order_by_name(names: Sequence[str], labels: Sequence[str]) -> tuple[int, ...] | None:
    """For each of the task's `labels` the index of its name among a model's `names`; None when names don't tell.

    Names are first compared as they are (apart from case and what parts the words), then by meaning: "duplicate" is
    "equivalent", "non-entailment" is "not_entailment". Every class must be found exactly once.
    """
    for reading in (_plain_name, _canonical):
        ours = [reading(label) for label in labels]
        theirs = [reading(name) for name in names]
        if len(set(ours)) == len(ours) and sorted(map(str, ours)) == sorted(map(str, theirs)):
            return tuple(theirs.index(label) for label in ours)
    return None


def align(model: PreTrainedModel, permutation: Sequence[int], labels: Sequence[str]) -> None:
    """Reorder the classifier's rows in place: output i becomes what was output `permutation[i]`, named `labels[i]`.

    From then on the model is in the task's order, saved copies included.
    """
    output = output_of(model)
    if sorted(permutation) != list(range(output.out_features)) or len(labels) != output.out_features:
        raise ValueError(f"{tuple(permutation)} does not order {output.out_features} classes named {tuple(labels)}")
    rows = torch.tensor(permutation, device=output.weight.device)
    with torch.no_grad():
        output.weight.copy_(output.weight[rows].clone())
        output.bias.copy_(output.bias[rows].clone())
    name_outputs(model, labels)


def name_outputs(model: PreTrainedModel, labels: Sequence[str]) -> None:
    """Write the names of the classes into a model's config; no labels mean regression."""
    names = list(labels) or ["score"]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.config.problem_type = "single_label_classification" if labels else "regression"
    model.num_labels = len(names)


def names_of(model: PreTrainedModel) -> tuple[str, ...]:
    """What a model's config calls its outputs, in their order."""
    named = model.config.id2label
    return tuple(str(named.get(index, f"LABEL_{index}")) for index in range(model.config.num_labels))


def describe(spec: TaskSpec) -> str:
    """The task's outputs in words, for messages."""
    return f"{spec.outputs} classes ({', '.join(spec.labels)})" if spec.labels else "one score"
