"""The states of a run: which group each belongs to, and what a user may do to a run in it.

    created ── queued ── running ── stopping ── stopped, preempted
                            └────────────────── finished, failed

`status.json` says one of these. A reader may find that it is no longer true: the run is then "lost" (its engine is gone),
"stalled" (its engine lives but is silent) or "unreadable".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["waiting", "working", "ended", "problem"]
"""No engine yet, but one comes by itself; an engine runs it; it has ended; crild cannot tell how it ended."""
Action = Literal["stop", "kill", "resume", "extend", "delete"]
"""What a user may do to a run; to extend one is to resume it with more epochs or steps."""


@dataclass(frozen=True)
class State:
    """What one state means."""

    group: Group
    actions: frozenset[Action]
    derived: bool = False
    """Whether only a reader can tell; `status.json` never says so."""


_IN_PROGRESS: frozenset[Action] = frozenset({"stop", "kill"})
_INCOMPLETE: frozenset[Action] = frozenset({"resume", "extend", "delete"})

STATES: Mapping[str, State] = {
    "created": State("waiting", _IN_PROGRESS | {"delete"}),
    "queued": State("waiting", _IN_PROGRESS),
    "running": State("working", _IN_PROGRESS),
    "stopping": State("working", _IN_PROGRESS),
    "finished": State("ended", frozenset({"extend", "delete"})),
    "failed": State("ended", _INCOMPLETE),
    "stopped": State("ended", _INCOMPLETE),
    "preempted": State("ended", _INCOMPLETE),
    "lost": State("problem", _INCOMPLETE, derived=True),
    "stalled": State("working", _IN_PROGRESS, derived=True),
    "unreadable": State("problem", frozenset({"delete"}), derived=True),
}
WRITTEN = tuple(name for name, state in STATES.items() if not state.derived)
"""What `status.json` can say."""


def _in(*groups: Group) -> frozenset[str]:
    return frozenset(name for name, state in STATES.items() if state.group in groups)


ACTIVE = _in("working")
"""An engine runs it."""
STARTED = ACTIVE | {"created"}
"""An engine runs it, or was started for it."""
IN_PROGRESS = _in("waiting", "working")
"""An engine runs it, or will without anyone's help."""
ENDED = _in("ended")
"""No engine runs it, and none will unless it is resumed."""
FAULTY = _in("problem") | {"failed"}
"""The run did not come to an orderly end."""


def allows(state: str, action: Action) -> bool:
    """Whether an action is possible in a state."""
    return state in STATES and action in STATES[state].actions
