"""What the threads of the Launch mode tell its screen."""

from __future__ import annotations

from textual.message import Message

from crild_tui.launch_form.catalog import Entry
from crild_tui.launch_form.checks import Examined
from engine.errors import CrildError


class CatalogSeen(Message):
    """The preset files were read."""

    def __init__(self, entries: list[Entry], seen: object, devices: tuple[str, ...]) -> None:
        super().__init__()
        self.entries, self.seen, self.devices = entries, seen, devices


class DraftExamined(Message):
    """A draft was loaded and checked."""

    def __init__(self, examined: Examined, edited: str | None) -> None:
        super().__init__()
        self.examined, self.edited = examined, edited


class StartEnded(Message):
    """Starting is over; `error` says why nothing was made."""

    def __init__(self, error: CrildError | None = None) -> None:
        super().__init__()
        self.error = error
