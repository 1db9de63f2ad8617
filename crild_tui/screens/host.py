"""What screens need of the application, so that screens and application do not import each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from crild_tui.monitor.snapshots import MachineSnapshot
from crild_tui.runs.marks import Kind, Marks
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import KeyNames
from engine.user.settings import Dashboard


class Host(Protocol):
    """The application, as its screens know it."""

    runs_dir: Path
    settings: Dashboard
    keys: KeyNames
    """The name of each key, by the id of its binding."""
    runs: RunsSnapshot
    """The list of runs, as it was read last."""
    machine: MachineSnapshot
    marks: Marks
    """Runs that are pinned, hidden or marked. Change them through `mark`."""
    following: bool
    """Whether each new run is shown in Live."""

    served: bool
    """Whether it is shown in a browser: whoever is there gets the dashboard, but no shell, nor files outside its folder."""

    def refuse_readonly(self) -> bool:
        """Whether this dashboard is read-only; shows a warning if it is."""

    def refuse_served(self, sentence: str) -> bool:
        """Whether this dashboard is in a browser; shows `sentence`, which says what isn't possible there, if it is."""

    def check_paths(self, texts: Mapping[str, str]) -> None:
        """Raise UsageError if this dashboard is in a browser and one of the texts, by their keys, names a file elsewhere."""

    def deliver(self, name: str, text: str) -> None:
        """Send a file to the browser that shows this dashboard."""

    def act(self, action: Callable[[], str], then: Callable[[], None] | None = None) -> None:
        """Run an action in a thread and show the sentence that it returns, or its error.

        `then` runs in the application's thread after success. With --readonly it only shows a warning.
        """

    def mark(self, kind: Kind, ids: Iterable[str], *, on: bool) -> None:
        """Pin, hide or mark runs, or undo that."""

    def tell(self, sentence: str, level: str = "information") -> None:
        """Show a sentence for some seconds."""

    def copy(self, text: str) -> None:
        """Send a text to the terminal's clipboard, and show it."""
