"""What the students of a report get wrong: of each group of runs, the best one's mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.errors import CrildError
from engine.report.collect import FinishedRun
from engine.report.settings import Group
from engine.report.student_errors import StudentErrors, has_predictions, student_errors


@dataclass(frozen=True)
class GroupErrors:
    """The run of a group whose student has the highest primary metric, and what it gets wrong."""

    group: Group
    run: FinishedRun
    errors: StudentErrors


def group_errors(groups: Iterable[Group]) -> Iterator[GroupErrors]:
    """Of each group the best run's mistakes; nothing for runs of scores, and without predictions that can be read."""
    for group in groups:
        run = max(group.runs, key=lambda run: run.metrics.get(run.metric, -1.0))
        if not has_predictions(run.run_dir):
            continue
        try:
            errors = student_errors(run.run_dir)
        except CrildError:
            continue  # best_marks says what is wrong with them
        if errors.classes:
            yield GroupErrors(group, run, errors)
