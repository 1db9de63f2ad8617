"""The trials of a search in words, for the command line and the dashboard."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crild_tui.runs import formatting
from crild_tui.runs.sweeps import read_sweep
from engine.errors import RunError
from engine.report.majority import LEGEND, MARK, at_or_below
from engine.search.declaration import LOWER
from engine.search.trials import (
    LEAST_FOR_IMPORTANCE,
    SKIPPED,
    Confirmation,
    TrialRecord,
    Trials,
    read_trials,
    result_text,
)
from engine.sweep.record import SweepRecord, sweep_file


@dataclass(frozen=True)
class SearchSnapshot:
    """A search at one moment; `problem` says why it could not be read (again)."""

    name: str
    record: SweepRecord | None = None
    trials: Trials | None = None
    problem: str | None = None


def read_search_snapshot(runs_dir: Path, name: str) -> SearchSnapshot:
    """A search as its files have it now. Raises RunError when they cannot be read."""
    return SearchSnapshot(name, read_sweep(runs_dir, name), read_trials(sweep_file(runs_dir, name)))


def is_search(runs_dir: Path, name: str) -> bool:
    """Whether a sweep is that of a search; False where its record cannot be read."""
    try:
        return read_sweep(runs_dir, name).search is not None
    except RunError:
        return False


def ranked(trials: Trials) -> list[TrialRecord]:
    """The trials, the best by the first aim first (equals by the next), then running, pruned and failed ones."""
    signs = [1 if aim in LOWER else -1 for aim in trials.aims]
    order = {"complete": 0, "running": 1, "pruned": 2, "failed": 3}
    return sorted(
        (trial for trial in trials.trials if trial.state not in SKIPPED),
        key=lambda one: (
            order.get(one.state, 4),
            *(sign * value for sign, value in zip(signs, one.results, strict=False)),
            one.number,
        ),
    )


def is_no_better_than_guessing(trials: Trials, trial: TrialRecord) -> bool:
    """Whether a trial does not beat the majority guess by the first aim; False where that is no metric."""
    return bool(trial.results) and at_or_below(trial.results[0], trials.majority)


def result_texts(trials: Trials, trial: TrialRecord) -> list[str]:
    """The results of a trial, by aim: `84.12`, `12.3 ms`; with a mark where it does not beat the majority guess."""
    texts = [result_text(aim, value) for aim, value in zip(trials.aims, trial.results, strict=False)]
    if is_no_better_than_guessing(trials, trial):
        texts[0] += MARK
    return texts or [formatting.NONE] * len(trials.aims)


def results_text(trials: Trials, trial: TrialRecord) -> str:
    """All results of a trial: `accuracy 84.12, latency 12.3 ms`; nothing before it has any."""
    if not trial.results:
        return ""
    return ", ".join(f"{aim} {text}" for aim, text in zip(trials.aims, result_texts(trials, trial), strict=True))


def signs_text(trials: Trials, *, short: bool = False) -> str:
    """What the signs in a table of trials say; `short`: two signs in one line of a narrow terminal."""
    if not any(is_no_better_than_guessing(trials, trial) for trial in trials.trials):
        return star_text(trials)
    if not short:
        return f"{star_text(trials)}; {LEGEND}"
    return f"*: the {'front' if len(trials.aims) > 1 else 'best'}; {MARK} at or below the majority guess"


def value_text(value: object) -> str:
    """The value of a dimension."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def values_text(trial: TrialRecord) -> str:
    """The values of a trial: `train.learning_rate 0.001, method kd`; of the first one, what it is."""
    words = ", ".join(f"{name} {value_text(value)}" for name, value in trial.values.items())
    return f"the starting preset{f': {words}' if words else ''}" if trial.number == 0 else words


def state_text(trial: TrialRecord) -> str:
    """The state of a trial, with where it was pruned."""
    if trial.pruned_at is not None:
        return f"{trial.state} at {formatting.percent(trial.pruned_at)}"
    return trial.state


def budget(trials: Trials) -> str:
    """`12 of 30 trials`, `12 trials in 1.2 of 2 hours`."""
    of = f" of {trials.wanted:,}" if trials.wanted is not None else ""
    hours = f" in {trials.spent / 3600:.2g} of {trials.hours:g} hours" if trials.hours is not None else ""
    number = trials.wanted if trials.wanted is not None else trials.done()
    return f"{trials.done():,}{of} {'trial' if number == 1 else 'trials'}{hours}"


def counts(trials: Trials) -> str:
    """`12 of 30 trials: 9 complete, 2 pruned, 1 failed`."""
    states = ", ".join(f"{number:,} {state}" for state, number in trials.counts().items())
    return f"{budget(trials)}{f': {states}' if states else ''}"


def best_text(trials: Trials) -> str:
    """The best trial so far with its results; nothing before there is one."""
    best = trials.trial(trials.best)
    return "" if best is None else f"best {results_text(trials, best)} (trial {best.number})"


def seconds_left(trials: Trials, slots: int) -> float | None:
    """Seconds until the last trial ends, by those that are over; without the runs that confirm the winner. None where
    nothing tells."""
    lengths = [
        one.seconds for one in trials.trials if one.state not in SKIPPED and one.state != "running" and one.seconds
    ]
    left: list[float] = []
    if trials.hours is not None:
        left.append(max(0.0, 3600 * trials.hours - trials.spent))
    if trials.wanted is not None and lengths:
        left.append(max(0, trials.wanted - trials.done()) * statistics.fmean(lengths) / max(1, slots))
    return min(left) if left else None


