"""`crild runs`: the list of runs, as a table that fits the terminal or as JSON."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, RunsDir
from crild_tui.runs import formatting
from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.record.run import RunEntry
    from engine.record.status import Status

GAP = 2
"""Columns between two columns of the table."""


@dataclass(frozen=True)
class Column:
    """A column of the list: its heading, side, how many others go before it when the terminal is narrow, its text."""

    name: str
    side: str
    rank: int
    text: Callable[[Status, float], str]


COLUMNS = (
    Column("task", "left", 7, lambda s, _: s.task),
    Column("method", "left", 6, lambda s, _: s.method),
    Column("seed", "right", 5, lambda s, _: str(s.seed)),
    Column("metric", "left", 8, lambda s, _: s.metric_name or formatting.NONE),
    Column("last", "right", 1, lambda s, _: formatting.metric(s.last)),
    Column("best", "right", 3, lambda s, _: formatting.metric(s.best)),
    Column("teacher", "right", 2, lambda s, _: formatting.metric(s.teacher)),
    Column("done", "right", 0, lambda s, _: _done(s)),
    Column("age", "right", 4, lambda s, now: formatting.age(now - s.created)),
)
NUMBERS = ("created", "seed", "last", "best", "teacher", "progress")
WORDS = ("id", "state", "task", "method")


def _done(status: Status) -> str:
    if status.state == "finished":
        return "100 %"
    return formatting.percent(status.done / status.total) if status.total else formatting.NONE


def runs(
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only runs in this state. Again for more.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="KEY",
            help="created, id, state, task, method, seed, last, best, teacher or progress; - before it turns the order.",
        ),
    ] = "-created",
    sweep: Annotated[str | None, typer.Option("--sweep", metavar="NAME", help="Only runs of this sweep.")] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """List the runs, the newest first.

    \b
    crild runs --state lost --state failed
    crild runs --sort -best
    """
    from engine.record.paths import runs_dir as folder_of

    list_table(folder_of(runs_dir), states=state or [], sort=sort, as_json=as_json, sweep=sweep)


def list_table(runs_dir: Path, *, states: Sequence[str], sort: str, as_json: bool, sweep: str | None = None) -> None:
    """Print the runs of a folder, or of one sweep in it."""
    from engine.record.run import list_runs

    entries = list_runs(runs_dir)
    if sweep is not None:
        entries = [entry for entry in entries if entry.status and entry.status.sweep == sweep]
    chosen = ordered(_in_states(entries, states), sort)
    if as_json:
        terminal.show_json([_document(entry) for entry in chosen])
    elif not chosen:
        _empty(runs_dir, states, sweep)
    elif sys.stdout.isatty():
        print_fitting(chosen, shutil.get_terminal_size().columns)
    else:
        print_fitting(chosen, 10_000)


def _in_states(entries: list[RunEntry], states: Sequence[str]) -> list[RunEntry]:
    from engine.preset.text import nearest
    from engine.record.states import STATES

    wanted = {word for state in states for word in state.split(",")}
    for state in wanted:
        if state not in STATES:
            near = nearest(state, STATES)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(STATES)}"
            raise UsageError(f"--state {state!r} is no state of a run: {hint}")
    return [entry for entry in entries if not wanted or entry.state in wanted]


def ordered(entries: Sequence[RunEntry], sort: str) -> list[RunEntry]:
    """Runs in the order of a key; `-` before it turns the order. Runs without a value come last either way."""
    key = sort.removeprefix("-")
    if key not in (*NUMBERS, *WORDS):
        raise UsageError(
            f"--sort {sort!r} is no key: there are {', '.join((*WORDS, *NUMBERS))}, each also with - before it"
        )
    with_value = [entry for entry in entries if _value(entry, key) is not None]
    without = [entry for entry in entries if _value(entry, key) is None]
    return sorted(with_value, key=lambda entry: _value(entry, key), reverse=sort.startswith("-")) + without


def _value(entry: RunEntry, key: str) -> Any:
    if key in ("id", "state"):
        return getattr(entry, key)
    status = entry.status
    if status is None:
        return None
    if key == "progress":
        return 1.0 if status.state == "finished" else status.done / status.total if status.total else None
    return getattr(status, key)


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


def _empty(runs_dir: Path, states: Sequence[str], sweep: str | None) -> None:
    if states or sweep is not None:
        of = "" if sweep is None else f" of the sweep {sweep}"
        which = f" is in state {', '.join(states)}" if states else ""
        terminal.say(f"no run{of} in {runs_dir}{which}")
    else:
        terminal.say(f"no runs in {runs_dir} yet; start one with: crild run quickstart")


def print_fitting(entries: Sequence[RunEntry], width: int) -> None:
    """Print the table with as many columns as `width` takes; plain text, since a thousand rows must come at once."""
    now = time.time()
    rows = [row_of(entry, now) for entry in entries]
    widths = fitting(rows, width)
    colour = terminal.is_screen(sys.stdout) and not os.environ.get("NO_COLOR")
    lines = [line_of({name: name for name in widths}, widths).rstrip()]
    for entry, row in zip(entries, rows, strict=True):
        lines.append(line_of(row, widths, colour=terminal.sgr_of(entry.state) if colour else "").rstrip())
        if entry.problem is not None:
            lines.append(terminal.safe(f"    {entry.problem}"))
    print("\n".join(lines))


def row_of(entry: RunEntry, now: float) -> dict[str, str]:
    """The cells of a run by column, safe to print."""
    row = {"run": terminal.safe(entry.id), "state": entry.state}
    for column in COLUMNS:
        row[column.name] = terminal.safe(column.text(entry.status, now)) if entry.status else formatting.NONE
    return row


def fitting(rows: Sequence[dict[str, str]], width: int) -> dict[str, int]:
    """The columns that fit into `width`, in order, with their widths; `run` and `state` are always among them.

    Columns that hold nothing in any row are left out first; task, method and seed are in most ids anyway.
    """
    widths = {name: max(_cells(name), *(_cells(row[name]) for row in rows)) for name in ("run", "state")}
    for column in COLUMNS:
        cells = [row[column.name] for row in rows]
        if any(cell not in ("", formatting.NONE) for cell in cells):
            widths[column.name] = max(_cells(column.name), *map(_cells, cells))
    by_rank = sorted(COLUMNS, key=lambda column: column.rank, reverse=True)
    for column in by_rank:
        if sum(widths.values()) + GAP * (len(widths) - 1) <= width:
            break
        widths.pop(column.name, None)
    return widths


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def line_of(row: dict[str, str], widths: dict[str, int], *, colour: str = "") -> str:
    """One line of the table; `colour` (a terminal's code) is for the state alone, which is a word all the same."""
    sides = {column.name: column.side for column in COLUMNS}
    cells = []
    for name, width in widths.items():
        space = " " * (width - _cells(row[name]))
        text = f"\x1b[{colour}m{row[name]}\x1b[0m" if colour and name == "state" else row[name]
        cells.append(space + text if sides.get(name) == "right" else text + space)
    return (" " * GAP).join(cells)
