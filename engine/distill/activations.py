"""The tensors inside a model that objectives compare: which of them a model must hand out, and the tensors themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from engine.distill.row_scores import scores

Projection = Literal["query", "key", "value"]
PROJECTIONS: tuple[Projection, ...] = ("query", "key", "value")
LAYER_STATES = (*PROJECTIONS, "hidden")
"""Names of the activations that every layer has."""


@dataclass(frozen=True)
class ActivationSpec:
    """Which activations a model must hand out. Layers are counted from 1; layer l is the l-th encoder layer."""

    query: frozenset[int] = frozenset()
    key: frozenset[int] = frozenset()
    value: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    embedding: bool = False
    logits: bool = False

    def __or__(self, other: ActivationSpec) -> ActivationSpec:
        """The activations of both."""
        return ActivationSpec(
            query=self.query | other.query,
            key=self.key | other.key,
            value=self.value | other.value,
            hidden=self.hidden | other.hidden,
            embedding=self.embedding or other.embedding,
            logits=self.logits or other.logits,
        )

    def projections(self, layer: int) -> tuple[Projection, ...]:
        """Which of a layer's queries, keys and values are included."""
        return tuple(name for name in PROJECTIONS if layer in getattr(self, name))

    @property
    def layers(self) -> frozenset[int]:
        """Layers of which anything is included."""
        return self.query | self.key | self.value | self.hidden


@dataclass(eq=False)
class Activations:
    """Activations of one forward pass; tensors are (batch, length, width), by layer from 1, `logits` (batch, classes).

    `embedding` is the output of the embedding module (after normalisation and dropout, mixed if the input was; for
    ELECTRA and ALBERT before it is projected to the encoder's width). Queries and keys are as attention multiplies
    them: ModernBERT's are rotated by their positions. The hidden state of ModernBERT's last layer is what its final
    normalisation gives, as in transformers.
    """

    mask: Tensor
    """(batch, length), not zero at real positions: the batch's own, or under mixing those of either sentence."""
    query: dict[int, Tensor] = field(default_factory=dict)
    key: dict[int, Tensor] = field(default_factory=dict)
    value: dict[int, Tensor] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    logits: Tensor | None = None
    _scores: dict[tuple[str, str, int, int], Tensor] = field(default_factory=dict, init=False, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the activations."""
        layers = (self.query, self.key, self.value, self.hidden)
        tensors = [tensor for layer in layers for tensor in layer.values()]
        return sum(tensor.nbytes for tensor in (*tensors, self.embedding, self.logits) if tensor is not None)

    def tensor(self, name: str, layer: int | None = None) -> Tensor:
        """The activation `name`: of a layer, or without one the embedding output or the logits."""
        tensor: Tensor | None = getattr(self, name) if layer is None else getattr(self, name)[layer]
        assert tensor is not None, f"the model was not asked for {name}"
        return tensor

    def scores(self, query: str, key: str, layer: int, heads: int) -> Tensor:
        """Unmasked scores (batch, heads, query, key) of two activations of a layer, computed once however often asked.

        `query` and `key` are names: "query" and "key" for attention, the same name twice for relations.
        """
        cached = self._scores.get((query, key, layer, heads))
        if cached is None:
            cached = scores(self.tensor(query, layer), self.tensor(key, layer), heads)
            self._scores[query, key, layer, heads] = cached
        return cached
