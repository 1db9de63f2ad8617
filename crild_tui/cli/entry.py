"""Calling the application: errors become sentences and exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from crild_tui.cli.completion import VARIABLE, answer, use_own_scripts
from engine.errors import CrildError
from engine.preset.text import plain
from engine.record.standard_streams import discard_output, open_standard_streams

INTERRUPTED = 130


def call(arguments: Sequence[str] | None = None) -> int:
    """The application on `arguments`; returns the exit code, whatever happens."""
    open_standard_streams()
    _tolerate_narrow_encodings()
    if (instruction := os.environ.get(VARIABLE)) and (completed := answer(instruction)) is not None:
        return completed
    return guarded(lambda: _application(arguments))


def guarded(work: Callable[[], int]) -> int:
    """Do some work and return its exit code; an error becomes sentences on stderr and an exit code."""
    try:
        code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except CrildError as error:
        from crild_tui.cli.terminal import error_lines

        _print_errors(error_lines(error))
        return error.exit_code
    except BrokenPipeError:
        return _reader_went_away()
    except OSError as error:
        return _system_error(error)
    except Exception as error:  # noqa: BLE001 - whatever arrives here is a bug in crild
        _print_errors(_unexpected(error))
        return 1
    return code


def _application(arguments: Sequence[str] | None) -> int:
    from crild_tui.cli.app import ReaderGoneError, application

    if any(word.endswith("-completion") for word in (sys.argv if arguments is None else arguments)):
        use_own_scripts()
    try:
        application(args=None if arguments is None else list(arguments), prog_name="crild")
    except ReaderGoneError:
        return _reader_went_away()
    except SystemExit as end:  # the application ends so after help and usage errors
        code = end.code
        if code is None or isinstance(code, int):
            return code or 0
        _print_errors([str(code)])
        return 1
    return 0


def _tolerate_narrow_encodings() -> None:
    """Escape characters that the terminal's encoding lacks instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_errors(lines: Iterable[str]) -> None:
    with contextlib.suppress(OSError):
        for line in lines:
            print(f"error: {line}", file=sys.stderr)


def _reader_went_away() -> int:
    """`crild runs | head`: not an error. What is still buffered must not fail when the interpreter ends."""
    discard_output()
    return 0


def _system_error(error: OSError) -> int:
    if error.errno == errno.EPIPE:
        return _reader_went_away()
    if error.errno == errno.ENOENT and not error.filename:  # what os.getcwd() raises
        _print_errors(["the current folder no longer exists: change to another one"])
        return 2
    if not error.filename:
        discard_output()  # it may be stdout's device that is full: flushing it at the end would fail again
    where = f"{error.filename}: " if error.filename else ""
    _print_errors([plain(f"{where}{error.strerror or error}")])
    return 1


def _unexpected(error: Exception) -> list[str]:
    import traceback

    from engine.record.secrets import without_secrets

    text = "".join(traceback.format_exception(error))
    summary = f"something went wrong inside crild ({plain(f'{type(error).__name__}: {error}')})"
    try:
        path = _crash_file()
        path.write_text(without_secrets(f"{' '.join(sys.argv)}\n\n{text}"), encoding="utf-8", errors="backslashreplace")
    except (OSError, CrildError):  # no space, or no home
        return [summary, *text.splitlines()]
    return [f"{summary}; this is a bug in crild. Attach {path} to a report"]


def _crash_file() -> Path:
    from engine.record.paths import cache_dir

    folder = cache_dir() / "crashes"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
