"""Compute the losses of one optimiser step: which models run on which inputs, and the terms of the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.data.batches import Batch
from engine.distill import annealing, random_map, transport
from engine.distill.activations import Activations, ActivationSpec
from engine.distill.layer_maps import Flow
from engine.distill.mixup import mix_answers, mix_tokens
from engine.distill.model_shape import ModelShape
from engine.distill.objectives import OBJECTIVES, divergence
from engine.distill.terms import (
    Term,
    bind,
    consistency_loss,
    distillation_loss,
    required_activations,
    transport_costs,
)
from engine.distill.transport import LayerWeights
from engine.errors import PresetError
from engine.models.families import embedding_width, family_of
from engine.models.family_rules import not_offered
from engine.models.half_precision import in_half_precision
from engine.models.kernels import use_dropout
from engine.models.partial_encoder import PartialEncoder
from engine.preset.names import HEAD_OBJECTIVES
from engine.train import seeding
from engine.train.ranks import ALONE, Ranks
from engine.train.settings import StageSettings

Autocast = Callable[[], AbstractContextManager[object]]
"""Gives the context in which forwards run in the stage's precision."""


@dataclass(frozen=True)
class Counts:
    """Real positions of one optimiser step, over all its micro-batches; numbers, or tensors without dimensions."""

    tokens: int | Tensor
    """Of the models' input: under mixup the union of two sentences."""
    own: int | Tensor
    """Of the clean sentences."""
    examples: int | Tensor
    answers: int | Tensor
    """Of the model to the task: examples, or of labels by word the words."""

    @staticmethod
    def of(
        lengths: npt.NDArray[np.int64], *, mixed: bool, pad_to: int | None = None, answers: int | None = None
    ) -> Counts:
        """Counts from the sentence lengths (batch,) of the whole step, without waiting for the device.

        With `pad_to` the positions of padding count too (`StageSettings.pad_to`). `answers` is the number of words where
        labels are by word; None where each example has one answer.
        """
        if pad_to is not None:
            lengths = np.full_like(lengths, pad_to)
        own = int(lengths.sum())
        return Counts(
            int(np.maximum(lengths, lengths[::-1]).sum()) if mixed else own,
            own,
            len(lengths),
            len(lengths) if answers is None else answers,
        )

    def of_term(self, name: str) -> int | Tensor:
        """What a distillation term is divided by."""
        if name in HEAD_OBJECTIVES:
            return self.answers
        return self.tokens if OBJECTIVES[name].per_token else self.examples

    def of_consistency(self, name: str) -> int | Tensor:
        """What a consistency term is divided by: positions of the target's own sentences."""
        return self.own if OBJECTIVES[name].per_token else self.examples


@dataclass(frozen=True)
class Losses:
    """The loss of one micro-batch, ready for the backward pass, and its parts for the curves."""

    total: Tensor
    terms: dict[str, Tensor]
    consistency: Tensor | None

    def detached(self) -> Losses:
        """The same numbers without gradient."""
        consistency = None if self.consistency is None else self.consistency.detach()
        return Losses(self.total.detach(), {name: term.detach() for name, term in self.terms.items()}, consistency)


@dataclass
class Models:
    """The models of a stage."""

    student: PreTrainedModel
    """The model in training: in the teacher's own stage that is the teacher."""
    teacher: PreTrainedModel | None = None
    average: PreTrainedModel | None = None
    """The averaged self-teacher."""
    projections: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    """Learned maps from the student's width to the teacher's, by objective; empty where the widths are equal."""


