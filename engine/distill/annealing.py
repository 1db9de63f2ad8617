"""Annealing of the teacher's logits (Jafari et al. 2021): the student's first targets are small, the last ones the teacher's own."""

from __future__ import annotations


def factor(step: int, steps: int, levels: int) -> float:
    """What the teacher's logits are multiplied by: 1/levels, 2/levels, ..., 1, each for an equal share of a stage.

    In the paper's terms 1 - (T - 1)/levels, where the temperature T falls from `levels` to 1 in whole numbers.

    Args:
        step: the stage's optimiser step, counted from 0.
        steps: the steps of the stage.
        levels: how many different factors there are; of a stage with fewer steps, some are left out.
    """
    return (min(step, steps - 1) * levels // steps + 1) / levels
