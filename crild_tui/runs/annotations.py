"""Notes and tags as one line of a field, and what is written when the field is left."""

from __future__ import annotations

from engine.preset.text import printable
from engine.record.annotations import set_note, set_tags
from engine.record.run import RunEntry

BREAK = "\\n"
"""Stands in a field for a line break of the note."""


def note_in_field(note: str) -> str:
    """A note on one line, safe to show; its line breaks are kept as `\\n`."""
    return BREAK.join(printable(line.replace("\t", " ")) for line in note.split("\n"))


def note_from_field(text: str, before: str) -> str:
    """The note that a field means; `\\n` is a line break only where the note had one before."""
    return text.replace(BREAK, "\n").strip() if "\n" in before else text.strip()


def write_note(entry: RunEntry, text: str) -> str:
    """Write a note on a run; returns the sentence to show. Raises CrildError."""
    changed = set_note(entry.path, note_from_field(text, entry.note))
    return f"{entry.id}: note {'written' if changed.note else 'removed'}"


def write_tags(entry: RunEntry, text: str) -> str:
    """Make these words the tags of a run; returns the sentence to show. Raises CrildError."""
    words = text.replace(",", " ").split()
    gone = [tag for tag in entry.tags if tag not in words]
    changed = set_tags(entry.path, add=[word for word in words if word not in entry.tags], remove=gone)
    return f"{entry.id}: {'tags ' + ', '.join(changed.tags) if changed.tags else 'no tags'}"
