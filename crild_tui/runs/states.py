"""The states of a run in signs and tones: one table for the command line and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from engine.preset.text import plain

Tone = Literal["muted", "running", "finished", "warning", "error"]
"""What the colour of a state says; each surface has a colour of its own for it."""

_LOOKS: Mapping[str, tuple[str, Tone]] = {
    "created": ("·", "muted"), "queued": ("…", "muted"), "running": ("▶", "running"), "stopping": ("◼", "warning"),
    "finished": ("✓", "finished"), "failed": ("✗", "error"), "stopped": ("◼", "warning"),
    "preempted": ("◼", "warning"), "lost": ("?", "error"), "stalled": ("!", "warning"), "unreadable": ("?", "error"),
}  # fmt: skip


def sign_of(state: str) -> str:
    """A character for a state."""
    return _LOOKS[state][0] if state in _LOOKS else "?"


def tone_of(state: str) -> Tone | None:
    """The tone of a state; None for one that a newer crild wrote."""
    return _LOOKS[state][1] if state in _LOOKS else None


def label_of(state: str) -> str:
    """Sign and word of a state, safe to show."""
    return f"{sign_of(state)} {plain(state)}"
