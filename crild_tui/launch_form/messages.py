"""Messages from the threads of the Launch mode to its screen."""

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
    fingerprint: object
    devices: tuple[str, ...]


@dataclass
class DraftExamined(Message):
    """A draft was loaded and checked."""

    examined: Examined
    edited: str | None


@dataclass
class StartEnded(Message):
    """Starting has ended; `error` says why no run was created."""

    error: CrildError | None = None
