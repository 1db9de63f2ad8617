"""A stage's objectives bound to two models: which activations they need, and the losses computed from these.

The loop runs a batch through its models and asks for the totals of what they handed out:

    for term in terms:
        sum_, count = distillation_loss(term, student, teacher)       # both on mixed inputs, where the stage mixes
        pull, count = consistency_loss(term, student, clean_self_teacher, lam)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from engine.distill import layer_maps
from engine.distill.activations import LAYER_STATES, Activations, ActivationSpec
from engine.distill.consistency import consistency
from engine.distill.layer_attention import attended
from engine.distill.layer_maps import Flow, Pair
from engine.distill.model_shape import ModelShape, heads_of_term
from engine.distill.objectives import OBJECTIVES, ObjectiveSpec, positions
from engine.distill.row_scores import Total, log_rows, near
from engine.preset import schema
from engine.preset.kinds import WORD_LABELS, Kind
from engine.preset.names import HEAD_OBJECTIVES

WidthProjection = Callable[[Tensor], Tensor]
"""Maps the student's width to the teacher's: a learned `nn.Linear` where they differ."""


@dataclass(frozen=True)
class Term:
    """One objective of a stage, its options resolved against both models."""

    name: str
    weight: float = 1.0
    """Applied by the loop: no total here contains it."""
    pairs: tuple[Pair, ...] = ()
    """(teacher layer, student layer) from 1; summed. Empty for labels, logits and embedding."""
    heads: int = 1
    """Attention heads of both models, or relation heads."""
    mse: bool = False
    emd: bool = False
    """`pairs` are all pairs of layers, and a transport plan says how much each carries."""
    random: bool = False
    """`pairs` are all that `random_map.draw` may give; each epoch has a map of its own."""
    alp: bool = False
    """`pairs` are all pairs of layers, and attention says how much each teacher layer counts (`layer_attention`)."""
    temperature: float = 1.0
    kind: Kind = "classification"
    """Of the task: what the logits mean."""
    anneal: int | None = None
    """How many factors the teacher's logits are multiplied by over the stage (`annealing.factor`)."""
    padded: bool = False
    """Padding counts as in the released code, see `_rows_and_keys`."""
    projects: bool = False
    """The widths differ: the student's side passes through a learned projection to the teacher's width."""
    teacher_windows: tuple[int | None, ...] = ()
    """Of attention: how far the teacher's layers look, as in `ModelShape.windows`."""
    student_windows: tuple[int | None, ...] = ()
    """As above, of the student's layers."""

    @property
    def objective(self) -> ObjectiveSpec:
        """The registered objective."""
        return OBJECTIVES[self.name]

    @property
    def takes_flow(self) -> bool:
        """Whether a `Flow` says which of the pairs count, and it isn't always the same."""
        return self.emd or self.random

    @property
    def by_word(self) -> bool:
        """Whether a position is the first piece of a word, as of labels and logits where a task has labels by word."""
        return self.kind == WORD_LABELS and self.name in HEAD_OBJECTIVES

    def window(self, student: int, teacher: int | None = None) -> int | None:
        """How far both layers of a pair look (or one student layer): the narrower window, None where there is none."""
        windows = [self.student_windows[student - 1]] if self.student_windows else []
        if teacher is not None and self.teacher_windows:
            windows.append(self.teacher_windows[teacher - 1])
        return min((window for window in windows if window is not None), default=None)

    @property
    def student_layers(self) -> tuple[int, ...]:
        """The student's layers that the term reads, each once."""
        return tuple(sorted({student for _, student in self.pairs}))

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher's layers that the term reads, each once."""
        return tuple(sorted({teacher for teacher, _ in self.pairs}))


