"""The losses of one optimiser step: which models run on what, and which terms come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.data.batches import Batch
from engine.distill import transport
from engine.distill.model_shape import ModelShape
from engine.distill.objectives import TOKEN_OBJECTIVES
from engine.distill.terms import Reading, Reads, Term, agree, bind, costs, distil, reads
from engine.distill.transport import Flow, LayerWeights
from engine.errors import CrildError, PresetError
from engine.models.families import embedding_width, family_of
from engine.models.family_rules import not_offered
from engine.models.half_precision import lowered
from engine.models.kernels import use_dropout
from engine.models.taps import Need, Seen, Tapped
from engine.preset.schema import LAYER_OBJECTIVES
from engine.train.settings import StageSettings

Autocast = Callable[[], AbstractContextManager[object]]
"""Gives the context in which forwards run in the stage's precision."""


@dataclass(frozen=True)
class Counts:
    """Real positions of one optimiser step, over all its micro-batches; numbers, or tensors without dimensions."""

    tokens: int | Tensor
    """Of the input that the models saw: under mixup the union of two sentences."""
    own: int | Tensor
    """Of the clean sentences."""
    examples: int | Tensor

    @staticmethod
    def of(lengths: npt.NDArray[np.int64], *, mixed: bool, pad_to: int | None = None) -> Counts:
        """Counts from the sentence lengths (batch,) of the whole step; nothing is asked of the device.

        With `pad_to` the positions of padding count too (`StageSettings.pad_to`).
        """
        if pad_to is not None:
            lengths = np.full_like(lengths, pad_to)
        own = int(lengths.sum())
        return Counts(int(np.maximum(lengths, lengths[::-1]).sum()) if mixed else own, own, len(lengths))

    def of_term(self, name: str) -> int | Tensor:
        """What a distillation term is divided by."""
        return self.tokens if name in TOKEN_OBJECTIVES else self.examples

    def of_consistency(self, name: str) -> int | Tensor:
        """What a consistency term is divided by: positions of the target's own sentences."""
        return self.own if name in TOKEN_OBJECTIVES else self.examples


@dataclass(frozen=True)
class Losses:
    """The loss of one micro-batch, ready for backward, and its parts for the curves."""

    total: Tensor
    terms: dict[str, Tensor]
    consistency: Tensor | None

    def detached(self) -> Losses:
        """The same numbers without the way back to the parameters."""
        consistency = None if self.consistency is None else self.consistency.detach()
        return Losses(self.total.detach(), {name: term.detach() for name, term in self.terms.items()}, consistency)


@dataclass
class Models:
    """Who takes part in a stage."""

    student: PreTrainedModel
    """The model in training: in the teacher's own stage that is the teacher."""
    teacher: PreTrainedModel | None = None
    average: PreTrainedModel | None = None
    """The averaged self-teacher."""
    projections: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    """Learned maps from the student's width to the teacher's, by objective; empty where widths agree."""


def bound_terms(settings: StageSettings, student: PreTrainedModel, teacher: PreTrainedModel | None) -> tuple[Term, ...]:
    """The stage's objectives with their layers and heads, for these two models.

    Raises PresetError as `bind` does, and where a family does not offer an objective.
    """
    for side, model in (("student", student), *((("teacher", teacher),) if teacher is not None else ())):
        for name in settings.stage.terms():
            odd = not_offered(family_of(model.config).name, name, side)
            if odd is not None:
                raise PresetError([CrildError(odd, key=f"stage.{settings.stage.name}.objectives.{name}")])
    own = shape_of(student)
    theirs = own if teacher is None else shape_of(teacher)
    return bind(settings.stage, theirs, own, temperature=settings.temperature, regression=settings.regression)


def shape_of(model: PreTrainedModel) -> ModelShape:
    """Layers, width and heads of a model."""
    config = model.config
    return ModelShape(
        layers=int(config.num_hidden_layers),
        width=int(config.hidden_size),
        heads=int(config.num_attention_heads),
        embedding_width=embedding_width(config),
        windows=family_of(config).windows(config),
    )


