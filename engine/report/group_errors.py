"""What the students of a report get wrong: of each group of runs, the best one's mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.errors import CrildError
from engine.preset.names import task_title
from engine.preset.text import plain
from engine.report.collect import FinishedRun
from engine.report.error_tables import count_cell, error_tables, share_cell
from engine.report.result_table import Cell, Column, ResultTable, Row, Section
from engine.report.settings import Group, setting_text
from engine.report.student_errors import StudentErrors, has_predictions, student_errors

if TYPE_CHECKING:
    from engine.report.calibration import Calibration

NOTE = "Of each method's runs, the one with the highest primary metric. Of more than ten classes, the worst are shown."
_COLUMNS = (
    *(Column(heading, scores=False) for heading in ("seed", "rows", "wrong", "unlike teacher")),
    *map(Column, ("ECE", "ECE with T", "teacher's ECE")),
    Column("T", scores=False),
)


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


def mistake_tables(groups: Iterable[Group]) -> tuple[ResultTable, ...]:
    """The mistakes of all groups: an overview with calibration, then the classes and the confusions of each task.

    A table of a task has a section for each group; groups whose classes differ have tables of their own.
    """
    several = list(group_errors(groups))
    if not several:
        return ()
    tables: dict[ResultTable, list[Section]] = {}
    for one in several:
        task = task_title(plain(one.group.task))
        for table in error_tables(one.errors):
            title = f"{task}: {table.title[0].lower()}{table.title[1:]}"
            frame = ResultTable(table.row_heading, table.columns, name=f"{table.name} {task}", title=title)
            tables.setdefault(frame, []).append(Section(_heading(one.group), table.rows))
    return _overview(several), *(replace(frame, sections=tuple(sections)) for frame, sections in tables.items())


def _overview(several: Sequence[GroupErrors]) -> ResultTable:
    """How many rows each student gets wrong, and its calibration: a section for each task."""
    tasks = dict.fromkeys(one.group.task for one in several)
    sections = (
        Section(
            task_title(plain(task)) if len(tasks) > 1 else "",
            tuple(_overview_row(one) for one in several if one.group.task == task),
        )
        for task in tasks
    )
    title = (
        "What the students get wrong on dev, and their calibration error (ECE, in %) before and after one temperature T"
    )
    return ResultTable("method", _COLUMNS, tuple(sections), name="Mistakes", title=title, notes=(NOTE,))


def _overview_row(one: GroupErrors) -> Row:
    errors, own = one.errors, one.errors.calibration
    temperature = None if own is None else own.temperature
    cells = (
        Cell(str(one.run.seed), one.run.seed),
        *map(count_cell, (errors.rows, errors.wrong)),
        count_cell(len(errors.disagreements)) if errors.has_teacher else Cell("-"),
        share_cell(_before(own)),
        share_cell(None if own is None else own.after),
        share_cell(_before(errors.teacher_calibration)),
        Cell("-" if temperature is None else f"{temperature:.2f}", temperature),
    )
    return Row(plain(one.group.method), cells, setting=setting_text((*one.group.common, *one.group.own), most=99))


def _before(measured: Calibration | None) -> float | None:
    return None if measured is None else measured.before


def _heading(group: Group) -> str:
    setting = setting_text((*group.common, *group.own), most=99)
    return f"{plain(group.method)} ({setting})" if setting else plain(group.method)
