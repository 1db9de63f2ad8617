"""Types shared by all data modules: an example, a task's specification, a task's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import DataError
from engine.preset.kinds import Kind

Label = int | float | tuple[int, ...]


class WordLabels(tuple[int, ...]):
    """The class of each word of a text, as indices of `TaskSpec.labels`."""

    __slots__ = ()


TEST = "test"
"""The name of the split that is measured once, when training has ended."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sentence or pair of sentences.

    `id` is unique within its split and stable: a row keeps its id in every subset. `label` is the index of the class in
    `TaskSpec.labels`, the score of a regression task, of several labels 1 or 0 for each of `TaskSpec.labels`, of labels by
    word `WordLabels`, or None if no label is known or needed. `text` has the words joined by spaces then: `text.split(" ")`.
    """

    id: str
    text: str
    pair: str | None
    label: Label | None

    def unlabelled(self) -> Example:
        """The same input without its label."""
        return self if self.label is None else Example(self.id, self.text, self.pair, None)


@dataclass(frozen=True)
class TaskSpec:
    """A task without its rows.

    `labels` are the names of the classes (or of the labels that a text can have) in index order, empty for regression. The first of `metrics` is the primary
    one: it picks the best checkpoint. `label_range` is the scale of a regression task's scores, if known. `thresholds` are
    the probabilities from which a model's labels apply, where texts have several; 0.5 where there are none.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    is_pair: bool
    label_range: tuple[float, float] | None = None
    thresholds: tuple[float, ...] = ()

    @property
    def primary(self) -> str:
        """Name of the metric that picks the best checkpoint."""
        return self.metrics[0]

    @property
    def outputs(self) -> int:
        """Number of logits of a model for this task: one per class or label, or one score."""
        return len(self.labels) or 1


@dataclass(frozen=True)
class TaskData:
    """A task with its rows.

    The first of `dev` is the primary set ("dev"; of MNLI "dev_matched", then "dev_mismatched"). `notes` are sentences
    for the user: skipped rows, subsets, noise. `test` is empty for most tasks; no choice may depend on it. Rows that were
    read from files are `engine.data.examples.Examples`.
    """

    spec: TaskSpec
    train: Sequence[Example]
    dev: Mapping[str, Sequence[Example]]
    notes: tuple[str, ...] = ()
    test: Sequence[Example] = ()

    @property
    def measured(self) -> Mapping[str, Sequence[Example]]:
        """The splits that models are measured on: the dev sets, then the test set if there is one."""
        return {**self.dev, TEST: self.test} if self.test else self.dev

    @property
    def primary_dev(self) -> str:
        """Name of the dev set whose primary metric picks the best checkpoint."""
        return next(iter(self.dev))


@dataclass(frozen=True)
class UnlabelledTexts:
    """The texts of a test set whose labels are withheld, in order; `pairs` the second texts, None for a one-sentence task."""

    texts: Sequence[str]
    pairs: Sequence[str] | None

    def checked(self, expected: int, where: str) -> UnlabelledTexts:
        """These texts. Raises DataError if there are not `expected` of them in `where`."""
        if len(self.texts) != expected:
            sentence = f"GLUE's test set has {expected:,} rows, this one {len(self.texts):,}: the site would refuse it"
            raise DataError(sentence, kind="wrong-number-of-rows", file=where)
        return self
