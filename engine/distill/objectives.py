"""The nine objectives: each compares a student with a teacher (or with labels) and returns a `Total`.

All of them: no gradient goes to the teacher's side; padding changes neither the sum nor a gradient; inputs in half
precision are compared in single precision (products of rows excepted, which stay in the inputs' precision so that they
run on its units); double precision stays double.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from engine.distill.row_scores import Total, at_least_fp32, log_rows, row_kl, row_mse, scores, total

Projection = Callable[[Tensor], Tensor]
"""Maps the student's width to the teacher's: a learned `nn.Linear` where they differ."""

TOKEN_OBJECTIVES: Final = frozenset({"attention", "query", "key", "value", "hidden", "embedding"})
"""Their positions are real tokens; those of the others are examples."""


def examples(mask: Tensor) -> Tensor:
    """Which examples are real: (batch,) of bool from an attention mask (batch, length); an empty row is a filler."""
    return mask.bool().any(-1)


def positions(name: str, mask: Tensor) -> Tensor:
    """How many positions the objective `name` counts under this attention mask (batch, length), without a forward.

    Under mixup the mask is the united one (`mixup.united`) for distillation, the clean one for consistency.
    """
    real = mask.bool() if name in TOKEN_OBJECTIVES else examples(mask)
    return real.sum()


def attention(
    student_query: Tensor,
    student_key: Tensor,
    teacher_query: Tensor,
    teacher_key: Tensor,
    rows: Tensor,
    *,
    heads: int,
    keys: Tensor | None = None,
    mse: bool = False,
) -> Total:
    """Attention transfer: KL(T ‖ S) of softmax(QKᵀ/√d), row by row (Wang et al. 2020, MiniLM).

    With `mse`, the mean squared error of the scores QKᵀ/√d, over pairs of real tokens (Jiao et al. 2020, TinyBERT).

    Args:
        student_query: (batch, length, student width), what the layer's query projection gives.
        student_key: the same shape.
        teacher_query: (batch, length, teacher width).
        teacher_key: the same shape.
        rows: (batch, length), not zero at real tokens.
        heads: of both models, as head h is compared with head h; each width is cut into that many.
        keys: the keys that take part, where they are not the rows (the released code counts padded rows).
        mse: compare scores instead of distributions.

    Raises:
        ModelError: `heads` doesn't divide a width.
    """
    keys = rows if keys is None else keys
    student = scores(student_query, student_key, heads)
    teacher = scores(teacher_query, teacher_key, heads)
    if mse:
        return row_mse(student, teacher, rows, keys)
    return row_kl(student, log_rows(teacher, keys), rows, keys)


def relation(student: Tensor, teacher: Tensor, rows: Tensor, *, heads: int, keys: Tensor | None = None) -> Total:
    """Self-attention relations: KL(T ‖ S) of softmax(XXᵀ/√d), X the queries, keys or values (Wang et al. 2021).

    Args:
        student: (batch, length, student width).
        teacher: (batch, length, teacher width); the widths may differ.
        rows: (batch, length), not zero at real tokens.
        heads: relation heads, any number that divides both widths.
        keys: the keys that take part, where they are not the rows.

    Raises:
        ModelError: `heads` doesn't divide a width.
    """
    return attention(student, student, teacher, teacher, rows, heads=heads, keys=keys)


def hidden(student: Tensor, teacher: Tensor, rows: Tensor, projection: Projection | None = None) -> Total:
    """Mean squared error of hidden states (Jiao et al. 2020): a token's value is the mean over the teacher's width.

    Args:
        student: (batch, length, student width).
        teacher: (batch, length, teacher width).
        rows: (batch, length), not zero at real tokens.
        projection: applied to the student's side, needed where the widths differ.
    """
    return total(_mean_square(_projected(student, projection), teacher), rows)


def embedding(student: Tensor, teacher: Tensor, rows: Tensor, projection: Projection | None = None) -> Total:
    """Mean squared error of embedding outputs (Jiao et al. 2020); shapes and arguments as in `hidden`."""
    return hidden(student, teacher, rows, projection)


def cls(student: Tensor, teacher: Tensor, rows: Tensor, projection: Projection | None = None) -> Total:
    """Mean squared error of L2-normalised [CLS] states (Sun et al. 2019, PKD), a mean over the width.

    Args:
        student: hidden states (batch, length, student width); the first token's are compared.
        teacher: (batch, length, teacher width).
        rows: attention mask (batch, length): examples without a real token don't count.
        projection: applied to the student's [CLS] state before it is normalised, needed where the widths differ.
    """
    first = F.normalize(at_least_fp32(_projected(student[:, 0], projection)), dim=-1)
    target = F.normalize(at_least_fp32(teacher[:, 0]), dim=-1)
    return total(_mean_square(first, target), examples(rows))


def logits(
    student: Tensor, teacher: Tensor, rows: Tensor, *, temperature: float = 1.0, regression: bool = False
) -> Total:
    """Soft targets: KL(T ‖ S) of softmax(logits/temperature), times temperature² (Hinton et al. 2015).

    For regression, the mean squared error of logits/temperature, as the released code has it: no square in front.

    Args:
        student: (batch, classes).
        teacher: (batch, classes).
        rows: attention mask (batch, length): examples without a real token don't count.
        temperature: softens both sides.
        regression: the logits are scores.
    """
    cool, target = at_least_fp32(student) / temperature, at_least_fp32(teacher.detach()) / temperature
    if regression:
        return total(_mean_square(cool, target), examples(rows))
    target = target.log_softmax(-1)
    values = (target.exp() * (target - cool.log_softmax(-1))).sum(-1) * temperature**2
    return total(values, examples(rows))


def labels(
    student: Tensor,
    gold: Tensor,
    rows: Tensor,
    *,
    regression: bool = False,
    lam: float | Tensor | None = None,
) -> Total:
    """Cross-entropy with the gold labels; for regression, mean squared error with the gold scores.

    On mixed inputs the term is λ·loss(gold) + (1 - λ)·loss(gold reversed along the batch) (Zhang et al. 2018), which for
    regression has the gradient of the mixed score.

    Args:
        student: (batch, classes), or (batch, 1) scores.
        gold: (batch,) class indices or scores.
        rows: attention mask (batch, length): examples without a real token don't count.
        regression: the labels are scores.
        lam: λ of the mixed inputs; None when they are not mixed.
    """
    output = at_least_fp32(student)

    def loss(target: Tensor) -> Tensor:
        if regression:
            return (output.squeeze(-1) - target.to(output.dtype)).square()
        return F.cross_entropy(output, target.long(), reduction="none")

    values = loss(gold) if lam is None else lam * loss(gold) + (1 - lam) * loss(gold.flip(0))
    return total(values, examples(rows))


def _projected(x: Tensor, projection: Projection | None) -> Tensor:
    return x if projection is None else projection(x)


def _mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    return (at_least_fp32(student) - at_least_fp32(teacher.detach())).square().mean(-1)
