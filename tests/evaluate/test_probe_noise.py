"""Noise on the weights, and the loss on labels that it raises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from engine.evaluate.metrics import label_loss
from engine.evaluate.weight_noise import direction, displaced, spread, under_noise
from tests.models.tiny_models import ENTAILMENT, SIMILARITY


def line(weight: float = 2.0) -> nn.Linear:
    made = nn.Linear(50, 40)
    nn.init.constant_(made.weight, weight)
    nn.init.zeros_(made.bias)
    return made


def test_noise_has_the_size_of_its_tensor_and_spares_zeros() -> None:
    of_weight, of_bias = direction(line(), seed=1)
    assert float(of_weight.std()) == pytest.approx(2.0, rel=0.1)
    assert abs(float(of_weight.mean())) < 0.2
    assert not of_bias.any()
    assert torch.allclose(direction(line(-4.0), seed=1)[0], 2 * of_weight)


def test_each_draw_is_the_same_again_and_no_other() -> None:
    one, again, other = (direction(line(), seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_nothing_is_left_of_noise_afterwards_even_after_an_error() -> None:
    model = nn.Linear(5, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    noise = direction(model, seed=1)
    with displaced(model, noise, 0.3):
        assert torch.allclose(model.weight, before["weight"] + 0.3 * noise[0])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def fail(scale: float) -> None:
        raise ZeroDivisionError(str(scale))

    with pytest.raises(ZeroDivisionError, match=r"0\.3"):
        under_noise(model, (0.3,), (1,), fail)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_noise_of_scale_zero_changes_nothing_and_scales_share_a_direction() -> None:
    model = nn.Linear(5, 4)
    clean = model.weight.detach().clone()
    found = under_noise(model, (0.0, 0.1, 0.2), (1, 2), lambda _: model.weight.detach() - clean)
    assert all(not change.any() for change in found[0.0])
    assert [len(changes) for changes in found.values()] == [2, 2, 2]
    for small, large in zip(found[0.1], found[0.2], strict=True):
        assert torch.allclose(2 * small, large, atol=1e-6)
    assert not torch.allclose(found[0.1][0], found[0.1][1])


def test_spread_is_mean_and_standard_deviation_of_a_sample() -> None:
    assert spread([1.0, 3.0]) == (2.0, math.sqrt(2))
    assert spread([1.5]) == (1.5, None)
    mean, deviation = spread([1.0, math.nan])
    assert math.isnan(mean)
    assert deviation is not None
    assert math.isnan(deviation)


def test_loss_on_labels_computed_by_hand() -> None:
    logits = np.array([[0.0, math.log(3)], [1000.0, 0.0]], np.float32)
    assert label_loss(ENTAILMENT, logits, np.array([1, 0])) == pytest.approx(math.log(4 / 3) / 2)
    assert label_loss(ENTAILMENT, logits, np.array([1, 1])) == pytest.approx((math.log(4 / 3) + 1000) / 2)
    assert label_loss(SIMILARITY, np.array([[1.0], [2.0]]), np.array([1.0, 4.0])) == pytest.approx(2.0)
    assert math.isnan(label_loss(ENTAILMENT, np.array([[math.nan, 0.0]]), np.array([0])))