def bound_terms(settings: StageSettings, student: PreTrainedModel, teacher: PreTrainedModel | None) -> tuple[Term, ...]:
    """The stage's objectives with their layers and heads, for these two models.

    Raises PresetError as `bind` does, and for an objective that a model's family does not support.
    """
    for side, model in (("student", student), *((("teacher", teacher),) if teacher is not None else ())):
        for name in settings.stage.terms():
            reason = not_offered(family_of(model.config).name, name, side)
            if reason is not None:
                key = f"stage.{settings.stage.name}.objectives.{name}"
                raise PresetError.single(reason, kind="objective-not-offered", key=key)
    own = shape_of(student)
    theirs = own if teacher is None else shape_of(teacher)
    return bind(settings.stage, theirs, own, temperature=settings.temperature, kind=settings.kind)


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
        words: Tensor | None = None,
        ranks: Ranks = ALONE,
    ):
        """`teacher_logits` (rows, classes), by row of the stage's tokens, where the teacher's input never changes; `words` are
        the ids of the tokens that `mixup.project` chooses from, which needs them; `ranks` are the processes that share the
        steps, and so transport plans."""
        self.settings, self.models, self.terms, self.autocast = settings, models, terms, autocast
        self.ranks = ranks
        self.teacher_logits = teacher_logits
        self.layer_weights: dict[str, LayerWeights] = {
            term.name: LayerWeights.equal(len(term.teacher_layers), len(term.student_layers))
            for term in terms
            if term.emd
        }
        self.class_weights = (
            torch.tensor(settings.class_weights, device=models.student.device) if settings.class_weights else None
        )
        self._costs: dict[str, npt.NDArray[np.float64]] = {}
        self._drawn: dict[str, Flow] = {}
        self._anneal = torch.ones((), device=models.student.device)  # a captured step reads it from the device
        self.begin_step(0, 1, epoch=0)
        if models.student.device.type == "cpu":
            use_dropout(models.student)
        self.student = PartialEncoder(
            models.student, required_activations(terms, "student"), checkpointing=settings.gradient_checkpointing
        )
        teacher = None if models.teacher is None else _in_precision_of(autocast, models.teacher)
        of_teacher = required_activations(terms, "teacher")
        if teacher_logits is not None:
            of_teacher = replace(of_teacher, logits=False)
        self.teacher = _encoder(teacher, of_teacher)
        target = (models.average or models.student) if settings.consistency else None
        self.target = _encoder(target, required_activations(terms, "target"))
        self.project = bool(settings.mixup and settings.mixup.project)
        if self.project:
            if words is None:
                raise ValueError("mixup.project needs the ids of the words")
            self._ordinary = torch.zeros(len(self._table), dtype=torch.bool, device=models.student.device)
            self._ordinary[words[words < len(self._table)].to(self._ordinary.device)] = True

    @property
    def capturable(self) -> bool:
        """Whether a step can be captured as a graph: the same layers are compared in each, and nothing is computed on the
        host, as transport plans and the random state of checkpointed layers are, and projected tokens, whose number changes."""
        if self.settings.gradient_checkpointing or self.project:
            return False
        models = (self.models.student, self.models.teacher, self.models.average)
        families = (family_of(model.config) for model in models if model is not None)
        return all(family.captures for family in families) and not any(term.takes_flow for term in self.terms)

    def __call__(
        self,
        part: Batch,
        counts: Counts,
        lam: float | Tensor | None,
        consistency_weight: float | Tensor,
        *,
        teacher: Activations | None = None,
    ) -> Losses:
        """Losses of one micro-batch, on the models' device; `lam` is the mixing share, None where nothing is mixed.

        `teacher` is what `teacher_activations` gave for an unmixed batch, if it is known.
        """
        unpaired = self.settings.mixup.unpaired if self.settings.mixup else "padding"
        read, share = part, lam
        if self.project and lam is not None:
            read, share = self._projected(part, lam), None
        with self.autocast():
            student = self.student(read, lam=share, unpaired=unpaired)
            teacher = teacher or self._teacher_activations(read, share, unpaired, answers_share=lam)
            target = self._target_activations(part)
        terms = {
            term.name: self._term(term, student, teacher, part, lam) / counts.of_term(term.name) for term in self.terms
        }
        total = torch.stack([term.weight * terms[term.name] for term in self.terms]).sum()
        if target is None:
            return Losses(total, terms, None)
        pull = torch.stack(
            [
                term.weight * consistency_loss(term, student, target, lam)[0] / counts.of_consistency(term.name)
                for term in self.terms
                if term.objective.per_layer
            ]
        ).sum()
        return Losses(total + consistency_weight * pull, terms, pull)

    def teacher_activations(self, part: Batch) -> Activations | None:
        """What a term reads of the teacher on an unmixed batch; None without a teacher."""
        with self.autocast():
            return self._teacher_activations(part, None, "padding", answers_share=None)

    def divergences(self, part: Batch) -> Tensor:
        """How far the student's answers to some rows are from the teacher's (batch,), without dropout and gradient.

        On the host in double precision, since answers that agree differ in their last digits. For stages whose teacher logits
        are known (`teacher_logits`).
        """
        if self.teacher_logits is None:
            raise ValueError("divergences need the teacher's logits")
        with torch.no_grad(), _evaluating(self.models.student), self.autocast():
            answers = self.student(part).tensor("logits")
        mine, theirs = (logits.cpu().double() for logits in (answers, self.teacher_logits[part.index]))
        return divergence(mine, theirs, temperature=self.settings.temperature, kind=self.settings.kind)

    def begin_step(self, step: int, steps: int, *, epoch: int) -> None:
        """Set what depends on the position in the stage: layer maps that each epoch draws, and the annealing of logits.

        All are functions of the position, so terms, processes and attempts agree. Steps and epochs count from 0.
        """
        for term in self.terms:
            if term.random:
                generator = seeding.generator(self.settings.seed, seeding.LAYERS, self.settings.name, epoch)
                self._drawn[term.name] = random_map.draw(term.pairs, generator)
            if term.anneal is not None:
                self._anneal.fill_(annealing.factor(step, steps, term.anneal))

    def end_step(self) -> None:
        """Update the layer weights from what the layers cost, after the last micro-batch of a step."""
        for name, cost in self._costs.items():
            weights = self.layer_weights[name]
            self.layer_weights[name] = transport.update(weights, transport.plan(weights, cost), cost)
        self._costs.clear()

    def without_part(self) -> None:
        """Take part in the transport plans of a micro-batch of which this process has no share."""
        for term in self.terms:
            if term.emd:
                self._cost_of_all(term, torch.zeros(len(term.student_layers), len(term.teacher_layers)), 0)

    def remove(self) -> None:
        """Take all hooks off the models."""
        for encoder in (self.student, self.teacher, self.target):
            if encoder is not None:
                encoder.remove()

    def _term(
        self,
        term: Term,
        student: Activations,
        teacher: Activations | None,
        part: Batch,
        lam: float | Tensor | None,
    ) -> Tensor:
        projection = self.models.projections[term.name] if term.projects else None
        flow = None if teacher is None or not term.takes_flow else self._flow(term, student, teacher, projection)
        return distillation_loss(
            term,
            student,
            teacher,
            clean_mask=part.attention_mask,
            answers=part.answers,
            gold=part.labels,
            lam=lam,
            class_weights=self.class_weights,
            projection=projection,
            flow=flow,
            anneal=self._anneal,
        )[0]

    def _flow(self, term: Term, student: Activations, teacher: Activations, projection: nn.Module | None) -> Flow:
        """The map that was drawn, or in an evaluation the mean of all; or the transport plan of this micro-batch, whose costs
        are stored for the weights' update at the step's end."""
        if term.random:
            return self._drawn[term.name] if torch.is_grad_enabled() else random_map.mean_of_draws(term.pairs)
        sums, count = transport_costs(term, student, teacher, projection)
        if torch.is_grad_enabled():
            cost = self._cost_of_all(term, sums, count)
        else:  # an evaluation, which is one process's own
            cost = (sums.double() / count).cpu().numpy()
        return transport.flow(transport.plan(self.layer_weights[term.name], cost))

    def _cost_of_all(self, term: Term, sums: Tensor, count: int | Tensor) -> npt.NDArray[np.float64]:
        """The mean costs (student layers, teacher layers) of a micro-batch over all processes."""
        if self.ranks.several:
            parts = torch.cat(
                [sums.double().flatten().cpu(), torch.as_tensor(count, dtype=torch.float64).reshape(1).cpu()]
            )
            *_, count = self.ranks.sum(parts).unbind()
            sums = parts[:-1].view_as(sums)
        cost: npt.NDArray[np.float64] = (sums.double() / count).cpu().numpy()
        self._costs[term.name] = self._costs.get(term.name, 0.0) + cost
        return cost

    @property
    def _table(self) -> Tensor:
        """The word embeddings that mixtures are projected with: the teacher's, or the student's where no teacher reads the
        batches. (vocabulary, width)."""
        teacher = self.models.teacher if self.teacher is not None else None
        table: Tensor = (teacher or self.models.student).get_input_embeddings().weight.detach()
        return table

    def _projected(self, part: Batch, lam: float | Tensor) -> Batch:
        """The mixed batch as tokens, which models read as any text; its labels and rows are those of `part`."""
        mask = part.attention_mask.bool()
        tokens, both = mix_tokens(part.input_ids, mask, lam, self._table, self._ordinary)
        types = part.token_type_ids
        if types is not None:
            types = torch.where(mask, types, types.flip(0))
        return replace(part, input_ids=tokens, attention_mask=both.to(part.attention_mask.dtype), token_type_ids=types)

    def _teacher_activations(
        self, part: Batch, lam: float | Tensor | None, unpaired: str, *, answers_share: float | Tensor | None
    ) -> Activations | None:
        """`lam` mixes embeddings, `answers_share` the answers of a teacher that is a file."""
        with torch.no_grad():
            if self.teacher is not None:
                activations: Activations = self.teacher(part, lam=lam, unpaired=unpaired)
            elif self.teacher_logits is not None:
                activations = Activations(mask=part.attention_mask.bool())
            else:
                return None
            if self.teacher_logits is not None:
                logits = self.teacher_logits[part.index]
                activations.logits = logits if answers_share is None else self._mixed(logits, answers_share)
            return activations

    def _mixed(self, logits: Tensor, lam: float | Tensor) -> Tensor:
        """Answers to mixed inputs, where the teacher is a file: the mixture of both answers."""
        return mix_answers(logits, lam, self.settings.temperature, kind=self.settings.kind)

    def _target_activations(self, part: Batch) -> Activations | None:
        """Activations of the consistency's target on the clean batch: without dropout, without gradient."""
        if self.target is None or not self.models.student.training:
            return None
        target = self.models.average or self.models.student
        with torch.no_grad(), _evaluating(target):
            activations: Activations = self.target(part)
            return activations


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for the duration of the block."""
    if not any(module.training for module in model.modules()):
        yield  # the averaged self-teacher always is
        return
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _in_precision_of(autocast: Autocast, model: PreTrainedModel) -> PreTrainedModel:
    """The frozen model with its weights converted once, as autocast would at each forward; itself without autocast."""
    kind = model.device.type
    with autocast():
        if not torch.is_autocast_enabled(kind):
            return model
        return in_half_precision(model, torch.get_autocast_dtype(kind))


def _encoder(model: PreTrainedModel | None, spec: ActivationSpec) -> PartialEncoder | None:
    """An encoder for these activations; None where there are none."""
    return None if model is None or spec == ActivationSpec() else PartialEncoder(model, spec)
