"""What the process of a search adds to a sweep's: it asks for trials, makes their runs, judges them, and concludes."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import CrildError, RunError
from engine.record.annotations import set_tags
from engine.record.files import cause, read_json, write_atomic
from engine.record.paths import RESULTS
from engine.record.run import is_run, read_run
from engine.search.declaration import SearchFile, declared
from engine.search.journal import WAY_OUT
from engine.search.judge import Judge
from engine.search.plan import AGAIN, SearchPlan, Values, best_preset, plan_search, runs_of_trial
from engine.search.study import SECONDS, TENTH, TENTHS, WHY, SearchStudy, state_of
from engine.search.trials import (
    SKIPPED,
    Confirmation,
    TrialRecord,
    Trials,
    journal_file,
    preset_file,
    read_if_possible,
    result_text,
    write_trials,
)
from engine.sweep.execute import Worker
from engine.sweep.plan import Plan, Planned
from engine.sweep.record import CellRecord
from engine.sweep.submit import cells_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MOST_SKIPPED = 100
"""Trials in a row that are infeasible or repeat earlier ones, after which a search is taken to have seen its space."""
PRUNED = "pruned"
"""The tag of runs that were ended because their trial was pruned."""
SAVE_EVERY = 30.0
"""Seconds between two notes of how long a search has run."""


class SearchSupply:
    """Decides which runs a search has. What the trials are is in the journal; how runs ended, in their own statuses."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.plan: SearchPlan
        self.study: SearchStudy
        self._judges: dict[int, Judge] = {}
        self._shown: Trials | None = None
        self._has_changed = True
        self._spent = 0.0
        self._since = time.monotonic()
        self._saved = 0.0
        self._metric: str | None = None
        self._majority: float | None = None

    # -- the worker's questions

    def open(self) -> None:
        """Read what is searched, and open the journal. Raises RunError."""
        record = self.worker.record
        assert record.search is not None
        try:
            file = declared(record.search["table"], Path(record.file), name=record.name)
            self.plan = plan_search(file)
        except CrildError as error:
            raise RunError(f"the search cannot continue: {error}", kind="unusable-search") from error
        methods = tuple(start.method for start in self.plan.starts)
        journal = journal_file(self.worker.file)
        self.study = SearchStudy(journal, file, methods, record.created)
        known = len(self.study.trials())
        if (unknown := next((cell for cell in record.cells if _trial_of(cell)[0] >= known), None)) is not None:
            sentence = f"the journal of this search is missing or an older copy: it lacks the trial of the run {unknown.run}; {WAY_OUT}"
            raise RunError(sentence, kind="incomplete-journal", file=str(journal))
        before = read_if_possible(self.worker.file)
        self._spent = 0.0 if before is None else before.spent

    def is_wanted(self, cell: CellRecord) -> bool:
        """Whether a run belongs to a trial without a result, or confirms one."""
        number, again = _trial_of(cell)
        return again or any(trial.number == number for trial in self.study.running())

    def advance(self) -> bool:
        """See what has ended, ask for further trials while there is room, and conclude when there are none."""
        for trial in self.study.running():
            self._look_at(trial)
        reason = self._reason_to_end()
        while reason is None and self._has_room():
            self._ask()
            reason = self._reason_to_end()
        more = reason is None or bool(self.study.running())
        if not more:
            more = self._confirm()
        self._show(reason, is_over=not more)
        return more

    # -- trials

    @property
    def file(self) -> SearchFile:
        """What is searched."""
        return self.plan.file

    def _has_room(self) -> bool:
        return not self.worker.todo and len(self.worker.busy) < len(self.worker.record.slots)

    def _reason_to_end(self) -> str | None:
        """Why no trial is started any more."""
        states = [state_of(trial) for trial in self.study.trials()]
        counted = sum(state not in SKIPPED for state in states)
        search = self.file.search
        if search.trials is not None and counted >= search.trials:
            return f"all {search.trials:,} trials were started"
        if search.hours is not None and self._seconds() >= 3600 * search.hours:
            return f"{search.hours:g} hours are over"
        if self.study.is_exhausted():
            return "every point of the grid was tried"
        if len(states) >= MOST_SKIPPED and SKIPPED.issuperset(states[-MOST_SKIPPED:]):
            return f"the last {MOST_SKIPPED} trials were infeasible or repeated earlier ones"
        return None

    def _ask(self) -> None:
        """Start a trial, or note why its values cannot be used."""
        trials = self.study.trials()
        trial = self.study.ask(None if trials else self.plan.values)
        self._has_changed = True
        values = self.study.values_of(trial)
        twin = next((other.number for other in trials if self.study.values_of(other) == values), None)
        if twin is not None and trial.number:
            self._tell(trial, "repeated", {WHY: f"the values of trial {twin}"})
        else:
            self._add_runs(trial, values, first=True)

    def _tell(
        self, trial: FrozenTrial, state: str, facts: Mapping[str, Any], results: list[float] | None = None
    ) -> None:
        self.study.tell(trial, state, facts, results)
        self._judges.pop(trial.number, None)
        self._has_changed = True

    def _add_runs(self, trial: FrozenTrial, values: Values, *, first: bool) -> None:
        """Make the run of the first seed of a trial, or those of the others."""
        try:
            planned = runs_of_trial(self.plan, {} if trial.number == 0 else values, trial.number)
        except CrildError as error:
            sentences = [str(problem.sentence) for problem in getattr(error, "problems", (error,))]
            self._tell(trial, "infeasible", {WHY: sentences[0]})
            return
        self._add(planned[:1] if first else planned[1:])

    def _add(self, planned: Sequence[Planned]) -> None:
        plan = _as_plan(self.plan, planned)
        documents, cells = cells_of(plan)
        known = {cell.run for cell in self.worker.record.cells}
        new = [(cell, documents[cell.preset or 0]) for cell in cells if cell.run not in known]
        if new:
            self.worker.add(new)
            self._has_changed = True

    def _cells(self, number: int, *, again: bool = False) -> list[CellRecord]:
        return [cell for cell in self.worker.record.cells if _trial_of(cell) == (number, again)]

    def _look_at(self, trial: FrozenTrial) -> None:
        """Judge a running trial by what its runs say; make its further runs once the first is finished."""
        cells = self._cells(trial.number)
        if not cells:  # a kill came between the trial and its first run
            self._add_runs(trial, self.study.values_of(trial), first=True)
            return
        states = {cell.run: self._state(cell) for cell in cells}
        fault = next((run for run, state in states.items() if state not in ("finished", "pending")), None)
        if fault is not None:
            for cell in cells:
                self.worker.drop(cell)
            self._tell(trial, "failed", {WHY: self._why(fault, states[fault]), SECONDS: self._seconds_of(cells)})
            return
        if trial.number and self.file.pruner and (tenth := self._verdict(trial, cells[0])) is not None:
            self._tell(trial, "pruned", {TENTH: tenth, SECONDS: self._seconds_of(cells)})
            for cell in cells:
                self.worker.drop(cell)
                with contextlib.suppress(CrildError):
                    set_tags(self.worker.runs_dir / cell.run, [PRUNED])
            return
        if states[cells[0].run] != "finished":
            return
        if len(cells) < len(self.plan.seeds):
            self._add_runs(trial, self.study.values_of(trial), first=False)
        elif set(states.values()) == {"finished"}:
            results = [self._results(cell) for cell in cells]
            missing = next((aim for one in results for aim in self.file.aims if aim not in one), None)
            seconds = {SECONDS: self._seconds_of(cells)}
            if missing is not None:
                why = f"its results have no {missing}"
                self._tell(trial, "failed", {WHY: why, **seconds})
            else:
                means = [statistics.fmean(one[aim] for one in results) for aim in self.file.aims]
                self._tell(trial, "complete", seconds, means)

    def _state(self, cell: CellRecord) -> str:
        """The state of a run; "pending" while it may still go on."""
        run_dir = self.worker.runs_dir / cell.run
        state = read_run(run_dir).state if is_run(run_dir) else "missing"
        return "pending" if state != "finished" and self.worker.is_pending(cell) else state

    def _why(self, run: str, state: str) -> str:
        """Why a run is no use."""
        if state == "missing":
            start = f"{run}: "
            known = (line.removeprefix(start) for line in self.worker.record.failed if line.startswith(start))
            return next(known, "its run could not be started")
        status = read_run(self.worker.runs_dir / run).status
        fault = status.error if status is not None else None
        return str(fault) if fault is not None else f"its run was {state}"

    def _verdict(self, trial: FrozenTrial, cell: CellRecord) -> int | None:
        """The tenth of its training after which a trial is pruned; None to let it continue."""
        judge = self._judges.get(trial.number)
        if judge is None:
            preset = runs_of_trial(self.plan, self.study.values_of(trial), trial.number)[0].preset
            aim = self.file.aims[0]
            judge = Judge(self.worker.runs_dir / cell.run, preset, None if aim == "metric" else aim)
            self._judges[trial.number] = judge
        for tenth, value in judge.values():
            reported = max(trial.intermediate_values, default=0)
            if tenth >= reported and tenth < TENTHS and self.study.report(trial, tenth, value):
                return tenth
        return None

    def _results(self, cell: CellRecord) -> dict[str, float]:
        """What the results of a finished run say of each aim."""
        found = read_json(self.worker.runs_dir / cell.run / RESULTS) or {}
        student: Any = found.get("student")
        student = student if isinstance(student, Mapping) else {}
        metrics = student.get("metrics")
        figures = {**metrics} if isinstance(metrics, Mapping) else {}
        primary = found.get("metric")
        self._metric = primary if isinstance(primary, str) else self._metric
        least, aim = found.get("majority"), self.file.aims[0]
        known = least.get(primary if aim == "metric" else aim) if isinstance(least, Mapping) else None
        self._majority = float(known) if isinstance(known, int | float) else self._majority
        figures |= {"metric": figures.get(primary), "latency": student.get("latency_ms"), "size": student.get("bytes")}
        return {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}

    def _seconds_of(self, cells: Sequence[CellRecord]) -> float:
        """How long runs took together, until now where they have not ended."""
        statuses = [read_run(self.worker.runs_dir / cell.run).status for cell in cells if self._exists(cell)]
        spans = [(one.started, one.ended) for one in statuses if one is not None]
        return sum(max(0.0, (ended or time.time()) - started) for started, ended in spans if started is not None)

    def _exists(self, cell: CellRecord) -> bool:
        return is_run(self.worker.runs_dir / cell.run)

    # -- the end

    def _confirmed(self) -> list[int]:
        """The trials that get runs with fresh seeds: the winner, and the first, which is the starting preset."""
        best = self.study.best()
        return [] if best is None or not self.file.search.confirm else sorted({best, 0}, reverse=True)

    def _confirm(self) -> bool:
        """Make the runs with fresh seeds, once; whether some of them have not ended."""
        numbers = self._confirmed()
        for number in numbers:
            if not self._cells(number, again=True):
                values = {} if number == 0 else self.study.values_of(self.study.trials()[number])
                self._add(runs_of_trial(self.plan, values, number, again=True))
        return any(self._state(cell) == "pending" for number in numbers for cell in self._cells(number, again=True))

    def _confirmation(self, number: int) -> Confirmation | None:
        """What a trial's runs with fresh seeds reached by the task's metric, or by the aim where that is a metric."""
        aim = self.file.aims[0]
        dev, held_out, rows = [], [], None
        for cell in self._cells(number, again=True):
            if self._state(cell) != "finished":
                continue
            found = read_json(self.worker.runs_dir / cell.run / RESULTS) or {}
            try:
                metric = found["metric"] if aim in ("metric", "latency", "size") else aim
                dev.append(float(found["student"]["metrics"][metric]))
                if self.file.holdout:
                    held_out.append(float(found["student"]["test"][metric]))
                    rows = int(found["test"]["rows"])
            except (KeyError, TypeError, ValueError):
                continue
        if not dev:
            return None
        return Confirmation(
            number, len(dev), statistics.fmean(dev), _deviation(dev),
            statistics.fmean(held_out) if held_out else None, _deviation(held_out), rows,
        )  # fmt: skip

    def _write_presets(self) -> tuple[str, ...]:
        """Write the preset of the winner, and of each point of a front, unless that is the winner alone. Raises RunError."""
        best, written = self.study.best(), []
        front = self.study.front()
        numbers = [(best, None), *((number, number) for number in front if front != [best])]
        for number, named in numbers:
            if number is None:
                continue
            trial = self.study.trials()[number]
            figures = ", ".join(
                f"{self._aim(aim)} {result_text(aim, value)}"
                for aim, value in zip(self.file.aims, trial.values or (), strict=False)
            )
            why = f"Trial {number} of the search {self.file.name}: {figures} on dev, without the rows it held out."
            values = {} if number == 0 else self.study.values_of(trial)
            path = preset_file(self.worker.file, named)
            try:
                write_atomic(path, best_preset(self.plan, values, number, why))
            except OSError as error:
                sentence = f"cannot write the preset: {cause(error)}"
                raise RunError(sentence, kind="cannot-write-best-preset", file=str(path)) from error
            written.append(str(path))
        return tuple(written)

    # -- what others read

    def _seconds(self) -> float:
        return self._spent + time.monotonic() - self._since

    def _aim(self, aim: str) -> str:
        return self._metric or aim if aim == "metric" else aim

    def _show(self, reason: str | None, *, is_over: bool) -> None:
        """Write the file that others read, if anything changed."""
        shown = self._shown
        late = self._seconds() - self._saved > SAVE_EVERY
        if shown is not None and not (self._has_changed or shown.over != reason or is_over or late):
            return
        trials = tuple(self._row(trial) for trial in self.study.trials())
        if self._metric is None:
            self._learn_metric(trials)
        confirmed = [one for number in self._confirmed() if (one := self._confirmation(number))] if is_over else ()
        self._shown = Trials(
            tuple(map(self._aim, self.file.aims)),
            trials,
            self.file.search.trials,
            self.file.search.hours,
            self._seconds(),
            self.study.best(),
            tuple(self.study.front()),
            self.study.importance(),
            tuple(confirmed),
            self._write_presets() if is_over else (),
            reason,
            self._majority,
        )
        write_trials(self.worker.file, self._shown)
        self._has_changed, self._saved = False, self._seconds()

    def _learn_metric(self, trials: Sequence[TrialRecord]) -> None:
        """The name of the task's metric, from a run that is finished."""
        for trial in trials:
            if trial.state == "complete":
                self._results(self._cells(trial.number)[0])
                return

    def _row(self, trial: FrozenTrial) -> TrialRecord:
        state, facts = state_of(trial), trial.user_attrs
        tenth = facts.get(TENTH)
        return TrialRecord(
            trial.number,
            state,
            self.study.values_of(trial),
            tuple(trial.values or ()) if state == "complete" else (),
            tuple(cell.run for cell in self._cells(trial.number)),
            float(facts.get(SECONDS, 0.0)),
            None if tenth is None else tenth / TENTHS,
            facts.get(WHY),
        )


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _trial_of(cell: CellRecord) -> tuple[int, bool]:
    """The number of the trial that a run belongs to, and whether it confirms it."""
    number, _, again = cell.cell["trial"].partition("-")
    return int(number), again == AGAIN


def _as_plan(found: SearchPlan, planned: Sequence[Planned]) -> Plan:
    return Plan(found.file.name, found.file.start.path, {}, tuple(planned))
