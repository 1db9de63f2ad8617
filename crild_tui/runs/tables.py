"""Tables that the command line prints and the dashboard shows: of a finished run, and of its probe."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.runs import formatting, probe_rows
from engine.errors import RunError
from engine.preset.text import plain
from engine.record.files import read_object
from engine.record.paths import PRESET, RESULTS, STUDENT
from engine.report.majority import ASCII_MARK, LEGEND, MARK

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from engine.record.latency import LatencyCase
    from engine.record.probe import Probe
    from engine.report.closing_table import ClosingTable, ModelRow

COST = (
    ("params", "parameters", formatting.amount),
    ("size", "bytes", formatting.size),
    ("latency", "latency_ms", formatting.milliseconds),
    ("examples/s", "throughput", formatting.rate),
)
UNTRAINED = "head not trained"
"""Stands for the metrics of a classifier that no stage trained."""
WORDS = frozenset({"", "layer", "distance", "method", "noise"})
"""Columns of a probe that hold words (or bars), and so begin at the left."""


def text_table(
    columns: Iterable[tuple[str, str]],
    rows: Iterable[Iterable[str | Text]],
    *,
    title: str | None = None,
    ascii_only: bool = False,
) -> Table:
    """A table of plain text: `columns` are (heading, "left" | "right"), rows hold text that is shown as it is."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True) if ascii_only else box.SIMPLE_HEAD
    heading = None if title is None else Text(plain(title))
    table = Table(box=lines, show_edge=False, pad_edge=False, title=heading, title_justify="left", header_style="bold")
    for name, side in columns:
        table.add_column(Text(plain(name)), justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return table


# -- a finished run


def read_closing(run_dir: Path) -> ClosingTable:
    """The closing table of a run, from its files. Raises RunError that says why there is none."""
    from engine.report.closing_table import closing_table

    return closing_table(read_results(run_dir))


def read_results(run_dir: Path) -> dict[str, Any]:
    """The results of a run, from its file. Raises RunError that says why there are none."""
    again = f"`{formatting.command('resume', run_dir)}` writes it again"
    try:
        return read_object(run_dir / RESULTS)
    except FileNotFoundError:
        sentence = f"{run_dir.name} has no {RESULTS}; if it has finished, {again}"
        raise RunError(sentence, kind="missing-results") from None
    except RunError as error:
        way_out = "" if error.kind == "cannot-read-record" else f"; {again}"  # it may be whole
        sentence = f"{RESULTS} of {run_dir.name} {error.sentence}{way_out}"
        raise RunError(sentence, kind="unreadable-results") from None


def closing_parts(
    closing: ClosingTable, run_dir: Path, took: str | None, *, ascii_only: bool = False
) -> Iterator[str | Table]:
    """Sentences and tables of a finished run, in their order; `took` is how long it took."""
    yield f"{run_dir.name}: {closing.task}, {closing.split}"  # the results name the run as it was called then
    yield ""
    yield _models(closing, ascii_only)
    if any(row.below_majority for row in closing.models):
        yield LEGEND.replace(MARK, ASCII_MARK) if ascii_only else LEGEND
    yield ""
    yield from closing.statements
    if closing.stages:
        yield ""
        yield _stages(closing, ascii_only)
    yield ""
    if (run_dir / STUDENT).is_dir():
        yield f"student: {run_dir / STUDENT}"
    if closing.checkpoints_deleted:
        freed = formatting.size(closing.checkpoints_deleted)
        yield f"disk:    checkpoints deleted, {freed} (train.keep_for_extending = true keeps them)"
    if took is not None:
        yield f"took:    {took}"
    own = f"crild run {shlex.quote(str(run_dir / PRESET))}"
    yield f"repeat:  {own if closing.command is None or PRESET in closing.command else closing.command}"


def _models(closing: ClosingTable, ascii_only: bool) -> Table:
    """Teacher, student and baselines; columns of cost only where something was measured."""
    names, rows = model_rows(closing, ASCII_MARK if ascii_only else MARK)
    columns = [(name, "right" if number else "left") for number, name in enumerate(names)]
    return text_table(columns, rows, ascii_only=ascii_only)


def model_rows(closing: ClosingTable, sign: str = MARK) -> tuple[list[str], list[list[str]]]:
    """The headings of the table of models, and a row for each; `sign` marks figures at or below the majority guess."""
    costs = [cost for cost in COST if any(getattr(row, cost[1]) is not None for row in closing.models)]
    marked = {name for row in closing.models for name in row.below_majority}
    rows = [_model_row(row, closing.metrics, costs, marked, sign) for row in closing.models]
    return ["", *closing.metrics, *(label for label, _, _ in costs)], rows


def _model_row(
    row: ModelRow, metrics: Iterable[str], costs: Iterable[tuple[str, str, Any]], marked: Set[str], sign: str
) -> list[str]:
    """The cells of a model; in the columns that are `marked`, with the sign of the majority guess or a blank."""
    signs = {name: f" {sign if name in row.below_majority else ' '}" for name in marked}
    figures = [f"{formatting.metric(row.metrics.get(name))}{signs.get(name, '')}" for name in metrics]
    if not row.head_trained:
        figures = [UNTRAINED, *[""] * len(figures)][: len(figures)]
    measured = [word(getattr(row, field)) if row.has_cost else "" for _, field, word in costs]
    return [row.name, *figures, *measured]


def _stages(closing: ClosingTable, ascii_only: bool) -> Table:
    """Steps, time and speed of each stage."""
    rows = (
        (
            stage.name,
            formatting.NONE if stage.steps is None else f"{stage.steps:,}",
            "cached" if stage.cached else formatting.duration(stage.seconds),
            "" if stage.cached else formatting.rate(stage.examples_per_second),
        )
        for stage in closing.stages
    )
    columns = [("stage", "left"), ("steps", "right"), ("time", "right"), ("examples/s", "right")]
    return text_table(columns, rows, ascii_only=ascii_only)


# -- latency


def latency_rows(case: LatencyCase) -> Iterator[list[str]]:
    """A row for each model: latency in ms with quartiles, examples per second, ratio to the first model with quartiles."""
    from engine.record.latency import times

    for number, model in enumerate(case.models):
        own, ratio = model.milliseconds, model.ratio
        median, low, high = (
            formatting.milliseconds(value).removesuffix(" ms") for value in (own.median, own.low, own.high)
        )
        yield [
            model.name,
            median,
            f"{low} to {high}",
            formatting.rate(case.throughput(model.name)),
            times(ratio.median),
            f"{times(ratio.low)} to {times(ratio.high)}" if number else "",
        ]


# -- a probe


def probe_parts(probe: Probe, *, ascii_only: bool = False) -> Iterator[str | Table]:
    """Heading, tables (train against dev, layers, noise) and sentences of a probe, in their order."""
    yield probe_rows.heading(probe)
    noise = [probe.metric if name == "metric" else name for name in probe_rows.NOISE]
    for names, rows in (
        (probe_rows.FIT, probe_rows.fit_rows(probe)),
        (probe_rows.LAYERS, probe_rows.layer_rows(probe)),
        (noise, probe_rows.noise_rows(probe, ascii_only=ascii_only)),
    ):
        yield probe_table(names, rows, ascii_only=ascii_only)
    yield from probe_rows.statements(probe)


def probe_table(names: Sequence[str], rows: Iterable[Sequence[str]], *, ascii_only: bool = False) -> Table:
    """Rows of a probe under their headings."""
    return text_table([(name, "left" if name in WORDS else "right") for name in names], rows, ascii_only=ascii_only)
