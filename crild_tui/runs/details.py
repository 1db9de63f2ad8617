"""One run in detail, below or next to the list: its state, what can be done, its settings, its closing table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from crild_tui.runs import formatting
from crild_tui.runs.filter import progress
from crild_tui.runs.states import KeyNames, describe, key_hints, label_of
from crild_tui.runs.tables import UNTRAINED
from crild_tui.text import bar, cells, fit
from engine.errors import CrildError
from engine.preset.text import one_line, printable
from engine.record.files import read_object
from engine.record.inputs import known_inputs
from engine.record.paths import RESULTS
from engine.record.run import RunEntry
from engine.record.states import ACTIVE
from engine.report.closing_table import ClosingTable, closing_table
from engine.report.compare import read_preset
from engine.report.inputs import input_lines
from engine.report.majority import MARK, of_trained_head
from engine.report.setting_words import model_size, setting_lines

LABEL = 14
"""Cells of a label."""
Line = tuple[str, str]
"""A label and what stands behind it."""


@dataclass(frozen=True)
class About:
    """What the files of a run say beyond its status; `problem` is why something of it cannot be read."""

    run_dir: Path
    settings: tuple[Line, ...] = ()
    closing: ClosingTable | None = None
    problem: str | None = None
    inputs: tuple[Line, ...] = ()
    """Its data and models, as far as they are recorded."""


def read_about(run_dir: Path) -> About:
    """Read preset and results of a run; damage ends in `problem`. Reads files: call it in a thread."""
    problem: str | None = None
    settings: tuple[Line, ...] = ()
    found: ClosingTable | None = None
    try:
        found = closing_table(read_object(run_dir / RESULTS))
    except FileNotFoundError:
        pass
    except CrildError as error:
        problem = error.sentence if error.file is None else f"{RESULTS} {error.sentence}"
    try:
        settings = tuple(setting_lines(read_preset(run_dir), {} if found is None else _sizes(found)))
    except CrildError as error:
        problem = problem or error.sentence
    inputs = known_inputs(run_dir)
    return About(run_dir, settings, found, problem, () if inputs is None else tuple(input_lines(inputs)))


def _sizes(closing: ClosingTable) -> dict[str, str]:
    names = {row.name.partition(",")[0]: row for row in closing.models}
    return {name: model_size(names[name]) for name in ("teacher", "student") if name in names}


# -- below the list


def detail(entry: RunEntry, keys: KeyNames, now: float, width: int, height: int) -> Text:
    """A run in at most `height` lines: its state and what can be done, the user's tags and note, its directory."""
    state = describe(entry, key_hints(keys, "runs", entry.path), now)
    notes = "  ".join(filter(None, [" ".join(f"#{one_line(tag)}" for tag in entry.tags), one_line(entry.note)]))
    lines = textwrap.wrap(one_line(str(state)), max(width, 10)) or [""]
    below = [(notes, ""), (one_line(str(entry.path)), "dim")] if notes else [(one_line(str(entry.path)), "dim")]
    below = below[: max(height - min(len(lines), max(height - 1, 1)), 0)]
    room = max(height - len(below), 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"{lines[room - 1]} …"]
    text = Text("\n".join(fit(line, width).rstrip() for line in lines), "" if state.level == "info" else "bold")
    for line, style in below:
        text.append(f"\n{fit(line, width).rstrip()}", style)
    return text


# -- beside the list


