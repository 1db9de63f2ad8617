"""Class weights of the labels objective: the weight of each class from the preset and the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from engine.data.types import TaskData, TaskSpec
from engine.errors import CrildError, PresetError
from engine.preset.kinds import WORD_LABELS
from engine.preset.text import listed, nearest, shown

KEY = "train.class_weights"
ClassWeights = Literal["balanced"] | Mapping[str, float]
"""As in a preset: the word, or a weight for each class by name."""


def class_weights(setting: ClassWeights | None, data: TaskData) -> tuple[float, ...]:
    """The weight of each class, in the order of the classes; empty where the preset sets none.

    "balanced" is n / (k · n_c): n training rows, n_c of them of class c, k classes that have rows. So the weights of all
    training rows have a mean of 1. A class without training rows has weight 1, which nothing reads. Of several labels for a
    text, a weight counts where the label applies, and "balanced" is (n - n_c) / n_c, so that both answers weigh the same. Of labels by word, words are counted instead of rows. Raises PresetError as
    `class_weight_problem`.
    """
    if setting is None:
        return ()
    problem = class_weight_problem(setting, data.spec)
    if problem is not None:
        raise PresetError([problem])
    names = data.spec.labels
    if not isinstance(setting, str):
        return tuple(setting[name] for name in names)
    from engine.data.examples import Examples, flat_labels  # numpy is only needed here: preflight checks weights, too

    labels = Examples.of(data.train).labels
    if data.spec.kind == WORD_LABELS and labels is not None:
        labels = flat_labels(labels)
    if data.spec.kind == "multilabel" and labels is not None:
        have = labels.sum(axis=0, dtype=int).tolist()
        return tuple((len(labels) - count) / count if 0 < count < len(labels) else 1.0 for count in have)
    counts = Counter[int]() if labels is None else Counter(labels.tolist())
    present = sum(1 for index in range(len(names)) if counts[index])
    return tuple(counts.total() / (present * counts[index]) if counts[index] else 1.0 for index in range(len(names)))


def class_weight_problem(setting: ClassWeights, spec: TaskSpec) -> CrildError | None:
    """What is wrong with class weights for this task: scores, an unknown class, a class without a weight."""
    if spec.kind == "regression":
        sentence = f"class_weights are for classes; the labels of {spec.name} are scores"
        return CrildError(sentence, kind="class-weights-of-scores", key=KEY)
    if isinstance(setting, str):
        return None
    for name in setting:
        if name not in spec.labels:
            near = nearest(name, spec.labels)
            hint = f"did you mean {shown(near)}?" if near else f"it has {listed(map(shown, spec.labels), 'and', 10)}"
            sentence = f"{spec.name} has no class {shown(name)}; {hint}"
            return CrildError(sentence, kind="unknown-class-weight", key=f"{KEY}.{name}")
    missing = [name for name in spec.labels if name not in setting]
    if missing:
        sentence = f"class_weights lacks {listed(map(shown, missing), 'and', 10)}: give each class a weight, 1.0 for an ordinary one"
        return CrildError(sentence, kind="missing-class-weight", key=KEY)
    return None
