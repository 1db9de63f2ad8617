"""`crild report`: methods by task over many finished runs, as tables, files and figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import cost_columns, endings, methods, metrics, one_of, run_names, sweep_names
from crild_tui.cli.options import RunsDir

if TYPE_CHECKING:
    from engine.report.collect import CollectedRuns
    from engine.report.writers import Format

FORMATS = ("table", "markdown", "csv", "json", "latex", "html", "xlsx", "pdf")
ALL_METRICS = ("csv", "json", "html", "xlsx")
"""Formats with every metric, unless `--metric` says otherwise."""


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs: ids, their beginnings, or paths. [default: every finished run]",
            autocompletion=run_names,
            show_default=False,
        ),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="NAME", help="The runs of a sweep.", autocompletion=sweep_names)
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}. [default: by --output's ending, else table]",
            autocompletion=one_of(*FORMATS),
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="primary, all, or a metric by name. Repeatable. [default: all for csv, json, html and xlsx, else primary]",
            autocompletion=metrics,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to FILE. [default: stdout]",
            autocompletion=endings(".html", ".pdf", ".md", ".csv", ".json", ".tex", ".xlsx"),
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="NAME,...",
            help="Also show layers, params, size, latency, speedup, throughput. Repeatable.",
            autocompletion=cost_columns,
        ),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Add published scores from the literature.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="METHOD",
            help="Compare the others with this method, not with the best one.",
            autocompletion=methods,
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="FOLDER", help="Also write the figures, as SVG and PNG.")
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Report methods by task: mean ± deviation over seeds, significance, figures.

    \b
    crild report
    crild report --sweep study --format html -o study.html --figures figures
    crild report --sweep study --against crild
    crild report --columns params,size,latency -o study.pdf
    """
    from crild_tui.cli.result_tables import show_document
    from engine.record.own_paths import refuse_own_path
    from engine.report.collect import collect_runs
    from engine.report.cost_columns import cost_columns
    from engine.report.report_document import report_document
    from engine.report.table import build_report

    if output is not None:
        refuse_own_path(output, key="--output")
    chosen = _format(form, output)
    costs = cost_columns(name.strip() for names in columns or () for name in names.split(",") if name.strip())
    collected = collect_runs(_run_dirs(runs or [], sweep, runs_dir))
    built = build_report(
        collected, _choices(metric or [], collected, chosen.name), with_published=published, against=against
    )
    document = report_document(built, costs)
    if chosen.name == "table" and output is None:
        show_document(document)
    else:
        _put(output, chosen.write(document))
    if figures is not None:
        from engine.report.figures import write_figures

        for path in write_figures(built, figures):
            terminal.say(f"written: {path}")


def _format(name: str | None, output: Path | None) -> Format:
    """The format by its name, else by the file's ending. Raises UsageError for an unknown one, and for one that a terminal
    cannot show."""
    from crild_tui.cli.result_tables import plain_text
    from engine.errors import UsageError
    from engine.report.writers import FORMATS, Format, format_named, format_of_file

    table = Format("table", "text", (".txt",), plain_text)
    formats = {"table": table, **FORMATS}
    if name is None:
        return table if output is None else format_of_file(output, table, formats)
    chosen = format_named(name, formats)
    if chosen.binary and output is None and sys.stdout.isatty():
        sentence = (
            f"{chosen.title} is no text for a terminal: name a file, as in `crild report -o study{chosen.endings[0]}`"
        )
        raise UsageError(sentence, kind="binary-to-terminal", key="--format")
    return chosen


def _run_dirs(refs: Sequence[str], sweep: str | None, runs_dir: str | None) -> list[Path]:
    """The chosen runs. Raises UsageError for both runs and a sweep, and for a run or a sweep that does not exist."""
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import check_runs_dir, find_run, list_runs
    from engine.report.collect import runs_of_sweep

    folder = folder_of(runs_dir)
    check_runs_dir(folder)
    if refs and sweep is not None:
        raise UsageError("report takes runs or --sweep, not both", kind="runs-and-sweep")
    if sweep is not None:
        return runs_of_sweep(folder, sweep)
    return [find_run(ref, folder) for ref in refs] if refs else [entry.path for entry in list_runs(folder)]


def _choices(asked: Sequence[str], runs: CollectedRuns, form: str) -> tuple[str, ...]:
    """The metrics to report: by default the primary one, or all of them in formats for further processing."""
    from engine.report.table import PRIMARY, metric_choices

    names = list(asked) or (["all"] if form in ALL_METRICS else [PRIMARY])
    several = [choice for name in names for choice in (metric_choices(runs) if name == "all" else (name,))]
    return tuple(dict.fromkeys(several))


def _put(output: Path | None, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    if output is not None:
        _write(output, data)
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(data)
    else:
        print(data.decode("utf-8", "replace"), end="")


def _write(output: Path, data: bytes) -> None:
    """Write a file atomically. Raises UsageError with the cause if that fails."""
    from engine.errors import UsageError
    from engine.record.files import cause, write_atomic

    try:
        write_atomic(output, data, durable=False)
    except (OSError, ValueError) as error:
        reason = cause(error) if isinstance(error, OSError) else str(error)
        sentence = f"cannot be written: {reason}"
        raise UsageError(sentence, kind="unwritable-file", file=str(output), key="--output") from error
    terminal.say(f"written: {output}")