class StepLosses:
    """Computes the losses of the micro-batches of one stage.

    Every term is a sum over real positions divided by the count of the whole optimiser step, so that neither padding
    nor the split into micro-batches changes the loss or its gradient.
    """

    def __init__(
        self,
        settings: StageSettings,
        models: Models,
        terms: tuple[Term, ...],
        *,
        autocast: Autocast,
        teacher_logits: Tensor | None = None,
    ):
        """`teacher_logits` (rows, classes), by row of the stage's tokens, where the teacher's input never changes."""
        self.settings, self.models, self.terms, self.autocast = settings, models, terms, autocast
        self.teacher_logits = teacher_logits
        self.layer_weights: dict[str, LayerWeights] = {
            term.name: LayerWeights.equal(len(term.teacher_layers), len(term.student_layers))
            for term in terms
            if term.emd
        }
        self._costs: dict[str, npt.NDArray[np.float64]] = {}
        if models.student.device.type == "cpu":
            use_dropout(models.student)
        self.student = Tapped(models.student, _need(reads(terms, "student")))
        teacher = None if models.teacher is None else _in_precision_of(autocast, models.teacher)
        self.teacher = _tapped(teacher, reads(terms, "teacher"), without_logits=teacher_logits is not None)
        target = (models.average or models.student) if settings.consistency else None
        self.target = _tapped(target, reads(terms, "target"))

    @property
    def capturable(self) -> bool:
        """Whether a step needs nothing of the host, where transport plans are made, and some families' positions."""
        models = (self.models.student, self.models.teacher, self.models.average)
        families = (family_of(model.config) for model in models if model is not None)
        return all(family.captures for family in families) and not any(term.emd for term in self.terms)

    def __call__(
        self, part: Batch, counts: Counts, lam: float | Tensor | None, consistency_weight: float | Tensor
    ) -> Losses:
        """Losses of one micro-batch, on the models' device; `lam` is the mixing share, None where nothing is mixed."""
        unpaired = self.settings.mixup.unpaired if self.settings.mixup else "padding"
        with self.autocast():
            shown = self.student(part, lam=lam, unpaired=unpaired)
            taught = self._taught(part, lam, unpaired)
            clean = self._clean(part)
        student, mask = Reading(shown), shown.mask
        terms = {
            term.name: self._term(term, student, taught, mask, part, lam) / counts.of_term(term.name)
            for term in self.terms
        }
        total = torch.stack([term.weight * terms[term.name] for term in self.terms]).sum()
        if clean is None:
            return Losses(total, terms, None)
        target = Reading(clean)
        pull = torch.stack(
            [
                term.weight * agree(term, student, target, clean.mask, lam)[0] / counts.of_consistency(term.name)
                for term in self.terms
                if term.name in LAYER_OBJECTIVES
            ]
        ).sum()
        return Losses(total + consistency_weight * pull, terms, pull)

    def end_step(self) -> None:
        """After the last micro-batch of a step: layer weights follow what the layers cost."""
        for name, cost in self._costs.items():
            weights = self.layer_weights[name]
            self.layer_weights[name] = transport.update(weights, transport.plan(weights, cost), cost)
        self._costs.clear()

    def remove(self) -> None:
        """Take all hooks off the models."""
        for tapped in (self.student, self.teacher, self.target):
            if tapped is not None:
                tapped.remove()

    def _term(
        self,
        term: Term,
        student: Reading,
        taught: Reading | None,
        mask: Tensor,
        part: Batch,
        lam: float | Tensor | None,
    ) -> Tensor:
        projection = self.models.projections[term.name] if term.projects else None
        flow = None
        if term.emd and taught is not None:
            flow = self._flow(term, student, taught, mask, projection)
        clean = part.attention_mask
        total, _ = distil(
            term, student, taught, mask, clean=clean, gold=part.labels, lam=lam, projection=projection, flow=flow
        )
        return total

    def _flow(self, term: Term, student: Reading, taught: Reading, mask: Tensor, projection: nn.Module | None) -> Flow:
        """The transport plan of this micro-batch; its costs are kept for the weights' update at the step's end."""
        sums, count = costs(term, student, taught, mask, projection)
        cost = (sums.double() / count).cpu().numpy()
        if torch.is_grad_enabled():
            self._costs[term.name] = self._costs.get(term.name, 0.0) + cost
        return transport.flow(transport.plan(self.layer_weights[term.name], cost))

    def _taught(self, part: Batch, lam: float | Tensor | None, unpaired: str) -> Reading | None:
        with torch.no_grad():
            if self.teacher is not None:
                shown = self.teacher(part, lam=lam, unpaired=unpaired)
            elif self.teacher_logits is not None:
                shown = Seen(mask=part.attention_mask.bool())
            else:
                return None
            if self.teacher_logits is not None:
                shown.logits = self.teacher_logits[part.index]
            return Reading(shown)

    def _clean(self, part: Batch) -> Seen | None:
        """What the consistency's target shows of the clean batch: without dropout, without gradient."""
        if self.target is None or not self.models.student.training:
            return None
        target = self.models.average or self.models.student
        with torch.no_grad(), _evaluating(target):
            shown: Seen = self.target(part)
            return shown


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a moment."""
    if not any(module.training for module in model.modules()):
        yield  # the averaged self-teacher: always so
        return
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _in_precision_of(autocast: Autocast, model: PreTrainedModel) -> PreTrainedModel:
    """The frozen model with its weights as autocast would convert them at each forward; itself where it would not."""
    kind = model.device.type
    with autocast():
        if not torch.is_autocast_enabled(kind):
            return model
        return lowered(model, torch.get_autocast_dtype(kind))


def _need(read: Reads, *, without_logits: bool = False) -> Need:
    return Need(
        query=read.query,
        key=read.key,
        value=read.value,
        hidden=read.hidden,
        embedding=read.embedding,
        logits=read.logits and not without_logits,
    )


def _tapped(model: PreTrainedModel | None, read: Reads, *, without_logits: bool = False) -> Tapped | None:
    """A model that shows what is read of it; None where that is nothing."""
    need = _need(read, without_logits=without_logits)
    return None if model is None or need == Need() else Tapped(model, need)
