"""The process that forks engines: it has imported their libraries once, so each of them starts at once.

It imports and never computes: a fork of a process with a pool of threads can hang, and one of a process that has opened
a GPU cannot use it. `engine/launch/launcher.py` is the other end of its channel. Messages are lines of JSON.

    to it       {"words": [...], "arguments": [...], "folder": ..., "environment": {...}}, with a descriptor for output
    from it     {"ready": true} or {"unfit": reason}; for each request {"pid": n} or {"error": reason};
                {"exited": [pid, code]}, the code negative for a signal
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from engine.launch.process_title import set_command_line
from engine.record.files import cause

GPU_DRIVERS = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
"""Beginnings of what a process has open that has started to use a GPU."""
CHUNK = 1 << 16

Main = Callable[[Sequence[str]], int]


def serve(channel: socket.socket, prepare: Callable[[], object], main: Main) -> int:
    """Import what engines need by calling `prepare`, then fork one for each request, until the other end closes.

    `main` is what an engine does with its arguments; it returns its exit code. Engines outlive this process.
    """
    environment = dict(os.environ)
    prepare()
    reason = unfit()
    try:
        _send(channel, {"ready": True} if reason is None else {"unfit": reason})
    except OSError:
        return 0  # nobody needs it any more
    if reason is not None:
        return 1
    gc.collect()
    gc.freeze()  # collections in an engine then leave these pages shared
    return _Server(channel, environment, main).run()


def unfit() -> str | None:
    """Why this process must not be forked; None if it can be."""
    if threading.active_count() > 1:
        return f"it has {threading.active_count()} Python threads"
    opened = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            opened.append(str(entry.readlink()))
    gpus = [name for name in opened if name.startswith(GPU_DRIVERS)]
    return f"it has opened {gpus[0]}" if gpus else None


class _Server:
    """The loop of `serve`."""

    def __init__(self, channel: socket.socket, environment: Mapping[str, str], main: Main) -> None:
        self.channel, self.environment, self.main = channel, environment, main
        self.received = b""
        self.descriptors: list[int] = []
        self.wake, self.woken = os.pipe()
        for end in (self.wake, self.woken):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the descriptor below is written to
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)

    def run(self) -> int:
        """Until the other end of the channel closes."""
        while True:
            self._report_exits()
            readable, _, _ = select.select([self.channel.fileno(), self.wake], [], [])
            if self.wake in readable:
                os.read(self.wake, CHUNK)
            if self.channel.fileno() in readable and not self._receive():
                return 0

    def _report_exits(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            with contextlib.suppress(OSError):  # the other end is gone: the loop notices
                _send(self.channel, {"exited": [pid, os.waitstatus_to_exitcode(status)]})

    def _receive(self) -> bool:
        """Take what has arrived, and fork once a request is whole; False when the other end is gone."""
        try:
            content, descriptors, _, _ = socket.recv_fds(self.channel, CHUNK, 4)
        except OSError:
            return False
        self.received += content
        self.descriptors += descriptors
        while b"\n" in self.received and self.descriptors:
            line, _, self.received = self.received.partition(b"\n")
            self._fork(json.loads(line), self.descriptors.pop(0))
        return bool(content)

    def _fork(self, request: Mapping[str, Any], output: int) -> None:
        """Fork an engine. It starts only after its process id has been sent: an engine that nobody knows must not run."""
        known, start = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's threads, which it ends before a fork
                pid = os.fork()
        except OSError as error:
            _send(self.channel, {"error": cause(error)})
        else:
            if pid == 0:
                os.close(start)
                self._become_engine(request, output, known)
            with contextlib.suppress(OSError):
                _send(self.channel, {"pid": pid})
                os.write(start, b"+")
        finally:
            for descriptor in (output, known, start):
                os.close(descriptor)

    def _become_engine(self, request: Mapping[str, Any], output: int, known: int) -> NoReturn:
        """Be a process as `subprocess.Popen` would have started it, then do its work and end."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            if os.read(known, 1) != b"+":
                os._exit(1)
            nowhere = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nowhere, 0), (output, 1), (output, 2)):
                os.dup2(source, target)
            for descriptor in (nowhere, output, known, self.wake, self.woken):
                os.close(descriptor)
            self.channel.close()
            self._set_environment(request["environment"])
            set_command_line(request["words"])
            sys.argv = list(request["words"])
            os.chdir(request["folder"])
            code = self.main(request["arguments"])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001 - an engine prints its traceback and ends, whatever it is
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    def _set_environment(self, wanted: Mapping[str, str]) -> None:
        """Change what differs from the environment that this process was started with; libraries may have added to it."""
        for name in self.environment.keys() - wanted.keys():
            os.environ.pop(name, None)
        for name, value in wanted.items():
            if self.environment.get(name) != value:
                os.environ[name] = value


def _send(channel: socket.socket, message: Mapping[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")
