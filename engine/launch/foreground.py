"""Run a tool of the engine (evaluate, predict, export, probe) in the foreground."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import CrildError, DataError, ModelError, RunError, UsageError
from engine.launch.start import engine_command, engine_environment
from engine.record.files import cause

_KINDS: dict[str, type[CrildError]] = {
    error.category: error for error in (RunError, UsageError, DataError, ModelError)
}  # the problems of a preset arrive one by one, as usage errors


def run_tool(tool: str, args: Sequence[str] = (), *, command: Sequence[str] | None = None) -> Any:
    """Run a tool of the engine in this terminal; returns the JSON value that it writes to stdout.

    Its stderr is this process's. A tool reports an error as {"error": {kind, sentence, file, line, key}} with a non-zero
    exit code; it is raised again here. Raises RunError when the tool ends in any other way. `command` replaces the
    worker's command line (for tests).
    """
    words = [*command, tool, *args] if command is not None else engine_command(tool, *args)
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=engine_environment())
    except OSError as error:
        raise RunError(f"cannot start the engine: {cause(error)}", kind="cannot-start-engine") from error
    try:
        output, _ = child.communicate()
    except BaseException:  # Ctrl-C reaches the tool as well: give it a moment
        child.terminate()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
        raise
    return _result(tool, output, child.returncode)


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
