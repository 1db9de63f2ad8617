"""What the threads of the Launch mode tell its screen."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from crild_tui.launch_form.catalog import Entry
from crild_tui.launch_form.checks import Examined
from engine.errors import CrildError


@dataclass
class CatalogRead(Message):
    """The preset files were read."""

    entries: list[Entry]
    seen: object
    devices: tuple[str, ...]


@dataclass
class DraftExamined(Message):
    """A draft was loaded and checked."""

    examined: Examined
    edited: str | None


@dataclass
class StartEnded(Message):
    """Starting is over; `error` says why nothing was made."""

    error: CrildError | None = None
