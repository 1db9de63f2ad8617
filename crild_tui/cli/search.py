"""`crild search`: the best recipe over keys of a preset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import toml_files
from crild_tui.cli.options import (
    Account,
    AsJson,
    Cpus,
    Devices,
    Gpus,
    GpusPerRun,
    JobTime,
    NoTrack,
    Partition,
    Quiet,
    Ray,
    RunsDir,
    Slots,
    SlurmLocal,
    SlurmTemplate,
    Trackers,
    Trust,
)
from crild_tui.cli.sweep_process import (
    check_places,
    choose_slots,
    file_path,
    follow,
    name_of,
    print_started,
    say_already_running,
    say_running,
)

if TYPE_CHECKING:
    from engine.sweep.record import SweepRecord

JOBS_AT_ONCE = 4
"""Jobs at a time of a search in SLURM by default: a search that learns from its trials gains little from many at once."""


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
    ray: Ray = None,
    gpus_per_run: GpusPerRun = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Start a separate search under this name. [default: the file's]"),
    ] = None,
    trust_remote_code: Trust = False,
    track: Trackers = None,
    no_track: NoTrack = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the search; its runs write checkpoints.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start, print the name, and return at once.")] = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Each run is a job of SLURM, which a process on this machine submits.")
    ] = False,
    slurm_local: SlurmLocal = False,
    partition: Partition = None,
    account: Account = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    time: JobTime = None,
    slurm_template: SlurmTemplate = None,
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
    crild search search.toml --ray auto --gpus-per-run 0.5
    crild search search.toml --slurm --partition gpu --gpus 1 --slots 8

    \b
    Exit codes: 0 the search is over; 1 no trial was completed, or its process is gone; 2 wrong
    usage or search file; 3 data or model cannot be used; 130 stopped by Ctrl-C; 143 by SIGTERM;
    both with checkpoints.
    """
    from importlib.util import find_spec

    from crild_tui.cli.follow.foreground import foreground
    from crild_tui.cli.ranks import refuse_ranks
    from crild_tui.cli.search_follow import SearchFollower
    from crild_tui.runs.create import check_user_settings
    from crild_tui.runs.slurm import job_request
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.search.declaration import MOST_TRIALS, read_search
    from engine.search.plan import plan_search
    from engine.search.submit import is_over, reconcile_search, submit_search
    from engine.sweep.slots import check_number
    from engine.sweep.slurm import slurm_slots
    from engine.user.consent import consent_to
    from engine.user.tracking import choose_trackers

    refuse_ranks("crild search")
    choose_trackers(track, none=no_track)
    folder = folder_of(runs_dir)
    if stop or show:
        of = name_of(file, name, read_search)
        if show:
            raise typer.Exit(_table(_existing(folder, of), folder, quiet=quiet, as_json=as_json))
        from crild_tui.cli.stop import stop_sweep

        stop_sweep(folder, of, quiet=quiet)
        return
    jobs = job_request(
        folder,
        slurm=slurm,
        local=slurm_local,
        partition=partition,
        account=account,
        gpus=gpus,
        cpus=cpus,
        time=time,
        template=slurm_template,
    )
    check_places(jobs, devices=devices, ray=ray, gpus_per_run=gpus_per_run)
    changes = {key: value for key, value in {"trials": trials, "hours": hours}.items() if value is not None}
    found = plan_search(read_search(file_path(file), name, changes), None if plan else trust_remote_code)
    record = reconcile_search(found, folder)
    running = record if record is not None and record.alive() else None
    if record is not None and running is None and is_over(record, found, folder) and not plan:
        terminal.say(f"{record.name}: nothing left to do; --trials or --hours extend it", quiet=quiet)
        raise typer.Exit(_table(record, folder, quiet=quiet, as_json=as_json))
    if record is not None and running is None and not plan:
        _check_jobs(record, folder, is_slurm=jobs is not None)
    tables = [start.preset.train for start in found.starts]
    own_devices = [None if train.device == "auto" else train.device for train in tables]
    runs = (found.file.search.trials or MOST_TRIALS) * len(found.seeds)
    if running is not None and not plan:
        chosen = running.slots
    elif jobs is not None:
        check_number(slots)
        before = len(record.slots) if record is not None and record.slurm is not None else JOBS_AT_ONCE
        chosen = slurm_slots(runs, own_devices, slots or before)
    else:
        own_threads = [train.threads for train in tables]
        chosen = choose_slots(
            runs, own_devices, own_threads, folder, record,
            slots=slots, devices=devices, ray=ray, gpus_per_run=gpus_per_run, quiet=quiet,
        )  # fmt: skip
    if plan:
        from crild_tui.cli.search_table import show_search_plan

        show_search_plan(
            found, folder, chosen, ray=ray, jobs=jobs.scheduler if jobs is not None else None, as_json=as_json
        )
        return
    if find_spec("optuna") is None:
        raise UsageError('crild search needs Optuna: pip install "crild[search]"', kind="optuna-not-installed")
    if running is not None:
        options = {
            "--trials": trials, "--hours": hours, "--slots": slots, "--devices": devices, "--ray": ray, "--slurm": slurm,
            "--slurm-local": slurm_local, "--trust-remote-code": trust_remote_code, "--track": track, "--no-track": no_track,
        }  # fmt: skip
        say_already_running(running, options, quiet=quiet)
    terminal.say(*check_user_settings(), quiet=quiet)
    consent = consent_to([start.preset for start in found.starts], trust=trust_remote_code)
    with foreground() as controls:
        started = running or submit_search(found, folder, chosen, ray=ray, slurm=jobs, consent=consent)
        controls.release()
        if detach:
            print_started(started, quiet=quiet, as_json=as_json)
            return
        say_running(started, folder, already=running is not None, quiet=quiet)
        follower = SearchFollower(started, folder, controls, quiet=quiet)
        raise typer.Exit(follow(follower, lambda last: _table(last, folder, quiet=quiet, as_json=as_json)))


def _existing(runs_dir: Path, name: str) -> SweepRecord:
    """The record of a search. Raises UsageError when there is none of this name."""
    from engine.errors import UsageError
    from engine.preset.text import shown
    from engine.sweep.submit import existing

    record = existing(runs_dir, name)
    if record is None or record.search is None:
        raise UsageError(f"there is no search {shown(name)} in {str(runs_dir)!r}", kind="unknown-search")
    return record


def _check_jobs(record: SweepRecord, runs_dir: Path, *, is_slurm: bool) -> None:
    """Raise UsageError if runs of a search are in SLURM, and it is to continue elsewhere, where nothing would ask about them."""
    from engine.errors import UsageError
    from engine.record.run import read_run
    from engine.record.status import LOCAL
    from engine.sweep.submit import working

    if record.slurm is None or is_slurm:
        return
    option = "--slurm-local" if record.scheduler == LOCAL else "--slurm"
    if any(
        (status := read_run(run).status) is not None and status.job is not None for run in working(record, runs_dir)
    ):
        raise UsageError(
            f"runs of the search {record.name!r} wait or run as jobs: repeat the command with {option}, or stop them with --stop",
            kind="search-in-slurm",
        )


def _table(record: SweepRecord, runs_dir: Path, *, quiet: bool, as_json: bool) -> int:
    """Print the trials; returns 1 when the search's process is gone, or it is over with nothing found, else 0."""
    from crild_tui.cli.search_table import document, show_trials
    from crild_tui.runs.searches import found_nothing
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
    if record.alive():
        return 0
    return 0 if record.state == "ended" and (trials is None or not found_nothing(trials)) else 1
