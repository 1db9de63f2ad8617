"""Identify the process that owns a run so exactly that a reused process id or a reboot is never mistaken for it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

from engine.errors import RunError

_PLATFORM: str = sys.platform  # as a plain word: the type checker looks at every branch

OwnerState = Literal["alive", "gone", "elsewhere"]

_serial = count()
_LONGEST_BASE = 120
"""Bytes of a name that go into a temporary name: file systems allow 255 in all."""


@dataclass(frozen=True)
class Owner:
    """A process on a machine.

    `started` is its start time in seconds: since boot on Linux (exact, and independent of clock changes), since 1970
    elsewhere. `boot_id` identifies the machine's present uptime, `pid_namespace` the container's view of process ids (""
    where there is no such thing).
    """

    host: str
    pid: int
    started: float
    boot_id: str
    pid_namespace: str

    @classmethod
    def current(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, start_time(pid) or 0.0, boot_id(), pid_namespace())

    def state(self) -> OwnerState:
        """ "alive"; "gone" (exited, or its machine was rebooted); "elsewhere" when it cannot be seen from here."""
        same_host = self.host == socket.gethostname()
        if self.boot_id != boot_id():
            return "gone" if same_host else "elsewhere"
        if not self.boot_id and not same_host:  # no uptime to compare, so the host name must do
            return "elsewhere"
        if self.pid_namespace != pid_namespace():
            return "elsewhere"
        return "alive" if self._runs() else "gone"

    def _runs(self) -> bool:
        started = start_time(self.pid)
        if started is not None:
            return abs(started - self.started) < 1.0 if self.started else True
        return False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From plain data. Raises RunError when a field is missing or of another type."""
        host, pid, started = data.get("host"), data.get("pid"), data.get("started")
        boot, namespace = data.get("boot_id", ""), data.get("pid_namespace", "")
        texts = isinstance(host, str) and isinstance(boot, str) and isinstance(namespace, str)
        if not texts or type(pid) is not int or not 0 < pid < 2**31 or type(started) not in (int, float):
            raise RunError(f"has an invalid owner: {str(dict(data))[:80]}", kind="invalid-owner", key="owner")
        return cls(str(host), pid, float(started or 0.0), boot, namespace)

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> Self | None:
        """The owner that a record names; None where it names none, or is damaged."""
        data = (record or {}).get("owner")
        try:
            return cls.from_dict(data) if isinstance(data, Mapping) else None
        except RunError:
            return None

    def tag(self) -> str:
        """This owner as part of a file name: digests of host, boot id and pid namespace, then process id and start time."""
        digests = map(_digest, (self.host, self.boot_id, self.pid_namespace))
        return "-".join((*digests, str(self.pid), str(round(self.started * 100))))

    @classmethod
    def from_tag(cls, tag: str) -> Self:
        """The owner in a tag (see `TAG`). What differs from this machine stays a digest: it is only ever compared."""
        host, boot, namespace, pid, started = tag.split("-")
        host, boot, namespace = (
            here if _digest(here) == digest else digest
            for here, digest in ((socket.gethostname(), host), (boot_id(), boot), (pid_namespace(), namespace))
        )
        return cls(host, int(pid), int(started) / 100, boot, namespace)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host!r}"


TAG = r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[1-9][0-9]{0,8}-[0-9]{1,12}"
"""What `Owner.tag` returns, as a pattern."""
TEMPORARY = re.compile(rf"\.(?P<base>.+)\.(?P<role>tmp|old)-(?P<owner>{TAG})-[0-9]+", re.DOTALL)
"""What `temporary_name` returns, as a pattern."""


def temporary_name(base: str, role: Literal["tmp", "old"] = "tmp") -> str:
    """A new name for a temporary file or folder of this process, so that others can see whether its owner is gone.

    Role "tmp" is for what will be called `base`, "old" for what was called so and is being replaced. A long `base` is
    shortened.
    """
    short = os.fsencode(base)[:_LONGEST_BASE].decode(errors="ignore")
    return f".{short}.{role}-{_own_tag(os.getpid())}-{next(_serial)}"


@cache
def _own_tag(_pid: int) -> str:
    """The tag of this process; a forked child has another pid."""
    return Owner.current().tag()


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def start_time(pid: int) -> float | None:
    """When a process of this machine started (see `Owner.started`); None when there is none, or only a zombie.

    0.0 when it is running but its owner's processes are hidden from us.
    """
    if _PLATFORM == "linux":
        return _start_time_linux(pid)
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return 0.0


def _start_time_linux(pid: int) -> float | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0.0 if _hidden(pid) else None
    fields = line[line.rindex(b")") + 2 :].split()  # the name in parentheses may hold spaces and parentheses
    if fields[0] in (b"Z", b"X", b"x"):  # a zombie: exited, and not collected by its parent
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _hidden(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # it exists but is hidden (hidepid)
    except OSError:
        return False
    return False


@cache
def boot_id() -> str:
    """An id of this machine's present uptime; "" when the system has none."""
    if _PLATFORM == "linux":
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
    if _PLATFORM == "darwin":
        return _sysctl("kern.bootsessionuuid")
    return ""


def pid_namespace() -> str:
    """An id of the set of process ids that this process sees; "" where there is only one."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    import ctypes

    library = ctypes.CDLL(None)
    size = ctypes.c_size_t(128)
    buffer = ctypes.create_string_buffer(128)
    if library.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0):
        return ""
    return buffer.value.decode(errors="replace")
