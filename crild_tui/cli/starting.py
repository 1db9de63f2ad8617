"""Commands that start engines: run, resume."""

from __future__ import annotations

from typing import Annotated

import typer

from crild_tui.cli.options import AsJson, Presets, Run, RunsDir, Settings

Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, mps, cuda or cuda:1. [default: the preset's]"),
]
Detach = Annotated[bool, typer.Option("--detach", help="Start, print the id, and come back at once.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but the result and errors.")]


def run(
    presets: Presets,
    settings: Settings = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="1,2,3", help="One run for each seed, one after the other.")
    ] = None,
    runs_dir: RunsDir = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The run's id becomes NAME-s<seed>. [default: task, method, time]"),
    ] = None,
    device: Device = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen: steps, time, memory, what is cached or missing.")
    ] = False,
    detach: Detach = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Distil: make a run from presets, start it, and follow it.

    Ctrl-C asks the engine to stop with a checkpoint, a second one kills it. Closing the terminal changes nothing for
    the engine: see it again with `crild attach`. The closing table goes to stdout, everything else to stderr.

    \b
    crild run quickstart
    crild run crild rte --set stage.ild.epochs=5
    crild run kd sst2 --seeds 1,2,3 --detach
    crild run mine.toml --dry-run

    \b
    Exit codes: 0 done; 1 the run failed; 2 wrong usage or preset; 3 data or model
    cannot be used; 130 interrupted; 143 terminated (a checkpoint was written).
    """
    from crild_tui.cli.run import run_presets
    from crild_tui.runs.create import Request, parse_seeds
    from engine.record.paths import runs_dir as folder_of

    request = Request(
        presets=tuple(presets),
        settings=tuple(settings or ()),
        seeds=parse_seeds(seeds),
        runs_dir=folder_of(runs_dir),
        name=name,
        device=device,
    )
    raise typer.Exit(run_presets(request, dry_run=dry_run, detach=detach, as_json=as_json, quiet=quiet))


def resume(
    run: Run,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change lengths, evaluation, logging or checkpoints, as stage.kd.epochs=8.",
        ),
    ] = None,
    device: Device = None,
    detach: Detach = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    runs_dir: RunsDir = None,
) -> None:
    """Go on with a run from its last good checkpoint.

    For runs that were stopped, preempted, killed or failed. A finished run goes on where --set makes it longer.

    \b
    crild resume rte-crild
    crild resume rte-crild --set stage.kd.epochs=8
    """
    from crild_tui.cli.resume import resume_run
    from crild_tui.runs.create import check_device
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    check_device(device)
    changes = [*(settings or ()), *([] if device is None else [f'train.device="{device}"'])]
    raise typer.Exit(resume_run(run_dir, changes, detach=detach, as_json=as_json, quiet=quiet))


COMMANDS = (run, resume)
