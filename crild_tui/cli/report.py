"""`crild report`: methods by task over many finished runs, as tables, files and figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import cost_columns, endings, methods, metrics, one_of, run_names, sweep_names
from crild_tui.cli.options import RunsDir

if TYPE_CHECKING:
    from engine.report.writers import Format

FORMATS = ("table", "markdown", "csv", "json", "latex", "html", "xlsx", "pdf")


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs: ids, names (all seeds), their beginnings, or paths. [default: every finished run but trials of searches]",
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
    from crild_tui.runs.reporting import ReportRequest, run_dirs
    from engine.record.own_paths import refuse_own_path
    from engine.record.paths import runs_dir as folder_of

    if output is not None:
        refuse_own_path(output, key="--output")
    chosen = _format(form, output)
    costs = tuple(name.strip() for names in columns or () for name in names.split(",") if name.strip())
    request = ReportRequest(
        run_dirs(runs or None, sweep, folder_of(runs_dir)),
        tuple(metric or ()),
        costs,
        against,
        published,
        with_trials=bool(runs or sweep),
    )
    document = request.document(chosen.name)
    if chosen.name == "table" and output is None:
        show_document(document)
    else:
        _put(output, chosen.write(document))
    if figures is not None:
        from engine.report.figures import write_figures

        for path in write_figures(document.report, figures):
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


def _put(output: Path | None, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    if output is not None:
        from crild_tui.runs.reporting import write_output

        write_output(output, data)
        terminal.say(f"written: {output}")
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(data)
    else:
        print(data.decode("utf-8", "replace"), end="")
