"""`crild search`: the best recipe over keys of a preset."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import toml_files
from crild_tui.cli.options import AsJson, Devices, NoTrack, Quiet, RunsDir, Slots, Trackers, Trust

if TYPE_CHECKING:
    from crild_tui.cli.follow.controls import Controls
    from engine.sweep.record import SweepRecord


def search(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A TOML file with a [search] table.", autocompletion=toml_files, show_default=False
        ),
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Check the file and show what is searched; start nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show the trials so far, importance and front; start nothing.")
    ] = False,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="N", help="How many trials. [default: the file's]")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="H", help="Hours of searching. [default: the file's]")
    ] = None,
    slots: Slots = None,
    devices: Devices = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Start a separate search under this name. [default: the file's]"),
    ] = None,
    trust_remote_code: Trust = False,
    track: Trackers = None,
    no_track: NoTrack = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the search; its runs write checkpoints.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start, print the name, and return at once.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    runs_dir: RunsDir = None,
) -> None:
    """Search the best values of a preset's keys, and methods, within a budget of trials or hours.

    Each trial is an ordinary run, or one for each seed. The test set is never touched, and a part of the training rows
    is kept for the winner alone. Repeat the command to continue, also after a crash. Press Ctrl-C to stop the runs with
    checkpoints, twice to kill them; closing the terminal leaves them running. Needs crild[search].

    \b
    crild search search.toml --plan
    crild search search.toml --trials 50 --slots 2
    crild search search.toml --show
    crild search search.toml --stop

    \b
    Exit codes: 0 the search is over; 1 its process is gone; 2 wrong usage or search file; 3 data
    or model cannot be used; 130 stopped by Ctrl-C; 143 by SIGTERM; both with checkpoints.
    """
    from importlib.util import find_spec

    from crild_tui.cli.follow.foreground import foreground
    from crild_tui.cli.ranks import refuse_ranks
    from crild_tui.runs.create import check_user_settings
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.paths import user_path
    from engine.search.declaration import read_search
    from engine.search.plan import plan_search
    from engine.search.submit import is_over, reconcile_search, submit_search
    from engine.sweep.slots import slots_for
    from engine.user.consent import consent_to
    from engine.user.tracking import choose_trackers

    refuse_ranks("crild search")
    choose_trackers(track, none=no_track)
    folder = folder_of(runs_dir)
    path = user_path(file, "a search file") if file.startswith("~") else Path(file)
    if stop or show:
        of = name or (read_search(path).name if path.is_file() else file)
        if show:
            raise typer.Exit(_table(_existing(folder, of), folder, quiet=quiet, as_json=as_json))
        from crild_tui.cli.stop import stop_sweep

        stop_sweep(folder, of, quiet=quiet)
        return
    changes = {key: value for key, value in {"trials": trials, "hours": hours}.items() if value is not None}
    found = plan_search(read_search(path, name, changes), None if plan else trust_remote_code)
    record = reconcile_search(found, folder)
    running = record if record is not None and record.alive() else None
    if record is not None and running is None and is_over(record, found) and not plan:
        terminal.say(f"{record.name}: nothing left to do; --trials or --hours extend it", quiet=quiet)
        raise typer.Exit(_table(record, folder, quiet=quiet, as_json=as_json))
    on = tuple(word.strip() for word in (devices or "").split(",") if word.strip())
    tables = [start.preset.train for start in found.starts]
    chosen = slots_for(
        (found.file.search.trials or 10_000) * len(found.seeds),
        [None if train.device == "auto" else train.device for train in tables],
        [train.threads for train in tables],
        slots=slots,
        on=on,
        before=record.slots if record is not None else (),
    )
    if plan:
        from crild_tui.cli.search_table import show_search_plan

        show_search_plan(found, folder, chosen, as_json=as_json)
        return
    if find_spec("optuna") is None:
        raise UsageError('crild search needs Optuna: pip install "crild[search]"', kind="optuna-not-installed")
    if running is not None and (slots is not None or on or changes or trust_remote_code or track or no_track):
        terminal.say(
            "the search is already running: --trials, --hours, --slots, --devices, --trust-remote-code and --track take effect "
            "when it is started again",
            quiet=quiet,
        )
    terminal.say(*check_user_settings(), quiet=quiet)
    consent = consent_to([start.preset for start in found.starts], trust=trust_remote_code)
    with foreground() as controls:
        started = running or submit_search(found, folder, chosen, consent=consent)
        controls.release()
        if detach:
            _print_started(started, quiet=quiet, as_json=as_json)
            return
        terminal.say(
            f"search {started.name} is {'running' if running is None else 'already running'} in {folder}: "
            f"{len(started.slots):,} at a time on {', '.join(dict.fromkeys(slot.device for slot in started.slots))}",
            "Press Ctrl-C to stop its runs with checkpoints; closing the terminal leaves them running.",
            quiet=quiet,
        )
        raise typer.Exit(_follow(started, folder, controls, quiet=quiet, as_json=as_json))


def _existing(runs_dir: Path, name: str) -> SweepRecord:
    """The record of a search. Raises UsageError when there is none of this name."""
    from engine.errors import UsageError
    from engine.preset.text import shown
    from engine.sweep.submit import existing

    record = existing(runs_dir, name)
    if record is None or record.search is None:
        raise UsageError(f"there is no search {shown(name)} in {str(runs_dir)!r}", kind="unknown-search")
    return record


def _print_started(record: SweepRecord, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        terminal.show_json({"search": record.name})
        return
    terminal.sentence(record.name)
    terminal.say("to watch it, repeat the command without --detach; to stop it, add --stop", quiet=quiet)


def _follow(record: SweepRecord, runs_dir: Path, controls: Controls, *, quiet: bool, as_json: bool) -> int:
    from crild_tui.cli.follow.outcome import INTERRUPTED, TERMINATED
    from crild_tui.cli.search_follow import SearchFollower

    last = SearchFollower(record, runs_dir, controls, quiet=quiet).go()
    code = _table(last, runs_dir, quiet=quiet, as_json=as_json)
    terminal.announce(f"crild: search {last.name} {last.state}", attention=not controls.asked)
    if controls.count(signal.SIGINT):
        return INTERRUPTED
    if controls.asked or (last.state == "stopped" and last.waiting is None):
        return TERMINATED
    return code


def _table(record: SweepRecord, runs_dir: Path, *, quiet: bool, as_json: bool) -> int:
    """Print the trials; returns 1 when the search's process is gone or gave up, else 0."""
    from crild_tui.cli.search_table import document, show_trials
    from engine.search.trials import read_trials
    from engine.sweep.record import sweep_file

    trials = read_trials(sweep_file(runs_dir, record.name))
    if as_json:
        terminal.show_json(document(record, trials))
    elif trials is None:
        terminal.sentence(f"{record.name}: no trial yet")
    else:
        show_trials(record, trials, quiet=quiet)
    if record.waiting is not None and record.state == "stopped":
        terminal.say(f"error: {record.waiting}")
    return 0 if record.state == "ended" or record.alive() else 1
