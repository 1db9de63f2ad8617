"""Runs side by side, and reports over runs: tables that show themselves and become DataFrames or files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from crild.api.packages import use_packages
from crild.api.run import Run, run_dir_of

if TYPE_CHECKING:
    import pandas as pd

    from crild_tui.runs.reporting import ReportRequest
    from crild_tui.runs.side_by_side import SideBySide


def compare(*runs: Run | str | os.PathLike[str], runs_dir: str | os.PathLike[str] | None = None) -> Comparison:
    """Compare two runs or more: their metrics, what they read, and how their presets differ.

    Raises CrildError for a run that does not exist, or whose preset cannot be read.
    """
    use_packages()
    from crild_tui.runs.side_by_side import check_number, side_by_side

    check_number(runs)
    return Comparison(side_by_side([run_dir_of(run, runs_dir) for run in runs]))


class Comparison:
    """Runs side by side. Made by `compare`."""

    def __init__(self, read: SideBySide):
        self._read = read

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each run, each mean over seeds and each model to compare with; metrics as shares of 1."""
        import pandas as pd

        return pd.DataFrame(list(self._read.metrics.records))

    def differences(self) -> pd.DataFrame:
        """A row for each input and setting in which the runs differ, a column for each run; "-" where one has none."""
        import pandas as pd

        rows = self._read.differences
        return pd.DataFrame([row[1:] for row in rows], index=[row[0] for row in rows], columns=list(self._read.names))

    def __repr__(self) -> str:
        return f"<crild.Comparison of {', '.join(self._read.names)}>"

    def _repr_html_(self) -> str:
        from crild_tui.runs.html import result_html, table_html

        differences = table_html(("", *self._read.names), self._read.differences) if self._read.differences else ""
        return result_html(self._read.metrics) + differences


def report(
    runs: Iterable[Run | str | os.PathLike[str]] | None = None,
    *,
    sweep: str | None = None,
    metrics: str | Iterable[str] = (),
    against: str | None = None,
    columns: Iterable[str] = (),
    published: bool = False,
    runs_dir: str | os.PathLike[str] | None = None,
) -> Report:
    """Report methods by task, as `crild report`: mean ± deviation over seeds, and significance.

    Of these runs, of those of a sweep, or of every finished run in `runs_dir` but
    the trials of searches. `metrics` are names, "primary" or "all";
    `against` is the method that the others are compared with, in place of the best; `columns` adds layers, params, size,
    latency, speedup, throughput; `published` adds scores from the literature. Raises CrildError for unknown names.
    """
    use_packages()
    from crild_tui.runs.reporting import ReportRequest, run_dirs
    from engine.record.paths import runs_dir as folder_of

    folder = folder_of(None if runs_dir is None else os.fspath(runs_dir))
    chosen = None if runs is None else [str(run_dir_of(run, runs_dir)) for run in runs]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    return Report(
        ReportRequest(
            run_dirs(chosen, sweep, folder), tuple(names), tuple(columns), against, published,
            with_trials=chosen is not None or sweep is not None,
        )
    )  # fmt: skip


class Report:
    """A report over runs. Made by `report`."""

    def __init__(self, request: ReportRequest):
        self._request = request
        self._document = request.document("table")

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each method, task and metric: mean, deviation, significance, size, speed; as `crild report -o x.csv`."""
        import pandas as pd

        records = [record for table in self._request.document("csv").tables for record in table.records]
        return pd.DataFrame(
            [{k: " ".join(v) if isinstance(v, tuple) else v for k, v in record.items()} for record in records]
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, in the format of its ending: .html .md .csv .tex .pdf .json .xlsx; returns the file.

        Raises CrildError for another ending, and for a file that cannot be written.
        """
        from crild_tui.runs.reporting import write_report
        from engine.record.paths import user_path

        file = user_path(os.fspath(path), "the report")
        write_report(file, self._request)
        return file

    def __repr__(self) -> str:
        from engine.preset.text import plural

        return f"<crild.Report of {plural(len(self._document.report.runs), 'run')}>"

    def _repr_html_(self) -> str:
        from crild_tui.runs.html import list_html, result_html

        return "".join([*map(result_html, self._document.tables), list_html(self._document.notes)])
