"""Rows of attention scores, and the distances between two models' rows: what attention and relations are made of.

All functions take whole tensors: there is no loop over heads or examples, no value is read back to the host, and the
shapes of results depend only on the shapes of arguments, so that a step can be compiled or captured as a graph.
"""

from __future__ import annotations

import torch
from torch import Tensor

Total = tuple[Tensor, Tensor]
"""Sum over real positions, and their number: two tensors without dimensions.

The value of a position (a token, or an example) is already a mean over heads or width. So sums and counts can be added
over micro-batches and processes, and global sum / global count is the mean over all real positions.
"""


def at_least_fp32(x: Tensor) -> Tensor:
    """`x` in single precision, or in double where it is double: no loss is computed in half precision."""
    return x if x.dtype == torch.float64 else x.float()


def total(values: Tensor, rows: Tensor) -> Total:
    """Sum of `values` where `rows` is not zero, and the number of such positions.

    Args:
        values: (batch, length) or (batch,), one value for each position.
        rows: the same shape, not zero at real positions. Finite values elsewhere have no influence and no gradient.
    """
    real = rows.bool()
    return torch.where(real, values, 0.0).sum(), real.sum()


def scores(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Scaled dot products QKᵀ/√d of each head, unmasked, as (batch, heads, query, key) in the inputs' precision.

    Args:
        query: (batch, length, width); the width is cut into `heads` heads of d = width / heads.
        key: the same shape. The same tensor as `query` gives relations (Wang et al. 2021).
        heads: any number that divides the width.
    """
    size = query.shape[-1] // heads
    # Scaling here touches (length × width) numbers rather than (heads × length × length) of them.
    query = (query * size**-0.5).view(*query.shape[:-1], heads, size).transpose(1, 2)
    key = key.view(*key.shape[:-1], heads, size).permute(0, 2, 3, 1)
    return query @ key


def within(length: int, window: int, device: torch.device) -> Tensor | None:
    """Which keys are at most `window` positions from a query, (query, key) of bool; None when all of them are."""
    if length - 1 <= window:
        return None
    positions = torch.arange(length, device=device)
    return (positions[:, None] - positions[None, :]).abs() <= window


def near(mask: Tensor, window: int | None) -> Tensor:
    """The keys that a layer attends to: (batch, key), or with a window those of each query, (batch, query, key).

    Args:
        mask: (batch, length), not zero at real tokens.
        window: how many positions a local layer looks to either side; None for a global layer.
    """
    close = None if window is None else within(mask.shape[-1], window, mask.device)
    return mask if close is None else mask.bool()[:, None, :] & close


def log_rows(row_scores: Tensor, keys: Tensor) -> Tensor:
    """Log-softmax of each row over its real keys, in single precision at least.

    Masked keys get the lowest finite number rather than -inf, so an example without any real key gives finite (and
    meaningless) rows, never NaN.

    Args:
        row_scores: (batch, heads, query, key).
        keys: (batch, key), not zero at real keys; or (batch, query, key), where each row has its own keys.
    """
    lowest = torch.finfo(row_scores.dtype).min
    dtype = torch.float64 if row_scores.dtype == torch.float64 else torch.float32
    return row_scores.masked_fill(~_of_rows(keys).unsqueeze(1), lowest).log_softmax(-1, dtype=dtype)


def row_kl(student: Tensor, teacher_log: Tensor, rows: Tensor, keys: Tensor) -> Total:
    """KL(T ‖ S) of the rows' distributions over keys: a row's value is Σ p_T (log p_T - log p_S), mean over heads.

    Args:
        student: scores (batch, heads, query, key), unmasked.
        teacher_log: what `log_rows` gives for the teacher's scores and the same keys; no gradient goes there.
        rows: (batch, query), not zero at query rows that count.
        keys: (batch, key) or (batch, query, key), not zero at keys that take part.
    """
    teacher_log = teacher_log.detach()
    values = (teacher_log.exp() * (teacher_log - log_rows(student, keys))).sum(-1).mean(1)
    return total(values, rows)


def row_mse(student: Tensor, teacher: Tensor, rows: Tensor, keys: Tensor) -> Total:
    """Mean squared difference of the scores themselves: a row's value is a mean over its real keys and the heads.

    Args:
        student: scores (batch, heads, query, key), unmasked.
        teacher: the same shape; no gradient goes there.
        rows: (batch, query), not zero at query rows that count.
        keys: (batch, key) or (batch, query, key), not zero at keys that take part.
    """
    real = _of_rows(keys)
    squares = (at_least_fp32(student) - at_least_fp32(teacher.detach())).square().mean(1)
    of_keys = torch.where(real, squares, 0.0).sum(-1)
    return total(of_keys / real.sum(-1).clamp(min=1), rows)


def _of_rows(keys: Tensor) -> Tensor:
    """Keys as (batch, query or 1, key) of bool."""
    return keys.bool() if keys.ndim == 3 else keys.bool()[:, None, :]