def bind(
    stage: schema.Stage, teacher: ModelShape, student: ModelShape, *, temperature: float, kind: Kind
) -> tuple[Term, ...]:
    """The terms of a stage, in the preset's order.

    Args:
        stage: as in the preset.
        teacher: the teacher's layers, widths and heads.
        student: the student's.
        temperature: the stage's, or else the preset's for all stages.
        kind: of the task.

    Raises:
        PresetError: layers that don't exist, heads that don't divide a width, attention between unequal heads.
    """
    terms = []
    for name, options in stage.terms().items():
        objective = OBJECTIVES[name]
        layer_map = stage.layer_map if options.layer_map is None else options.layer_map
        term = Term(
            name=name,
            weight=options.weight,
            pairs=tuple(layer_maps.pairs(layer_map, teacher.layers, student.layers)) if objective.per_layer else (),
            heads=heads_of_term(name, options, teacher, student),
            mse=options.mse,
            emd=objective.per_layer and layer_map == "emd",
            random=objective.per_layer and layer_map == "random",
            alp=objective.per_layer and layer_map == "alp",
            temperature=temperature,
            kind=kind,
            anneal=options.anneal,
            teacher_windows=teacher.windows if objective.compares_attention else (),
            student_windows=student.windows if objective.compares_attention else (),
            padded=stage.padding is not None,
            projects=objective.compares_states and teacher.width_of(name) != student.width_of(name),
        )
        terms.append(term)
    return tuple(terms)


def required_activations(terms: Iterable[Term], side: Literal["student", "teacher", "target"]) -> ActivationSpec:
    """The activations that these terms need of the student, the teacher, or the consistency's target."""
    layers: dict[str, set[int]] = {name: set() for name in LAYER_STATES}
    others: set[str] = set()
    for term in terms:
        objective = term.objective
        if objective.per_layer:
            for name in objective.reads:
                layers[name].update(term.teacher_layers if side == "teacher" else term.student_layers)
        elif side == "student" or (side == "teacher" and not objective.gold):
            others.update(objective.reads)
    return ActivationSpec(
        **{name: frozenset(numbers) for name, numbers in layers.items()},
        embedding="embedding" in others,
        logits="logits" in others,
    )


def distillation_loss(
    term: Term,
    student: Activations,
    teacher: Activations | None,
    *,
    clean_mask: Tensor | None = None,
    answers: Tensor | None = None,
    gold: Tensor | None = None,
    lam: float | Tensor | None = None,
    class_weights: Tensor | None = None,
    projection: WidthProjection | None = None,
    flow: Flow | None = None,
    anneal: float | Tensor = 1.0,
) -> Total:
    """The term's total between student and teacher (or labels), layer pairs summed, not yet weighted.

    The positions that count are those of the student's mask: under mixup the union of two sentences.

    Args:
        term: what is compared.
        student: activations of the student.
        teacher: those of the teacher for the same inputs; the labels term does without.
        clean_mask: (batch, length), the attention mask before mixing, where padding counts (`term.padded`).
        answers: (batch, length), where words begin before mixing, for labels and logits of a task with labels by word.
        gold: (batch,) labels, for the labels term; (batch, length) of labels by word.
        lam: λ where the inputs are mixed, for the labels term (and logits, of labels by word).
        class_weights: (classes,) in single precision, for the labels term.
        projection: from the student's width to the teacher's, where `term.projects`.
        flow: the pairs that count and by how much, where `term.takes_flow`: `transport.flow` of this batch's costs, or
            the map that was drawn.
        anneal: `annealing.factor` of this step, where `term.anneal`.
    """
    mask = student.mask if clean_mask is None or not term.padded else clean_mask
    if not term.objective.per_layer:
        target = gold if term.objective.gold else _target_side(term, teacher, None, mask)
        assert target is not None, "the labels term needs labels"
        if term.by_word:
            assert answers is not None, "a task with labels by word has words"
            mask = answers
        return _compare(
            term,
            _student_side(term, student, None, projection),
            target,
            mask,
            lam=lam,
            weights=class_weights,
            anneal=anneal,
        )
    if term.alp:
        sums = [_attended(term, student, teacher, layer, mask, projection) for layer in term.student_layers]
        return torch.stack(sums).sum(), positions(term.name, _rows_and_keys(term, mask)[0])
    shares = tuple((pair, 1.0) for pair in term.pairs)
    if term.takes_flow:
        assert flow is not None, "a term with optimal transport or a random map needs a flow"
        shares = flow
    sums = []
    for (t, s), share in shares:
        window = term.window(s, t)
        target = _target_side(term, teacher, t, mask, window)
        sums.append(share * _compare(term, _student_side(term, student, s, projection), target, mask, window)[0])
    return torch.stack(sums).sum(), positions(term.name, _rows_and_keys(term, mask)[0])


