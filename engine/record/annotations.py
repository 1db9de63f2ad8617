"""annotations.json: the note and tags that the user gives a run, separate from the engine's status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import RunError, UsageError
from engine.record.files import cause, read_json, read_object, write_json
from engine.record.lock import FileLock
from engine.record.paths import ANNOTATIONS

SCHEMA_VERSION = 1
LONGEST_TAG = 50
LONGEST_NOTE = 10_000
_LOCK = ".annotations.lock"


@dataclass(frozen=True)
class Annotations:
    """The user's note and tags of a run."""

    note: str = ""
    tags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": SCHEMA_VERSION, "note": self.note, "tags": list(self.tags)}


def read_annotations(run_dir: Path) -> Annotations:
    """The note and tags of a run; empty where they are missing or damaged."""
    data = read_json(run_dir / ANNOTATIONS) or {}
    note, tags = data.get("note"), data.get("tags")
    return Annotations(
        note if isinstance(note, str) else "",
        as_tags(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
    )


def set_note(run_dir: Path, text: str) -> Annotations:
    """Replace the note of a run, running or not; an empty text removes it.

    Raises UsageError when the text is too long or holds control characters, RunError when it cannot be written.
    """
    if len(text) > LONGEST_NOTE:
        sentence = f"the note has {len(text)} characters; at most {LONGEST_NOTE} are allowed"
        raise UsageError(sentence, kind="note-too-long", key="note")
    if any(not character.isprintable() and character not in "\n\t" for character in text):
        sentence = "the note contains control characters: write plain text"
        raise UsageError(sentence, kind="note-with-control-characters", key="note")
    return _change(run_dir, lambda old: replace(old, note=text))


def set_tags(run_dir: Path, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Annotations:
    """Add and remove tags of a run, running or not; tags stay in the order in which they were added.

    Raises UsageError for an invalid tag, RunError when it cannot be written.
    """
    new, gone = [valid_tag(tag) for tag in add], {*as_tags(remove)}
    return _change(
        run_dir,
        lambda old: replace(old, tags=tuple(tag for tag in dict.fromkeys((*old.tags, *new)) if tag not in gone)),
    )


def valid_tag(tag: str) -> str:
    """`tag` if it is valid. Raises UsageError with what is allowed."""
    if not tag or len(tag) > LONGEST_TAG or not tag.isprintable() or any(mark.isspace() or mark == "," for mark in tag):
        sentence = (
            f"{tag!r} cannot be a tag: a tag is one word of at most {LONGEST_TAG} characters, without spaces or commas"
        )
        raise UsageError(sentence, kind="invalid-tag", key="tags")
    return tag


def as_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts of a preset, or of an earlier crild, as valid tags: `needs review` becomes `needs-review`."""
    words = ("".join(mark if mark.isprintable() and mark != "," else " " for mark in text).split() for text in texts)
    return tuple(tag for parts in words if (tag := "-".join(parts)[:LONGEST_TAG]))


def _change(run_dir: Path, change: Callable[[Annotations], Annotations]) -> Annotations:
    """Read, change and write under a lock, so that concurrent commands lose no changes."""
    path = run_dir / ANNOTATIONS
    with FileLock(run_dir / _LOCK) as lock:
        try:
            taken = lock.acquire(wait=5.0)
        except OSError as error:
            sentence = f"cannot be written: {cause(error)}"
            raise RunError(sentence, kind="cannot-write-annotations", file=str(path)) from error
        if not taken:
            raise RunError("is being changed by another command: try again", kind="annotations-in-use", file=str(path))
        _refuse_newer(path)
        changed = change(read_annotations(run_dir))
        write_json(path, changed.to_dict())
        return changed


def _refuse_newer(path: Path) -> None:
    """Raise RunError for a file of a newer crild or another program, so that it is not overwritten."""
    try:
        schema = read_object(path).get("schema")
    except FileNotFoundError:
        return
    if schema != SCHEMA_VERSION:
        sentence = "was written by a newer crild or another program, and is left unchanged"
        raise RunError(sentence, kind="unknown-annotations-version", file=str(path))
