"""What a browser does, without one: takes the cookie, opens the websocket, sends keys, reads the screen as text."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import PATIENCE

SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")


class Browser:
    """A connection to a served dashboard, in a thread of its own."""

    def __init__(self, address: str, size: tuple[int, int] = (120, 40)):
        self._address, self._size = address.strip(), size
        self.text = ""
        """All that was written so far, without escape sequences."""
        self.ended: tuple[int | None, str] | None = None
        """Code and reason of the end, once it has come."""
        self.messages: list[Any] = []
        """What is no text of the screen."""
        self._loop = asyncio.new_event_loop()
        self._websocket: Any = None
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        from aiohttp import ClientSession, CookieJar, WSMsgType

        site, _, _ = self._address.partition("/?")
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            async with session.get(self._address) as page:
                assert page.status == 200
            width, height = self._size
            url = f"{site}/ws?width={width}&height={height}"
            async with session.ws_connect(url, headers={"Origin": site}, max_msg_size=0) as websocket:
                self._websocket = websocket
                written = b""
                while (message := await websocket.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
                    if message.type == WSMsgType.TEXT:
                        self.messages.append(message.json())
                        continue
                    written += message.data
                    self.text = SEQUENCE.sub("", written.decode(errors="replace"))
                self.ended = (
                    websocket.close_code if message.type != WSMsgType.CLOSE else message.data,
                    message.extra or "",
                )

    def send(self, *message: object) -> None:
        """Send a message of the page."""
        asyncio.run_coroutine_threadsafe(self._websocket.send_json(message), self._loop).result(PATIENCE)

    def press(self, keys: str) -> None:
        """Type something."""
        self.send("stdin", keys)

    def close(self) -> None:
        """Close the page."""
        if self._thread.is_alive() and self._websocket is not None:
            asyncio.run_coroutine_threadsafe(self._websocket.close(), self._loop).result(PATIENCE)
        self._thread.join(PATIENCE)

    def wait_for(self, text: str, after: int = 0) -> None:
        """Wait until a text was written, from a character on."""
        end = time.monotonic() + PATIENCE
        while text not in self.text[after:]:
            assert time.monotonic() < end, f"{text!r} is not in {self.text[-3000:]!r}"
            assert self.ended is None, self.ended
            time.sleep(0.02)

    def wait_for_end(self) -> tuple[int | None, str]:
        """Wait until the server has closed the connection; code and reason."""
        end = time.monotonic() + PATIENCE
        while self.ended is None:
            assert time.monotonic() < end, "the connection stays open"
            time.sleep(0.02)
        return self.ended


@contextmanager
def connected(address: str) -> Iterator[Browser]:
    """A browser at the address that `crild serve` printed, until the end of the block."""
    browser = Browser(address)
    try:
        yield browser
    finally:
        browser.close()
