"""Reports as command line and notebooks ask for them: which runs, metrics and formats, and the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.report.collect import CollectedRuns
    from engine.report.report_document import ReportDocument

ALL_METRICS = ("csv", "json", "html", "xlsx")
"""Formats with every metric, unless some are chosen."""


@dataclass(frozen=True)
class ReportRequest:
    """A report. `metrics` and `columns` are names; without metrics, the format decides."""

    run_dirs: tuple[Path, ...]
    metrics: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    against: str | None = None
    published: bool = False
    with_trials: bool = True
    """Whether single trials of searches count."""

    @cached_property
    def _collected(self) -> CollectedRuns:
        from engine.report.collect import collect_runs

        return collect_runs(self.run_dirs, with_trials=self.with_trials)

    def document(self, form: str) -> ReportDocument:
        """The report as a format of this name has it. Raises UsageError for unknown metrics, methods and columns."""
        from engine.report.cost_columns import cost_columns
        from engine.report.report_document import report_document
        from engine.report.table import PRIMARY, build_report, metric_choices

        costs = cost_columns(self.columns)
        names = self.metrics or (("all",) if form in ALL_METRICS else (PRIMARY,))
        several = [c for name in names for c in (metric_choices(self._collected) if name == "all" else (name,))]
        built = build_report(
            self._collected, tuple(dict.fromkeys(several)), with_published=self.published, against=self.against
        )
        return report_document(built, costs)


def run_dirs(refs: Sequence[str] | None, sweep: str | None, folder: Path) -> tuple[Path, ...]:
    """The chosen runs; without a choice all of the folder. Raises UsageError for both runs and a sweep, and for a run or a
    sweep that does not exist."""
    from engine.record.run import check_runs_dir, find_runs, list_runs
    from engine.report.collect import runs_of_sweep

    check_runs_dir(folder)
    if refs is not None and sweep is not None:
        raise UsageError("report takes runs or --sweep, not both", kind="runs-and-sweep")
    if sweep is not None:
        return tuple(runs_of_sweep(folder, sweep))
    if refs is None:
        return tuple(entry.path for entry in list_runs(folder))
    return tuple(run_dir for ref in refs for run_dir in find_runs(ref, folder))


def write_report(output: Path, request: ReportRequest) -> None:
    """Write a report in the format of the file's ending, HTML without one.

    Raises UsageError for an unknown ending, and where the file cannot be written.
    """
    from engine.record.own_paths import refuse_own_path
    from engine.report.writers import FORMATS, format_of_file

    refuse_own_path(output, key="--output")
    form = format_of_file(output, FORMATS["html"])
    content = form.write(request.document(form.name))
    write_output(output, content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


def write_output(output: Path, data: bytes) -> None:
    """Write a file atomically. Raises UsageError with the cause if that fails."""
    from engine.record.files import cause, write_atomic

    try:
        write_atomic(output, data, durable=False)
    except (OSError, ValueError) as error:
        reason = cause(error) if isinstance(error, OSError) else str(error)
        sentence = f"cannot be written: {reason}"
        raise UsageError(sentence, kind="unwritable-file", file=str(output), key="--output") from error
