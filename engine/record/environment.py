"""environment.json: where and with which versions a run was created, without secrets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import RunError
from engine.record.files import read_object, write_json
from engine.record.paths import ENVIRONMENT
from engine.record.secrets import masked_command

if TYPE_CHECKING:
    from subprocess import CompletedProcess


def light_environment(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Facts that need no torch: command line, host, working directory and its git revision, versions.

    `command` replaces this process's own command line. Environment variables are not recorded.
    """
    import platform

    folder = _working_folder()
    return {
        "schema": 1,
        "command": masked_command(sys.argv if command is None else command),
        "folder": folder,
        "host": socket.gethostname(),
        "git": None if folder is None else git_revision(Path(folder)),
        "crild": crild_version(),
        "crild_commit": crild_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }


def crild_version() -> str | None:
    """The version of crild that is installed; None in a source tree."""
    from importlib import metadata

    try:
        return metadata.version("crild")
    except metadata.PackageNotFoundError:
        return None


def crild_commit() -> str | None:
    """The commit that this crild was built from, with "-changed" for one with changes; None where it is not known.

    A wheel carries it in a file (`hatch_build.py`); a source tree is asked for it.
    """
    root = Path(__file__).parents[2]
    try:
        return (root / "COMMIT").read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        revision = git_revision(root) if (root / ".git").exists() else None
    return None if revision is None else f"{revision['commit']}{'-changed' if revision['changed'] else ''}"


def add_environment(run_dir: Path, **facts: Any) -> None:
    """Add what the engine knows (versions of torch, device, threads) to environment.json. Raises RunError on failure."""
    path = run_dir / ENVIRONMENT
    known: dict[str, Any] = {}
    try:
        known = read_object(path)
    except FileNotFoundError:
        pass
    except RunError as error:
        if error.kind == "cannot-read-record":  # it may be whole: what it holds is not overwritten
            raise
    write_json(path, {**known, **facts})


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The commit of a working tree and whether tracked files are changed; None outside a repository or without git.

    The working tree may be a stranger's, so nothing that its git configuration names is run; where looking for changes
    would run a filter of it, `changed` is None.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    if _has_own_filters(folder):
        return {"commit": commit, "changed": None}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    return {"commit": commit, "changed": None if changes is None else bool(changes)}


def _has_own_filters(folder: Path) -> bool:
    """Whether the configuration of a repository itself, rather than the user's, may name filters: commands."""
    done = _run_git(folder, "config", "--show-scope", "--includes", "--get-regexp", r"^filter\.")
    if done is None or done.returncode not in (0, 1):  # 1: there are none
        return True
    return any(not line.startswith(("global\t", "system\t")) for line in done.stdout.splitlines())


def _git(folder: Path, *words: str) -> str | None:
    done = _run_git(folder, *words)
    return None if done is None or done.returncode else done.stdout.strip()


def _run_git(folder: Path, *words: str) -> CompletedProcess[str] | None:
    """git in a folder, without the commands that its configuration may name; None when it cannot be run."""
    import subprocess

    settings = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    line = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *words]
    try:
        return subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=2, env=settings, text=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it has been deleted
        return None