def consistency_loss(term: Term, student: Activations, target: Activations, lam: float | Tensor | None) -> Total:
    """The consistency term of a layer objective, over the student's layers that it reads, not yet weighted or ramped.

    The two models have one architecture, so no projection is involved: layer s is compared with layer s. With `emd`
    the layers share a flow of 1 evenly.

    Args:
        term: a term whose objective compares layers.
        student: activations of the student on the mixed inputs.
        target: those of the self-teacher (or the student) on the clean inputs, whose mask says what counts.
        lam: λ of the mixed inputs; None where they are not mixed.
    """
    sums: list[Tensor] = []
    for layer in term.student_layers:
        window = term.window(layer)
        distance = partial(_compare, term, _student_side(term, student, layer, None), window=window)
        clean = _target_side(term, target, layer, target.mask, window)
        sums.append(consistency(distance, clean, target.mask, lam)[0])
    share = 1 / len(sums) if term.emd else 1.0
    return share * torch.stack(sums).sum(), positions(term.name, _rows_and_keys(term, target.mask)[0])


def transport_costs(
    term: Term, student: Activations, teacher: Activations, projection: WidthProjection | None = None
) -> Total:
    """What each pair of layers costs, for `transport.plan`: a sum of shape (student layers, teacher layers).

    Without gradient: `distillation_loss` takes that of the pairs that the plan uses. Sums and counts of micro-batches
    and processes can be added before they are divided. Arguments as for `distillation_loss`.
    """
    mask = student.mask
    # The student's scores are computed with gradient: `distillation_loss` finds them cached in the activations.
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
                row.append(_compare(term, side, theirs[other, window], mask, window)[0])
            sums.append(torch.stack(row))
    return torch.stack(sums), positions(term.name, mask)


def _features(term: Term, activations: Activations, layer: int | None) -> Tensor:
    """What a term compares of a model: scores (batch, heads, query, key), states (batch, length, width), or logits."""
    objective = term.objective
    if objective.compares_scores:
        assert layer is not None
        query, key = objective.reads
        return activations.scores(query, key, layer, term.heads)
    states = activations.tensor(objective.reads[0], layer)
    return states[:, :1] if objective.first_token else states


def _student_side(term: Term, student: Activations, layer: int | None, projection: WidthProjection | None) -> Tensor:
    features = _features(term, student, layer)
    return features if projection is None else projection(features)


def _attended(
    term: Term,
    student: Activations,
    teacher: Activations | None,
    layer: int,
    mask: Tensor,
    projection: WidthProjection | None,
) -> Tensor:
    """The objective's sum between a student layer and the mean of all teacher layers that it attends to."""
    side = _student_side(term, student, layer, projection)
    target = attended(side, [_target_side(term, teacher, other, mask) for other in term.teacher_layers])
    return _compare(term, side, target, mask)[0]


def _target_side(
    term: Term, target: Activations | None, layer: int | None, mask: Tensor, window: int | None = None
) -> Tensor:
    assert target is not None, f"the objective {term.name} needs a teacher"
    features = _features(term, target, layer)
    if term.mse or not term.objective.compares_scores:
        return features
    return log_rows(features, near(_rows_and_keys(term, mask)[1], window))


def _compare(
    term: Term,
    student: Tensor,
    target: Tensor,
    mask: Tensor,
    window: int | None = None,
    lam: float | Tensor | None = None,
    weights: Tensor | None = None,
    anneal: float | Tensor = 1.0,
) -> Total:
    """The registered objective between what `_student_side` and `_target_side` give."""
    rows, keys = _rows_and_keys(term, mask)
    options = {
        "keys": near(keys, window),
        "mse": term.mse,
        "temperature": term.temperature,
        "kind": term.kind,
        "lam": lam,
        "class_weights": weights,
        "anneal": anneal,
    }
    return term.objective(student, target, rows, options)


def _rows_and_keys(term: Term, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and keys that count under an attention mask (batch, length): its real tokens.

    With `term.padded` every token is a row, and every token a key, except in attention, whose keys are masked: what the
    released code does (on mixed inputs with the mask of the unmixed ones).
    """
    if not term.padded or not term.objective.per_token:
        return mask, mask
    every = torch.ones_like(mask)
    return every, mask if term.objective.compares_attention else every
