"""Form batches: which examples, in what order, as which tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from engine.data.candidates import Candidates, Choice
from engine.data.tokens import NO_LABEL, TokenSet

Indices = npt.NDArray[np.int64]

POOL = 64
"""Number of batches sorted by length together: more means less padding, fewer means a more random order."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a TokenSet, padded on the right to one length.

    `input_ids`, `attention_mask` (1 on real tokens, 0 on padding) and, where the tokenizer makes them,
    `token_type_ids` are int64 of shape (batch, length); `labels` is int64 (classes) or float32 (scores) of shape
    (batch,), uint8 (several labels) of shape (batch, labels), None for data without labels; `index` (batch,) are the rows of the TokenSet.
    Of a task with labels by word, `answers` of bool (batch, length) is true at the first piece of each word, and `labels` int64
    (batch, length) has the class there and `NO_LABEL` elsewhere.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_type_ids: torch.Tensor | None
    labels: torch.Tensor | None
    index: torch.Tensor
    answers: torch.Tensor | None = None

    def __len__(self) -> int:
        return int(self.index.shape[0])

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; copies to a GPU do not wait for the host."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def take(self, rows: torch.Tensor, length: int | None = None) -> Batch:
        """The batch of the given rows (int64 positions in this batch), its padding cut off at `length`."""
        found = self._map(lambda tensor: tensor[rows, :length] if tensor.ndim == 2 else tensor[rows])
        return found if self.labels is None or self.answers is not None else replace(found, labels=self.labels[rows])

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        types, labels, answers = (
            None if tensor is None else change(tensor) for tensor in (self.token_type_ids, self.labels, self.answers)
        )
        return Batch(change(self.input_ids), change(self.attention_mask), types, labels, change(self.index), answers)

    def of_answers(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits (answers, classes) that answer: those of rows, or of (batch, length, classes) those at `answers`."""
        return logits if self.answers is None else logits[self.answers]

    def mirrored_parts(self, n: int, *, trim: bool = True) -> list[Batch]:
        """Cuts the batch into at most `n` parts within which mixup finds the same partners as in the whole.

        Mixup pairs example i with example B - 1 - i. A part takes both, in an order whose own reversal pairs them again;
        of an odd batch the middle example is its own partner. Sizes differ by at most 2 examples; a batch with fewer
        than `n` pairs gives fewer parts, so that none is empty. With `trim` each part is padded to its own longest
        example only, which reads the mask: cut before the batch is moved to a GPU, or pass trim=False there.
        """
        size = len(self)
        parts = []
        for low, high in pairwise(mirrored_cuts(size, n)):
            front = torch.arange(low, high, device=self.index.device)
            back = (size - 1 - front).flip(0)
            rows = torch.cat([front, back[1:] if high > low and size - high == high - 1 else back])
            length = int(self.attention_mask[rows].sum(1).max()) if trim else None
            parts.append(self.take(rows, length))
        return parts


def mirrored_cuts(size: int, n: int) -> list[int]:
    """Borders that cut the (size + 1) // 2 mirrored pairs of a batch into at most `n` runs, as even as they can be."""
    if n < 1:
        raise ValueError(f"a batch cannot be cut into {n} parts")
    pairs = (size + 1) // 2
    count = min(n, pairs)
    return [pairs * part // count for part in range(count + 1)] if count else [0]


def epoch_batches(
    lengths: npt.NDArray[np.int64],
    batch_size: int,
    seed: Sequence[int],
    times: npt.NDArray[np.int64] | None = None,
) -> list[Indices]:
    """The batches of one epoch: int64 arrays of rows, every row exactly once, or as often as `times` (rows,) says.

    The rows are shuffled and cut into pools of `POOL` batches; each pool is sorted by length, so that the examples of
    a batch need little padding; the batches are cut from it and shuffled over the whole epoch. Within a batch the order
    is random again: mixup pairs the i-th from the front with the i-th from the back, which in sorted order would always
    be the longest with the shortest. If the rows do not divide, one batch is smaller. The result depends on `lengths`
    (tokens of each row), `batch_size` and `seed` (integers >= 0, as run seed, stage, epoch) alone.
    """
    if batch_size < 1:
        raise ValueError(f"a batch cannot hold {batch_size} examples")
    generator = np.random.default_rng(list(seed))
    order = generator.permutation(len(lengths))
    if times is not None:
        order = np.repeat(order, times[order])
    batches: list[Indices] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(_cut(pool, batch_size, generator))
    del order
    batches = [batches[index] for index in generator.permutation(len(batches))]
    for index, batch in enumerate(batches):  # in place: a second list of a million rows takes 16 MB
        batches[index] = generator.permutation(batch)
    return batches


def epoch_choices(
    candidates: Candidates,
    lengths: npt.NDArray[np.int64],
    batch_size: int,
    seed: Sequence[int],
    parts_seed: Sequence[int],
) -> list[Choice]:
    """What each step of an epoch chooses from, so that it reads `batch_size` inputs; one step may read fewer.

    The parts of the candidates are put into batches as rows are (`epoch_batches`), by `seed` and by the longest row of each;
    `lengths` (rows,) are tokens. Where a step has no room for all that a part gives, the part is divided: each step chooses from
    its share.
    """
    rows, starts = candidates.parts(parts_seed)
    sizes = np.diff(starts, append=len(rows))
    slots = np.minimum(sizes, candidates.worst)
    given = np.zeros(len(sizes), np.int64)
    choices = []
    for batch in epoch_batches(np.maximum.reduceat(lengths[rows], starts), batch_size, seed, slots):
        parts, take = np.unique(batch, return_counts=True)
        first = given[parts]
        given[parts] = first + take
        begin = sizes[parts] * first // slots[parts]
        count = sizes[parts] * (first + take) // slots[parts] - begin
        inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        choices.append(Choice(rows[np.repeat(starts[parts] + begin, count) + inside], count, take))
    return choices


def _cut(pool: Indices, batch_size: int, generator: np.random.Generator) -> list[Indices]:
    """Batches of a sorted pool; the smaller one, if any, is at a random position, or it would always get the longest rows."""
    rest = len(pool) % batch_size
    whole = len(pool) // batch_size
    smaller = int(generator.integers(whole + 1)) if rest else whole
    starts = [index * batch_size + (rest - batch_size if index > smaller else 0) for index in range(whole + bool(rest))]
    return np.split(pool, starts[1:])


def evaluation_batches(lengths: npt.NDArray[np.int64], batch_size: int) -> list[Indices]:
    """Batches of rows sorted by length, longest first (a batch that does not fit in memory fails at once)."""
    order = np.argsort(-np.asarray(lengths), kind="stable").astype(np.int64)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def budget_batches(lengths: npt.NDArray[np.int64], tokens: int, rows: int | None = None) -> list[Indices]:
    """Batches of rows sorted by length, longest first: at most `tokens` tokens with padding in each, and `rows` rows.

    A row longer than `tokens` is a batch of its own; rows without tokens are in none.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable").astype(np.int64)
    order = order[: int(np.count_nonzero(lengths))]
    batches = []
    start = 0
    while start < len(order):
        size = max(1, tokens // int(lengths[order[start]]))
        size = size if rows is None else min(size, rows)
        batches.append(order[start : start + size])
        start += size
    return batches


def collate(tokens: TokenSet, indices: Indices, *, pad_id: int, pad_to: int | None = None) -> Batch:
    """The batch of the given rows, padded with `pad_id` to the longest of them, or to `pad_to` tokens.

    Raises ValueError when a row is longer than `pad_to`.
    """
    starts = tokens.offsets[indices]
    lengths = tokens.offsets[indices + 1] - starts
    longest = int(lengths.max(initial=0))
    if pad_to is not None and longest > pad_to:
        raise ValueError(f"a row of {longest} tokens does not fit in {pad_to}")
    positions = np.arange(longest if pad_to is None else pad_to)
    real = positions < lengths[:, None]
    flat = np.where(real, starts[:, None] + positions, 0)
    types = None
    if tokens.type_ids is not None:
        types = torch.from_numpy(np.where(real, tokens.type_ids[flat], 0).astype(np.int64))
    labels, answers = tokens.labels, None
    if tokens.words is not None:
        answers = torch.from_numpy(real & (tokens.words[flat] >= 0))
        labels = None if labels is None else np.where(real, tokens.token_labels[flat], NO_LABEL)
    elif labels is not None:
        labels = labels[indices]
    return Batch(
        input_ids=torch.from_numpy(np.where(real, tokens.input_ids[flat], pad_id).astype(np.int64)),
        attention_mask=torch.from_numpy(real.astype(np.int64)),
        token_type_ids=types,
        labels=None if labels is None else torch.from_numpy(labels),
        index=torch.from_numpy(np.asarray(indices, dtype=np.int64)),
        answers=answers,
    )
