"""Activations of small random models: a student's and a teacher's on a batch of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.distill.activations import LAYER_STATES, Activations
from engine.distill.objectives import attention
from engine.distill.row_scores import Total, log_rows, scores
from engine.distill.terms import Term

CLASSES, HEADS = 3, 2
TEACHER_LAYERS, STUDENT_LAYERS = 4, 2
TEACHER_WIDTH, STUDENT_WIDTH = 12, 8


@dataclass(eq=False)
class States(Activations):
    """Activations that can be taken apart and put together again."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by a name."""
        of_layers = {f"{part}.{i}": t for part in LAYER_STATES for i, t in getattr(self, part).items()}
        return {**of_layers, "embedding": self.tensor("embedding"), "logits": self.tensor("logits")}

    @staticmethod
    def of(tensors: dict[str, Tensor], mask: Tensor | None = None) -> States:
        """The inverse of `tensors`; every position is real without a mask."""
        parts: dict[str, dict[int, Tensor]] = {part: {} for part in LAYER_STATES}
        for name, tensor in tensors.items():
            part, _, layer = name.partition(".")
            if layer:
                parts[part][int(layer)] = tensor
        embedding, logits = tensors["embedding"], tensors["logits"]
        mask = torch.ones(embedding.shape[:2], dtype=torch.long) if mask is None else mask
        return States(mask, **parts, embedding=embedding, logits=logits)

    def under(self, mask: Tensor) -> States:
        """The same tensors under an attention mask, without cached scores."""
        return replace(self, mask=mask)


TERMS = (
    Term("labels"),
    Term("logits", temperature=2.0),
    Term("logits", temperature=2.0, kind="regression"),
    Term("logits", temperature=2.0, kind="multilabel"),
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
    kind = "" if term.kind == "classification" else f"-{term.kind}"
    return f"{term.name}{'-mse' * term.mse}{kind}"


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

    of_layers = {part: {i: draw(batch, length, width) for i in range(1, layers + 1)} for part in LAYER_STATES}
    mask = torch.ones(batch, length, dtype=torch.long)
    return States(mask, **of_layers, embedding=draw(batch, length, width), logits=draw(batch, CLASSES))


def student(seed: int, batch: int, length: int, *, dtype: torch.dtype = torch.float32) -> States:
    """Random states of the small student."""
    return states(seed, batch, length, STUDENT_LAYERS, STUDENT_WIDTH, dtype=dtype)


def teacher(seed: int, batch: int, length: int, *, dtype: torch.dtype = torch.float32) -> States:
    """Random states of the wider, deeper teacher."""
    return states(seed, batch, length, TEACHER_LAYERS, TEACHER_WIDTH, dtype=dtype)


def padded(of: States, mask: Tensor, length: int, seed: int = 0) -> States:
    """The same sentences padded to `length`, with garbage wherever no token is real."""
    generator = torch.Generator().manual_seed(seed)

    def pad(x: Tensor) -> Tensor:
        garbage = 50 * torch.randn(x.shape[0], length, x.shape[2], generator=generator, dtype=torch.float64).to(x.dtype)
        real = mask.bool()[..., None]
        garbage[:, : x.shape[1]] = torch.where(real, x, garbage[:, : x.shape[1]])
        return garbage

    tensors = {name: x if name == "logits" else pad(x) for name, x in of.tensors().items()}
    return States.of(tensors)


def leaves(of: States) -> States:
    """The same values as leaves that collect gradients."""
    return States.of({name: x.detach().clone().requires_grad_() for name, x in of.tensors().items()}, of.mask)


def part_of(of: States, rows: Tensor) -> States:
    """The examples `rows` of a batch."""
    return States.of({name: x[rows] for name, x in of.tensors().items()}, of.mask[rows])


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


def attention_between(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    rows: Tensor,
    *,
    heads: int,
    keys: Tensor | None = None,
    mse: bool = False,
) -> Total:
    """The attention objective from queries and keys (batch, length, width) of both models."""
    keys = rows if keys is None else keys
    target = scores(*teacher, heads) if mse else log_rows(scores(*teacher, heads), keys)
    return attention(scores(*student, heads), target, rows, keys=keys, mse=mse)


def relation_between(
    student: Tensor, teacher: Tensor, rows: Tensor, *, heads: int, keys: Tensor | None = None
) -> Total:
    """The relation objective from queries, keys or values (batch, length, width) of both models."""
    return attention_between((student, student), (teacher, teacher), rows, heads=heads, keys=keys)
