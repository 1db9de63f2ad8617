"""Which kinds of events a user asks for."""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import UsageError
from engine.preset.text import listed, shown
from engine.record.event_kinds import KINDS


def known_kinds(names: Iterable[str]) -> frozenset[str]:
    """These kinds of events. Raises UsageError for one that does not exist."""
    wanted = frozenset(names)
    for name in sorted(wanted - KINDS.keys()):
        sentence = f"there is no kind of event {shown(name)}: the kinds are {listed(KINDS, 'and')}"
        raise UsageError(sentence, kind="unknown-event-kind", key="--kind")
    return wanted
