"""The table of one preset's seeds: each model's primary metric in each run, then mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crild_tui.cli import terminal
from crild_tui.cli.compare import final_metrics
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from rich.table import Table

    from engine.record.run import RunEntry


def show_seeds(run_dirs: Sequence[Path]) -> None:
    """Print the seeds of one preset: each model's primary metric in each run, then mean and standard deviation."""
    from engine.record.run import read_run

    entries = [read_run(run_dir) for run_dir in run_dirs]
    finals = [final_metrics(entry) for entry in entries]
    metric = next(
        (status.metric_name for entry in entries if (status := entry.status) and status.metric_name), "metric"
    )
    terminal.sentence(f"{metric} over {formatting.plural(len(entries), 'seed')}")
    terminal.sentence()
    terminal.show(seeds_table(entries, finals))


def seeds_table(entries: Sequence[RunEntry], finals: Sequence[Mapping[str, Mapping[str, float | None]]]) -> Table:
    """A row for each run, a column for each model."""
    from engine.report.compare import spread

    models = list(dict.fromkeys(name for final in finals for name in final))
    rows, columns = [], [("run", "left"), *((name, "right") for name in models)]
    values: dict[str, list[float]] = {name: [] for name in models}
    for entry, final in zip(entries, finals, strict=True):
        cells = []
        for name in models:
            value = next(iter(final.get(name, {}).values()), None)
            cells.append(formatting.metric(value))
            if value is not None:
                values[name].append(value)
        rows.append([entry.id, *cells])
    spreads = [spread(values[name]) for name in models]
    rows.append(["mean", *(formatting.metric(s.mean if s else None) for s in spreads)])
    rows.append(["standard deviation", *(formatting.metric(s.deviation if s else None) for s in spreads)])
    return terminal.table(columns, rows)
