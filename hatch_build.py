"""What the wheel carries beside `crild`; an editable install finds the source tree's folders instead."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = {
    "crild_tui": "crild/_packages/crild_tui",
    "engine": "crild/_packages/engine",
    "presets": "crild/_packages/engine/preset/shipped",
}
"""Folders of the source tree, and where the wheel puts them: an environment gets no other name than `crild`."""


class Packages(BuildHookInterface[Any]):
    """Adds the packages and presets to a wheel. (`force-include` in pyproject.toml would add them to an editable one.)"""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before each build; `version` is "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"].update(FOLDERS)
