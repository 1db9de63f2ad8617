"""A stage's objectives bound to two models: what to tap, and what to compute from what was tapped.

The loop runs a batch through its models, wraps what each showed in a `Reading`, and asks for the totals:

    mixed = Reading(student_shown)                                    # of mixed inputs, where the stage mixes
    for term in terms:
        sum_, count = distil(term, mixed, Reading(teacher_shown), united_mask)
        pull, count = agree(term, mixed, Reading(self_teacher_shown), clean_mask, lam)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from engine.distill import layer_maps, objectives
from engine.distill.consistency import consistency
from engine.distill.layer_maps import Pair
from engine.distill.model_shape import ModelShape, heads_of_term
from engine.distill.objectives import Projection
from engine.distill.row_scores import Total, log_rows, near, row_kl, row_mse, scores
from engine.distill.transport import Flow
from engine.preset import schema

T = TypeVar("T")


class Shown(Protocol):
    """What a model shows of one forward pass: tensors (batch, length, width) by layer, counted from 1."""

    @property
    def query(self) -> Mapping[int, Tensor]:
        """Outputs of the query projections."""

    @property
    def key(self) -> Mapping[int, Tensor]:
        """Outputs of the key projections."""

    @property
    def value(self) -> Mapping[int, Tensor]:
        """Outputs of the value projections."""

    @property
    def hidden(self) -> Mapping[int, Tensor]:
        """Outputs of the layers."""

    @property
    def embedding(self) -> Tensor | None:
        """Output of the embeddings (batch, length, width)."""

    @property
    def logits(self) -> Tensor | None:
        """(batch, classes)."""


@dataclass(frozen=True)
class Term:
    """One objective of a stage, its options resolved against both models."""

    name: str
    weight: float = 1.0
    """For the loop to multiply with: no total here contains it."""
    pairs: tuple[Pair, ...] = ()
    """(teacher layer, student layer) from 1; summed. Empty for labels, logits and embedding."""
    heads: int = 1
    """Attention heads of both models, or relation heads."""
    mse: bool = False
    emd: bool = False
    """`pairs` are all there are, and a `Flow` says how much each carries."""
    temperature: float = 1.0
    regression: bool = False
    padded: bool = False
    """Padding counts as the released code lets it count, see `_masks`."""
    projects: bool = False
    """The widths differ: the student's side passes through a learned projection to the teacher's width."""
    teacher_windows: tuple[int | None, ...] = ()
    """Of attention: how far the teacher's layers look, as in `ModelShape.windows`."""
    student_windows: tuple[int | None, ...] = ()
    """As above, of the student's layers."""

    def window(self, student: int, teacher: int | None = None) -> int | None:
        """How far both layers of a pair look (or one student layer): the narrower window, None where there is none."""
        found = [self.student_windows[student - 1]] if self.student_windows else []
        if teacher is not None and self.teacher_windows:
            found.append(self.teacher_windows[teacher - 1])
        return min((window for window in found if window is not None), default=None)

    @property
    def student_layers(self) -> tuple[int, ...]:
        """The student's layers that the term reads, each once."""
        return tuple(sorted({student for _, student in self.pairs}))

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher's layers that the term reads, each once."""
        return tuple(sorted({teacher for teacher, _ in self.pairs}))


@dataclass(frozen=True)
class Reads:
    """What a model must show: layers counted from 1."""

    query: frozenset[int] = frozenset()
    key: frozenset[int] = frozenset()
    value: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    embedding: bool = False
    logits: bool = False


@dataclass(frozen=True)
class Reading:
    """What a model showed of a batch, with the scores made from it: each made once, however often it is compared."""

    shown: Shown
    _made: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)

    def scores(self, name: str, layer: int, heads: int) -> Tensor:
        """The unmasked scores (batch, heads, query, key) of attention, or of query, key or value relations."""
        made = self._made.get((name, layer, heads))
        if made is None:
            query, key = _SCORED[name]
            left, right = getattr(self.shown, query)[layer], getattr(self.shown, key)[layer]
            made = self._made[name, layer, heads] = scores(left, right, heads)
        return made


