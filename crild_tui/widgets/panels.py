"""The three panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.widgets import Static

from crild_tui.watch.snapshots import RunSnapshot


@dataclass(frozen=True)
class Source:
    """A run with its label and the number of its colour."""

    snapshot: RunSnapshot
    label: str
    index: int


class Panels(Static, can_focus=True):
    """Not built yet."""

    def show(self, sources: Sequence[Source]) -> None:
        """Not built yet."""
        self.sources = tuple(sources)
