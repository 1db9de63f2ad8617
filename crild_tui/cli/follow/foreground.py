"""Start the engine of a run from this terminal, follow it there or detach from it, and report how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.cli.follow.controls import Controls
from crild_tui.cli.follow.displays import Silence, display, marked, run_view
from crild_tui.cli.follow.loop import Follower
from crild_tui.cli.follow.outcome import Outcome
from crild_tui.runs import formatting
from engine.user.consent import Consent

if TYPE_CHECKING:
    from engine.launch.rank import Rank


@contextmanager
def foreground() -> Iterator[Controls]:
    """Signal handling for a command that starts an engine and follows it."""
    with Controls() as controls:
        controls.holding = True
        yield controls


def start_and_follow(
    run_dir: Path,
    controls: Controls,
    consent: Consent,
    *,
    rank: Rank | None = None,
    quiet: bool,
    detach: bool,
    as_json: bool,
    resume: bool = False,
) -> int:
    """Start the engine of a run, with the user's consent to code of models, and follow it; returns the exit code.

    `rank` is 0 of the processes that torchrun or srun has started for it.
    """
    from engine.launch.start import start_engine
    from engine.record.run import read_status

    terminal.say("starting the engine; loading its libraries takes a few seconds", quiet=quiet)
    after = read_status(run_dir).attempt + 1

    def start() -> int:
        pid = start_engine(run_dir, resume=resume, consent=consent, rank=rank)
        controls.release()
        return pid

    if detach:
        print_started([run_dir], as_json=as_json, pid=start())
        return 0
    return follow_one(run_dir, controls, quiet=quiet, as_json=as_json, after=after, start=start)


def print_started(runs: Sequence[Path], *, as_json: bool, **more: Any) -> None:
    """Print the ids of runs that were started with --detach."""
    from engine.record.run import read_run

    if as_json:
        documents = [{"run": r.name, "path": str(r), "state": read_run(r).state, **more} for r in runs]
        terminal.show_json(documents[0] if len(runs) == 1 else documents)
    else:
        for run_dir in runs:
            terminal.sentence(run_dir.name)


def follow_one(
    run_dir: Path,
    controls: Controls,
    *,
    quiet: bool,
    as_json: bool,
    after: int = 0,
    start: Callable[[], object] | None = None,
) -> int:
    """Follow a run that was started here and print its results; returns the exit code."""
    outcome = follow(run_dir, controls, quiet=quiet, as_json=as_json, after=after, start=start)
    if as_json:
        terminal.show_json(end_document(outcome))
    return outcome.exit_code


def follow(
    run_dir: Path,
    controls: Controls,
    *,
    quiet: bool,
    as_json: bool,
    after: int = 0,
    start: Callable[[], object] | None = None,
    rest: Sequence[Path] = (),
    title: str | None = None,
) -> Outcome:
    """Follow a run that was started here, and report how it ended.

    `start` starts its engine, after earlier attempts were summarised; `after` is the number of the attempt that it
    starts. `rest` are the runs behind it in the queue.
    """
    shown = Silence() if quiet else display(run_view(run_dir.name))
    if title is not None:
        shown.message("info", f"run {title}: {run_dir.name}")
    empty_queue = partial(take_off_queue, rest) if rest else None
    follower = Follower(run_dir, shown, controls, owner=True, after=after, empty_queue=empty_queue)
    if start is not None:
        try:
            follower.history(loads=True)
            start()
        except BaseException:
            shown.close()
            raise
    outcome = follower.go()
    report_end(outcome, quiet=quiet, as_json=as_json)
    return outcome


def take_off_queue(runs: Sequence[Path]) -> None:
    """Remove runs that have not started from their queue, last one first; each can be resumed on its own."""
    from engine.errors import CrildError
    from engine.launch.signals import stop
    from engine.record.run import read_run

    for run_dir in reversed(runs):
        if read_run(run_dir).state != "queued":
            continue
        try:
            stop(run_dir)
        except CrildError as error:
            terminal.say(error.sentence)


def report_end(outcome: Outcome, *, quiet: bool, as_json: bool) -> None:
    """Print sentences on stderr and the closing table on stdout; set the terminal's title and ask for attention."""
    from crild_tui.cli.closing_table import closing_of

    for level, line in outcome.sentences():
        terminal.say(marked(level, line), quiet=quiet and level != "error")
    status = outcome.status
    figure = f" {status.metric_name} {formatting.metric(status.last)}" if status and status.last is not None else ""
    terminal.announce(f"crild: {outcome.state}{figure} {outcome.run_dir.name}", attention=not outcome.interrupted)
    if outcome.state == "finished" and not as_json:
        terminal.show_parts(closing_of(outcome.run_dir))


def end_document(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints at the end: the results with state and path, or the error where there are no results."""
    from dataclasses import asdict

    from engine.record.files import read_json
    from engine.record.paths import RESULTS

    error = outcome.status.error if outcome.status else None
    return {
        **((read_json(outcome.run_dir / RESULTS) or {}) if outcome.state == "finished" else {}),
        "run": outcome.run_dir.name,
        "path": str(outcome.run_dir),
        "state": outcome.state,
        "exit_code": outcome.exit_code,
        "error": asdict(error) if error else None,
    }
