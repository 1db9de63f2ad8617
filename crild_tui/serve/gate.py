"""Whom the server answers: those with its token, who call it by a name of its own, from a page of its own."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
TOKEN = "token"  # noqa: S105 - the name of a parameter
TOKEN_BYTES = 32

WRONG_HOST = "crild does not answer under this name: open the address that `crild serve` printed."
UNKNOWN = (
    "This address lacks the token of this dashboard, or has that of an earlier one: open the whole address that "
    "`crild serve` printed last, with cookies allowed."
)
WRONG_ORIGIN = "crild answers its own page only, not one of another site."


@dataclass(frozen=True)
class Gate:
    """What a request must have. `names` are the host names and addresses that a browser may call the server by."""

    names: frozenset[str]
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES), repr=False)

    @property
    def cookie(self) -> str:
        """The name of the cookie that holds the token: browsers send those of all ports to each."""
        return f"crild_{self.port}"

    def knows(self, token: str | None) -> bool:
        """Whether this is the token; takes the same time for any other text of its length."""
        return token is not None and secrets.compare_digest(token.encode(errors="replace"), self.token.encode())

    def refusal(self, headers: Mapping[str, str], cookies: Mapping[str, str], *, websocket: bool) -> str | None:
        """Why a request is refused, as a sentence; None if it isn't.

        The name in `Host` guards against foreign names that lead to this machine (DNS rebinding). Any port will do: that
        of a tunnel may be another. A websocket must come from a page of the same host and port.
        """
        host = headers.get("Host", "")
        if host_name(host) not in self.names:
            return WRONG_HOST
        if websocket and not same_place(headers.get("Origin"), host):
            return WRONG_ORIGIN
        return None if self.knows(cookies.get(self.cookie)) else UNKNOWN


def host_name(host: str) -> str | None:
    """The name in a `Host` header, in small letters and without port and brackets; None where there is none."""
    try:
        parts = urlsplit(f"//{host}")
        strange = parts.netloc != host or "@" in host or parts.port == 0  # reading a port that is none raises, too
        return None if strange else parts.hostname
    except ValueError:
        return None


def same_place(origin: str | None, host: str) -> bool:
    """Whether an `Origin` header names the server that a `Host` header names."""
    return origin is not None and origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def is_loopback(address: str) -> bool:
    """Whether an IP address reaches only this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def names_of(host: str, address: str) -> frozenset[str]:
    """What a browser may call a server that was asked to listen on `host` and listens on `address`.

    Names of the loopback interface always count: a tunnel ends there, and no foreign name server has a say about them.
    """
    names = {*LOOPBACK, host.lower(), address}
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        import psutil

        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        names |= {each.address.partition("%")[0] for card in psutil.net_if_addrs().values() for each in card}
    return frozenset(names)
