"""Optimal transport between layers (BERT-EMD: Li et al. 2020): which layer teaches which follows from their distances.

Each layer has a weight; the earth mover's plan carries the student's weights to the teacher's at the least cost, a
pair's cost being its objective. The loss is Σ plan · cost. Layers that are cheap to match then gain weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distill.layer_maps import Flow

Matrix = npt.NDArray[np.float64]

_FLOOR = 1e-6
"""A layer that costs nothing would get an infinite weight: it counts as this share of the dearest one."""


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one objective's layers, which last over a whole stage; each side sums to 1."""

    student: tuple[float, ...]
    teacher: tuple[float, ...]

    @classmethod
    def equal(cls, teacher_layers: int, student_layers: int) -> LayerWeights:
        """Where a stage begins: all layers of a model weigh the same."""
        return cls((1 / student_layers,) * student_layers, (1 / teacher_layers,) * teacher_layers)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain data for a checkpoint; floats survive JSON exactly."""
        return {"student": list(self.student), "teacher": list(self.teacher)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Sequence[float]]) -> LayerWeights:
        """What `to_dict` wrote."""
        return cls(tuple(data["student"]), tuple(data["teacher"]))


def plan(weights: LayerWeights, cost: Matrix) -> Matrix:
    """The plan (student layers, teacher layers) that carries the layers' weights at the least total cost.

    Rows sum to the student's weights, columns to the teacher's. A cost that is not finite has no plan: all pairs then
    share the flow, so that the loss is not finite either and the loop can tell.
    """
    student, teacher = np.asarray(weights.student), np.asarray(weights.teacher)
    if not np.isfinite(cost).all():
        return np.outer(student, teacher)
    import ot  # slow to import, and only this layer map needs it

    solved: Any = ot.emd(student, teacher, np.ascontiguousarray(cost, dtype=np.float64))
    return np.asarray(solved, dtype=np.float64)


def flow(carried: Matrix) -> Flow:
    """The pairs that a plan uses: at most student layers + teacher layers - 1 of them need a gradient."""
    return tuple(((int(t) + 1, int(s) + 1), float(carried[s, t])) for s, t in np.argwhere(carried > 0))


def update(weights: LayerWeights, carried: Matrix, cost: Matrix) -> LayerWeights:
    """The layer weights after a step: proportional to 1 / unit cost, what a layer's flow cost for each unit of weight.

    This is the released code's rule. BERT-EMD itself puts a softmax at a temperature over (sum of unit costs / unit
    cost), which drives a layer's weight to zero wherever costs are far apart.

    Args:
        weights: before the step.
        carried: the step's plan (student layers, teacher layers).
        cost: the step's costs, the same shape. Where they are not finite the weights stay.
    """
    if not np.isfinite(cost).all():
        return weights
    paid = carried * cost
    return LayerWeights(
        _from_costs(paid.sum(1) / np.asarray(weights.student)),
        _from_costs(paid.sum(0) / np.asarray(weights.teacher)),
    )


def _from_costs(costs: Matrix) -> tuple[float, ...]:
    dearest = costs.max()
    if dearest <= 0:  # every layer is matched exactly
        return (1 / len(costs),) * len(costs)
    share = 1 / np.maximum(costs / dearest, _FLOOR)
    return tuple(float(x) for x in share / share.sum())