def progress(record: SweepRecord, trials: Trials | None) -> str:
    """A search in one line: trials, best so far, time left, or that the winner is confirmed."""
    if trials is None:
        return f"{record.name}: starting"
    confirming = any("-" in cell.cell.get("trial", "") for cell in record.cells)
    parts = [f"{record.name} {counts(trials)}", best_text(trials)]
    if trials.over is not None and confirming and record.state == "active":
        parts.append("confirming the winner with fresh seeds")
    elif record.state == "active" and (left := seconds_left(trials, len(record.slots))):
        parts.append(f"{formatting.duration(left)} left")
    if record.waiting:
        parts.append(f"waiting {record.waiting}")
    return "; ".join(filter(None, parts))


def importance_text(trials: Trials) -> str:
    """`train.learning_rate 71 %, stage.kd.temperature 29 %`, the most important first; nothing where all trials reached
    the same."""
    if trials.counts().get("complete", 0) < LEAST_FOR_IMPORTANCE:
        return "too few trials to say"
    return ", ".join(f"{name} {formatting.percent(float(share))}" for name, share in trials.importance.items())


def star_text(trials: Trials) -> str:
    """What the star at a trial's number says."""
    if len(trials.aims) > 1:
        return "*: the front: no trial is better in one aim without being worse in another"
    return "*: the best"


def found_nothing(trials: Trials) -> bool:
    """Whether a search is over and none of its trials was completed."""
    return trials.over is not None and trials.best is None and not trials.counts().get("running")


def flattery(trials: Trials) -> Iterator[str]:
    """How far dev flatters the winner: sentences with the figures of the runs with fresh seeds, once they are done; and,
    once the search is over, whether there is no winner, or one that does not beat the majority guess."""
    if found_nothing(trials):
        yield "no trial was completed, so nothing was found"
    confirmed = {one.number: one for one in trials.confirmed}
    best, start = trials.trial(trials.best), trials.trial(0)
    winner = confirmed.get(trials.best) if trials.best is not None else None
    if best is not None and trials.over is not None:
        reached = winner.dev if winner is not None else best.results[0]
        if at_or_below(reached, trials.majority):
            yield (
                f"trial {best.number}, the best, is at or below the majority guess ({formatting.metric(reached)} against "
                f"{formatting.metric(trials.majority)} on dev)"
            )
        if best.number == 0:
            yield "the best trial is the starting preset: nothing better was found"
    if best is None or winner is None:
        return
    metric = trials.aims[0] if trials.aims[0] not in LOWER else None
    chosen = "" if metric is None else f" was chosen with {metric} {formatting.metric(best.results[0])} on dev;"
    rows = f"{winner.rows:,} training rows" if winner.rows is not None else "training rows"
    yield f"trial {best.number}{chosen} with {_seeds(winner)} it has {_figures(winner, f'{rows} that no trial saw')}"
    reference = confirmed.get(0)
    if best.number != 0 and start is not None and reference is not None:
        seeds = "" if reference.seeds == winner.seeds else f" with {_seeds(reference)}"
        yield f"the starting preset has {_figures(reference, 'those rows')}{seeds}"
        yield from _gains(best, start, winner, reference, metric)


def _gains(
    best: TrialRecord, start: TrialRecord, winner: Confirmation, reference: Confirmation, metric: str | None
) -> Iterator[str]:
    """How far the winner is above the starting preset, and whether that is nothing. `metric` is the first aim; None where that is
    something else."""
    what = "its gain over the starting preset"
    if metric is not None and start.results:
        yield f"among the trials, {what} was {formatting.difference(best.results[0] - start.results[0])}"
        what = "that gain"
    gains = f"{formatting.difference(winner.dev - reference.dev)} on dev"
    where, found, least = "with fresh seeds on dev", winner.dev, reference.dev
    if winner.held_out is not None and reference.held_out is not None:
        where, found, least = "on the rows held out", winner.held_out, reference.held_out
        gains += f" and {formatting.difference(found - least)} {where}"
    yield f"with fresh seeds, {what} is {gains}"
    if metric is not None and at_or_below(found, least):
        yield f"{where}, it is no better in {metric} than the starting preset"


def run_command(preset: str) -> str:
    """The command that trains a preset that a search wrote, by its path from here where it is below."""
    here, file = Path.cwd(), Path(preset)
    return shlex.join(["crild", "run", str(file.relative_to(here) if file.is_relative_to(here) else file)])


def _seeds(one: Confirmation) -> str:
    return f"{one.seeds} fresh seed{'s' * (one.seeds != 1)}"


def _figures(one: Confirmation, rows: str) -> str:
    """On dev, and on the rows held out, which are called `rows`."""
    dev = f"{_spread(one.dev, one.dev_deviation)} on dev"
    if one.held_out is None:
        return dev
    return f"{dev} and {_spread(one.held_out, one.held_out_deviation)} on {rows}"


def _spread(mean: float, deviation: float | None) -> str:
    return formatting.metric(mean) + ("" if deviation is None else f" ± {formatting.metric(deviation)}")
