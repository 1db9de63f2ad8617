"""Evaluation on dev during a stage: the model in training, its self-teacher, and the stage's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import Batch
from engine.data.tokens import TokenSet
from engine.data.types import TaskSpec
from engine.distill.activations import Activations
from engine.evaluate.metrics import compute, label_loss
from engine.evaluate.predict import LengthBatches, predict
from engine.record.phases import Report, unreported
from engine.train.ranks import ALONE, Ranks
from engine.train.step import Counts, StepLosses

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
LogitsBySplit = dict[str, Logits]
LOSS_TOKENS = {"cpu": 4096}
"""Tokens of a batch, with padding, whose loss is computed, by the type of the device: it takes two models' activations."""
LOSS_TOKENS_ON_GPU = 8192
NO_LIMIT = 2**62
MOST_ACTIVATIONS = 2**27
"""Bytes of a teacher's activations on dev that stay in memory while a stage is trained."""
TRANSPORT_ROWS = 64
"""Rows of a batch whose transport plan is computed: the loss depends on how many there are."""


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation of a stage.

    `score` picks the best: the primary metric on the primary dev set, or, in a stage that trains no classifier, the
    negative loss. `label_loss` is the mean loss on the gold labels, which decides between equal scores. `metrics` and it
    are those of the model in training on the primary dev set. `events` has one record for each model and split, ready to
    be written.
    """

    score: float
    label_loss: float
    metrics: dict[str, float]
    events: tuple[dict[str, Any], ...]
    self_teacher: dict[str, float] | None = None
    """Metrics of the averaged self-teacher on the primary dev set."""
    logits: LogitsBySplit = field(default_factory=dict)
    """Of the model in training on the dev sets, if they are in fp32, as final figures are."""


@dataclass(frozen=True)
class Dev:
    """The dev sets of a run's task. Their rows are put into batches once, for all evaluations."""

    spec: TaskSpec
    tokens: Mapping[str, TokenSet]
    """By split, the primary one first."""
    pad_id: int
    device: torch.device
    train: TokenSet | None = None
    """Training examples that the student is also evaluated on (`train.evaluate_train`)."""
    dtype: torch.dtype = torch.float32
    """Of the evaluations during training (`train.evaluate_precision`); all others are in fp32."""
    ranks: Ranks = ALONE
    """The processes that share all that this evaluates: each must call the same methods."""

    def shared(self, ranks: Ranks, device: torch.device) -> Dev:
        """The same dev sets, evaluated by several processes; this one uses `device`."""
        return replace(self, ranks=ranks, device=device)

    @cached_property
    def batches(self) -> dict[str, LengthBatches]:
        """The rows of each dev set in batches, by split."""
        return {split: self._batches(tokens) for split, tokens in self.tokens.items()}

    @cached_property
    def _train_batches(self) -> LengthBatches | None:
        return None if self.train is None else self._batches(self.train)

    @cached_property
    def _loss_batches(self) -> dict[tuple[bool, int | None], LengthBatches]:
        """Those of `loss`, by whether a transport plan is computed, and by what the stage pads to."""
        return {}

    @cached_property
    def _teacher_activations(self) -> WeakKeyDictionary[StepLosses, list[Activations]]:
        """What a stage has read of its teacher on its first batches of `loss`: that doesn't change."""
        return WeakKeyDictionary()

    def _batches(self, tokens: TokenSet) -> LengthBatches:
        return LengthBatches(tokens, self.device, self.pad_id, part=self._part)

    @property
    def _part(self) -> tuple[int, int]:
        return self.ranks.rank, self.ranks.world

    @property
    def _total(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        return self.ranks.sum if self.ranks.several else None

    @property
    def primary(self) -> str:
        """The split whose primary metric picks the best checkpoint."""
        return next(iter(self.tokens))

    def logits(
        self,
        model: Any,
        split: str,
        *,
        report: Report = unreported,
        name: str = "model",
        dtype: torch.dtype = torch.float32,
    ) -> Logits:
        """Logits (rows, classes) in row order, in fp32 unless `dtype` says otherwise, whatever the precision of training.

        `report` is called for each batch; `name` says in its phase which model this is.
        """
        phase = f"evaluating the {name} on {split}"
        return predict(model, self.batches[split], dtype=dtype, total=self._total, report=report, phase=phase)

    def all_logits(
        self, model: Any, *, known: Mapping[str, Logits] | None = None, report: Report = unreported, name: str = "model"
    ) -> LogitsBySplit:
        """A model's logits on every dev set, by split; those that are `known` aren't computed again."""
        known = known or {}
        return {
            split: known[split] if split in known else self.logits(model, split, report=report, name=name)
            for split in self.tokens
        }

    def metrics(self, model: Any, split: str, *, report: Report = unreported, name: str = "model") -> dict[str, float]:
        """The task's metrics of a model on one split."""
        logits = self.logits(model, split, report=report, name=name)
        return compute(self.spec, logits, self.labels(split), self.groups(split))

    def labels(self, split: str) -> Labels:
        """The gold labels of one split (rows,), of labels by word (words,)."""
        labels = self.tokens[split].labels
        assert labels is not None, "dev sets have labels"
        return labels

    def guess_labels(self, train: TokenSet) -> Labels:
        """The labels that the majority guess knows: those of the training rows, else of the primary dev set."""
        return self.labels(self.primary) if train.labels is None else train.labels

    def groups(self, split: str) -> npt.NDArray[np.int64] | None:
        """The groups whose rows are ranked against each other (rows,); None where nothing is ranked."""
        return self.tokens[split].groups

    def evaluate(self, losses: StepLosses, role: str, *, report: Report = unreported) -> Evaluation:
        """Evaluate the model in training, and the self-teacher if there is one; `report` is called for each batch.

        In a stage that trains no classifier, a self-teacher's metric would mean nothing and isn't computed.
        """
        models = losses.models
        name = "teacher" if role == "teacher" else "student"

        def answers(model: Any, split: str, name: str) -> Logits:
            return self.logits(model, split, report=report, name=name, dtype=self.dtype)

        logits = {split: answers(models.student, split, name) for split in self.tokens}
        events = [
            {
                "model": name,
                "split": split,
                "primary": split == self.primary,
                **self._figures(values, self.tokens[split]),
            }
            for split, values in logits.items()
        ]
        metrics: dict[str, float] = events[0]["metrics"]
        score = metrics[self.spec.primary]
        if not losses.settings.trains_head:
            loss, terms = self.loss(losses, report=report)
            events[0] |= {"loss": loss, "terms": terms}
            score = -loss
        averaged = None
        if models.average is not None and losses.settings.trains_head:
            values = answers(models.average, self.primary, "self-teacher")
            averaged = compute(self.spec, values, self.labels(self.primary), self.groups(self.primary))
            events.append({"model": "self-teacher", "split": self.primary, "primary": False, "metrics": averaged})
        if self.train is not None and self._train_batches is not None and role != "teacher":
            phase = f"evaluating the {name} on train"
            values = predict(
                models.student, self._train_batches, dtype=self.dtype, total=self._total, report=report, phase=phase
            )
            events.append({"model": name, "split": "train", "primary": False, **self._figures(values, self.train)})
        final = logits if self.dtype == torch.float32 else {}
        return Evaluation(score, events[0]["label_loss"], metrics, tuple(events), averaged, final)

    def _figures(self, logits: Logits, tokens: TokenSet) -> dict[str, Any]:
        """Metrics and mean loss on the gold labels of rows, as an event stores them."""
        assert tokens.labels is not None, "what is evaluated on has labels"
        return {
            "metrics": compute(self.spec, logits, tokens.labels, tokens.groups),
            "label_loss": label_loss(self.spec, logits, tokens.labels),
        }

    def loss(self, losses: StepLosses, *, report: Report = unreported) -> tuple[float, dict[str, float]]:
        """The stage's loss and terms on the primary dev set: unmixed, without dropout, without consistency."""
        tokens = self.tokens[self.primary]
        pad_to = losses.settings.pad_to
        counts = Counts.of(tokens.lengths, answers=tokens.answer_count(), mixed=False, pad_to=pad_to)
        student = losses.models.student
        training = student.training
        student.eval()
        names = ["loss", *losses.settings.stage.terms()]
        sums = dict.fromkeys(names, 0.0)
        try:
            with torch.no_grad():
                done = 0
                for index, batch in enumerate(self._batches_of_loss(losses)):
                    report(f"computing the loss on {self.primary}", done, len(tokens), "rows")
                    part = losses(batch, counts, None, 0.0, teacher=self._of_teacher(losses, index, batch))
                    done += len(batch)
                    for key, value in {"loss": part.total, **part.terms}.items():
                        sums[key] += float(value)
        finally:
            student.train(training)
        if self.ranks.several:
            values = self.ranks.sum(torch.tensor([sums[name] for name in names], dtype=torch.float64))
            sums = dict(zip(names, values.tolist(), strict=True))
        return sums.pop("loss"), sums

    def _of_teacher(self, losses: StepLosses, index: int, batch: Batch) -> Activations | None:
        """The teacher's activations on a batch of `loss`, computed once while there is room for them."""
        known = self._teacher_activations.setdefault(losses, [])
        if index < len(known):
            return replace(known[index])  # scores that are computed from them are not stored with them
        activations = losses.teacher_activations(batch)
        fits = activations is not None and sum(each.nbytes for each in (*known, activations)) <= MOST_ACTIVATIONS
        if activations is not None and fits and index == len(known):
            known.append(replace(activations))
        return activations

    def _batches_of_loss(self, losses: StepLosses) -> LengthBatches:
        """The primary dev set in the batches of `loss`."""
        emd, pad_to = any(term.emd for term in losses.terms), losses.settings.pad_to
        if (emd, pad_to) not in self._loss_batches:
            tokens = self.tokens[self.primary]
            budget = LOSS_TOKENS.get(self.device.type, LOSS_TOKENS_ON_GPU)
            self._loss_batches[emd, pad_to] = (
                LengthBatches(tokens, self.device, self.pad_id, pad_to, NO_LIMIT, TRANSPORT_ROWS, self._part)
                if emd
                else LengthBatches(tokens, self.device, self.pad_id, pad_to, budget, part=self._part)
            )
        return self._loss_batches[emd, pad_to]
