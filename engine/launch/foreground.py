"""Run a tool of the engine (evaluate, predict, plan, probe) in the foreground."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from engine.errors import CrildError, DataError, ModelError, RunError, UsageError
from engine.launch.start import engine_command, engine_environment
from engine.record.files import cause
from engine.record.phases import Phase

_KINDS: dict[str, type[CrildError]] = {
    error.category: error for error in (RunError, UsageError, DataError, ModelError)
}  # the problems of a preset arrive one by one, as usage errors


STOP_WITHIN = 2.0
"""Seconds that a tool may take to end when it is asked to."""
_STOPPING = (signal.SIGINT, signal.SIGTERM)


def run_tool(
    tool: str,
    args: Sequence[str] = (),
    *,
    command: Sequence[str] | None = None,
    progress: Callable[[Phase], object] | None = None,
    stdin: bool = False,
    descriptors: Sequence[int] = (),
) -> Any:
    """Run a tool of the engine in this terminal; returns the JSON value that it writes to stdout.

    Its stderr is this process's, and so is its stdin with `stdin`; otherwise it reads nothing. It inherits the open
    `descriptors`, under their numbers. `progress` takes each phase that it reports. Ctrl-C and SIGTERM end both. A tool reports
    an error as {"error": {kind, sentence, file, line, key}} with a non-zero exit code; it is raised again here. Raises RunError when the tool ends in any other way. `command` replaces the
    worker's command line (for tests).
    """
    words = [*command, tool, *args] if command is not None else engine_command(tool, *args)
    with _terminable():
        child = _start(words, stdin=stdin, descriptors=descriptors)
        try:
            output = b"".join(_without_progress(child, progress))
            child.wait()
        finally:
            _end(child)
    return _result(tool, output, child.returncode)


def _start(words: Sequence[str], *, stdin: bool, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """The tool's process. Signals wait until it can handle them, so that one at its start causes no traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        return subprocess.Popen(
            words, stdin=None if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, env=engine_environment(),
            pass_fds=descriptors,
        )  # fmt: skip
    except OSError as error:
        raise RunError(f"cannot start the engine: {cause(error)}", kind="cannot-start-engine") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _without_progress(child: subprocess.Popen[bytes], progress: Callable[[Phase], object] | None) -> Iterator[bytes]:
    """The lines of a tool's stdout, except for its progress."""
    assert child.stdout is not None
    for line in child.stdout:
        if not line.startswith(b'{"progress": '):
            yield line
        elif progress is not None:
            with suppress(ValueError, RecursionError, AttributeError):
                phase = Phase.of(json.loads(line)["progress"])
                if phase is not None:
                    progress(phase)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a tool that is still running: politely, then by force, also when Ctrl-C is pressed again."""
    try:
        if child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_WITHIN)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end this process by an exception, so that the tool is ended too. Only the main thread can."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _result(tool: str, output: bytes, code: int) -> Any:
    try:
        value = json.loads(output)
    except (ValueError, RecursionError):
        value = None
    if code == 0 and output.strip() and value is not None:
        return value
    fault = value.get("error") if isinstance(value, dict) else None
    if code and isinstance(fault, dict) and isinstance(fault.get("sentence"), str):
        raise error_of(fault)
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    raise RunError(f"the engine's {tool} {how} without a result", kind="tool-without-result")


def error_of(fault: Mapping[str, Any]) -> CrildError:
    """The error that a tool reports as {kind, sentence, file, line, key}, where `kind` is the error's category."""
    kind = _KINDS.get(str(fault.get("kind")), UsageError if fault.get("kind") == "preset" else RunError)
    line = fault.get("line")
    return kind(
        str(fault.get("sentence")),
        file=None if fault.get("file") is None else str(fault["file"]),
        line=line if isinstance(line, int) else None,
        key=None if fault.get("key") is None else str(fault["key"]),
    )
