"""The server behind `crild serve`: what it refuses, what it passes on, and that its processes end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual_serve", reason="crild[web] is not installed: make test-extras runs these tests")

from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from crild_tui.serve import app_process, fonts
from crild_tui.serve.app_process import LARGEST, SMALLEST
from crild_tui.serve.server import MOST, PAGE
from tests.serve.driver import Served, raw, serving, until

PATHS = (
    "/", "/?token=", "/?token=x", "/ws", "/static/js/textual.js", "/static/", "/page/page.js", "/fonts/regular.ttf",
    "/download/x", "/nosuch",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where processes leave their ids."""
    path = tmp_path / "processes"
    path.mkdir()
    return path


async def text_of(websocket: Any) -> str:
    """The next text that the process has written."""
    message = await asyncio.wait_for(websocket.receive(), 60)
    assert message.type == WSMsgType.BINARY, message
    return str(message.data.decode())


async def end_of(websocket: Any) -> tuple[int | None, str]:
    """Read until the connection is closed; its code and reason."""
    while True:
        message = await asyncio.wait_for(websocket.receive(), 60)
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
            return message.data if message.type == WSMsgType.CLOSE else websocket.close_code, message.extra or ""


# -- who is let in


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_answered(folder: Path, path: str) -> None:
    async def body(served: Served) -> None:
        headers = {"Origin": served.address}
        for cookies in ({}, {served.gate.cookie: "x"}, {"crild_1": served.gate.token}):
            async with (
                ClientSession(cookies=cookies) as stranger,
                stranger.get(served.address + path, headers=headers) as answer,
            ):
                assert answer.status == 403
                assert answer.content_type == "text/plain"
                assert served.gate.token not in await answer.text() + str(answer.headers)
        assert list(folder.iterdir()) == []

    serving(folder, body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nor_with_another_method(folder: Path, method: str) -> None:
    async def body(served: Served) -> None:
        async with ClientSession() as stranger, stranger.request(method, f"{served.address}/") as answer:
            assert answer.status == 403

    serving(folder, body)


def test_the_token_becomes_a_cookie_and_leaves_the_address(folder: Path) -> None:
    async def body(served: Served) -> None:
        token = served.gate.token
        async with ClientSession() as browser:
            url = f"{served.address}/?token={token}&fontsize=20&delay=1&ping=http://evil.example"
            async with browser.get(url, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (303, "/?fontsize=20")
                cookie = answer.headers["Set-Cookie"]
                assert cookie.startswith(f"{served.gate.cookie}={token};")
                assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
            for path in ("/static/", "/page/page.js", "/ws", "/nosuch"):
                async with browser.get(f"{served.address}{path}?token={token}", headers={"Cookie": ""}) as answer:
                    assert answer.status == 403, "only the page takes it from the address"

    serving(folder, body)


def test_from_a_link_on_another_site_a_page_of_its_own_leads_on(folder: Path) -> None:
    """A strict cookie would not come along with a redirect."""

    async def body(served: Served) -> None:
        url = f"{served.address}/?token={served.gate.token}&fontsize=2"
        headers = {"Sec-Fetch-Site": "cross-site"}
        async with ClientSession() as browser, browser.get(url, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 200
            assert "url=/?fontsize=2" in await answer.text()
            assert served.gate.token not in await answer.text()
            assert "SameSite=Strict" in answer.headers["Set-Cookie"]

    serving(folder, body)


@pytest.mark.parametrize("path", PATHS)
def test_foreign_names_are_refused_with_the_token_too(folder: Path, path: str) -> None:
    async def body(served: Served) -> None:
        for host in ("evil.example", f"evil.example:{served.gate.port}", "127.0.0.1.evil.example"):
            headers = {"Host": host, "Origin": f"http://{host}"}
            for url in (path, f"/?token={served.gate.token}"):
                async with served.session.get(served.address + url, headers=headers, allow_redirects=False) as answer:
                    assert answer.status == 403
                    assert "Set-Cookie" not in answer.headers

    serving(folder, body)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "", None])
def test_a_websocket_from_another_page_is_refused(folder: Path, origin: str | None) -> None:
    async def body(served: Served) -> None:
        headers = {} if origin is None else {"Origin": origin}
        with pytest.raises(WSServerHandshakeError) as caught:
            await served.session.ws_connect(f"{served.address}/ws", headers=headers)
        assert caught.value.status == 403
        assert list(folder.iterdir()) == []

    serving(folder, body)


def test_a_tunnel_may_end_at_another_port(folder: Path) -> None:
    async def body(served: Served) -> None:
        async with served.connect(Host="localhost:9000", Origin="http://localhost:9000") as websocket:
            assert await text_of(websocket) == "80x80"

    serving(folder, body)


# -- the page and its files


def test_the_page_its_files_and_their_headers(folder: Path) -> None:
    async def body(served: Served) -> None:
        found = {}
        paths = ("/", "/static/js/textual.js", "/static/css/xterm.css", "/page/page.js", "/page/page.css")
        for path in (*paths, *(f"/fonts/{name}" for name in fonts.NAMES)):
            async with served.session.get(served.address + path) as answer:
                assert answer.status == 200, path
                found[path] = await answer.read()
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                policy = answer.headers["Content-Security-Policy"].split("; ")
                assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
                assert "aiohttp" not in answer.headers["Server"]
        page = found["/"].decode()
        assert found["/"] == (PAGE / "index.html").read_bytes()
        assert served.gate.token not in "".join(map(str, found.values()))
        for path in re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(
            r'url\("([^"]+)"\)', found["/page/page.css"].decode()
        ):
            assert path in found or path == "data:,", f"{path} is not this server's"

    serving(folder, body)


@pytest.mark.parametrize(
    "path",
    [
        "/page/../gate.py", "/page/%2e%2e/gate.py", "/page/..%2fgate.py", "/static/../server.py", "/static/%2e%2e/server.py",
        "/static//etc/passwd", "/page/%2fetc%2fpasswd", "/fonts/../page/page.js", "/fonts/..%2f..%2fmatplotlibrc",
        "/../../../etc/passwd", "/page/\\..\\gate.py", "/fonts/DejaVuSans.ttf", "/download/..%2f..%2fetc%2fpasswd",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folders_of_the_page(folder: Path, path: str) -> None:
    async def body(served: Served) -> None:
        cookie = f"{served.gate.cookie}={served.gate.token}"
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        status = (await raw(served, request.encode())).split(b"\r\n")[0]
        assert status.split()[1] in (b"400", b"403", b"404"), status

    serving(folder, body)


@pytest.mark.parametrize("junk", [b"\x00" * 5000, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\x16\x03\x01\x02" * 50, b"GET /" + b"a" * 70_000])  # fmt: skip
def test_what_is_no_http_harms_nobody(
    folder: Path, junk: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def body(served: Served) -> None:
        for _ in range(5):
            assert not (await raw(served, junk)).startswith(b"HTTP/1.1 200")
        async with served.session.get(served.address) as answer:
            assert answer.status == 200

    serving(folder, body)
    assert capfd.readouterr() == ("", "")
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aiohttp")] == []


# -- a connection and its process


def test_keys_and_sizes_go_to_the_process_and_its_text_to_the_browser(folder: Path) -> None:
    async def body(served: Served) -> None:
        async with served.connect("?width=120&height=33") as websocket:
            assert await text_of(websocket) == "120x33"
            await websocket.send_json(["stdin", "x é ⣿ \ud800"])
            assert await text_of(websocket) == "Dx é ⣿ ?"
            await websocket.send_json(["resize", {"width": 90, "height": 20}])
            assert json.loads((await text_of(websocket))[1:]) == {"type": "resize", "width": 90, "height": 20}
            await websocket.send_json(["ping", "1"])
            assert (await websocket.receive()).json() == ["pong", "1"]
            for word in ("focus", "blur"):
                await websocket.send_json([word])
                assert json.loads((await text_of(websocket))[1:]) == {"type": word}

    serving(folder, body)


@pytest.mark.parametrize("query", ["?width=99999999999999999999&height=-5", "?width=&height=x", "?width=1e9"])
def test_sizes_have_limits(folder: Path, query: str) -> None:
    async def body(served: Served) -> None:
        async with served.connect(query) as websocket:
            width, height = map(int, (await text_of(websocket)).split("x"))
            assert (SMALLEST[0] <= width <= LARGEST[0], SMALLEST[1] <= height <= LARGEST[1]) == (True, True)
            await websocket.send_json(["resize", {"width": 10**30, "height": 0}])
            size = json.loads((await text_of(websocket))[1:])
            assert (size["width"], size["height"]) == (LARGEST[0], SMALLEST[1])

    serving(folder, body)


def test_the_process_gets_neither_the_token_nor_tools_nor_an_editor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDITOR", "VISUAL", "TEXTUAL", "TEXTUAL_LOG"):
        monkeypatch.setenv(name, "devtools")

    async def body(served: Served) -> None:
        async with served.connect() as websocket:
            await text_of(websocket)
            (pid,) = served.processes
            environment = json.loads((folder / str(pid)).read_text())
            assert served.gate.token not in json.dumps(environment)
            assert served.gate.token not in Path(f"/proc/{pid}/cmdline").read_text()
            assert {"EDITOR", "VISUAL", "TEXTUAL", "TEXTUAL_LOG"} & environment.keys() == set()

    serving(folder, body)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "{}", "[]", "null", "3", "[[]]", '["nosuch"]', '["stdin"]', '["stdin", 3]', '["stdin", "a", "b"]', '["resize", {}]',
        '["resize", {"width": "9", "height": 3}]', '["resize", {"width": 1.5, "height": 3}]', '["ping", {}]', "[" * 100_000, b"\x00\xff",
    ],
    ids=str,
)  # fmt: skip
def test_a_message_that_the_page_does_not_send_ends_the_connection(folder: Path, text: str | bytes) -> None:
    async def body(served: Served) -> None:
        async with served.connect() as other, served.connect() as websocket:
            await text_of(other)
            await text_of(websocket)
            await (websocket.send_str(text) if isinstance(text, str) else websocket.send_bytes(text))
            code, reason = await end_of(websocket)
            assert code == 1003
            assert reason
            await until(lambda: len(served.processes) == 1)
            await other.send_json(["stdin", "still here"])
            assert await text_of(other) == "Dstill here"

    serving(folder, body)


def test_a_message_that_is_too_long_ends_the_connection(folder: Path) -> None:
    async def body(served: Served) -> None:
        async with served.connect() as websocket:
            await text_of(websocket)
            await websocket.send_json(["stdin", "x" * 2_000_000])
            code, _ = await end_of(websocket)
            assert code != 1000
            await until(lambda: not served.processes)

    serving(folder, body)


def test_a_flood_of_messages_keeps_nobody_else_waiting(folder: Path) -> None:
    async def body(served: Served) -> None:
        async with served.connect() as flooding, served.connect() as other:
            await text_of(other)

            async def flood() -> None:
                for _ in range(3000):
                    await flooding.send_json(["stdin", "x" * 500])

            async def drain() -> None:
                while (await flooding.receive()).type == WSMsgType.BINARY:
                    pass

            tasks = [asyncio.create_task(flood()), asyncio.create_task(drain())]
            for number in range(20):
                await other.send_json(["stdin", str(number)])
                assert await text_of(other) == f"D{number}"
            await tasks[0]
            tasks[1].cancel()

    serving(folder, body)


def test_one_browser_too_many_is_refused_and_the_others_stay(folder: Path) -> None:
    async def body(served: Served) -> None:
        opened = [await served.connect() for _ in range(MOST)]
        for websocket in opened:
            assert await text_of(websocket)
        async with served.connect() as one_more:
            code, reason = await end_of(one_more)
            assert code == 1013
            assert str(MOST) in reason
        assert len(served.processes) == MOST
        await opened.pop().close()
        await until(lambda: len(served.processes) == MOST - 1)
        async with served.connect() as again:
            assert await text_of(again) == "80x80"
        for websocket in opened:
            await websocket.send_json(["stdin", "x"])
            assert await text_of(websocket) == "Dx"
            await websocket.close()

    serving(folder, body)


@pytest.mark.parametrize("dropped", [False, True])
def test_the_process_ends_with_its_connection(folder: Path, dropped: bool) -> None:
    async def body(served: Served) -> None:
        websocket = await served.connect()
        await text_of(websocket)
        assert len(served.processes) == 1
        if dropped:
            websocket._response.connection.transport.abort()
        else:
            await websocket.close()
        await until(lambda: not served.processes)

    serving(folder, body)


def test_a_process_that_does_not_end_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_process, "PATIENCE", 0.2)

    async def body(served: Served) -> None:
        async with served.connect() as websocket:
            await text_of(websocket)
        await until(lambda: not served.processes)

    serving(folder, body, "deaf")


def test_a_process_that_was_killed_closes_the_connection_with_a_reason(folder: Path) -> None:
    async def body(served: Served) -> None:
        async with served.connect() as websocket:
            await text_of(websocket)
            os.kill(served.processes[0], signal.SIGKILL)
            assert await end_of(websocket) == (1000, app_process.FAILED)

    serving(folder, body)


@pytest.mark.parametrize(("mode", "reason"), [("fail", app_process.FAILED), ("quit", app_process.CLOSED)])
def test_a_process_that_ends_closes_the_connection_with_a_reason(
    folder: Path, mode: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def body(served: Served) -> None:
        async with served.connect() as websocket:
            await websocket.send_json(["stdin", "q"])
            assert await end_of(websocket) == (1000, reason)
        await until(lambda: not served.processes)

    serving(folder, body, mode)
    captured = capfd.readouterr()
    assert captured.out == "", "stdout has the address alone"
    assert ("a sentence of the dashboard" in captured.err) == (mode == "fail")


def test_files_are_downloaded_and_neither_shown_nor_opened(folder: Path) -> None:
    async def body(served: Served) -> None:
        async with served.connect() as websocket:
            await text_of(websocket)
            await websocket.send_json(["stdin", "d"])
            assert await text_of(websocket) == "Dd"
            message = await websocket.receive()
            assert message.json() == ["deliver_file_start", "good"], "neither the strange name nor the address"
            async with ClientSession() as stranger, stranger.get(f"{served.address}/download/good") as answer:
                assert answer.status == 403
            download = asyncio.create_task(served.session.get(f"{served.address}/download/good"))
            assert json.loads((await text_of(websocket))[1:])["type"] == "deliver_chunk_request"
            answer = await download
            assert answer.headers["Content-Disposition"] == "attachment; filename=table.md"
            answer.close()

    serving(folder, body, "deliver")


def test_the_end_of_the_server_closes_connections_and_ends_processes(folder: Path) -> None:
    async def body(served: Served) -> None:
        opened = [await served.connect() for _ in range(3)]
        for websocket in opened:
            await text_of(websocket)
        pids = served.processes
        assert len(pids) == 3
        os.kill(os.getpid(), signal.SIGTERM)
        for websocket in opened:
            code, reason = await end_of(websocket)
            assert code == 1001
            assert reason
        await served.task
        await until(lambda: not served.processes)

    serving(folder, body)


def test_a_request_that_fails_ends_nothing_and_shows_no_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> bytes:
        raise RuntimeError("no such font")

    monkeypatch.setattr(fonts, "font", fail)

    async def body(served: Served) -> None:
        async with served.session.get(f"{served.address}/fonts/bold.ttf") as answer:
            assert answer.status == 500
            assert "no such font" not in await answer.text()
        async with served.session.get(served.address) as answer:
            assert answer.status == 200
        said = capfd.readouterr().err
        assert "no such font" in said
        assert served.gate.token not in said

    serving(folder, body)
