"""Commands in place of SLURM's, which answer what a test asks of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Answer = Callable[..., None]
"""`slurm("squeue", "RUNNING|None")` says what a command prints; `err` and `code` are its stderr and exit code."""


def replace_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Put commands in front of SLURM's own; those that no test has answered fail. `calls` gives their command lines."""
    commands = folder / "commands"
    commands.mkdir()
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")

    def answer(command: str, out: str = "", err: str = "", code: int = 0) -> None:
        script = commands / command
        script.write_text(
            f'#!/bin/sh\necho {command} "$@" >> {folder}/calls.txt\n'
            f"cat <<'END'\n{out}\nEND\n[ -z '{err}' ] || echo '{err}' >&2\n"
            f'[ {command} = sbatch ] && cp "$1" {folder}/script.sh\nexit {code}\n'
        )
        script.chmod(0o755)

    for command in ("squeue", "sacct", "scontrol", "scancel", "sbatch", "srun"):
        answer(command, err="not answered", code=1)
    return answer


def calls(folder: Path) -> list[str]:
    """The command lines that SLURM's commands got."""
    file = folder / "calls.txt"
    return file.read_text().splitlines() if file.exists() else []