def bind(
    stage: schema.Stage, teacher: ModelShape, student: ModelShape, *, temperature: float, regression: bool
) -> tuple[Term, ...]:
    """The terms of a stage, in the preset's order.

    Args:
        stage: as the preset has it.
        teacher: the models' layers, widths and heads.
        student: as above.
        temperature: the stage's, or else the preset's for all stages.
        regression: the task's labels are scores.

    Raises:
        PresetError: layers that don't exist, heads that don't divide a width, attention between unequal heads.
    """
    return tuple(
        Term(
            name=name,
            weight=objective.weight,
            pairs=_pairs(stage, name, objective, teacher, student),
            heads=heads_of_term(name, objective, teacher, student),
            mse=objective.mse,
            emd=name in schema.LAYER_OBJECTIVES and _layer_map(stage, objective) == "emd",
            temperature=temperature,
            regression=regression,
            teacher_windows=teacher.windows if name == "attention" else (),
            student_windows=student.windows if name == "attention" else (),
            padded=stage.padding is not None,
            projects=name in ("hidden", "cls", "embedding") and teacher.width_of(name) != student.width_of(name),
        )
        for name, objective in stage.terms().items()
    )


def reads(terms: Iterable[Term], side: Literal["student", "teacher", "target"]) -> Reads:
    """What the student, the teacher, or the consistency's target must show for these terms."""
    layers: dict[str, set[int]] = {"query": set(), "key": set(), "value": set(), "hidden": set()}
    others: set[str] = set()
    for term in terms:
        if term.name in schema.LAYER_OBJECTIVES:
            wanted = term.teacher_layers if side == "teacher" else term.student_layers
            for tensor in _SCORED.get(term.name, ("hidden",)):
                layers[tensor].update(wanted)
        elif side == "student" or (side == "teacher" and term.name != "labels"):
            others.add("embedding" if term.name == "embedding" else "logits")
    return Reads(
        **{name: frozenset(found) for name, found in layers.items()},
        embedding="embedding" in others,
        logits="logits" in others,
    )


def distil(
    term: Term,
    student: Reading,
    teacher: Reading | None,
    mask: Tensor,
    *,
    clean: Tensor | None = None,
    gold: Tensor | None = None,
    lam: float | Tensor | None = None,
    projection: Projection | None = None,
    flow: Flow | None = None,
) -> Total:
    """The term's total between student and teacher (or labels), layer pairs summed, not yet weighted.

    Args:
        term: what is compared.
        student: what the student showed.
        teacher: what the teacher showed of the same inputs; the labels term does without.
        mask: (batch, length), the attention mask that both ran with: under mixup the united one.
        clean: (batch, length), the attention mask before mixing, where padding counts (`term.padded`).
        gold: (batch,) labels, for the labels term.
        lam: λ where the inputs are mixed, for the labels term.
        projection: from the student's width to the teacher's, where `term.projects`.
        flow: of a term with `emd`: what `transport.flow` made of this batch's costs.
    """
    if term.name == "labels":
        output, gold = _there(student.shown.logits), _there(gold)
        return objectives.labels(output, gold, mask, regression=term.regression, lam=lam)
    teacher = _there(teacher)
    if term.name == "logits":
        output, target = _there(student.shown.logits), _there(teacher.shown.logits)
        return objectives.logits(output, target, mask, temperature=term.temperature, regression=term.regression)
    if term.name == "embedding":
        output, target = _there(student.shown.embedding), _there(teacher.shown.embedding)
        return objectives.embedding(output, target, _masks(term, mask)[0], projection)
    mask = mask if clean is None or not term.padded else clean
    shares = _there(flow) if term.emd else tuple((pair, 1.0) for pair in term.pairs)
    sums = []
    for (t, s), share in shares:
        window = term.window(s, t)
        target = _target_side(term, teacher, t, mask, window)
        sums.append(share * _distance(term, _student_side(term, student, s, projection), target, mask, window)[0])
    return torch.stack(sums).sum(), objectives.positions(term.name, _masks(term, mask)[0])


