"""What the wheel and the sdist carry beside `crild`; an editable install finds the source tree's folders instead."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = {
    "crild_tui": "crild/_packages/crild_tui",
    "engine": "crild/_packages/engine",
    "presets": "crild/_packages/engine/preset/shipped",
}
"""Folders of the source tree, and where the wheel puts them: an environment gets no other name than `crild`."""
COMMIT = "COMMIT"
"""A file with the commit that a wheel or sdist was built from."""


class Packages(BuildHookInterface[Any]):
    """Adds the packages, the presets and the commit. (`force-include` in pyproject.toml would add them to an editable one.)"""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each build; `version` is "standard" or "editable"."""
        if version != "standard":
            return
        wheel = self.target_name == "wheel"
        if wheel:
            build_data["force_include"].update(FOLDERS)
        if (file := self._commit()) is not None:
            build_data["force_include"][str(file)] = f"crild/_packages/{COMMIT}" if wheel else COMMIT

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Called after each build: what was written for it goes."""
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        """The file with the commit of this repository, while something is built."""
        return Path(self.directory) / f".{COMMIT}"

    def _commit(self) -> Path | None:
        """The file to include: that of an sdist, else one with the commit of this repository; None without either."""
        root = Path(self.root)
        if (root / COMMIT).is_file():
            return root / COMMIT
        if not (root / ".git").exists():
            return None
        commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
        if commit is None:
            return None
        file = self._note
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{commit}{'-changed' if changes else ''}\n")
        return file


def _git(root: Path, *words: str) -> str | None:
    """What git prints in a folder; None where it cannot be run."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
