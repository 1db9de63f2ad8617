"""How good the student is now, between the majority guess and its teacher: pure functions from figures to a line."""

from __future__ import annotations

import math

from textual.content import Content

from crild_tui.runs import formatting
from crild_tui.runs.summary import RunSummary
from engine.preset.text import plain
from engine.report.majority import TOLERANCE

SHORTEST, LONGEST = 8, 48
"""Cells of the bar between its ends."""
POINT, PAST, AHEAD = "●", "━", "─"
GAP = "  "


def share_kept(value: float, majority: float, teacher: float) -> float | None:
    """How much of the teacher's margin over the majority guess a metric keeps; None where there is no such margin. Figures that
    differ by their rounding alone are the same."""
    margin = teacher - majority
    if not (margin > 0 and math.isfinite(margin)):
        return None
    for same, share in ((majority, 0.0), (teacher, 1.0)):
        if abs(value - same) <= TOLERANCE:
            return share
    return (value - majority) / margin


def verdict(value: float, majority: float, teacher: float) -> str:
    """The student's place in words: `80.0 % of the way`, or on which side of the bar it is."""
    share = share_kept(value, majority, teacher)
    if share is None:
        return "the teacher is no better than the majority guess"
    if share < 0:
        return "below the majority guess"
    if share == 0:
        return "no better than the majority guess"
    if share > 1:
        return "above its teacher"
    return "as good as its teacher" if share == 1 else f"{share * 100:.1f} % of the way"


def bar(share: float, width: int) -> Content:
    """`├━━━━●──┤` with `width` cells between its ends; the point is outside of them below a share of 0 and above 1."""
    left, right = ("├", "$foreground-muted"), ("┤", "$foreground-muted")
    point = (POINT, "$primary bold")
    if share < 0:
        return Content.assemble(point, left, (AHEAD * width, "$foreground-muted"), right)
    if share > 1:
        return Content.assemble(left, (PAST * width, "$primary"), right, point)
    at = round(share * (width - 1))
    rest = (AHEAD * (width - 1 - at), "$foreground-muted")
    return Content.assemble(left, (PAST * at, "$primary"), point, rest, right)


def standing_line(summary: RunSummary, width: int) -> Content | None:
    """The student's metric, then the bar from the majority guess to the teacher with both figures, then words if they fit.

    The metric is that of the last evaluation; once the run has finished, that of the saved student.
    None while one of the three is unknown, while a stage trains no classifier, and where there is no room for a bar.
    """
    value = summary.metric if summary.saved is None else summary.saved
    majority, teacher = summary.majority, summary.teacher
    if value is None or majority is None or teacher is None or summary.dev_loss is not None:
        return None
    if not all(map(math.isfinite, (value, majority, teacher))):
        return None
    metric, share = formatting.metric, share_kept(value, majority, teacher)
    head = f"{plain(summary.metric_name or 'metric')} {metric(value)}"
    low, high = f"majority {metric(majority)} ", f" {metric(teacher)} teacher"
    words = verdict(value, majority, teacher)
    if share is None:
        ends = f"{head}{GAP}{low.rstrip()}{GAP}teacher {metric(teacher)}{GAP}{words}"
        return Content(ends) if len(ends) <= width else None
    fixed = len(head) + len(GAP) + len(low) + len(high) + 3
    room = width - fixed - len(GAP) - len(words)
    if room < SHORTEST:
        room, words = width - fixed, ""
    if room < SHORTEST:
        return None
    shown = bar(share, min(room, LONGEST))
    return Content.assemble((head, "bold"), GAP, (low, "$foreground-muted"), shown, (high, "$foreground-muted"),
                            (f"{GAP}{words}" if words else "", ""))  # fmt: skip
