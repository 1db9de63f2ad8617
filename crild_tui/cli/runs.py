"""`crild runs`: the list of runs, as a table that fits the terminal or as JSON."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import filters, sort_keys, states, sweep_names
from crild_tui.cli.options import AsJson, RunsDir
from engine.preset.text import plain

if TYPE_CHECKING:
    from engine.record.run import RunEntry


def runs(
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="As in the dashboard: state:failed task:rte metric:>80 !toy. Repeatable.",
            autocompletion=filters,
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only runs in this state, as --filter state:STATE. Repeatable.",
            autocompletion=states,
        ),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="NAME", help="Only runs of this sweep.", autocompletion=sweep_names)
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="A column, or created, id or progress; descending with a minus: -best.",
            autocompletion=sort_keys,
        ),
    ] = "-created",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """List the runs, newest first.

    A filter combines words, key:value and comparisons (metric:>80, age:<2d); a run must match all of them, and !
    negates one. Keys: state, task, method, preset, sweep, cell, id, tag, note, seed, metric, last, best (dev metric),
    teacher (the teacher's metric), done (percent of the steps), age, and is (a state, or pinned, marked, hidden).
    A metric up to 1 is a share: metric:>80 and metric:>0.8 are the same; metric:<0.5% is below 0.50.

    \b
    crild runs --filter 'is:failed age:<2d'
    crild runs --filter 'task:mrpc metric:>80 !toy' --sort -best
    crild runs --state lost --state failed
    """
    from crild_tui.runs.filter import exactly, parse
    from crild_tui.runs.listing import arrange, parse_order
    from crild_tui.runs.marks import Marks, read_marks
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import check_runs_dir, list_runs

    folder = folder_of(runs_dir)
    check_runs_dir(folder)
    terms = [
        *(where or ()),
        *([f"state:{','.join(state)}"] if state else ()),
        *([exactly("sweep", sweep)] if sweep else ()),
    ]
    wanted, order, now = parse(" ".join(terms)), parse_order(sort), time.time()
    marks = read_marks(folder) if "is:" in wanted.text.casefold() else Marks()
    matching = [entry for entry in list_runs(folder) if wanted.matches(entry, marks, now)]
    entries = arrange(matching, parse(""), order, Marks(), now).rows
    if as_json:
        terminal.show_json([_document(entry) for entry in entries])
    elif entries:
        print_table(entries, now, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
    elif wanted.tests:
        terminal.say(f"no run in {folder} matches {wanted.text}")
    else:
        sentence = f"no runs in {folder} yet; start one with: crild run quickstart"
        terminal.say(sentence, quiet=terminal.discards_results())


def _document(entry: RunEntry) -> dict[str, Any]:
    status = entry.status.to_dict() if entry.status else {}
    return {
        "run": entry.id,
        "path": str(entry.path),
        **{key: value for key, value in status.items() if key not in ("schema", "id")},
        "state": entry.state,
        "problem": entry.problem,
        "note": entry.note,
        "tags": list(entry.tags),
    }


def print_table(entries: Sequence[RunEntry], now: float, width: int | None) -> None:
    """Print the columns that fit into `width` cells (None: all of them), and why a run cannot be read below it."""
    from crild_tui.runs.listing import BY_NAME, COLUMNS, GAP, METRICS, whole_widths
    from crild_tui.text import fit
    from engine.report.majority import ASCII_MARK, LEGEND, MARK

    table = [{column.name: column.text(entry, now) for column in COLUMNS} for entry in entries]
    for entry, row in zip(entries, table, strict=True):
        row["state"] = entry.state  # the word alone
    columns = [(name, width, BY_NAME[name].right) for name, width in whole_widths(table, width).items()]
    colours = terminal.is_screen(sys.stdout) and not os.environ.get("NO_COLOR")
    lines = [(" " * GAP).join(fit(name, width, right=right) for name, width, right in columns).rstrip()]
    for entry, row in zip(entries, table, strict=True):
        texts = [fit(row[name], width, right=right) for name, width, right in columns]
        if colours and (colour := terminal.colours_of(entry.state)[1]):
            texts[0] = texts[0].replace(entry.state, f"\x1b[{colour}m{entry.state}\x1b[0m")
        line = (" " * GAP).join(texts).rstrip()
        lines.append(line.replace(MARK, ASCII_MARK) if terminal.ascii_only() else line)
        if entry.problem is not None:
            lines.append(plain(f"    {entry.problem}"))
    print("\n".join(lines))
    if any(name in METRICS and MARK in row[name] for row in table for name, _, _ in columns):
        terminal.say(LEGEND.replace(MARK, ASCII_MARK) if terminal.ascii_only() else LEGEND)
