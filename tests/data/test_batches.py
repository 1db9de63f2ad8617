from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.batches import Batch, collate, epoch_batches, evaluation_batches
from engine.data.tokens import TokenSet

Lengths = npt.NDArray[np.int64]

lengths_of_rows = st.lists(st.integers(1, 60), max_size=300).map(lambda values: np.array(values, dtype=np.int64))


def token_set(lengths: list[int], *, types: bool = True, labels: bool = True) -> TokenSet:
    """Row r holds 100 r + 1, 100 r + 2, …, so that every token tells where it came from."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = [100 * row + place + 1 for row, length in enumerate(lengths) for place in range(length)]
    return TokenSet(
        ids=tuple(f"dev-{row}" for row in range(len(lengths))),
        offsets=offsets,
        input_ids=np.array(ids, dtype=np.int32),
        type_ids=np.array([value % 2 for value in ids], dtype=np.int8) if types else None,
        labels=np.arange(len(lengths), dtype=np.int64) if labels else None,
        cut=0,
        content="",
    )


@given(lengths_of_rows, st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_an_epoch_has_every_row_once_and_one_batch_may_be_smaller(lengths: Lengths, size: int, seed: int) -> None:
    batches = epoch_batches(lengths, size, [seed, 1])
    rows = [row for batch in batches for row in batch.tolist()]
    assert sorted(rows) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert sum(len(batch) != size for batch in batches) == (1 if len(lengths) % size else 0)


@given(lengths_of_rows, st.integers(1, 40), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_the_order_is_a_function_of_the_seed(lengths: Lengths, size: int, seed: list[int]) -> None:
    np.random.seed(1)
    first = [batch.tolist() for batch in epoch_batches(lengths, size, seed)]
    np.random.seed(2)
    assert first == [batch.tolist() for batch in epoch_batches(lengths.copy(), size, tuple(seed))]


def test_several_labels_are_not_cut_with_the_padding() -> None:
    labels = np.eye(4, 9, dtype=np.uint8)
    batch = collate(replace(token_set([5, 2, 1, 2]), labels=labels), np.arange(4), pad_id=0)
    for part in (*batch.mirrored_parts(2), batch.take(torch.tensor([1, 2]), 2)):
        assert part.labels is not None
        assert part.labels.tolist() == labels[part.index.numpy()].tolist()


def test_epochs_and_seeds_differ() -> None:
    lengths = np.full(200, 7)
    orders = {
        str([batch.tolist() for batch in epoch_batches(lengths, 8, seed)]) for seed in ([1, 0, 0], [1, 0, 1], [2, 0, 0])
    }
    assert len(orders) == 3


def test_batches_need_little_padding_and_come_in_random_order() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=4000)
    batches = epoch_batches(lengths, 32, [0])
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.05, "unsorted batches pad to about 1.9"
    longest = np.array([lengths[batch].max() for batch in batches])
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.3, "long batches do not come last"
    inside = [np.corrcoef(np.arange(32), lengths[batch])[0, 1] for batch in batches if len(set(lengths[batch])) > 1]
    assert abs(float(np.mean(inside))) < 0.2, "mixup would always pair the longest with the shortest"


def test_the_smaller_batch_is_not_always_of_the_longest_rows() -> None:
    lengths = np.arange(1, 101)
    found = set()
    for seed in range(20):
        (small,) = [batch for batch in epoch_batches(lengths, 32, [seed]) if len(batch) < 32]
        found.add(int(lengths[small].max()))
    assert len(found) > 1


def test_the_order_is_pinned() -> None:
    """A resumed run would train on other batches if this changed."""
    batches = epoch_batches(np.array([3, 9, 4, 1, 7, 7, 2]), 3, [42, 1, 0])
    assert [batch.tolist() for batch in batches] == PINNED


PINNED = [[2], [0, 6, 3], [1, 4, 5]]


@given(lengths_of_rows, st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_evaluation_goes_from_long_to_short(lengths: Lengths, size: int) -> None:
    order = [row for batch in evaluation_batches(lengths, size) for row in batch.tolist()]
    assert sorted(order) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()


def test_collate_pads_on_the_right_to_the_longest() -> None:
    batch = collate(token_set([2, 1, 4]), np.array([2, 0]), pad_id=9)
    assert batch.input_ids.tolist() == [[201, 202, 203, 204], [1, 2, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.token_type_ids is not None
    assert batch.token_type_ids.tolist() == [[1, 0, 1, 0], [1, 0, 0, 0]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [2, 0]
    assert batch.index.tolist() == [2, 0]
    assert {batch.input_ids.dtype, batch.attention_mask.dtype, batch.token_type_ids.dtype} == {torch.int64}


def test_collate_pads_to_a_fixed_length() -> None:
    batch = collate(token_set([2, 1], types=False, labels=False), np.array([1, 0]), pad_id=0, pad_to=4)
    assert batch.input_ids.tolist() == [[101, 0, 0, 0], [1, 2, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    assert batch.token_type_ids is None
    assert batch.labels is None
    with pytest.raises(ValueError, match="a row of 2 tokens does not fit in 1"):
        collate(token_set([2, 1]), np.array([0, 1]), pad_id=0, pad_to=1)


def whole_batch(size: int) -> Batch:
    lengths = np.random.default_rng(size).integers(1, 9, size=size).tolist()
    return collate(token_set(lengths), np.random.default_rng(1).permutation(size), pad_id=0)


@given(st.integers(1, 40), st.integers(1, 45))
@settings(max_examples=80, deadline=None)
def test_each_part_of_a_batch_pairs_the_examples_that_the_whole_pairs(size: int, n: int) -> None:
    batch = whole_batch(size)
    parts = batch.mirrored_parts(n)
    partner = dict(zip(batch.index.tolist(), batch.index.flip(0).tolist(), strict=True))
    assert sorted(row for part in parts for row in part.index.tolist()) == list(range(size))
    for part in parts:
        assert [partner[row] for row in part.index.tolist()] == part.index.flip(0).tolist()
    sizes = [len(part) for part in parts]
    assert len(parts) == min(n, (size + 1) // 2)
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 2


def test_a_part_carries_all_that_belongs_to_its_rows() -> None:
    batch = whole_batch(7)
    tokens = token_set(np.random.default_rng(7).integers(1, 9, size=7).tolist())
    for part in batch.mirrored_parts(2):
        again = collate(tokens, part.index.numpy(), pad_id=0)
        assert torch.equal(part.input_ids, again.input_ids), "trimmed to its own longest row"
        assert torch.equal(part.attention_mask, again.attention_mask)
        assert part.token_type_ids is not None
        assert again.token_type_ids is not None
        assert torch.equal(part.token_type_ids, again.token_type_ids)
        assert part.labels is not None
        assert part.labels.tolist() == part.index.tolist()
    kept = batch.mirrored_parts(3, trim=False)
    assert {part.input_ids.shape[1] for part in kept} == {batch.input_ids.shape[1]}


def test_one_part_is_the_batch_itself_in_its_order() -> None:
    batch = whole_batch(9)
    (part,) = batch.mirrored_parts(1)
    assert torch.equal(part.input_ids, batch.input_ids)
    assert part.index.tolist() == batch.index.tolist()


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be cut into 0 parts"):
        whole_batch(4).mirrored_parts(0)
    with pytest.raises(ValueError, match="cannot hold 0 examples"):
        epoch_batches(np.array([1]), 0, [0])


def test_a_batch_moves_whole() -> None:
    moved = whole_batch(3).to("meta")
    assert {moved.input_ids.device.type, moved.index.device.type, moved.attention_mask.device.type} == {"meta"}
    assert moved.labels is not None
    assert moved.labels.device.type == "meta"
    assert moved.token_type_ids is not None
    assert moved.token_type_ids.device.type == "meta"
