"""`crild resume`: continue a run from its last good checkpoint, with changed settings where that is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import (
    Account,
    AsJson,
    Cpus,
    Detach,
    Device,
    Gpus,
    JobTime,
    NoTrack,
    Partition,
    Quiet,
    Run,
    RunsDir,
    Slurm,
    SlurmLocal,
    SlurmTemplate,
    Trackers,
    Trust,
)
from crild_tui.cli.setting_completers import resume_settings

if TYPE_CHECKING:
    from crild_tui.cli.follow.controls import Controls
    from engine.user.consent import Consent


def resume(
    run: Run,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting: only durations, evaluation, logging and checkpoints can change. As in stage.kd.epochs=8. Repeatable.",
            autocompletion=resume_settings,
        ),
    ] = None,
    device: Device = None,
    trust_remote_code: Trust = False,
    track: Trackers = None,
    no_track: NoTrack = False,
    detach: Detach = False,
    slurm: Slurm = False,
    partition: Partition = None,
    account: Account = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    time: JobTime = None,
    slurm_template: SlurmTemplate = None,
    slurm_local: SlurmLocal = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    runs_dir: RunsDir = None,
) -> None:
    """Continue a run from its last good checkpoint.

    For runs that are stopped, preempted, failed or lost (killed). A finished run continues if --set makes it longer and it
    has its checkpoints (train.keep_for_extending = true).

    \b
    crild resume rte-crild
    crild resume rte-crild --set stage.kd.epochs=8
    crild resume rte-crild --slurm --time 4:00:00
    """
    from crild_tui.cli.follow.foreground import foreground, start_and_follow
    from crild_tui.cli.ranks import share_run
    from crild_tui.runs.create import check_device, check_user_settings
    from crild_tui.runs.resume import prepare
    from crild_tui.runs.slurm import job_request
    from engine.launch.slurm_watch import settle
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run
    from engine.user.tracking import choose_trackers

    choose_trackers(track, none=no_track)
    rank = share_run(quiet=quiet)
    run_dir = find_run(run, folder_of(runs_dir))
    jobs = job_request(
        run_dir.parent, slurm=slurm, local=slurm_local, partition=partition, account=account, gpus=gpus, cpus=cpus,
        time=time, template=slurm_template,
    )  # fmt: skip
    elsewhere = jobs is not None and not jobs.local
    if not elsewhere:
        check_device(device)
    terminal.say(*check_user_settings(), quiet=quiet)
    settle(run_dir)
    changes = [*(settings or ()), *([] if device is None else [f'train.device="{device}"'])]
    prepared = prepare(run_dir, changes, trust=trust_remote_code, elsewhere=elsewhere)
    for note in prepared.notes:
        terminal.say(note, quiet=quiet)
    status, consent = prepared.entry.status, prepared.consent
    if jobs is not None:
        from crild_tui.cli.slurm import print_submitted
        from engine.launch.slurm_submit import submit

        submit([run_dir], jobs, consent)
        print_submitted([run_dir], as_json=as_json, quiet=quiet)
        return
    with foreground() as controls:
        if status is not None and status.state == "queued":
            code = _continue_queue(run_dir, controls, consent, quiet=quiet, detach=detach, as_json=as_json)
        else:
            terminal.say(f"resuming {run_dir.name}: press Ctrl-C to stop it with a checkpoint", quiet=quiet)
            code = start_and_follow(
                run_dir, controls, consent, rank=rank, quiet=quiet, detach=detach, as_json=as_json, resume=True
            )
    raise typer.Exit(code)


def _continue_queue(
    run_dir: Path, controls: Controls, consent: Consent, *, quiet: bool, detach: bool, as_json: bool
) -> int:
    """Restart the queue of a queued run whose queue was killed, and follow the run; returns the exit code."""
    from crild_tui.cli.follow.foreground import follow_one, print_started
    from engine.sweep.queue import continue_queue

    queue = continue_queue(run_dir, consent=consent)
    controls.release()
    terminal.say(f"its queue had ended and was restarted ({queue}); {run_dir.name} is queued in it", quiet=quiet)
    if detach:
        print_started([run_dir], as_json=as_json)
        return 0
    return follow_one(run_dir, controls, quiet=quiet, as_json=as_json)
