"""The socket that the server listens on, or a sentence about why there is none."""

from __future__ import annotations

import errno
import ipaddress
import socket

from engine.errors import UsageError
from engine.preset.text import plain
from engine.record.files import cause


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address of this machine; port 0 takes a free one.

    Raises UsageError where the host is none of this machine's, or the port is in use or reserved.
    """
    if not host.strip():  # the system would take it for all addresses
        raise _no_such_host(host)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError, ValueError):
        raise _no_such_host(host) from None
    try:
        return socket.create_server(address[:2], family=family, backlog=64)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_such_host(host) from None
        raise _not_bound(host, port, error) from None


def _no_such_host(host: str) -> UsageError:
    sentence = f"--host {plain(host)!r} is no address of this machine: leave it out for this machine alone"
    return UsageError(sentence, kind="host-not-here", key="--host")


def _not_bound(host: str, port: int, error: OSError) -> UsageError:
    place = f"port {port} of {plain(host)}"
    if error.errno == errno.EADDRINUSE:
        sentence = (
            f"{place} is in use, perhaps by another `crild serve`: choose another with --port, or any with --port 0"
        )
        return UsageError(sentence, kind="port-in-use", key="--port")
    if error.errno in (errno.EACCES, errno.EPERM):
        sentence = f"{place} is reserved for the system: choose one from 1024, or any with --port 0"
        return UsageError(sentence, kind="port-reserved", key="--port")
    return UsageError(f"{place} cannot be used: {cause(error)}", kind="port-not-bound", key="--port")


def url_host(host: str, address: str) -> str:
    """A host as it stands in an address of a browser: this machine's name where it listens on all addresses."""
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        return socket.gethostname()
    return f"[{address}]" if ":" in address else host
