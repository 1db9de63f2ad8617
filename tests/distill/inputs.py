"""Small random models' states: what a student and a teacher might show of a batch of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.distill.terms import Term

CLASSES, HEADS = 3, 2
TEACHER_LAYERS, STUDENT_LAYERS = 4, 2
TEACHER_WIDTH, STUDENT_WIDTH = 12, 8


@dataclass
class States:
    """Satisfies `engine.distill.terms.Shown`."""

    query: dict[int, Tensor]
    key: dict[int, Tensor]
    value: dict[int, Tensor]
    hidden: dict[int, Tensor]
    embedding: Tensor | None
    logits: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by a name."""
        found = {f"{part}.{i}": t for part in PARTS for i, t in getattr(self, part).items()}
        assert self.embedding is not None
        assert self.logits is not None
        return {**found, "embedding": self.embedding, "logits": self.logits}

    @staticmethod
    def of(tensors: dict[str, Tensor]) -> States:
        """The inverse of `tensors`."""
        parts: dict[str, dict[int, Tensor]] = {part: {} for part in PARTS}
        for name, tensor in tensors.items():
            part, _, layer = name.partition(".")
            if layer:
                parts[part][int(layer)] = tensor
        return States(**parts, embedding=tensors["embedding"], logits=tensors["logits"])


PARTS = ("query", "key", "value", "hidden")

TERMS = (
    Term("labels"),
    Term("logits", temperature=2.0),
    Term("logits", temperature=2.0, regression=True),
    Term("attention", pairs=((2, 1), (4, 2)), heads=HEADS),
    Term("attention", pairs=((4, 2),), heads=HEADS, mse=True),
    Term("query", pairs=((4, 2),), heads=4),
    Term("key", pairs=((4, 2),), heads=1),
    Term("value", pairs=((2, 1), (4, 2)), heads=2),
    Term("hidden", pairs=((4, 2),), projects=True),
    Term("cls", pairs=((4, 2),), projects=True),
    Term("embedding", projects=True),
)
LAYER_TERMS = tuple(term for term in TERMS if term.pairs)


def named(term: Term) -> str:
    """A test's name for a term."""
    return f"{term.name}{'-mse' * term.mse}{'-regression' * term.regression}"


def masked(lengths: Sequence[int], length: int | None = None) -> Tensor:
    """The attention mask of sentences of these lengths, (batch, length)."""
    return (torch.arange(length or max(lengths)) < torch.tensor(lengths)[:, None]).long()


def states(
    seed: int, batch: int, length: int, layers: int, width: int, *, dtype: torch.dtype = torch.float32
) -> States:
    """Random states of a model, one generator for all of them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    of_layers = {part: {i: draw(batch, length, width) for i in range(1, layers + 1)} for part in PARTS}
    return States(**of_layers, embedding=draw(batch, length, width), logits=draw(batch, CLASSES))


def student(seed: int, batch: int, length: int, *, dtype: torch.dtype = torch.float32) -> States:
    """Random states of the small student."""
    return states(seed, batch, length, STUDENT_LAYERS, STUDENT_WIDTH, dtype=dtype)


def teacher(seed: int, batch: int, length: int, *, dtype: torch.dtype = torch.float32) -> States:
    """Random states of the wider, deeper teacher."""
    return states(seed, batch, length, TEACHER_LAYERS, TEACHER_WIDTH, dtype=dtype)


def padded(shown: States, mask: Tensor, length: int, seed: int = 0) -> States:
    """The same sentences padded to `length`, with garbage wherever no token is real."""
    generator = torch.Generator().manual_seed(seed)

    def pad(x: Tensor) -> Tensor:
        garbage = 50 * torch.randn(x.shape[0], length, x.shape[2], generator=generator, dtype=torch.float64).to(x.dtype)
        real = mask.bool()[..., None]
        garbage[:, : x.shape[1]] = torch.where(real, x, garbage[:, : x.shape[1]])
        return garbage

    tensors = {name: x if name == "logits" else pad(x) for name, x in shown.tensors().items()}
    return States.of(tensors)


def leaves(shown: States) -> States:
    """The same values as leaves that gather gradients."""
    return States.of({name: x.detach().clone().requires_grad_() for name, x in shown.tensors().items()})


def part_of(shown: States, rows: Tensor) -> States:
    """The examples `rows` of a batch."""
    return States.of({name: x[rows] for name, x in shown.tensors().items()})


def fit(dtype: torch.dtype = torch.float32, seed: int = 7) -> torch.nn.Linear:
    """A projection from the student's width to the teacher's."""
    layer = torch.nn.Linear(STUDENT_WIDTH, TEACHER_WIDTH)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return layer.to(dtype)


def as_emd(term: Term) -> Term:
    """The term over all pairs of layers."""
    every = tuple((t, s) for s in range(1, STUDENT_LAYERS + 1) for t in range(1, TEACHER_LAYERS + 1))
    return replace(term, pairs=every, emd=True)
