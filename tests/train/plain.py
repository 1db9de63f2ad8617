"""Losses written out sentence by sentence, without masks, batches or anything of crild's: what a step is held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.batches import Batch

HEADS = 4


@dataclass
class Shown:
    """What a BERT classifier makes of a batch: (batch, length, width) by layer, the embeddings' output as layer 0."""

    hidden: list[Tensor]
    query: dict[int, Tensor] = field(default_factory=dict)
    key: dict[int, Tensor] = field(default_factory=dict)
    value: dict[int, Tensor] = field(default_factory=dict)
    logits: Tensor = field(default_factory=lambda: torch.zeros(()))


def run(model: PreTrainedModel, batch: Batch, lam: float | None = None) -> Shown:
    """The model on a batch, or on the batch mixed with its own reverse."""
    bert, mask = model.bert, batch.attention_mask.bool()
    x = bert.embeddings(input_ids=batch.input_ids, token_type_ids=batch.token_type_ids)
    if lam is not None:
        x, mask = lam * x + (1 - lam) * x.flip(0), mask | mask.flip(0)
    shown = Shown([x])
    for number, layer in enumerate(bert.encoder.layer, 1):
        attention = layer.attention.self
        shown.query[number], shown.key[number], shown.value[number] = (
            part(x) for part in (attention.query, attention.key, attention.value)
        )
        output = layer(x, mask[:, None, None, :])
        x = output[0] if isinstance(output, tuple) else output
        shown.hidden.append(x)
    shown.logits = model.classifier(bert.pooler(x))
    return shown


def scores(left: Tensor, right: Tensor) -> Tensor:
    """Of one sentence (length, width): (heads, length, length)."""
    size = left.shape[-1] // HEADS
    parts = [x.view(len(x), HEADS, size).transpose(0, 1) for x in (left, right)]
    return parts[0] @ parts[1].transpose(1, 2) / math.sqrt(size)


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(T ‖ S) of rows of scores (heads, length, length): a mean over heads, summed over rows."""
    p = teacher.softmax(-1)
    return (p * (p.log() - student.log_softmax(-1))).sum(-1).mean(0).sum()


@dataclass
class Pair:
    """A student and what it is compared with, both cut to `lengths` (batch,)."""

    student: Shown
    target: Shown
    lengths: list[int]

    def _over(self, of: Callable[[int, int], Tensor], count: int | None = None) -> Tensor:
        """Sum over sentences, divided by the positions."""
        total = torch.stack([of(row, length) for row, length in enumerate(self.lengths)]).sum()
        return total / (sum(self.lengths) if count is None else count)

    def scored(self, left: str, right: str, t: int, s: int, *, mse: bool = False) -> Tensor:
        """Attention (query, key) or a relation (the same twice) of target layer t and student layer s."""

        def one(row: int, length: int) -> Tensor:
            made = [
                scores(getattr(x, left)[at][row, :length], getattr(x, right)[at][row, :length])
                for x, at in ((self.student, s), (self.target, t))
            ]
            return (made[0] - made[1]).square().mean((0, 2)).sum() if mse else kl(made[0], made[1])

        return self._over(one)

    def attention(self, t: int, s: int, *, mse: bool = False) -> Tensor:
        """Distributions, or with `mse` the scores."""
        return self.scored("query", "key", t, s, mse=mse)

    def relations(self, t: int, s: int) -> Tensor:
        """Queries, keys and values, summed."""
        return torch.stack([self.scored(part, part, t, s) for part in ("query", "key", "value")]).sum()

    def hidden(self, t: int, s: int) -> Tensor:
        """Mean squared error; layer 0 is the embeddings' output."""
        mine, other = self.student.hidden[s], self.target.hidden[t]
        return self._over(lambda row, n: (mine[row, :n] - other[row, :n]).square().mean(-1).sum())

    def cls(self, t: int, s: int) -> Tensor:
        """Normalised states of the first token."""
        mine, other = (
            x[:, 0] / x[:, 0].norm(dim=-1, keepdim=True) for x in (self.student.hidden[s], self.target.hidden[t])
        )
        return torch.mean((mine - other).square())

    def pooled(self, t: int, s: int) -> Tensor:
        """Normalised means over the tokens of a sentence."""

        def one(row: int, n: int) -> Tensor:
            mine, other = (x[row, :n].mean(0) for x in (self.student.hidden[s], self.target.hidden[t]))
            apart: Tensor = (mine / mine.norm() - other / other.norm()).square().mean()
            return apart

        return self._over(one, len(self.lengths))

    def cka(self, t: int, s: int) -> Tensor:
        """One minus the alignment of a sentence's tokens, from covariances: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖)."""

        def one(row: int, n: int) -> Tensor:
            x, y = (z[row, :n] - z[row, :n].mean(0) for z in (self.student.hidden[s], self.target.hidden[t]))
            same: Tensor = (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
            return 1 - same

        return self._over(one, len(self.lengths))

    def logits(self, temperature: float) -> Tensor:
        """Soft answers."""
        p = (self.target.logits / temperature).softmax(-1)
        q = (self.student.logits / temperature).softmax(-1)
        return temperature**2 * (p * (p / q).log()).sum(-1).mean()

    def squares(self, factor: float) -> Tensor:
        """Logits by their squared error, the target's times a factor."""
        return torch.stack(
            [
                torch.stack([(mine - factor * other) ** 2 for mine, other in zip(z, target, strict=True)]).mean()
                for z, target in zip(self.student.logits, self.target.logits, strict=True)
            ]
        ).mean()

    def labels(self, gold: Tensor, lam: float | None = None) -> Tensor:
        """Cross-entropy, of both labels where two sentences are mixed."""
        log = F.log_softmax(self.student.logits, -1)
        own, other = (-log[torch.arange(len(gold)), y].mean() for y in (gold, gold.flip(0)))
        return own if lam is None else lam * own + (1 - lam) * other


def cheapest(cost: Callable[[int, int], Tensor], teacher: Iterable[int], students: tuple[int, int]) -> Tensor:
    """The loss of the best plan from two student layers to 2n teacher layers, all of equal weight, by trying them all.

    Each of the two carries half of the flow, which is whole shares of n teacher layers at a corner of the polytope.
    """
    above = list(teacher)
    plans = [
        torch.stack([cost(t, students[0] if t in first else students[1]) for t in above]).mean()
        for first in combinations(above, len(above) // 2)
    ]
    return min(plans, key=float)


def reversed_batch(shown: Shown) -> Shown:
    """The same, last sentence first."""
    query, key, value = ({n: x.flip(0) for n, x in part.items()} for part in (shown.query, shown.key, shown.value))
    return Shown([x.flip(0) for x in shown.hidden], query, key, value, shown.logits.flip(0))
