from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from engine.distill import mixup
from engine.distill.mixup import mix_answers


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
