"""Start the engines of a sweep as forks of a process that has imported their libraries once (`fork_server.py`)."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from engine.launch.process_title import ROOM
from engine.record.owner import start_time

LOADED_WITHIN = 600.0
"""Seconds within which the libraries are imported, however busy the machine is; after them, engines are started without."""
ANSWER_WITHIN = 30.0
"""Seconds that a fork may take."""
_PLATFORM: str = sys.platform
UNKNOWN = 1
"""The exit code of an engine that ended after its launcher did."""


class EngineProcess(Protocol):
    """What a starter needs of an engine's process; `subprocess.Popen` has it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code; None while the process is running."""


class LauncherGoneError(Exception):
    """The launcher cannot start engines (any more); the caller starts them itself."""


class Launcher:
    """A process that forks engines. It ends with this process or `close`, and its engines go on. Where it cannot be used,
    `start` raises LauncherGoneError: from the first failure on, it stays unused."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """`command` is its command line, without the words that this class adds."""
        self._command, self._environment = [*command], dict(environment)
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._is_ready = False
        self._loaded_until = 0.0
        self._answer: dict[str, Any] | None = None
        self._codes: dict[int, int] = {}
        self.gone = _PLATFORM != "linux"
        """Whether it cannot be used (any more). Elsewhere, libraries of the system do not survive a fork."""

    def is_loading(self) -> bool:
        """Whether it is still importing the libraries. The first call starts it."""
        if self._process is None and not self.gone:
            self._begin()
        self._read()
        return not self._is_ready and not self.gone and time.monotonic() < self._loaded_until

    def start(
        self, words: Sequence[str], arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: int
    ) -> EngineProcess:
        """Fork an engine, in a session of its own, that prints to the descriptor `output`.

        `words` are its command line, `arguments` what its main function takes. Raises LauncherGoneError, also while it is
        loading.
        """
        self._read()
        if self.gone or not self._is_ready or self._channel is None:
            raise LauncherGoneError
        request = {
            "words": list(words), "arguments": list(arguments), "folder": str(folder), "environment": dict(environment),
        }  # fmt: skip
        content = json.dumps(request).encode() + b"\n"
        self._answer = None
        try:
            sent = socket.send_fds(self._channel, [content], [output])
            self._channel.sendall(content[sent:])
        except OSError:
            self._give_up()
        answer = self._await_answer()
        if "pid" not in answer:
            self._give_up()
        return _Forked(int(answer["pid"]), self)

    def code(self, pid: int) -> int | None:
        """The exit code of an engine that it forked; None while that is running."""
        self._read()
        if pid not in self._codes and self.gone and start_time(pid) is None:
            self._codes[pid] = UNKNOWN
        return self._codes.get(pid)

    def close(self) -> None:
        """End the launcher's process; engines go on."""
        self.gone = True
        if self._channel is not None:
            self._read()
            self._channel.close()
            self._channel = None
        if self._process is not None:
            if not self._is_ready:
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)

    def _begin(self) -> None:
        own, other = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [*self._command, str(other.fileno()), ROOM], stdin=subprocess.DEVNULL, pass_fds=(other.fileno(),),
                start_new_session=True, env=self._environment,
            )  # fmt: skip
        except OSError:
            own.close()
            self.gone = True
            return
        finally:
            other.close()
        self._channel, self._loaded_until = own, time.monotonic() + LOADED_WITHIN

    def _read(self) -> None:
        """Take the messages that have arrived."""
        while self._channel is not None and not self.gone:
            try:
                content = self._channel.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                content = b""
            self.gone = not content
            *lines, self._received = (self._received + content).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": _}:
                self._is_ready = True
            case {"exited": [int(pid), int(code)]}:
                self._codes[pid] = code
            case {"unfit": reason}:
                print(f"engines are started one by one: {reason}", file=sys.stderr, flush=True)
                self.gone = True
            case _:
                self._answer = message

    def _await_answer(self) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_WITHIN
        while self._answer is None and not self.gone and self._channel is not None and time.monotonic() < deadline:
            select.select([self._channel], [], [], 0.1)
            self._read()
        return self._answer or {}

    def _give_up(self) -> NoReturn:
        """Use it no more. It starts no engine whose process id it could not send."""
        self.gone = True
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        raise LauncherGoneError


class _Forked:
    """An engine that a launcher forked."""

    def __init__(self, pid: int, launcher: Launcher) -> None:
        self.pid, self._launcher = pid, launcher
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """See `EngineProcess`."""
        if self.returncode is None:
            self.returncode = self._launcher.code(self.pid)
        return self.returncode
