"""A run: what it is doing, what it reached, how to stop and continue it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from crild.api.packages import use_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pandas as pd

    from crild.api.events import Event
    from crild_tui.cli.follow.displays import Display
    from crild_tui.cli.follow.event_messages import Line
    from crild_tui.cli.follow.loop import Follower
    from crild_tui.cli.follow.outcome import Outcome
    from crild_tui.runs.summary import RunSummary
    from engine.errors import CrildError
    from engine.record.run import RunEntry

POLL = 0.25
"""Seconds between two looks at the files of a run."""
PATIENCE = 30.0
"""Seconds to wait for an engine to write its checkpoint."""


def open_run(run: str | os.PathLike[str], *, runs_dir: str | os.PathLike[str] | None = None) -> Run:
    """Open a run by its id, the beginning of it, its name without the seed, its path, or `latest`.

    `runs_dir` is the folder of the runs, by default `$CRILD_RUNS_DIR`, else `./runs`. Raises CrildError that lists what may
    have been meant.
    """
    use_packages()
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    ref = os.fspath(run)
    folder = folder_of(None if runs_dir is None else os.fspath(runs_dir))
    return Run(find_run(os.path.join(ref, "") if isinstance(run, os.PathLike) else ref, folder))  # noqa: PTH118


class Run:
    """A run; each property and method reads its directory as it is now."""

    def __init__(self, path: str | os.PathLike[str]):
        """`path` is the run directory; `open_run` finds one by its name."""
        self._path = Path(path).absolute()
        self._attempt = 0
        """The attempt that was started here: the end of an earlier one is not this run's end. 0 for any."""

    @property
    def path(self) -> Path:
        """The run directory."""
        return self._path

    @property
    def name(self) -> str:
        """Its id: the name of the run directory."""
        return self._path.name

    @property
    def state(self) -> str:
        """created, queued, running, stopping, finished, failed, stopped, preempted, lost, stalled or unreadable."""
        return _entry(self._path).state

    @property
    def status(self) -> dict[str, Any]:
        """The fields of status.json, with the state as `state` gives it. Raises CrildError if it cannot be read."""
        use_packages()
        from engine.record.run import read_status

        return {**read_status(self._path).to_dict(), "state": self.state}

    @property
    def error(self) -> str | None:
        """Why it failed; None for a run that did not."""
        status = _entry(self._path).status
        return None if status is None or status.error is None else str(status.error)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting of its preset by its dotted key, as `train.batch_size`."""
        use_packages()
        from engine.report.compare import flat, read_preset

        return dict(flat(read_preset(self._path)))

    @property
    def results(self) -> dict[str, Any]:
        """The contents of results.json. Raises CrildError for a run without results."""
        use_packages()
        from crild_tui.runs.tables import read_results

        return read_results(self._path)

    @property
    def student(self) -> Path:
        """The folder of its student, which `transformers` loads. Raises CrildError for a run that has none yet."""
        use_packages()
        from crild_tui.runs.model_reference import student_of

        return student_of(self._path)

    # -- what it logged

    def events(self, kinds: str | Iterable[str] | None = None) -> Iterator[Event]:
        """Its events so far, of all kinds or of some; what a resumed run has repeated comes once."""
        wanted = _kinds(kinds)
        from engine.record.events import read_events

        return cast("Iterator[Event]", read_events(self._path, wanted))

    def follow(self, kinds: str | Iterable[str] | None = None) -> Iterator[Event]:
        """Its events so far, then each new one as it is written, until the run ends.

        Stop iterating whenever you like: the run keeps going.
        """
        return self._follow(_kinds(kinds))

    def _follow(self, kinds: frozenset[str] | None) -> Iterator[Event]:
        from crild_tui.cli.follow.ending import Ending
        from engine.record.events import EventTail

        tail, ending = EventTail(self._path, kinds), Ending(self._attempt)
        while True:
            ended = ending.has_come(_entry(self._path))  # asked first: the last events come before the last status
            yield from cast("list[Event]", tail.poll())
            if ended:
                return
            time.sleep(POLL)

    def curves(self, kinds: str | Iterable[str] = ("step", "evaluation")) -> pd.DataFrame:
        """Its events as a table: a row for each, a column for each figure, as `crild events` writes them.

        Without argument, a row for each logged step and each evaluation.
        """
        wanted = _kinds(kinds)
        import pandas as pd

        from engine.record.event_table import column_values

        table = pd.DataFrame(column_values(self._path, wanted))
        return table.astype({name: "boolean" for name in ("best", "primary", "ended") if name in table})

    def results_table(self) -> pd.DataFrame:
        """A row for each model (teacher, student, what it is compared with): metrics as shares of 1, size, speed.

        Raises CrildError for a run without results.
        """
        use_packages()
        import pandas as pd

        from crild_tui.runs.tables import read_closing

        costs = ("layers", "parameters", "bytes", "latency_ms", "throughput", "speedup")
        models = read_closing(self._path).models
        rows = [{"model": row.name.strip(), **row.metrics, **{n: getattr(row, n) for n in costs}} for row in models]
        return pd.DataFrame(rows)

    # -- what can be done to it

    def wait(self, *, quiet: bool = False) -> Run:
        """Show how the run goes until it ends; returns the run itself.

        Interrupting the kernel leaves the run running. Raises CrildError with the run's error if it fails, and for a run
        that is stopped, preempted or lost.
        """
        use_packages()
        shown = _display(self._path, quiet=quiet)
        follower = self._follower(shown)
        follower.history()
        self._finish(follower, shown)
        return self

    def stop(self, *, kill: bool = False) -> None:
        """Stop it at its next step, with a checkpoint, and wait for that; with `kill` at once, without a checkpoint.

        Raises CrildError when there is nothing to stop. An engine that takes longer than 30 seconds stops later, by itself.
        """
        use_packages()
        from crild_tui.runs.states import check_possible, command_hints
        from engine.launch import signals
        from engine.launch.slurm_watch import settle

        settle(self._path)
        check_possible(_entry(self._path), "kill" if kill else "stop", command_hints(self._path))
        (signals.kill if kill else signals.stop)(self._path)
        self._await_stop()

    def resume(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        detached: bool = False,
        trust_remote_code: bool = False,
        quiet: bool = False,
    ) -> Run:
        """Continue it from its last good checkpoint, with changed settings where that is allowed; returns the run itself.

        Shows how it goes until it ends, as `Preset.run` does, unless `detached`. Raises CrildError that says why it cannot
        resume.
        """
        use_packages()
        from crild_tui.cli.follow.cell_display import tell
        from crild_tui.runs.create import check_user_settings
        from crild_tui.runs.resume import prepare
        from crild_tui.runs.setting_items import setting_items
        from engine.launch.slurm_watch import settle
        from engine.launch.start import start_engine
        from engine.sweep.queue import continue_queue

        tell(check_user_settings(), quiet=quiet)
        settle(self._path)
        prepared = prepare(self._path, setting_items(settings or {}), trust=trust_remote_code)
        tell(prepared.notes, quiet=quiet)
        status, consent = prepared.entry.status, prepared.consent
        if status is not None and status.state == "queued":
            continue_queue(self._path, consent=consent)
            return self if detached else self.wait(quiet=quiet)
        return start(
            self, lambda: start_engine(self._path, resume=True, consent=consent), detached=detached, quiet=quiet
        )

    def _start(self, engine: Callable[[], object], *, detached: bool, quiet: bool) -> Run:
        from engine.record.run import read_status

        self._attempt = read_status(self._path).attempt + 1
        if detached:
            engine()
            return self
        shown = _display(self._path, quiet=quiet)
        follower = self._follower(shown)
        try:
            follower.history(loads=True)
            engine()
            self._finish(follower, shown)
        except KeyboardInterrupt:
            self._stop_for_interrupt(shown)
            raise
        return self

    def _stop_for_interrupt(self, shown: Display[RunSummary]) -> None:
        """Stop the run with a checkpoint; at another interrupt of the kernel, kill it."""
        from engine.errors import CrildError
        from engine.launch.signals import interrupt, kill
        from engine.record.states import allows

        try:
            shown.message("info", f"stopping {self.name} with a checkpoint; interrupt again to kill it instead")
            try:
                interrupt(self._path)
                self._await_stop()
            except KeyboardInterrupt:
                kill(self._path)
        except CrildError as error:  # it has ended by itself
            shown.message("info", error.sentence)
        state = self.state
        advice = f"; crild.open_run({self.name!r}).resume() continues it" if allows(state, "resume") else ""
        shown.message("info", f"{self.name} is {state}{advice}")

    def _follower(self, shown: Display[RunSummary]) -> Follower:
        from crild_tui.cli.follow.controls import Controls
        from crild_tui.cli.follow.loop import Follower

        return Follower(self._path, shown, Controls(), owner=False, after=self._attempt)  # no signal is handled here

    def _finish(self, follower: Follower, shown: Display[RunSummary]) -> None:
        """Follow the run to its end. Raises CrildError unless it finishes."""
        outcome = follower.go()
        lines = list(outcome.sentences())
        if outcome.state != "finished":
            raise _failure(outcome, lines)
        for level, line in lines:
            shown.message(level, line)

    def _await_stop(self) -> None:
        """Wait until no engine runs it, for a while."""
        from engine.record.states import IN_PROGRESS

        until = time.monotonic() + PATIENCE
        while self.state in IN_PROGRESS - {"stalled"} and time.monotonic() < until:
            time.sleep(POLL)

    # -- how it shows itself

    def __repr__(self) -> str:
        return f"<crild.Run {self.name!r}: {self.state}>"

    def _repr_html_(self) -> str:
        entry = _entry(self._path)
        from crild_tui.runs.html import run_html

        return run_html(entry, time.time())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)


def start(run: Run, engine: Callable[[], object], *, detached: bool, quiet: bool) -> Run:
    """Start the engine of a run with a function and follow it to its end, unless `detached`; returns the run.

    Interrupting the kernel stops the run with a checkpoint, as Ctrl-C does in a terminal. Raises CrildError unless it
    finishes.
    """
    return run._start(engine, detached=detached, quiet=quiet)


def follow_queue(runs: list[Run], *, detached: bool, quiet: bool) -> list[Run]:
    """Follow the runs of a queue to their end, one after the other, unless `detached`; returns them.

    Interrupting the kernel stops the present run with a checkpoint and takes the others off the queue. Raises CrildError for the first
    that doesn't finish.
    """
    from crild_tui.cli.follow.foreground import take_off_queue
    from engine.record.states import ENDED

    for number, run in enumerate([] if detached else runs):
        try:
            run.wait(quiet=quiet)
        except KeyboardInterrupt:
            take_off_queue([each.path for each in runs[number:]])
            if run.state not in ENDED:
                run._stop_for_interrupt(_display(run.path, quiet=quiet))
            raise
    return runs


def run_dir_of(run: Run | str | os.PathLike[str], runs_dir: str | os.PathLike[str] | None = None) -> Path:
    """The directory of a run, or of one that is named as for `open_run`."""
    return run.path if isinstance(run, Run) else open_run(run, runs_dir=runs_dir).path


def _entry(path: Path) -> RunEntry:
    use_packages()
    from engine.record.run import read_run

    return read_run(path)


def _kinds(kinds: str | Iterable[str] | None) -> frozenset[str] | None:
    use_packages()
    from crild_tui.runs.event_kinds import known_kinds

    if kinds is None:
        return None
    return known_kinds([kinds] if isinstance(kinds, str) else kinds)


def _display(path: Path, *, quiet: bool) -> Display[RunSummary]:
    from crild_tui.cli.follow.displays import Silence, display, run_view

    return Silence() if quiet else display(run_view(path.name))


def _failure(outcome: Outcome, lines: list[Line]) -> CrildError:
    """The error of a run that did not finish, with what to do next as its notes."""
    from dataclasses import asdict

    from engine.errors import RunError
    from engine.launch.foreground import error_of

    fault = outcome.status.error if outcome.state == "failed" and outcome.status is not None else None
    error: CrildError
    if fault is None:
        error = RunError(f"{outcome.run_dir.name}: {lines[0][1]}", kind="run-not-finished")
    else:
        error = error_of(asdict(fault))
        error.kind = "run-failed"
    error.add_note(f"run {outcome.run_dir}")
    for _, line in lines[1:]:
        error.add_note(line)
    return error
