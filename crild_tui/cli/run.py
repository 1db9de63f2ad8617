"""`crild run`: check presets, create runs from them, start their engines, and follow the runs to the end."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import presets as preset_names
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
    Presets,
    Processes,
    Quiet,
    RunsDir,
    Settings,
    Slurm,
    SlurmLocal,
    SlurmTemplate,
    Trackers,
    Trust,
    Unlabelled,
)
from crild_tui.runs import formatting, option_help

if TYPE_CHECKING:
    from crild_tui.cli.follow.controls import Controls
    from crild_tui.cli.follow.outcome import Outcome
    from engine.user.consent import Consent


def run(
    presets: Presets,
    settings: Settings = None,
    unlabelled: Unlabelled = None,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="1,2,3", help=option_help.SEEDS)] = None,
    runs_dir: RunsDir = None,
    then: Annotated[
        list[str] | None,
        typer.Option("--then", metavar="PRESET,PRESET", help=option_help.THEN, autocompletion=preset_names),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help=option_help.NAME)] = None,
    device: Device = None,
    processes: Processes = None,
    auto_batch: Annotated[
        bool,
        typer.Option("--auto-batch", help="Measure which batch size the device computes fastest, and train with it."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would happen: steps, time, memory, what is cached or missing."),
    ] = False,
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
) -> None:
    """Distil: create a run from presets, start it, and follow it.

    Press Ctrl-C to stop the engine with a checkpoint, twice to kill it. Closing the terminal doesn't affect the
    engine: follow it again with `crild attach`. The results go to stdout, everything else to stderr.

    \b
    crild run quickstart
    crild run crild rte --set stage.ild.epochs=5
    crild run kd sst2 --seeds 1,2,3 --detach
    crild run crild tickets.csv      # your own data: a text and a label on each row
    crild run crild mnli --then rte  # RTE, by a student that was distilled on MNLI
    crild run crild tickets.csv --unlabelled more.csv
    crild run mine.toml --dry-run    # with --then, the plan of each run
    crild run crild rte --slurm --partition gpu --gpus 1 --time 4:00:00

    \b
    Exit codes: 0 done; 1 the run failed; 2 wrong usage or preset; 3 data or model
    cannot be used; 130 stopped by Ctrl-C; 143 stopped by SIGTERM; both with a
    checkpoint.
    """
    from crild_tui.cli.follow.foreground import foreground, start_and_follow
    from crild_tui.cli.ranks import share_run
    from crild_tui.runs import chain as chains
    from crild_tui.runs.create import (
        RunRequest,
        check_user_settings,
        consent_of,
        load_presets,
        unlabelled_settings,
    )
    from crild_tui.runs.slurm import job_request, submit_new
    from engine.record.paths import runs_dir as folder_of
    from engine.sweep.seeds import parse_seeds
    from engine.user.tracking import choose_trackers

    then = then or []
    _check_then(then, {"--auto-batch": auto_batch, "--slurm-local": slurm_local})
    choose_trackers(track, none=no_track)
    jobs = job_request(
        folder_of(runs_dir), slurm=slurm, local=slurm_local, partition=partition, account=account, gpus=gpus, cpus=cpus,
        time=time, template=slurm_template,
    )  # fmt: skip
    numbers = parse_seeds(seeds)
    rank = share_run(processes=processes, runs=max(1, len(numbers)) * (len(then) + 1), quiet=quiet)
    request = RunRequest(
        presets=tuple(presets),
        settings=(*(settings or ()), *unlabelled_settings(presets, settings or (), unlabelled or ())),
        seeds=numbers,
        runs_dir=folder_of(runs_dir),
        name=name,
        device=device,
        processes=processes,
        trust=trust_remote_code,
        elsewhere=jobs is not None and not jobs.local,
    )
    chain = chains.requests(request, then)
    loaded = load_presets(request, to_run=not dry_run)
    later = [load_presets(each, to_run=not dry_run) for each in chain[1:]]
    terminal.say(*loaded[0].notes, *(note for each in later for note in each[0].notes), quiet=quiet)
    if auto_batch:
        from crild_tui.cli.auto_batch import with_batch_size

        request = with_batch_size(request, loaded[0], rank=rank, quiet=quiet)
        loaded = load_presets(request, to_run=not dry_run)
    if dry_run:
        from crild_tui.cli.dry_run import show_plans

        raise typer.Exit(show_plans(chain, chains.as_planned([loaded, *later]), as_json=as_json))
    terminal.say(*check_user_settings(), quiet=quiet)
    consent = consent_of(request, [*loaded, *(one for each in later for one in each)])
    if jobs is not None:
        from crild_tui.cli.slurm import print_submitted

        runs = chains.create_chains(chain, [loaded, *later])
        submit_new([runs[number :: len(chain)] for number in range(len(chain))], jobs, consent)
        print_submitted(runs, as_json=as_json, quiet=quiet)
        return
    with foreground() as controls:
        runs = chains.create_chains(chain, [loaded, *later])
        _introduce(runs, quiet=quiet, detach=detach)
        if len(runs) > 1:
            code = _queue(runs, controls, consent, chain=len(chain), quiet=quiet, detach=detach, as_json=as_json)
        else:
            code = start_and_follow(runs[0], controls, consent, rank=rank, quiet=quiet, detach=detach, as_json=as_json)
    raise typer.Exit(code)


def _check_then(then: Sequence[str], options: Mapping[str, bool]) -> None:
    """Raise UsageError for options that are about one run, by name, where there are several."""
    from engine.errors import UsageError

    given = next((option for option, is_given in options.items() if is_given), None)
    if then and given is not None:
        sentence = f"{given} is for one run, and --then makes several: leave out one of the two"
        raise UsageError(sentence, kind="option-with-then")


def _introduce(runs: Sequence[Path], *, quiet: bool, detach: bool) -> None:
    """Name the runs, and what Ctrl-C and closing the terminal do."""

    for run_dir in runs:
        terminal.say(f"run {run_dir.name} in {run_dir.parent}", quiet=quiet)
    if detach:
        return
    if len(runs) == 1:
        terminal.say(
            "Press Ctrl-C to stop it with a checkpoint; closing the terminal leaves it running.",
            f"From elsewhere: {formatting.command('attach', runs[0])}, {formatting.command('stop', runs[0])}",
            quiet=quiet,
        )
    else:
        terminal.say(
            "They run one after the other. Press Ctrl-C to stop the current one with a checkpoint and take the others",
            "off the queue; closing the terminal leaves them all running.",
            quiet=quiet,
        )


def _queue(
    runs: Sequence[Path],
    controls: Controls,
    consent: Consent,
    *,
    chain: int,
    quiet: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Run one run after the other, and follow each; returns the exit code. Each `chain` of them is one chain."""
    from crild_tui.cli.follow.foreground import follow, print_started, take_off_queue
    from crild_tui.cli.follow.outcome import INTERRUPTED, TERMINATED
    from crild_tui.runs.chain import start_queue

    queue = start_queue(runs, consent, chain=chain)
    controls.release()
    if detach:
        print_started(runs, as_json=as_json, queue=queue)
        return 0
    outcomes = []
    for index, run_dir in enumerate(runs):
        rest = runs[index + 1 :]
        title = f"{index + 1} of {len(runs)}"
        outcomes.append(follow(run_dir, controls, quiet=quiet, as_json=as_json, rest=rest, title=title))
        if controls.asked:
            take_off_queue(rest)  # for a signal that came between two runs
            break
    code = _queue_end(outcomes, chain=chain, as_json=as_json)
    if controls.asked and len(outcomes) < len(runs):
        return INTERRUPTED if controls.count(signal.SIGINT) else TERMINATED
    return code


def _queue_end(outcomes: Sequence[Outcome], *, chain: int, as_json: bool) -> int:
    """Print a table of the finished seeds for each run of a chain; returns the exit code of the last run that did not finish."""
    from crild_tui.cli.follow.foreground import end_document
    from crild_tui.cli.seeds_table import show_seeds

    if as_json:
        terminal.show_json([end_document(outcome) for outcome in outcomes])
    else:
        for number in range(chain):
            finished = [each.run_dir for each in outcomes[number::chain] if each.state == "finished"]
            if len(finished) > 1:
                terminal.sentence()
                show_seeds(finished, chained=chain > 1)
    return next((code for outcome in reversed(outcomes) if (code := outcome.exit_code)), 0)
