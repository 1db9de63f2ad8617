"""Messages from the engine to the user: a `message` event and a line in the log."""

from __future__ import annotations

from typing import Literal

from engine.data.findings import Finding
from engine.preset.text import plain
from engine.record.session import RunSession


def say(session: RunSession, text: str, level: Literal["info", "warning"] = "info") -> None:
    """Write a sentence that the dashboard, the command line and the log show."""
    session.events.write("message", level=level, text=text)
    print(f"{level}: {plain(text)}", flush=True)


def say_finding(session: RunSession, finding: Finding) -> None:
    """Write a finding as a message; its kind, severity and facts are in the event."""
    level = "info" if finding.severity == "note" else "warning"
    details = {"kind": finding.kind, "severity": finding.severity, "facts": dict(finding.facts)}
    session.events.write("message", level=level, text=finding.sentence, finding=details)
    print(f"{level}: {plain(finding.sentence)}", flush=True)
