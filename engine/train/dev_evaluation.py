"""Evaluation on dev during a stage: the model in training, its self-teacher, and the stage's loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.data.types import TaskSpec
from engine.evaluate.metrics import compute, label_loss
from engine.evaluate.predict import predict
from engine.record.phases import Report, unreported
from engine.train.step import Counts, StepLosses

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
LogitsBySplit = dict[str, Logits]
BATCH = 64
"""Sentences per batch without gradients."""


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation of a stage.

    `score` picks the best: the primary metric on the primary dev set, or, in a stage that trains no classifier, the
    negative loss. `metrics` are those of the model in training on the primary dev set. `events` has one record for each
    model and split, ready to be written.
    """

    score: float
    metrics: dict[str, float]
    events: tuple[dict[str, Any], ...]
    self_teacher: dict[str, float] | None = None
    """Metrics of the averaged self-teacher on the primary dev set."""


@dataclass(frozen=True)
class Dev:
    """The dev sets of a run's task."""

    spec: TaskSpec
    tokens: Mapping[str, TokenSet]
    """By split, the primary one first."""
    pad_id: int
    device: torch.device
    train: TokenSet | None = None
    """Training examples that the student is also evaluated on (`train.evaluate_train`)."""

    @property
    def primary(self) -> str:
        """The split whose primary metric picks the best checkpoint."""
        return next(iter(self.tokens))

    def logits(self, model: Any, split: str, *, report: Report = unreported, name: str = "model") -> Logits:
        """Logits (rows, classes) in row order; evaluations are always in fp32, whatever the precision of training.

        `report` is called for each batch; `name` says in its phase which model this is.
        """
        return self._answers(model, self.tokens[split], report, f"evaluating the {name} on {split}")

    def all_logits(self, model: Any, *, report: Report = unreported, name: str = "model") -> LogitsBySplit:
        """A model's logits on every dev set, by split."""
        return {split: self.logits(model, split, report=report, name=name) for split in self.tokens}

    def metrics(self, model: Any, split: str, *, report: Report = unreported, name: str = "model") -> dict[str, float]:
        """The task's metrics of a model on one split."""
        return compute(self.spec, self.logits(model, split, report=report, name=name), self.labels(split))

    def labels(self, split: str) -> Labels:
        """The gold labels of one split (rows,)."""
        labels = self.tokens[split].labels
        assert labels is not None, "dev sets have labels"
        return labels

    def evaluate(self, losses: StepLosses, role: str, *, report: Report = unreported) -> Evaluation:
        """Evaluate the model in training, and the self-teacher if there is one; `report` is called for each batch.

        In a stage that trains no classifier, a self-teacher's metric would mean nothing and isn't computed.
        """
        models = losses.models
        name = "teacher" if role == "teacher" else "student"

        def figures(split: str, tokens: TokenSet) -> dict[str, Any]:
            return self._figures(models.student, tokens, report, f"evaluating the {name} on {split}")

        events = [
            {"model": name, "split": split, "primary": split == self.primary, **figures(split, tokens)}
            for split, tokens in self.tokens.items()
        ]
        metrics: dict[str, float] = events[0]["metrics"]
        score = metrics[self.spec.primary]
        if not losses.settings.trains_head:
            loss, terms = self.loss(losses, report=report)
            events[0] |= {"loss": loss, "terms": terms}
            score = -loss
        averaged = None
        if models.average is not None and losses.settings.trains_head:
            averaged = self.metrics(models.average, self.primary, report=report, name="self-teacher")
            events.append({"model": "self-teacher", "split": self.primary, "primary": False, "metrics": averaged})
        if self.train is not None and role != "teacher":
            events.append({"model": name, "split": "train", "primary": False, **figures("train", self.train)})
        return Evaluation(score, metrics, tuple(events), averaged)

    def _answers(self, model: Any, tokens: TokenSet, report: Report, phase: str) -> Logits:
        return predict(
            model, tokens, batch_size=BATCH, device=self.device, pad_id=self.pad_id, report=report, phase=phase
        )

    def _figures(self, model: Any, tokens: TokenSet, report: Report, phase: str) -> dict[str, Any]:
        """Metrics and mean loss on gold labels, as an event stores them."""
        logits, labels = self._answers(model, tokens, report, phase), tokens.labels
        assert labels is not None, "what is evaluated on has labels"
        return {
            "metrics": compute(self.spec, logits, labels),
            "label_loss": label_loss(self.spec, logits, labels),
        }

    def loss(self, losses: StepLosses, *, report: Report = unreported) -> tuple[float, dict[str, float]]:
        """The stage's loss and terms on the primary dev set: unmixed, without dropout, without consistency."""
        tokens = self.tokens[self.primary]
        pad_to = losses.settings.pad_to
        counts = Counts.of(tokens.lengths, mixed=False, pad_to=pad_to)
        student = losses.models.student
        training = student.training
        student.eval()
        sums: dict[str, float] = {}
        try:
            with torch.no_grad():
                for done, rows in enumerate(evaluation_batches(tokens.lengths, BATCH)):
                    report(f"computing the loss on {self.primary}", done * BATCH, len(tokens), "rows")
                    batch = collate(tokens, rows, pad_id=self.pad_id, pad_to=pad_to).to(self.device)
                    part = losses(batch, counts, None, 0.0)
                    for key, value in {"loss": part.total, **part.terms}.items():
                        sums[key] = sums.get(key, 0.0) + float(value)
        finally:
            student.train(training)
        return sums.pop("loss"), sums
