"""Print the trials of a search: the best first, importance, front, and how far dev flatters the winner; or its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.cli.sweep_process import slots_text
from crild_tui.runs import formatting, searches
from engine.report.majority import ASCII_MARK, MARK
from engine.search.trials import Trials

if TYPE_CHECKING:
    from engine.search.declaration import Dimension
    from engine.search.plan import SearchPlan
    from engine.sweep.record import SweepRecord
    from engine.sweep.slots import Slot

MOST_ROWS = 40
"""Rows of the table; `--json` has all."""


def show_trials(record: SweepRecord, trials: Trials, *, quiet: bool) -> None:
    """Print the table of trials and what is known of them; the commands on stdout, what they are for on stderr."""
    terminal.sentence(f"{record.name}: {searches.counts(trials)}")
    terminal.sentence()
    rows = searches.ranked(trials)
    names = list(dict.fromkeys(name for trial in trials.trials for name in trial.values))
    columns = [
        ("trial", "right"),
        ("state", "left"),
        *((aim, "right") for aim in trials.aims),
        *((name, "right") for name in names),
    ]
    cells = [
        [
            f"{trial.number}{'*' * (trial.number == trials.best or trial.number in trials.front)}",
            searches.state_text(trial),
            *map(_legible, searches.result_texts(trials, trial)),
            *(searches.value_text(trial.values.get(name, formatting.NONE)) for name in names),
        ]
        for trial in rows[:MOST_ROWS]
    ]
    terminal.show(terminal.table(columns, cells))
    terminal.sentence()
    if len(rows) > MOST_ROWS:
        terminal.sentence(f"and {len(rows) - MOST_ROWS:,} more trials: --json has all of them")
    terminal.sentence(_legible(f"{searches.signs_text(trials)}; trial 0 is the starting preset"))
    if weighed := searches.importance_text(trials):
        how = f" (PED-ANOVA, of {trials.aims[0]})" if trials.importance else ""
        terminal.sentence(f"importance: {weighed}{how}")
    for trial in trials.trials:
        if trial.state in ("failed", "infeasible"):
            terminal.sentence(f"trial {trial.number} {trial.state}: {trial.why} ({searches.values_text(trial)})")
    for sentence in searches.flattery(trials):
        terminal.sentence(sentence)
    for index, path in enumerate(trials.presets):
        if index < 2:
            which = "recipes of the front" if index else "best recipe"
            terminal.say(f"to train the {which} on all rows:", quiet=quiet)
        terminal.sentence(searches.run_command(path))


def _legible(text: str) -> str:
    """With a mark that a terminal without other characters than ASCII can show."""
    return text.replace(MARK, ASCII_MARK) if terminal.ascii_only() else text


def document(record: SweepRecord, trials: Trials | None) -> dict[str, Any]:
    """The JSON of a search."""
    alive = record.alive()
    return {
        "search": record.name,
        "state": record.state if record.state != "active" or alive else "lost",
        "file": record.file,
        **({} if trials is None else asdict(trials)),
        "importance": {} if trials is None else dict(trials.importance),
        "slots": [asdict(slot) for slot in record.slots],
        "flattery": [] if trials is None else list(searches.flattery(trials)),
    }


def show_search_plan(
    found: SearchPlan, runs_dir: Path, slots: Sequence[Slot], *, ray: str | None, jobs: str | None, as_json: bool
) -> None:
    """Print what a search would do; starts nothing. The slots are on the cluster `ray`, or jobs of a scheduler."""
    file = found.file
    if as_json:
        terminal.show_json({**plan_document(found, runs_dir, slots), "ray": ray, "jobs": jobs})
        return
    methods = ", ".join(start.method for start in found.starts)
    terminal.sentence(f"{file.name}: {methods} on {found.task}, in {runs_dir}")
    terminal.sentence()
    rows = [
        [name, _values(dimension), searches.value_text(found.values.get(name, formatting.NONE))]
        for name, dimension in file.space.items()
    ]
    terminal.show(terminal.table([("searched", "left"), ("values", "left"), ("starting preset", "right")], rows))
    terminal.sentence()
    search = file.search
    ends = [] if search.trials is None else [formatting.plural(search.trials, "trial")]
    ends += [] if search.hours is None else [f"{search.hours:g} hours"]
    terminal.sentence(f"budget:   {' or '.join(ends)}, {formatting.plural(len(found.seeds), 'run')} in each trial")
    pruner = f"pruner {file.pruner}" if file.pruner else "no pruner"
    terminal.sentence(f"aim:      {', '.join(file.aims)}; sampler {search.sampler}, {pruner}")
    if search.confirm:
        part = f", measured on {_part(file.holdout)} that no trial sees" if file.holdout else ""
        terminal.sentence(
            f"then:     {formatting.plural(search.confirm, 'run')} of the winner and of the starting preset{part}"
        )
    terminal.sentence(f"slots:    {slots_text(slots, ray=ray, jobs=jobs)}")
    terminal.sentence("nothing was started (--plan)")


def plan_document(found: SearchPlan, runs_dir: Path, slots: Sequence[Slot]) -> dict[str, Any]:
    """The JSON of a plan."""
    file = found.file
    return {
        "search": file.name,
        "file": str(file.start.path),
        "runs_dir": str(runs_dir),
        "methods": [start.method for start in found.starts],
        "task": found.task,
        "space": {name: dimension.model_dump(mode="json", exclude_none=True) for name, dimension in file.space.items()},
        "start": dict(found.values),
        "aims": list(file.aims),
        "trials": file.search.trials,
        "hours": file.search.hours,
        "seeds": list(found.seeds),
        "sampler": file.search.sampler,
        "pruner": file.pruner,
        "holdout": file.holdout,
        "confirm": list(found.confirming),
        "slots": [asdict(slot) for slot in slots],
    }


def _values(dimension: Dimension) -> str:
    from engine.search.declaration import labels_of

    labels = labels_of(dimension)
    if labels is None:
        words = f"{dimension.low} to {dimension.high}"
        words += f" in steps of {dimension.step}" if dimension.step else ""
        words += ", on a log scale" if dimension.log else ""
    else:
        words = ", ".join(labels)
    when = ", ".join(f"{name} {value}" for name, value in (dimension.when or {}).items())
    return f"{words} (only with {when})" if when else words


def _part(holdout: float) -> str:
    return f"{100 * holdout:.3g} % of the training rows" if holdout < 1 else f"{holdout:,.0f} training rows"
