"""How far a student is from its teacher, layer by layer: the objectives' own distances, and one that no scale changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.batches import collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.distill import objectives
from engine.distill.layer_maps import Pair
from engine.distill.model_shape import ModelShape
from engine.distill.terms import Reading, Term, bind, distil
from engine.models.taps import Need, Tapped
from engine.preset.schema import Objective, ObjectiveName, Stage

Logits = npt.NDArray[np.float32]
Distances = dict[Pair, dict[str, float]]
"""(teacher layer, student layer), counted from 1, to distances by name."""

RELATIONS: tuple[ObjectiveName, ...] = ("query", "key", "value")
SCORED: tuple[ObjectiveName, ...] = ("attention", *RELATIONS)
STATES: tuple[ObjectiveName, ...] = ("hidden", "cls")
CKA = "cka"


@dataclass(frozen=True)
class Comparison:
    """Which layers of two models are compared, and by what."""

    pairs: tuple[Pair, ...]
    terms: Mapping[str, tuple[Term, ...]]
    """The objectives that can be had, by name, bound to each pair: what a stage would bind them to."""
    unavailable: Mapping[str, str]
    """Why the others cannot."""

    @classmethod
    def between(cls, teacher: ModelShape, student: ModelShape) -> Comparison:
        """Every student layer with the teacher layer at the same share of the depth, the last with the last.

        Student layer i of S stands beside teacher layer i·T/S, rounded (half up): the uniform map where that is whole.
        Relations are cut into the student's heads where these divide both widths, else into the greatest common divisor
        of both models' heads.
        """
        total, own = teacher.layers, student.layers
        pairs = tuple((max(1, (2 * i * total + own) // (2 * own)), i) for i in range(1, own + 1))
        relation = student.heads if teacher.width % student.heads == 0 else math.gcd(teacher.heads, student.heads)
        terms: dict[str, tuple[Term, ...]] = {}
        unavailable: dict[str, str] = {}
        for name in (*SCORED, *STATES):
            if name == "attention" and teacher.heads != student.heads:
                unavailable[name] = f"the teacher has {teacher.heads} heads, the student {student.heads}"
            elif name in STATES and teacher.width != student.width:
                unavailable[name] = (
                    f"the teacher is {teacher.width} wide, the student {student.width}, and the projection between them "
                    "is not saved"
                )
            else:
                objective = Objective(relation_heads=relation) if name in RELATIONS else Objective()
                terms[name] = tuple(_bound(name, objective, pair, teacher, student) for pair in pairs)
        return cls(pairs, terms, unavailable)


def _bound(name: ObjectiveName, objective: Objective, pair: Pair, teacher: ModelShape, student: ModelShape) -> Term:
    stage = Stage(name="probe", objectives={name: objective}, layer_map=[pair])
    (term,) = bind(stage, teacher, student, temperature=1.0, regression=False)
    return term


@dataclass(frozen=True)
class Compared:
    """What one pass of both models over some examples gives."""

    student: Logits
    """(rows, outputs), in the order of the rows."""
    teacher: Logits
    distances: Distances
    """Means over all real positions, as the losses are."""
    output: float
    """KL(teacher ‖ student) of the logits, of scores the squared error; a mean over the examples."""


@dataclass
class _Sums:
    """Sums of one figure over batches, kept where they were made until they are asked for."""

    sums: list[Tensor] = field(default_factory=list)
    counts: list[Tensor] = field(default_factory=list)

    def add(self, total: tuple[Tensor, Tensor]) -> None:
        self.sums.append(total[0])
        self.counts.append(total[1])

    def mean(self) -> float:
        return float(torch.stack(self.sums).cpu().double().sum() / torch.stack(self.counts).cpu().sum())


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
        """1 − CKA; NaN where the states of a model are all the same."""
        assert self._count is not None, "nothing was added"
        xy, xx, yy, x, y = (found.cpu().double() for found in self._sums)
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
    regression: bool,
    batch_size: int,
    device: torch.device,
    pad_id: int,
) -> Compared:
    """Run both models once over the examples, in fp32 and without dropout, and compare what their layers show.

    Both models must be in evaluation mode, on `device`. The figures are those of the objectives: a mean over heads or
    width at each real position, then over all real positions, whatever the batches and their padding.
    """
    ours = Tapped(student, _need([s for _, s in comparison.pairs], comparison))
    theirs = Tapped(teacher, _need([t for t, _ in comparison.pairs], comparison))
    terms = {
        (pair, name): term
        for name, bound in comparison.terms.items()
        for pair, term in zip(comparison.pairs, bound, strict=True)
    }
    sums = {key: _Sums() for key in terms}
    alike = {pair: LinearCka() for pair in comparison.pairs}
    output = _Sums()
    answers: tuple[list[Tensor], list[Tensor]] = ([], [])
    batches = evaluation_batches(tokens.lengths, batch_size)
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for rows in batches:
                batch = collate(tokens, rows, pad_id=pad_id).to(device)
                shown, taught = ours(batch), theirs(batch)
                for (pair, name), term in terms.items():  # readings of their own: scores are freed after each term
                    sums[pair, name].add(distil(term, Reading(shown), Reading(taught), shown.mask))
                for (above, below), cka in alike.items():
                    cka.add(shown.hidden[below], taught.hidden[above], shown.mask)
                output.add(objectives.logits(shown.logits, taught.logits, shown.mask, regression=regression))
                answers[0].append(shown.logits.float())
                answers[1].append(taught.logits.float())
    finally:
        ours.remove()
        theirs.remove()
    distances: Distances = {pair: {CKA: cka.distance()} for pair, cka in alike.items()}
    for (pair, name), found in sums.items():
        distances[pair][name] = found.mean()
    own, other = (_in_order(parts, np.concatenate(batches)) for parts in answers)
    return Compared(own, other, distances, output.mean())


def _need(layers: list[int], comparison: Comparison) -> Need:
    """All that the distances read of these layers."""
    some = frozenset(layers)

    def where(*names: str) -> frozenset[int]:
        return some if comparison.terms.keys() & set(names) else frozenset()

    return Need(
        query=where("attention", "query"), key=where("attention", "key"), value=where("value"), hidden=some, logits=True
    )


def _in_order(parts: list[Tensor], rows: npt.NDArray[np.int64]) -> Logits:
    found = torch.cat(parts).cpu().numpy()
    logits: Logits = np.empty_like(found)
    logits[rows] = found
    return logits
