"""Options and arguments that several commands share, with their help and their completion."""

from __future__ import annotations

from typing import Annotated

import typer

from crild_tui.cli.completers import data_files, devices, one_of, presets, run_names
from crild_tui.cli.setting_completers import settings

RunsDir = Annotated[
    str | None,
    typer.Option("--runs-dir", metavar="FOLDER", help="Folder of the runs. [default: $CRILD_RUNS_DIR, else ./runs]"),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run: its id or the beginning of it, a path, or latest.",
        autocompletion=run_names,
        show_default=False,
    ),
]
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Runs: ids or their beginnings, paths, or latest.",
        autocompletion=run_names,
        show_default=False,
    ),
]
Presets = Annotated[
    list[str],
    typer.Argument(
        metavar="PRESET...",
        help="Names of presets that come with crild, TOML files, or data files (CSV, TSV, JSON lines, Parquet); merged from left to right.",
        autocompletion=presets,
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting, as in stage.ild.epochs=5. Repeatable.",
        autocompletion=settings,
    ),
]
Unlabelled = Annotated[
    list[str] | None,
    typer.Option(
        "--unlabelled",
        metavar="FILE",
        help="A file of inputs without labels, for all stages that need none, with the task's rows. Repeatable.",
        autocompletion=data_files,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", "--devices", metavar="DEVICE",
        help="auto, cpu, mps, cuda or cuda:1; GPUs that share each step: cuda:0,cuda:1. [default: the preset's]",
        autocompletion=devices,
    ),
]  # fmt: skip
Slots = Annotated[
    int | None,
    typer.Option(
        "--slots", metavar="N", help="Runs at a time. [default: one for each device; on a CPU, for each core]"
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices", metavar="cuda:0,cuda:1", help="Devices to run on. [default: every GPU, else the CPU]",
        autocompletion=devices,
    ),
]  # fmt: skip
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="HOST:PORT|auto|local",
        autocompletion=one_of("auto", "local"),
        help="Run on a Ray cluster: that at an address, the one of this machine, or a Ray of its own. The runs folder must be shared.",
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-run",
        metavar="N",
        help="With --ray: GPUs of each run, or a part of one, as 0.25. [default: 1 where there are any]",
    ),
]
Processes = Annotated[
    int | None,
    typer.Option("--processes", metavar="N", min=1, help="Processes that share each step. [default: the preset's, 1]"),
]
ToolDevice = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="auto, cpu, mps, cuda or cuda:1.", autocompletion=devices),
]
"""For commands that have no preset's device to fall back on."""
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run the Python code that comes with a model. Only if you trust its author: it can do all that you can.",
    ),
]
Trackers = Annotated[
    str | None,
    typer.Option(
        "--track", metavar="TRACKER,TRACKER",
        help="Send the runs to tensorboard, wandb, mlflow, trackio as they train. [default: those in settings.toml]",
    ),
]  # fmt: skip
NoTrack = Annotated[bool, typer.Option("--no-track", help="Send them to no tracker.")]
Slurm = Annotated[bool, typer.Option("--slurm", help="Submit to SLURM, and return at once.")]
SlurmLocal = Annotated[
    bool, typer.Option("--slurm-local", help="As --slurm, on this machine and without SLURM: to try it.")
]
Partition = Annotated[str | None, typer.Option("--partition", metavar="NAME", help="SLURM: the partition.")]
Account = Annotated[str | None, typer.Option("--account", metavar="NAME", help="SLURM: the account.")]
Gpus = Annotated[int | None, typer.Option("--gpus", metavar="N", min=0, help="SLURM: GPUs for each run.")]
Cpus = Annotated[int | None, typer.Option("--cpus", metavar="N", min=1, help="SLURM: CPU cores for each run.")]
JobTime = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="SLURM: time for each job, as 12:00:00. A run that needs more continues in the next.",
    ),
]
SlurmTemplate = Annotated[
    str | None,
    typer.Option(
        "--slurm-template", metavar="FILE",
        help="SLURM: a file with more #SBATCH lines and commands. [default: that in settings.toml]",
    ),
]  # fmt: skip
Detach = Annotated[bool, typer.Option("--detach", help="Start, print the id, and return at once.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result and errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