def agree(term: Term, student: Reading, target: Reading, mask: Tensor, lam: float | Tensor | None) -> Total:
    """The consistency term of a layer objective, over the student's layers that it reads, not yet weighted or ramped.

    The two models have one architecture, so no projection is involved: layer s is compared with layer s. With `emd`
    the layers share a flow of 1 evenly.

    Args:
        term: one of `schema.LAYER_OBJECTIVES`.
        student: what the student showed of the mixed inputs.
        target: what the self-teacher (or the student) showed of the clean ones.
        mask: (batch, length), the clean batch's attention mask.
        lam: λ of the mixed inputs; None where they are not mixed.
    """
    sums: list[Tensor] = []
    for layer in term.student_layers:
        side, window = _student_side(term, student, layer, None), term.window(layer)

        def distance(of: tuple[Tensor, ...], rows: Tensor, side: Tensor = side, window: int | None = window) -> Total:
            return _distance(term, side, of[0], rows, window)

        sums.append(consistency(distance, (_target_side(term, target, layer, mask, window),), mask, lam)[0])
    share = 1 / len(sums) if term.emd else 1.0
    return share * torch.stack(sums).sum(), objectives.positions(term.name, _masks(term, mask)[0])


def costs(term: Term, student: Reading, teacher: Reading, mask: Tensor, projection: Projection | None = None) -> Total:
    """What each pair of layers would cost, for `transport.plan`: a sum of shape (student layers, teacher layers).

    Without gradient: `distil` takes that of the pairs that the plan uses. Sums and counts of micro-batches and
    processes can be added before they are divided. Arguments as for `distil`.
    """
    # The student's scores are made before gradients are switched off: `distil` finds them in the reading again.
    ours = [_student_side(term, student, layer, projection) for layer in term.student_layers]
    with torch.no_grad():
        theirs: dict[tuple[int, int | None], Tensor] = {}  # rows of a layer over the keys that both sides look at
        sums = []
        for layer, side in zip(term.student_layers, ours, strict=True):
            row = []
            for other in term.teacher_layers:
                window = term.window(layer, other)
                if (other, window) not in theirs:
                    theirs[other, window] = _target_side(term, teacher, other, mask, window)
                row.append(_distance(term, side, theirs[other, window], mask, window)[0])
            sums.append(torch.stack(row))
    return torch.stack(sums), objectives.positions(term.name, mask)


_SCORED = {
    "attention": ("query", "key"),
    "query": ("query", "query"),
    "key": ("key", "key"),
    "value": ("value", "value"),
}
"""Objectives that compare rows of scores, and the tensors that the scores are products of."""


def _student_side(term: Term, reading: Reading, layer: int, projection: Projection | None) -> Tensor:
    if term.name in _SCORED:
        return reading.scores(term.name, layer, term.heads)
    states = reading.shown.hidden[layer]
    if term.name == "cls":
        states = states[:, :1]
    return states if projection is None else projection(states)


def _target_side(term: Term, reading: Reading, layer: int, mask: Tensor, window: int | None) -> Tensor:
    if term.name in _SCORED:
        made = reading.scores(term.name, layer, term.heads)
        return made if term.mse else log_rows(made, near(_masks(term, mask)[1], window))
    states = reading.shown.hidden[layer]
    return states[:, :1] if term.name == "cls" else states


def _distance(term: Term, student: Tensor, target: Tensor, mask: Tensor, window: int | None) -> Total:
    rows, keys = _masks(term, mask)
    if term.name in _SCORED:
        return (row_mse if term.mse else row_kl)(student, target, rows, near(keys, window))
    return (objectives.cls if term.name == "cls" else objectives.hidden)(student, target, rows)


def _masks(term: Term, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and keys that count under an attention mask (batch, length): its real tokens.

    With `term.padded` every position is a row, and every position a key, but for attention, whose keys are masked:
    what the released code does (of mixed inputs with the mask of the unmixed ones).
    """
    if not term.padded:
        return mask, mask
    everything = torch.ones_like(mask)
    return everything, mask if term.name == "attention" else everything


def _layer_map(stage: schema.Stage, objective: schema.Objective) -> schema.LayerMap:
    return stage.layer_map if objective.layer_map is None else objective.layer_map


def _pairs(
    stage: schema.Stage, name: str, objective: schema.Objective, teacher: ModelShape, student: ModelShape
) -> tuple[Pair, ...]:
    if name not in schema.LAYER_OBJECTIVES:
        return ()
    return tuple(layer_maps.pairs(_layer_map(stage, objective), teacher.layers, student.layers))


def _there(thing: T | None) -> T:
    assert thing is not None, "the models were not asked to show what this term compares"
    return thing
