"""The course of a run's dev metric in a few cells of text. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from crild_tui.charts.run_figures import STUDENT, trained_values
from crild_tui.monitor.curves import Curves

BLOCKS = "▁▂▃▄▅▆▇█"


def dev_history(curves: Curves, metric: str | None) -> tuple[float, ...]:
    """The student's dev metric at each evaluation, without stages that train no classifier; () where there is none."""
    student = curves.evaluations.get(STUDENT)
    name = metric if metric is not None or student is None else next(iter(student.values), None)
    values = None if student is None or name is None else trained_values(curves, student, name)
    return () if values is None else tuple(float(value) for value in values[np.isfinite(values)])


def sparkline(values: Sequence[float], width: int, levels: Sequence[float | None] = ()) -> str:
    """The values as at most `width` blocks, the newest of each cell; as high as they are among themselves and the `levels`
    (teacher and majority) that are known. A level that all values share is in the middle."""
    if not values or width < 1:
        return ""
    ends = [len(values) * (cell + 1) // min(width, len(values)) - 1 for cell in range(min(width, len(values)))]
    shown = [values[end] for end in ends]
    known = [*values, *(level for level in levels if level is not None and math.isfinite(level))]
    low, high = min(known), max(known)
    if high <= low:
        return BLOCKS[len(BLOCKS) // 2] * len(shown)
    return "".join(BLOCKS[round((value - low) / (high - low) * (len(BLOCKS) - 1))] for value in shown)
