"""Find and run the user's editor."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from engine.errors import UsageError
from engine.preset.text import shown
from engine.record.files import cause


def editor(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command of the user's editor: `$VISUAL`, else `$EDITOR`. Raises UsageError when neither names one."""
    for name in ("VISUAL", "EDITOR"):
        value = environment.get(name, "").strip()
        if value:
            try:
                return shlex.split(value)
            except ValueError as error:
                sentence = f"${name} cannot be read as a command ({error}): {shown(value)}"
                raise UsageError(sentence, kind="unreadable-editor") from None
    raise UsageError("no editor is set: set EDITOR, for example `export EDITOR=nano`", kind="no-editor")


def run_editor(command: Sequence[str], file: Path) -> str | None:
    """Edit a file and wait; returns a sentence when the editor ended badly. Raises UsageError when it cannot start."""
    try:
        with _ignoring_interrupts():
            done = subprocess.run([*command, str(file)], check=False)
    except (OSError, ValueError) as error:
        reason = cause(error) if isinstance(error, OSError) else str(error)
        sentence = f"the editor {shown(command[0])} cannot be started: {reason}"
        raise UsageError(sentence, kind="editor-not-started") from None
    if done.returncode < 0:
        return f"the editor was ended by signal {-done.returncode}"
    return f"the editor ended with exit code {done.returncode}" if done.returncode else None


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ctrl-C belongs to the editor while it has the terminal. A handler, unlike SIG_IGN, is not handed on to it."""

    def ignore(_signal: int, _frame: FrameType | None) -> None:
        return None

    try:
        before = signal.signal(signal.SIGINT, ignore)
    except ValueError:  # not the main thread: signals do not reach it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
