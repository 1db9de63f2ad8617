"""`crild sweep`: many runs from one file."""

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
    Slurm,
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
from crild_tui.runs import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.launch.slurm_submit import JobRequest
    from engine.sweep.plan import Plan
    from engine.sweep.record import SweepRecord
    from engine.user.consent import Consent


def sweep(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A TOML file with a [sweep] table.", autocompletion=toml_files, show_default=False
        ),
    ],
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the runs, what they share and how long they take; start nothing.")
    ] = False,
    slots: Slots = None,
    devices: Devices = None,
    ray: Ray = None,
    gpus_per_run: GpusPerRun = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Start a separate sweep under this name. [default: the file's]"),
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop everything when a run fails.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    trust_remote_code: Trust = False,
    track: Trackers = None,
    no_track: NoTrack = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the sweep; its runs write checkpoints.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start, print the name, and return at once.")] = False,
    slurm: Slurm = False,
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
    """Run every combination of methods, tasks, seeds and settings in a file.

    Repeat the command to continue: finished runs stay, interrupted ones are resumed. Press Ctrl-C to stop the runs
    with checkpoints, twice to kill them; closing the terminal leaves them running.

    \b
    crild sweep study.toml --plan
    crild sweep study.toml --slots 12 --devices cuda:0
    crild sweep study.toml --ray auto --gpus-per-run 0.25
    crild sweep study.toml --stop
    crild sweep study.toml --slurm --partition gpu --gpus 1 --slots 8

    \b
    Exit codes: 0 all finished; 1 a run failed; 2 wrong usage or sweep file; 3 data or
    model cannot be used; 130 stopped by Ctrl-C; 143 by SIGTERM; both with checkpoints.
    """
    from crild_tui.cli.follow.foreground import foreground
    from crild_tui.cli.ranks import refuse_ranks
    from crild_tui.cli.sweep_follow import Follower
    from crild_tui.runs.create import check_user_settings
    from crild_tui.runs.slurm import job_request
    from engine.errors import UsageError
    from engine.record.paths import runs_dir as folder_of
    from engine.record.states import IN_PROGRESS
    from engine.sweep.plan import plan as plan_of
    from engine.sweep.record import SUBMITTED
    from engine.sweep.slurm import slurm_slots
    from engine.sweep.spec import read_sweep
    from engine.sweep.submit import existing, reconcile, same, submit
    from engine.user.consent import consent_to
    from engine.user.tracking import choose_trackers

    refuse_ranks("crild sweep")
    choose_trackers(track, none=no_track)
    folder = folder_of(runs_dir)
    if stop:
        from crild_tui.cli.stop import stop_sweep

        stop_sweep(folder, name_of(file, name, read_sweep), quiet=quiet)
        return
    jobs = job_request(
        folder,
        slurm=slurm,
        partition=partition,
        account=account,
        gpus=gpus,
        cpus=cpus,
        time=time,
        template=slurm_template,
    )
    check_places(jobs, devices=devices, ray=ray, gpus_per_run=gpus_per_run, fail_fast=fail_fast)
    spec = read_sweep(file_path(file), name)
    planned = plan_of(spec, None if plan else trust_remote_code)
    states = {entry.id: entry.state for entry in reconcile(spec, planned, folder)}
    record = existing(folder, planned.name)
    in_slurm = record is not None and record.state == SUBMITTED and IN_PROGRESS & set(states.values())
    if jobs is None and in_slurm and not plan:
        raise UsageError(
            f"runs of the sweep {planned.name!r} wait or run in SLURM: repeat the command with --slurm, or stop them with --stop",
            kind="sweep-in-slurm",
        )
    own_devices = [run.own_device for run in planned.runs]
    if jobs is not None:
        if plan:
            from crild_tui.cli.sweep_plan import show_plan

            show_plan(planned, folder, slurm_slots(len(planned.runs), own_devices, slots), states, as_json=as_json)
            return
        terminal.say(*check_user_settings(), quiet=quiet)
        consent = consent_to([run.preset for run in planned.runs], trust=trust_remote_code)
        _submit(planned, folder, jobs, consent, slots, retry=retry, as_json=as_json, quiet=quiet)
        return
    running = record if record is not None and record.alive() else None
    skipped = ("finished",) if retry else ("finished", "failed")
    nothing_left = (
        record is not None and running is None and all(states.get(run.run) in skipped for run in planned.runs)
    )
    if nothing_left and not plan:
        assert record is not None
        terminal.say(_nothing_left(planned, states), quiet=quiet)
        raise typer.Exit(_table(record, folder, as_json=as_json))
    if running is not None and not plan:
        chosen = running.slots
    else:
        own_threads = [run.own_threads for run in planned.runs]
        chosen = choose_slots(
            len(own_devices), own_devices, own_threads, folder, record,
            slots=slots, devices=devices, ray=ray, gpus_per_run=gpus_per_run, quiet=quiet,
        )  # fmt: skip
    if plan:
        from crild_tui.cli.sweep_plan import show_plan

        show_plan(planned, folder, chosen, states, ray=ray, as_json=as_json)
        return
    if running is not None:
        options = {
            "--slots": slots, "--devices": devices, "--ray": ray, "--retry": retry, "--fail-fast": fail_fast,
            "--trust-remote-code": trust_remote_code, "--track": track, "--no-track": no_track,
        }  # fmt: skip
        say_already_running(running, options, quiet=quiet)
    if running is not None and not same(running, planned):
        raise UsageError(
            f"the sweep {planned.name!r} is running with an earlier version of its file: let it end, or stop it with "
            "--stop, then start it again",
            kind="sweep-file-changed",
        )
    terminal.say(*check_user_settings(), quiet=quiet)
    consent = consent_to([run.preset for run in planned.runs], trust=trust_remote_code)
    with foreground() as controls:
        started = running or submit(planned, folder, chosen, fail_fast=fail_fast, retry=retry, ray=ray, consent=consent)
        controls.release()
        if detach:
            print_started(started, quiet=quiet, as_json=as_json)
            return
        say_running(started, folder, already=running is not None, quiet=quiet)
        follower = Follower(started, folder, controls, quiet=quiet)
        raise typer.Exit(follow(follower, lambda last: _table(last, folder, as_json=as_json)))


def _submit(
    plan: Plan,
    runs_dir: Path,
    jobs: JobRequest,
    consent: Consent,
    at_once: int | None,
    *,
    retry: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Submit what is left of a sweep to SLURM; print its name, or the matrix where nothing is left to submit."""
    from engine.sweep.slurm import submit_to_slurm
    from engine.sweep.submit import existing

    submitted = submit_to_slurm(plan, runs_dir, jobs, at_once=at_once, retry=retry, consent=consent)
    record = existing(runs_dir, plan.name)
    if not submitted and record is not None:
        terminal.say(f"{plan.name}: every run is finished, failed (--retry), or in SLURM already", quiet=quiet)
        raise typer.Exit(_table(record, runs_dir, as_json=as_json))
    numbers = list(dict.fromkeys(job.id.partition("_")[0] for job in submitted))
    if as_json:
        terminal.show_json(
            {"sweep": plan.name, "runs": [run.run for run in plan.runs], "jobs": [j.id for j in submitted]}
        )
        return
    terminal.say(
        f"sweep {plan.name} in {runs_dir}: {formatting.plural(len(submitted), 'run')} submitted to SLURM as "
        f"{'jobs' if len(numbers) > 1 else 'job'} {', '.join(numbers)}",
        "Repeat the command to see its table and to submit what was interrupted; --stop cancels it.",
        quiet=quiet,
    )
    terminal.sentence(plan.name)


def _nothing_left(plan: Plan, states: Mapping[str, str]) -> str:
    failed = sum(state == "failed" for state in states.values())
    again = f"; {failed} failed (--retry tries them again)" if failed else ""
    return f"{plan.name}: nothing left to do{again}"


def _table(record: SweepRecord, runs_dir: Path, *, as_json: bool) -> int:
    """Print the matrix; returns 1 when a run failed, was lost, or is left, else 0."""
    from crild_tui.cli.sweep_table import document, look, show_matrix

    matrix = look(record, runs_dir)
    if as_json:
        terminal.show_json(document(matrix, record))
    else:
        show_matrix(matrix)
    return 0 if matrix.states.get("finished", 0) == matrix.runs else 1
