"""Collect the runs of a report: the finished ones, each with its figures, and why the others are left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import CrildError, UsageError
from engine.preset.text import listed, nearest, plain, shown
from engine.record.files import read_json, read_object
from engine.record.inputs import RunInputs, known_inputs
from engine.record.paths import ENVIRONMENT, RESULTS, STATUS, SWEEPS
from engine.record.run import list_runs, read_run
from engine.report.closing_table import ModelRow
from engine.report.compare import read_preset
from engine.report.final_metrics import MAJORITY, STUDENT, models_of, sizes_of
from engine.report.inputs import RunContent

MOST_REASONS = 12
"""Reasons for leaving runs out that are listed."""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: what was trained on what, and the metrics of each model by name.

    `metric` is the task's primary one; `preset` is the resolved preset; `created` is in seconds since 1970.
    """

    run_dir: Path
    task: str
    method: str
    seed: int
    metric: str
    models: Mapping[str, Mapping[str, float]]
    preset: Mapping[str, Any]
    created: float = 0.0
    inputs: RunInputs | None = None
    """Its data and models by content; None where no record can be read."""
    sizes: Mapping[str, ModelRow] = field(default_factory=dict)
    """Size and speed of each model by name, as far as they were measured."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Where and with which versions it ran."""

    @property
    def content(self) -> RunContent:
        """What tells its inputs from those of other runs."""
        return RunContent(self.inputs, self.models.get(MAJORITY, {}).get(self.metric))

    @property
    def name(self) -> str:
        """The run's id."""
        return self.run_dir.name

    @property
    def metrics(self) -> Mapping[str, float]:
        """Those of the student."""
        return self.models.get(STUDENT, {})


@dataclass(frozen=True)
class LeftOutRun:
    """A run that the report does not count, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class CollectedRuns:
    """The runs of a report in the order in which they were made."""

    runs: tuple[FinishedRun, ...] = ()
    left_out: tuple[LeftOutRun, ...] = field(default=())


def collect_runs(run_dirs: Iterable[Path], *, with_trials: bool = True) -> CollectedRuns:
    """Read finished runs; a run that is not finished, or whose record is damaged, is left out and named. So are the single
    trials of searches unless `with_trials`; the runs that confirm a winner count."""
    runs: list[FinishedRun] = []
    left_out: list[LeftOutRun] = []
    originals: dict[Any, FinishedRun] = {}
    for run_dir in dict.fromkeys(path.absolute() for path in run_dirs):
        if not with_trials and (search := _search_of_trial(run_dir)) is not None:
            why = f"trials of the search {plain(search)} (--sweep {plain(search)} reports them)"
            left_out.append(LeftOutRun(run_dir.name, why))
            continue
        try:
            run = read_finished(run_dir)
        except CrildError as error:
            left_out.append(LeftOutRun(run_dir.name, error.sentence))
            continue
        original = originals.setdefault(_origin(run), run)
        if original is run:
            runs.append(run)
        else:
            left_out.append(LeftOutRun(run.name, f"a copy of {original.name}"))
    return CollectedRuns(
        tuple(sorted(runs, key=lambda run: (run.created, run.name))),
        tuple(sorted(left_out, key=lambda item: item.name)),
    )


def _search_of_trial(run_dir: Path) -> str | None:
    """The search that a run is a single trial of; None for any other run, and where the search's record is gone."""
    status = read_json(run_dir / STATUS) or {}
    cell, name = status.get("cell"), status.get("sweep")
    if not isinstance(cell, Mapping) or not isinstance(name, str) or not str(cell.get("trial", "")).isdigit():
        return None
    record = read_json(run_dir.parent / SWEEPS / f"{name}.json") or {}
    return name if record.get("search") is not None else None


def _origin(run: FinishedRun) -> Any:
    """Equal for a run and copies of its directory. A run without the time of its creation is nobody's copy."""
    figures = {model: tuple(sorted(metrics.items())) for model, metrics in run.models.items()}
    return (run.created, run.seed, run.task, run.method, tuple(sorted(figures.items()))) if run.created else run.run_dir


def read_finished(run_dir: Path) -> FinishedRun:
    """A finished run. Raises CrildError whose sentence says why it cannot be counted."""
    entry = read_run(run_dir)
    status = entry.status
    if status is None:
        raise CrildError(entry.problem or "its status cannot be read", kind="unreadable-status")
    if entry.state != "finished":
        raise CrildError(entry.state, kind="unfinished-run")
    try:
        results = read_object(run_dir / RESULTS)
    except FileNotFoundError:
        raise CrildError(f"{RESULTS} is missing", kind="missing-results") from None
    except CrildError as error:
        raise CrildError(f"{RESULTS} {error.sentence}", kind="unreadable-results") from error
    models = {
        model: {name: value for name, value in figures.items() if -1 <= value <= 1}
        for model, figures in models_of(results).items()
    }  # every metric is a share of 1 or a correlation; anything else was not measured
    metric = results.get("metric")
    if not isinstance(metric, str) or metric not in models.get(STUDENT, {}):
        raise CrildError(f"{RESULTS} has no figure of the student's metric", kind="missing-metric")
    task = results.get("task")
    return FinishedRun(
        run_dir,
        task if isinstance(task, str) and task else status.task or "no task",
        status.method or status.preset or "no method",
        status.seed,
        metric,
        models,
        read_preset(run_dir),
        status.created if math.isfinite(status.created) else 0.0,
        known_inputs(run_dir),
        sizes_of(results),
        read_json(run_dir / ENVIRONMENT) or {},
    )


def left_out_notes(left_out: Sequence[LeftOutRun], most: int = 3) -> list[str]:
    """Why runs were left out, a sentence for each reason: how many, and the first of them by name."""
    counts = Counter(item.why for item in left_out)
    notes = []
    for why, count in counts.most_common():
        names = [item.name for item in left_out if item.why == why]
        some = ", ".join(names[:most]) + (f" and {count - most} more" if count > most else "")
        notes.append(f"{count} left out, {why}: {some}")
    rest = notes[MOST_REASONS:]
    return [*notes[:MOST_REASONS], *([f"{len(rest)} more reasons for leaving runs out"] if rest else [])]


def runs_of_sweep(runs_dir: Path, sweep: str) -> list[Path]:
    """The runs of a sweep, as its record has them; runs that were taken out of it by a change of its file don't count.

    Raises UsageError, with the nearest name, where no run belongs to it.
    """
    known: dict[str, list[Path]] = {}
    for entry in list_runs(runs_dir):
        name = (read_json(entry.path / STATUS) or {}).get("sweep")
        if isinstance(name, str):
            known.setdefault(name, []).append(entry.path)
    records = {path.stem for path in (runs_dir / SWEEPS).glob("*.json")}
    if sweep in known:
        cells = (read_json(runs_dir / SWEEPS / f"{sweep}.json") or {}).get("cells") if sweep in records else None
        if not isinstance(cells, list):
            return known[sweep]  # copied here without its record
        counted = {run for cell in cells if isinstance(cell, dict) and isinstance(run := cell.get("run"), str)}
        return [path for path in known[sweep] if path.name in counted]
    if sweep in records:
        raise UsageError(f"the sweep {shown(sweep)} has no runs yet", kind="empty-sweep", key="--sweep")
    near = nearest(sweep, known.keys() | records)
    hint = f"did you mean {shown(near)}?" if near else f"there are {listed(sorted(known), 'and')}" if known else ""
    sentence = f"there is no sweep {shown(sweep)} in {shown(str(runs_dir))}{'; ' if hint else ''}{hint}"
    raise UsageError(sentence, kind="unknown-sweep", key="--sweep")
