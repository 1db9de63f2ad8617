"""`crild run`: checked presets become runs, engines start, and the runs are followed to their ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crild_tui.cli import terminal
from crild_tui.cli.follow.controls import Controls
from crild_tui.cli.follow.outcome import INTERRUPTED, TERMINATED, Outcome
from crild_tui.runs import formatting
from crild_tui.runs.create import Request, create_all, load_all, unmake

QUEUE_STOP = (
    "stopping this run at its next step with a checkpoint; the runs behind it are taken off the queue. "
    "Press Ctrl-C again to kill this run instead"
)


def run_presets(request: Request, *, dry_run: bool, detach: bool, as_json: bool, quiet: bool) -> int:
    """Make the runs, start them, follow them; returns the exit code."""
    loaded = load_all(request)
    if dry_run:
        from crild_tui.cli.dry_run import show_plan

        return show_plan(loaded, request, as_json=as_json)
    talk = Talk(quiet)
    with foreground() as controls:
        runs = create_all(request, loaded)
        _introduce(runs, talk, detach=detach)
        if len(runs) > 1:
            return _queue(runs, controls, talk, detach=detach, as_json=as_json)
        return start_and_follow(runs[0], controls, talk, detach=detach, as_json=as_json)


class Talk:
    """Sentences on stderr, or none (`--quiet`)."""

    def __init__(self, quiet: bool):
        self.quiet = quiet

    def say(self, *lines: str) -> None:
        """Print sentences, unless told to be quiet."""
        if not self.quiet:
            terminal.say(*lines)


def _introduce(runs: Sequence[Path], talk: Talk, *, detach: bool) -> None:
    for run_dir in runs:
        talk.say(f"run {run_dir.name} in {run_dir.parent}")
    if detach:
        return
    if len(runs) == 1:
        first = runs[0]
        talk.say(
            "Ctrl-C stops it with a checkpoint; closing the terminal leaves it going.",
            f"From elsewhere: {formatting.command('attach', first)}, {formatting.command('stop', first)}",
        )
    else:
        talk.say(
            "They run one after the other. Ctrl-C stops the present one with a checkpoint and takes the others off the",
            "queue; closing the terminal leaves them all going.",
        )


def start_and_follow(
    run_dir: Path, controls: Controls, talk: Talk, *, detach: bool, as_json: bool, resume: bool = False
) -> int:
    """Start the engine of a run and follow it; returns the exit code."""
    from engine.launch.start import start_engine
    from engine.record.run import read_status

    talk.say("starting the engine; loading its libraries takes a few seconds")
    after = read_status(run_dir).attempt + 1

    def start() -> int:
        pid = start_engine(run_dir, resume=resume)
        controls.release()
        return pid

    if detach:
        detached([run_dir], as_json=as_json, pid=start())
        return 0
    outcome = follow(run_dir, controls, quiet=talk.quiet, after=after, start=start)
    tell_end(outcome, quiet=talk.quiet, as_json=as_json)
    if as_json:
        terminal.show_json(end_document(outcome))
    return outcome.exit_code


def detached(runs: Sequence[Path], *, as_json: bool, **more: Any) -> None:
    """Print the ids of runs that were started and are left alone."""
    from engine.record.run import read_run

    if as_json:
        documents = [{"run": r.name, "path": str(r), "state": read_run(r).state, **more} for r in runs]
        terminal.show_json(documents[0] if len(runs) == 1 else documents)
    else:
        for run_dir in runs:
            terminal.sentence(run_dir.name)


def _queue(runs: Sequence[Path], controls: Controls, talk: Talk, *, detach: bool, as_json: bool) -> int:
    from engine.errors import CrildError
    from engine.sweep.queue import enqueue

    try:
        queue = enqueue(runs)
    except CrildError:
        unmake(runs)  # no queue, no runs that would wait for it for ever
        raise
    controls.release()
    if detach:
        detached(runs, as_json=as_json, queue=queue)
        return 0
    outcomes = []
    for place, run_dir in enumerate(runs):
        rest = runs[place + 1 :]
        outcome = follow(run_dir, controls, quiet=talk.quiet, rest=rest, title=f"{place + 1} of {len(runs)}")
        outcomes.append(outcome)
        tell_end(outcome, quiet=talk.quiet, as_json=as_json)
        if controls.asked:
            take_off(rest)  # what was asked for between two runs
            break
    if controls.asked and len(outcomes) < len(runs):
        _queue_end(outcomes, as_json=as_json)
        return INTERRUPTED if controls.count(signal.SIGINT) else TERMINATED
    return _queue_end(outcomes, as_json=as_json)


def _queue_end(outcomes: Sequence[Outcome], *, as_json: bool) -> int:
    """The table over the seeds that finished; returns the exit code of the last run that did not."""
    from crild_tui.cli.show import show_seeds

    if as_json:
        terminal.show_json([end_document(outcome) for outcome in outcomes])
    elif sum(outcome.state == "finished" for outcome in outcomes) > 1:
        terminal.sentence()
        show_seeds([o.run_dir for o in outcomes if o.state == "finished"])
    return next((code for outcome in reversed(outcomes) if (code := outcome.exit_code)), 0)


def follow(
    run_dir: Path,
    controls: Controls,
    *,
    quiet: bool,
    after: int = 0,
    start: Callable[[], object] | None = None,
    rest: Sequence[Path] = (),
    title: str | None = None,
) -> Outcome:
    """Follow a run that was started here.

    `start` starts its engine, once what there is of earlier attempts has been told in summary; `after` is the number
    of the attempt that it starts. `rest` are the runs that the run's queue has still to start.
    """
    from crild_tui.cli.follow.displays import narrator
    from crild_tui.cli.follow.loop import STOPPING, Follower, Mode

    teller = narrator(run_dir.name, quiet=quiet)
    if title is not None:
        teller.tell("info", f"run {title}: {run_dir.name}")
    mode = Mode(
        owner=True,
        on_stop=(lambda: take_off(rest)) if rest else None,
        stop_sentence=QUEUE_STOP if rest else STOPPING,
    )
    follower = Follower(run_dir, teller, controls, mode, after=after)
    if start is not None:
        try:
            follower.history(loads=True)
            start()
        except BaseException:
            teller.close()
            raise
    return follower.go()


def take_off(runs: Sequence[Path]) -> None:
    """Take runs off their queue that have not begun: they stay, and can be resumed one by one. The last goes first."""
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


def tell_end(outcome: Outcome, *, quiet: bool, as_json: bool) -> None:
    """Sentences on stderr, the closing table on stdout, bell and title on the terminal."""
    from crild_tui.cli.show import closing_of, show_closing

    for level, line in outcome.sentences():
        if level == "error" or not quiet:
            terminal.say(f"{'' if level == 'info' else level + ': '}{line}")
    status = outcome.status
    figure = f" {status.metric_name} {formatting.metric(status.last)}" if status and status.last is not None else ""
    terminal.announce(f"crild: {outcome.state}{figure} {outcome.run_dir.name}", bell=not outcome.interrupted)
    if outcome.state == "finished" and not as_json:
        found = closing_of(outcome.run_dir)
        if found is not None:
            show_closing(found, outcome.run_dir)


def end_document(outcome: Outcome) -> dict[str, Any]:
    """What `--json` gives at the end: the results with state and path; without results the fault."""
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


@contextmanager
def foreground() -> Iterator[Controls]:
    """Signals of a command that starts an engine and follows it."""
    with Controls() as controls:
        controls.holding = True
        yield controls
