"""Whom the server answers."""

from __future__ import annotations

import socket

import pytest

from crild_tui.serve.gate import UNKNOWN, WRONG_HOST, WRONG_ORIGIN, Gate, host_name, is_loopback, names_of, same_place

GATE = Gate(names_of("127.0.0.1", "127.0.0.1"), 8321)
HERE = {"Host": "127.0.0.1:8321", "Origin": "http://127.0.0.1:8321"}
COOKIES = {GATE.cookie: GATE.token}


def refusal(headers: dict[str, str], cookies: dict[str, str] = COOKIES, *, websocket: bool = False) -> str | None:
    return GATE.refusal(headers, cookies, websocket=websocket)


@pytest.mark.parametrize("websocket", [False, True])
def test_who_has_the_token_and_comes_from_here_is_let_in(websocket: bool) -> None:
    assert refusal(HERE, websocket=websocket) is None
    tunnel = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert refusal(tunnel, websocket=websocket) is None


@pytest.mark.parametrize(
    "token",
    ["", "x", GATE.token[:-1], GATE.token + "x", GATE.token.swapcase(), "\udcff", "ü" * 43],
    ids=["empty", "short", "cut", "longer", "other-case", "no-text", "no-ascii"],  # each process has a token of its own
)
def test_a_wrong_token_is_refused(token: str) -> None:
    assert not GATE.knows(token)
    assert refusal(HERE, {GATE.cookie: token}) == UNKNOWN
    assert refusal(HERE, {GATE.cookie: token}, websocket=True) == UNKNOWN


def test_a_missing_token_and_that_of_another_port_are_refused() -> None:
    assert not GATE.knows(None)
    assert refusal(HERE, {}) == UNKNOWN
    assert refusal(HERE, {"crild_8322": GATE.token}) == UNKNOWN


def test_each_server_has_a_token_of_its_own_that_does_not_show() -> None:
    other = Gate(GATE.names, GATE.port)
    assert other.token != GATE.token
    assert len(GATE.token) >= 43  # 32 bytes
    assert GATE.token not in repr(GATE)


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:8321", "127.0.0.1.evil.example", "localhost.evil.example:8321", "127.0.0.2",
        "x@127.0.0.1", "127.0.0.1/x", "127.0.0.1#x", "[::1", "localhost:port:2", "10.0.0.1:8321",
    ],
)  # fmt: skip
def test_a_foreign_name_is_refused_whatever_it_leads_to(host: str) -> None:
    assert refusal({"Host": host, "Origin": f"http://{host}"}) == WRONG_HOST
    assert refusal({"Host": host, "Origin": f"http://{host}"}, websocket=True) == WRONG_HOST


@pytest.mark.parametrize(
    "origin",
    [
        None, "null", "", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:8322", "http://localhost:8321",
        "http://127.0.0.1:8321.evil.example", "ftp://127.0.0.1:8321", "http://127.0.0.1:8321/x",
    ],
)  # fmt: skip
def test_a_websocket_of_another_page_is_refused(origin: str | None) -> None:
    headers = {"Host": HERE["Host"]} | ({} if origin is None else {"Origin": origin})
    assert refusal(headers, websocket=True) == WRONG_ORIGIN
    assert refusal(headers) is None


def test_names_of_hosts() -> None:
    assert [host_name(host) for host in ("LocalHost:1", "[::1]:8321", "a.b", ":80", "a b")] == [
        "localhost", "::1", "a.b", None, "a b",
    ]  # fmt: skip
    assert same_place("HTTP://[::1]:8321", "[::1]:8321")
    assert same_place("https://localhost", "localhost")  # behind something that encrypts


def test_a_server_on_all_addresses_has_those_of_the_machine() -> None:
    names = names_of("0.0.0.0", "0.0.0.0")
    assert {"localhost", "127.0.0.1", socket.gethostname().lower()} <= names
    assert "evil.example" not in names
    assert names_of("node7", "10.0.0.7") == {"localhost", "127.0.0.1", "::1", "node7", "10.0.0.7"}


@pytest.mark.parametrize(("address", "loopback"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("10.0.0.1", False), ("fe80::1%lo", False)])  # fmt: skip
def test_what_reaches_this_machine_alone(address: str, loopback: bool) -> None:
    assert is_loopback(address) == loopback
