"""What a window gathers between two points of the curves."""

from __future__ import annotations

import pytest
import torch

from engine.train.step import Losses
from engine.train.step_metrics import StepMetrics


def test_a_step_that_writes_into_the_same_place_does_not_change_what_was_gathered() -> None:
    window, place = StepMetrics(torch.device("cpu")), torch.zeros(3)
    for value in (1.0, 2.0, 6.0):
        place.fill_(value)
        window.add(Losses(place[0], {"hidden": place[1]}, place[2]), 0.1)
        window.step(place[0], 1e-3, examples=4, tokens=9)
    reading = window.read()
    assert reading is not None
    assert (reading["loss"], reading["terms"], reading["consistency"]) == (3.0, {"hidden": 3.0}, 3.0)
    assert reading["gradient_norm"] == pytest.approx(3.0)
