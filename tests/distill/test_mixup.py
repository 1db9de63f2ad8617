from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from engine.distill import mixup
from engine.distill.mixup import mix_answers, mix_tokens


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_larger_share_is_the_sentence_itself(alpha: float) -> None:
    drawn = [mixup.draw(np.random.default_rng(seed), alpha) for seed in range(300)]
    assert all(0.5 <= lam <= 1 for lam in drawn)
    folded = np.random.default_rng(0).beta(alpha, alpha, 20_000)
    assert np.mean(drawn) == pytest.approx(np.maximum(folded, 1 - folded).mean(), abs=0.03)


def test_a_draw_is_the_generators() -> None:
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    assert [mixup.draw(one, 1.0) for _ in range(3)] == [mixup.draw(other, 1.0) for _ in range(3)]


@pytest.mark.parametrize("unpaired", ["padding", "whole"])
def test_masks_are_united_with_the_reversed_batch(unpaired: Literal["padding", "whole"]) -> None:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]]).bool()
    _, united = mixup.mix(torch.zeros(3, 3, 2), mask, 0.7, unpaired)
    assert united.long().tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]


def test_mixed_answers_by_hand() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]).log()
    mixed = mix_answers(logits, 0.75)
    assert torch.allclose(mixed.softmax(-1), torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.6, 0.4]]), atol=1e-6)
    soft = (logits / 2).softmax(-1)
    expected = 0.75 * soft + 0.25 * soft.flip(0)
    assert torch.allclose((mix_answers(logits, 0.75, 2.0) / 2).softmax(-1), expected, atol=1e-6), (
        "as the stage softens it"
    )
    alone = mix_answers(torch.tensor([[0.9, 0.1], [0.2, 0.8]]).logit(), 0.75, kind="multilabel").sigmoid()
    assert torch.allclose(alone, torch.tensor([[0.725, 0.275], [0.375, 0.625]]), atol=1e-6)
    scores = torch.tensor([[1.0], [2.0], [5.0]])
    assert mix_answers(scores, 0.75, 2.0, kind="regression").flatten().tolist() == [2.0, 2.0, 4.0]


TABLE = torch.tensor([[3.0, 3.0], [0.9, 0.9], [1.0, 0.0], [0.0, 1.0], [2.0, 2.1], [-0.3, 2.4], [0.0, 0.0]])
"""Word embeddings of two numbers; of these words the first two are special."""
ORDINARY = torch.tensor([False, False, True, True, True, True, True])


def test_projected_tokens_by_hand() -> None:
    """By the angle of the mixture; words 2 to 5 are at 0°, 90°, 46.4° and 97.1°."""
    ids, mask = torch.tensor([[2, 2], [3, 5]]), torch.ones(2, 2).bool()
    for lam, angles, expected in [
        (0.5, [[45.0, 73.7], [45.0, 73.7]], [[4, 3], [4, 3]]),
        (0.6, [[33.7, 63.4], [56.3, 81.3]], [[4, 4], [4, 3]]),
        (0.9, [[6.3, 15.4], [83.7, 94.5]], [[2, 2], [3, 5]]),
    ]:
        mixed = lam * TABLE[ids] + (1 - lam) * TABLE[ids.flip(0)]
        assert torch.allclose(torch.atan2(mixed[..., 1], mixed[..., 0]).rad2deg(), torch.tensor(angles), atol=0.05)
        assert mix_tokens(ids, mask, lam, TABLE, ORDINARY)[0].tolist() == expected
        assert mix_tokens(ids, mask, torch.tensor(lam), TABLE, ORDINARY)[0].tolist() == expected
    assert ids.tolist() == [[2, 2], [3, 5]], "the batch itself stays"


def test_special_tokens_and_tokens_without_a_partner_stay() -> None:
    ids = torch.tensor([[0, 2, 2, 1, 6, 6], [0, 3, 1, 4, 5, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
    tokens, both = mix_tokens(ids, mask, 0.5, TABLE, ORDINARY)
    assert tokens.tolist() == [[0, 4, 2, 1, 5, 1], [0, 4, 1, 4, 5, 1]]
    assert both.all()
    ids, mask = torch.tensor([[2, 6], [2, 6], [2, 6]]), torch.tensor([[1, 0], [1, 0], [1, 0]]).bool()
    tokens, both = mix_tokens(ids, mask, 0.5, TABLE, ORDINARY)
    assert (tokens.tolist(), both.tolist()) == (ids.tolist(), mask.tolist()), "nothing differs"


def test_projection_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    table, ids = torch.randn(50, 8, generator=draw), torch.randint(0, 50, (6, 9), generator=draw)
    mask, ordinary = torch.ones(6, 9).bool(), torch.arange(50) > 4
    whole, _ = mix_tokens(ids, mask, 0.52, table, ordinary)
    monkeypatch.setattr(mixup, "SCORES", 120)
    assert torch.equal(mix_tokens(ids, mask, 0.52, table, ordinary)[0], whole)
    changed = whole != ids
    assert changed.any()
    assert ordinary[whole[changed]].all()
