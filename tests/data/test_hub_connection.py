"""A hub that cannot be reached is noticed once, within seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from engine.data import hub_connection
from engine.data.hub_connection import HubUnreachableError, check_hub, unreachable_reason


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    unreachable_reason.cache_clear()
    yield
    unreachable_reason.cache_clear()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_closed_port_is_unreachable_and_an_open_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(HubUnreachableError):
        check_hub()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        check_hub()


def test_a_look_up_that_never_ends_is_not_waited_for_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, release = [], threading.Event()

    def hang(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)
        release.wait(60)
        raise OSError("name not known")

    monkeypatch.setattr(hub_connection, "PATIENCE", 0.05)
    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    try:
        for _ in range(5):  # data set, teacher, student, data of a stage, ...
            with pytest.raises(HubUnreachableError, match="no answer"):
                check_hub()
    finally:
        release.set()
    assert asked == [("hub.invalid", 443)]


def test_the_proxy_is_asked_where_one_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        check_hub()


@pytest.mark.parametrize("address", ["nonsense", "http://[", "http://host:port"])
def test_what_is_no_address_is_left_to_the_client(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    check_hub()


def test_a_hub_that_is_switched_off_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check_hub()