def panel(entry: RunEntry, about: About | None, keys: KeyNames, now: float, width: int) -> Text:
    """Everything about a run on a panel: status, settings that matter, the closing table."""
    text = Text()
    text.append(f"{one_line(entry.id)}\n", "bold")
    text.append(f"{label_of(entry.state)}\n\n", "bold")
    state = describe(entry, key_hints(keys, "runs", entry.path), now)
    text.append(f"{printable(str(state))}\n\n")
    _pairs(text, status_lines(entry, keys, now), width)
    if about is None:
        text.append("\nreading its files ...\n", "dim")
        return text
    if about.problem is not None:
        text.append(f"\n{printable(about.problem)}\n", "bold")
    if about.settings:
        text.append("\nSettings\n", "bold underline")
        _pairs(text, about.settings, width)
    if about.inputs:
        text.append("\nInputs\n", "bold underline")
        _pairs(text, about.inputs, width)
    if about.closing is not None:
        text.append("\nResults\n", "bold underline")
        text.append(closing_text(about.closing, width))
    return text


def _pairs(text: Text, pairs: Iterable[Line], width: int) -> None:
    room = max(width - LABEL - 1, 12)
    for label, value in pairs:
        lines = [part for line in printable(value).split("\n") for part in textwrap.wrap(line, room) or [""]]
        for place, line in enumerate(lines):
            text.append(f"{fit('' if place else one_line(label), LABEL)} ", "dim")
            text.append(f"{line}\n")


def status_lines(entry: RunEntry, keys: KeyNames, now: float) -> Iterator[Line]:
    """The status, as far as it says something."""
    yield "directory", str(entry.path)
    status = entry.status
    if status is not None:
        share = progress(entry)
        if share is not None:
            shown = f"{''.join(bar(share, 20))} " if entry.state in ACTIVE else ""
            yield "done", f"{shown}{formatting.percent(share)} of {status.total:,} steps"
        yield "preset", status.preset or formatting.NONE
        if status.sweep:
            yield "sweep", f"{one_line(status.sweep)}; press {keys['runs.sweep']} for its matrix"
        yield "task", f"{status.task or formatting.NONE}, seed {status.seed}"
        name = status.metric_name or "metric"
        for label, value in (
            ("last", status.last), ("best", status.best),
            ("self-teacher", of_trained_head(status.self_teacher, status.majority)),
            ("teacher", status.teacher), ("majority", status.majority),
        ):  # fmt: skip
            if value is not None:
                yield label, f"{name} {formatting.metric(value)}"
        attempts = f", {formatting.plural(status.attempt, 'attempt')}" if status.attempt > 1 else ""
        age = formatting.age(now - status.created)
        yield "created", f"{age}{'' if age == 'now' else ' ago'}{attempts}"
        if status.device:
            yield "device", status.device
    if entry.tags:
        yield "tags", ", ".join(entry.tags)
    if entry.note:
        yield "note", entry.note


def closing_text(found: ClosingTable, width: int) -> Text:
    """The closing table in `width` cells: a line for each model, then the sentences and the stages."""
    text = Text()
    names = [one_line(row.name) for row in found.models]
    label = max(min(max(map(cells, names), default=0), width - 10), 6)
    columns = [name for place, name in enumerate(found.metrics) if label + 10 * (place + 1) <= width]
    text.append(" " * label + "".join(fit(one_line(name), 10, right=True) for name in columns) + "\n", "dim")
    for name, row in zip(names, found.models, strict=True):
        figures = "".join(
            f"{formatting.metric(row.metrics.get(column))}{MARK if column in row.below_majority else ''}".rjust(10)
            for column in columns
        )
        figures = figures if row.head_trained else f"  {UNTRAINED}"
        cost = "" if row.parameters is None else f"  {formatting.amount(row.parameters)}"
        room = label + 10 * len(columns) + len(cost) <= width
        text.append(f"{fit(name, label)}{figures}{cost if room else ''}\n", "bold" if "student" in name else "")
    text.append("\n")
    for statement in found.statements:
        text.append(f"{printable(statement)}\n")
    for stage in found.stages:
        took = "cached" if stage.cached else formatting.duration(stage.seconds)
        speed = "" if stage.cached else f", {formatting.rate(stage.examples_per_second)} examples/s"
        text.append(f"stage {one_line(stage.name)}: {took}{speed}\n", "dim")
    return text
