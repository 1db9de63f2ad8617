"""The user's own part of SLURM jobs: a file with `#SBATCH` lines, and commands that run in the job before the engine.

It can execute anything, so only the user names it: in settings.toml or with `--slurm-template`, never in a preset.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.preset.regular_file import read_regular
from engine.preset.text import nearest, shown
from engine.record.files import cause
from engine.record.paths import user_path

SIGNAL_SECONDS = 90
"""Seconds before the end of its time at which a job is asked to write its checkpoint."""
LARGEST = 64 * 1024
"""Bytes of the largest template."""
_SHORT: Mapping[str, str] = {
    "-A": "account", "-C": "constraint", "-G": "gpus", "-L": "licenses", "-M": "clusters", "-N": "nodes", "-J": "job-name",
    "-a": "array", "-c": "cpus-per-task", "-d": "dependency", "-e": "error", "-n": "ntasks", "-o": "output",
    "-p": "partition", "-q": "qos", "-t": "time", "-w": "nodelist", "-x": "exclude",
}  # fmt: skip
_OWN = frozenset((
    "array", "chdir", "clusters", "dependency", "error", "input", "job-name", "no-requeue", "nodes", "ntasks", "ntasks-per-node",
    "open-mode", "output", "parsable", "requeue", "wait", "wrap",
))  # fmt: skip
"""Options of sbatch that crild sets itself, or that would break its jobs."""

EXAMPLE = """\
#!/bin/bash
# A template for the jobs of `crild run`, `crild sweep` and `crild search` with --slurm. Use it with --slurm-template FILE, or for all
# your jobs with two lines in settings.toml:
#
#     [slurm]
#     template = "~/crild.slurm"
#
# Lines that begin with #SBATCH are options of sbatch; --partition, --account, --gpus, --cpus and --time of crild override
# them. Remove one # to use one of these:
##SBATCH --partition=gpu
##SBATCH --account=my-project
##SBATCH --gpus-per-node=1
##SBATCH --cpus-per-task=8
##SBATCH --mem=32G
##SBATCH --time=12:00:00
##SBATCH --mail-type=FAIL
# How many seconds before the end of its time a run writes its checkpoint and goes back into the queue (90 by default):
##SBATCH --signal=USR1@180
#
# All other lines run in the job, before crild starts:
# module load cuda
# export HF_HOME=/scratch/$USER/huggingface
"""


@dataclass(frozen=True)
class Template:
    """Options of sbatch, without dashes (True for one without a value), and shell commands."""

    options: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    signal_seconds: int = SIGNAL_SECONDS
    """Seconds before the end of its time at which a job is asked to write its checkpoint."""


NO_TEMPLATE = Template()


def chosen_template(option: str | None) -> Template:
    """The template that `--slurm-template` names, else the one in settings.toml, else an empty one.

    Raises UsageError with file and line for one that cannot be read or used, PresetError for mistakes in settings.toml.
    """
    from engine.user.settings import Slurm, read_settings

    named = option or read_settings(Slurm).template
    return NO_TEMPLATE if named is None else read_template(user_path(named, "the template of SLURM jobs"))


def read_template(path: Path) -> Template:
    """The template in a file. Raises UsageError with file and line."""
    try:
        text = read_regular(path, LARGEST).decode()
    except OSError as error:
        sentence = f"the template of SLURM jobs cannot be read: {cause(error)}"
        raise UsageError(sentence, kind="unreadable-slurm-template", file=str(path)) from error
    except ValueError as error:
        sentence = "the template of SLURM jobs is not UTF-8 text: write a shell script"
        raise UsageError(sentence, kind="slurm-template-not-text", file=str(path)) from error
    options: dict[str, str | bool] = {}
    commands = []
    seconds = SIGNAL_SECONDS
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#SBATCH"):
            for name, value in _options(line.removeprefix("#SBATCH"), path, number).items():
                if name == "signal":
                    seconds = _signal_seconds(value, path, number)
                else:
                    options[name] = value
        elif line.strip() and not line.lstrip().startswith("#"):
            commands.append(line)
    return Template(options, tuple(commands), seconds)


def _options(text: str, path: Path, line: int) -> dict[str, str | bool]:
    """The options on one `#SBATCH` line."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        sentence = f"this #SBATCH line cannot be read: {error}"
        raise UsageError(sentence, kind="unreadable-sbatch-line", file=str(path), line=line) from error
    found: dict[str, str | bool] = {}
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name[:2] in _SHORT and not name.startswith("--"):
            name, value = f"--{_SHORT[name[:2]]}", word[2:]
            equals = "=" if value else ""
        if not re.fullmatch(r"--[a-z][a-z-]*", name):
            sentence = f"{shown(word)} is no option of sbatch that crild knows: write its long form, as --partition=gpu"
            raise UsageError(sentence, kind="unknown-sbatch-option", file=str(path), line=line)
        name = name.removeprefix("--")
        if name in _OWN:
            near = nearest(name, ("gpus-per-node", "cpus-per-task"))
            hint = f" (did you mean --{near}?)" if near else ""
            sentence = f"--{name} cannot be in a template: crild sets it, or its jobs need another value{hint}"
            raise UsageError(sentence, kind="reserved-sbatch-option", file=str(path), line=line)
        if not equals and words and not words[0].startswith("-"):
            value, equals = words.pop(0), "="
        found[name] = value if equals else True
    return found


def _signal_seconds(value: str | bool, path: Path, line: int) -> int:
    match = re.fullmatch(r"(?:SIG)?USR1@(\d{1,5})", str(value))
    if match is None:
        sentence = f"--signal must be USR1@SECONDS, as USR1@180, not {shown(value)}: crild's engines know this signal"
        raise UsageError(sentence, kind="wrong-sbatch-signal", file=str(path), line=line)
    return int(match[1])
