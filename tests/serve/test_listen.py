"""The socket of the server."""

from __future__ import annotations

import socket

import pytest

from crild_tui.serve.listen import listen, url_host
from engine.errors import UsageError


def test_port_0_takes_a_free_port() -> None:
    with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as other:
        assert one.getsockname()[1] != other.getsockname()[1] != 0


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)) as caught:
            listen("127.0.0.1", port)
    assert (caught.value.kind, caught.value.key) == ("port-in-use", "--port")


def test_a_port_can_be_used_again_at_once() -> None:
    with listen("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = one.accept()
            accepted.close()
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize(
    "host", ["203.0.113.7", "no-such-host.invalid", "not a host", "1.2.3", "", " ", "\0", "x" * 300]
)
def test_a_host_that_is_not_this_machine_is_named(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        listen(host, 0)
    assert caught.value.kind == "host-not-here"
    assert caught.value.key == "--host"


@pytest.mark.parametrize(("number", "kind"), [(13, "port-reserved"), (1, "port-reserved"), (24, "port-not-bound")])
def test_what_the_system_refuses(monkeypatch: pytest.MonkeyPatch, number: int, kind: str) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError(number, "refused")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(UsageError) as caught:
        listen("127.0.0.1", 80)
    assert caught.value.kind == kind


def test_hosts_in_addresses() -> None:
    assert url_host("localhost", "127.0.0.1") == "localhost"
    assert url_host("::1", "::1") == "[::1]"
    assert url_host("0.0.0.0", "0.0.0.0") == socket.gethostname()
