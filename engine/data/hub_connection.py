"""Whether the hub can be connected to at all: asked once, within seconds, before its own client looks up names and retries.

Name servers that don't answer hold up every request of the client for half a minute, whatever its timeouts are. Imports
nothing heavy.
"""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from functools import cache
from urllib.parse import urlsplit

ENDPOINT = "https://huggingface.co"
PATIENCE = 8.0
"""Seconds until the hub counts as unreachable."""
_PORTS = {"http": 80, "https": 443}


class HubUnreachableError(ConnectionError):
    """No connection to the hub; the message is the reason, as part of a sentence."""


def endpoint() -> str:
    """The address of the hub: `HF_ENDPOINT`, else huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT


def is_offline() -> bool:
    """Whether the user switched the hub off (`HF_HUB_OFFLINE`)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def check_hub() -> None:
    """Raise HubUnreachableError if no connection to the hub, or to the proxy before it, comes about within `PATIENCE`.

    Does nothing where the hub is switched off, or its address is none: its client says so.
    """
    reason = None if is_offline() else unreachable_reason(*_first_stop(endpoint()))
    if reason is not None:
        raise HubUnreachableError(reason)


@cache
def unreachable_reason(host: str, port: int) -> str | None:
    """Why there is no connection to a host; None if there is one, or no host. Asked once in a process for each host.

    The connection is made in a thread of its own, since nothing ends a look-up of a name.
    """
    if not host:
        return None
    outcome: list[str | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PATIENCE).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error.strerror or str(error) or type(error).__name__)

    thread = threading.Thread(target=connect, name="hub connection", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return outcome[0] if outcome else f"no answer within {PATIENCE:g} seconds"


def _first_stop(address: str) -> tuple[str, int]:
    """Host and port of the proxy that is set for an address, else of the address itself; ("", 0) for none."""
    try:
        target = urlsplit(address)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(target.scheme) or proxies.get("all")
        if proxy and target.hostname and not urllib.request.proxy_bypass(target.hostname):
            target = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
        return target.hostname or "", target.port or _PORTS.get(target.scheme, 443)
    except ValueError:
        return "", 0
