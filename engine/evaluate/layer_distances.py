"""Measure how far a student is from its teacher, layer by layer: the objectives' distances, and one without scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.batches import collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.distill import objectives
from engine.distill.activations import ActivationSpec
from engine.distill.layer_maps import Pair
from engine.distill.model_shape import ModelShape
from engine.distill.row_scores import Total
from engine.distill.terms import Term, bind, distillation_loss, required_activations
from engine.evaluate.predict import Logits, in_row_order
from engine.models.partial_encoder import PartialEncoder
from engine.preset.kinds import Kind
from engine.preset.names import RELATIONS
from engine.preset.schema import Objective, Stage
from engine.record.phases import Report, unreported

Distances = dict[Pair, dict[str, float]]
"""(teacher layer, student layer), counted from 1, to distances by name."""

CKA = "cka"


@dataclass(frozen=True)
class Comparison:
    """Which layers of two models are compared, and by what."""

    pairs: tuple[Pair, ...]
    terms: Mapping[str, tuple[Term, ...]]
    """The objectives that both models allow, by name, bound to each pair as a stage would bind them."""
    unavailable: Mapping[str, str]
    """The other objectives, with the reason."""

    @classmethod
    def between(cls, teacher: ModelShape, student: ModelShape) -> Comparison:
        """Every student layer with the teacher layer at the same share of the depth, the last with the last.

        Student layer i of S is compared with teacher layer i·T/S, rounded (half up): the uniform map where that is whole.
        Relations are cut into the student's heads where these divide both widths, else into the greatest common divisor
        of both models' heads.
        """
        total, own = teacher.layers, student.layers
        pairs = tuple((max(1, (2 * i * total + own) // (2 * own)), i) for i in range(1, own + 1))
        relation = student.heads if teacher.width % student.heads == 0 else math.gcd(teacher.heads, student.heads)
        available: dict[str, Objective] = {}
        unavailable: dict[str, str] = {}
        for name, objective in objectives.OBJECTIVES.items():
            if (
                not objective.per_layer or name == CKA
            ):  # which is measured over all tokens, not over those of an example
                continue
            if objective.compares_attention and teacher.heads != student.heads:
                unavailable[name] = f"the teacher has {teacher.heads} heads, the student {student.heads}"
            elif objective.compares_states and teacher.width != student.width:
                unavailable[name] = (
                    f"the teacher is {teacher.width} wide, the student {student.width}, and the projection between them "
                    "is not saved"
                )
            else:
                available[name] = Objective(relation_heads=relation if name in RELATIONS else None)
        stage = Stage.model_validate({"name": "probe", "objectives": available, "layer_map": list(pairs)})
        terms = bind(stage, teacher, student, temperature=1.0, kind="classification")
        of_pairs = {term.name: tuple(replace(term, pairs=(pair,)) for pair in pairs) for term in terms}
        return cls(pairs, of_pairs, unavailable)


@dataclass(frozen=True)
class Compared:
    """The result of one pass of both models over some examples."""

    student: Logits
    """(rows, outputs), in the order of the rows."""
    teacher: Logits
    distances: Distances
    """Means over all real positions, as the losses are."""
    output: float
    """KL(teacher ‖ student) of the logits, of scores the squared error; a mean over the examples."""


class LinearCka:
    """Linear centred kernel alignment of two sets of states, added up over batches (Kornblith et al. 2019).

    1 − CKA is 0 for states that differ by a rotation, a shift and one factor, and 1 for unrelated ones; the widths may
    differ.
    """

    def __init__(self) -> None:
        self._shifts: tuple[Tensor, Tensor] | None = None
        self._sums: list[Tensor] = []
        self._count: Tensor | None = None

    def add(self, student: Tensor, teacher: Tensor, mask: Tensor) -> None:
        """Add states (batch, length, width) at real positions of `mask` (batch, length)."""
        rows = mask.bool().unsqueeze(-1)
        count = rows.sum()
        if self._shifts is None:  # near the mean: the sums of squares then lose no digits to it
            self._shifts = tuple(torch.where(rows, x, 0.0).sum((0, 1)) / count for x in (student, teacher))  # type: ignore[assignment]
        assert self._shifts is not None
        x, y = (
            torch.where(rows, states - shift, 0.0).flatten(0, 1)
            for states, shift in zip((student, teacher), self._shifts, strict=True)
        )
        new = [x.T @ y, x.T @ x, y.T @ y, x.sum(0), y.sum(0)]
        self._sums = [a + b for a, b in zip(self._sums, new, strict=True)] if self._sums else new
        self._count = count if self._count is None else self._count + count

    def distance(self) -> float:
        """1 − CKA; NaN where all states of a model are the same."""
        assert self._count is not None, "nothing was added"
        xy, xx, yy, x, y = (total.cpu().double() for total in self._sums)
        count = int(self._count)
        across = (xy - torch.outer(x, y) / count).square().sum()
        own, theirs = ((square - torch.outer(z, z) / count).norm() for square, z in ((xx, x), (yy, y)))
        return max(0.0, 1 - float(across / (own * theirs))) if own * theirs > 0 else math.nan


def compare(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    tokens: TokenSet,
    comparison: Comparison,
    *,
    kind: Kind,
    batch_size: int,
    device: torch.device,
    pad_id: int,
    report: Report = unreported,
    phase: str = "comparing layers",
) -> Compared:
    """Run both models once over the examples, in fp32 and without dropout, and compare their layers.

    Both models must be in evaluation mode, on `device`. The figures are those of the objectives: a mean over heads or
    width at each real position, then over all real positions, whatever the batches and their padding. Before each batch,
    `report` takes how many rows of `phase` are done.
    """
    terms = {
        (pair, name): term
        for name, bound in comparison.terms.items()
        for pair, term in zip(comparison.pairs, bound, strict=True)
    }
    teacher_layers, student_layers = (frozenset(side) for side in zip(*comparison.pairs, strict=True))
    ours = PartialEncoder(
        student, required_activations(terms.values(), "student") | ActivationSpec(hidden=student_layers, logits=True)
    )
    theirs = PartialEncoder(
        teacher, required_activations(terms.values(), "teacher") | ActivationSpec(hidden=teacher_layers, logits=True)
    )
    totals: dict[tuple[Pair, str], list[Total]] = {key: [] for key in terms}
    similarity = {pair: LinearCka() for pair in comparison.pairs}
    output: list[Total] = []
    logits: tuple[list[Tensor], list[Tensor]] = ([], [])
    batches = evaluation_batches(tokens.lengths, batch_size)
    answers = [tokens.answers_of(rows) for rows in batches]
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for done, rows in enumerate(batches):
                report(phase, done * batch_size, len(tokens), "rows")
                batch = collate(tokens, rows, pad_id=pad_id).to(device)
                own, other = ours(batch), theirs(batch)
                for key, term in terms.items():  # copies without cached scores: these are freed after each term
                    totals[key].append(distillation_loss(term, replace(own), replace(other)))
                for (above, below), cka in similarity.items():
                    cka.add(own.hidden[below], other.hidden[above], own.mask)
                output.append(
                    objectives.logits(
                        own.logits, other.logits, own.mask if batch.answers is None else batch.answers, kind=kind
                    )
                )
                logits[0].append(batch.of_answers(own.logits.float()))
                logits[1].append(batch.of_answers(other.logits.float()))
    finally:
        ours.remove()
        theirs.remove()
    distances: Distances = {pair: {CKA: cka.distance()} for pair, cka in similarity.items()}
    for (pair, name), batch_totals in totals.items():
        distances[pair][name] = _mean(batch_totals)
    student_logits, teacher_logits = (in_row_order(parts, answers) for parts in logits)
    return Compared(student_logits, teacher_logits, distances, _mean(output))


def _mean(totals: Sequence[Total]) -> float:
    """The mean of a figure from its totals over batches."""
    sums, counts = (torch.stack(part).cpu() for part in zip(*totals, strict=True))
    return float(sums.double().sum() / counts.sum())
