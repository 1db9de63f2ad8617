"""The command over many finished runs: report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import RunsDir, run_names

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from engine.report.collect import Gathered
    from engine.report.table import Block, Cell, Report, Table

FORMATS = ("table", "markdown", "csv", "json", "latex", "html")


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
    sweep: Annotated[str | None, typer.Option("--sweep", metavar="NAME", help="The runs of a sweep.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}. [default: by --output's ending, else table]"
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="primary, all, or a metric by name. Again for more. [default: primary; csv, json, html: all]",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there. [default: stdout]")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Published figures beside them.")] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="METHOD", help="Hold the others against this one, not against the highest."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="FOLDER", help="Write the pictures too, as SVG and PNG.")
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Methods against tasks: mean ± deviation over seeds, what is best beyond chance, pictures.

    \b
    crild report
    crild report --sweep study --format html -o study.html --figures figures
    crild report --sweep study --against crild
    """
    from engine.report.collect import gather
    from engine.report.table import build

    chosen = _format(form, output)
    found = gather(_run_dirs(runs or [], sweep, runs_dir))
    built = build(found, _choices(metric or [], found, chosen), with_published=published, against=against)
    if chosen == "table":
        _show(built) if output is None else _write(output, _plain(built))
    else:
        _put(output, _text(built, chosen))
    if figures is not None:
        _draw(built, figures)


def _format(asked: str | None, output: Path | None) -> str:
    """The format that is meant. Raises UsageError for an unknown one."""
    from engine.errors import UsageError
    from engine.preset.text import listed, nearest, shown
    from engine.report.writing import ENDINGS

    if asked is None:
        ending = "" if output is None else output.suffix.lower()
        return next((name for name, endings in ENDINGS.items() if ending in endings), "table")
    if asked not in FORMATS:
        near = nearest(asked, FORMATS)
        hint = f"did you mean {near}?" if near else f"there are {listed(FORMATS, 'and')}"
        raise UsageError(f"--format {shown(asked)} is no format; {hint}", key="--format")
    return asked


def _run_dirs(refs: Sequence[str], sweep: str | None, runs_dir: str | None) -> list[Path]:
    """The runs that are meant. Raises UsageError for runs and a sweep at once, and for what is not there."""
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run, list_runs
    from engine.report.collect import of_sweep

    folder = folder_of(runs_dir)
    if refs and sweep is not None:
        raise UsageError("report takes runs or --sweep, not both")
    if sweep is not None:
        return of_sweep(folder, sweep)
    return [find_run(ref, folder) for ref in refs] if refs else [entry.path for entry in list_runs(folder)]


def _choices(asked: Sequence[str], found: Gathered, form: str) -> tuple[str, ...]:
    """The tables that are meant: the primary metric's alone, or all of them where the format is for reading further."""
    from engine.report.table import PRIMARY, metric_choices

    wanted = list(asked) or (["all"] if form in ("csv", "json", "html") else [PRIMARY])
    several = [choice for name in wanted for choice in (metric_choices(found) if name == "all" else (name,))]
    return tuple(dict.fromkeys(several))


def _text(report: Report, form: str) -> str:
    from engine.report.writing import WRITERS

    if form == "html":
        from engine.report.page import page

        return page(report)
    return WRITERS[form](report)


def _put(output: Path | None, text: str) -> None:
    if output is None:
        sys.stdout.buffer.write(text.encode("utf-8", "replace")) if hasattr(sys.stdout, "buffer") else print(
            text, end=""
        )
    else:
        _write(output, text)


def _write(output: Path, text: str) -> None:
    """Write a file whole. Raises UsageError with the cause where that cannot be done."""
    from engine.errors import UsageError
    from engine.record.files import cause, write_atomic

    try:
        write_atomic(output, text.encode("utf-8", "replace"), durable=False)
    except (OSError, ValueError) as error:
        reason = cause(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot be written: {reason}", file=str(output), key="--output") from error
    terminal.say(f"written: {output}")


def _draw(report: Report, folder: Path) -> None:
    from engine.report.figures import write_figures

    for path in write_figures(report, folder):
        terminal.say(f"written: {path}")


# -- the table of the terminal


def _show(report: Report) -> None:
    console = terminal.results()
    for part in _parts(report, console.width):
        console.print(part)


def _plain(report: Report) -> str:
    """The terminal's table as text."""
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=terminal.PIPE_WIDTH, markup=False, emoji=False, highlight=False)
    for part in _parts(report, terminal.PIPE_WIDTH):
        console.print(part)
    return out.getvalue()


def _parts(report: Report, width: int) -> Iterator[RichTable | str]:
    """Titles, tables no wider than the terminal, footers."""
    from engine.report.writing import title

    for table in report.tables:
        yield terminal.safe(title(table))
        for block in table.blocks:
            yield ""
            if block.heading:
                yield terminal.safe(block.heading)
            yield from _tables(table, block, width)
        yield ""
        for line in table.footers:
            yield terminal.safe(line)
    for line in report.notes:
        yield terminal.safe(line)


def _tables(table: Table, block: Block, width: int) -> Iterator[RichTable]:
    """One table, or several with some of the tasks each where they are too many for the terminal."""
    from rich.cells import cell_len

    from engine.report.table import ELSEWHERE
    from engine.report.writing import has_average, heads, mean, seeds

    labels = [terminal.safe(line.label) for line in block.lines]
    first = min(max(map(cell_len, [*labels, "method"])), max(20, width // 3))
    columns = [
        (head, [_cell(line.cells.get(task)) for line in block.lines])
        for head, task in zip(heads(table), table.tasks, strict=True)
    ]
    if has_average(table) and block.heading != ELSEWHERE:
        columns.append(("average", [mean(line.average) for line in block.lines]))
    room = width - first - 9
    parts: list[list[tuple[str, list[str]]]] = [[]]
    used = 0
    for head, cells in columns:
        size = max(map(cell_len, [*cells, terminal.safe(head)])) + 2
        if parts[-1] and used + size > room:
            parts.append([])
            used = 0
        parts[-1].append((head, cells))
        used += size
    for part in parts:
        heading = [("method", "left"), ("seeds", "right"), *((head, "right") for head, _ in part)]
        rows = (
            [label, seeds(line), *(cells[place] for _, cells in part)]
            for place, (label, line) in enumerate(zip(labels, block.lines, strict=True))
        )
        yield terminal.table(heading, rows)


def _cell(cell: Cell | None) -> str:
    from engine.report.writing import MARKS, figure, gap

    if cell is None:
        return ""
    text = "  ".join(part for part in (figure(cell), gap(cell)) if part)
    ascii_only = terminal.ascii_only()
    marks = {"best": "*", "tied": "~", "above": "^", "below": "v", "": ""} if ascii_only else MARKS
    return f"{text.replace('±', '+-') if ascii_only else text} {marks[cell.mark] or ' '}"
