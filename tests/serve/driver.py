"""A server with stubs behind it, in a test's own process, and a client."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from aiohttp import ClientSession, CookieJar

from crild_tui.serve.gate import Gate, names_of
from crild_tui.serve.listen import listen
from crild_tui.serve.server import DashboardServer
from tests.conftest import PATIENCE


@dataclass
class Served:
    """A running server: `session` has its cookie, `folder` a file for each process."""

    gate: Gate
    session: ClientSession
    folder: Path
    server: Any
    task: asyncio.Task[None] = field(repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.gate.port}"

    def connect(self, query: str = "", **headers: str) -> Any:
        """A websocket as the page opens it."""
        return self.session.ws_connect(f"{self.address}/ws{query}", headers={"Origin": self.address, **headers})

    @property
    def processes(self) -> list[int]:
        """The processes that run now."""
        return [int(file.name) for file in self.folder.iterdir() if is_running(int(file.name))]


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def serving(folder: Path, body: Callable[[Served], Awaitable[None]], mode: str = "") -> None:
    """Start a server over stubs, do something with it, and end it."""

    async def main() -> None:
        words = [sys.executable, str(Path(__file__).with_name("stub.py")), str(folder), *([mode] if mode else [])]
        with listen("127.0.0.1", 0) as listening:
            gate = Gate(names_of("127.0.0.1", "127.0.0.1"), listening.getsockname()[1])
            server = DashboardServer(words, gate)
            task = asyncio.create_task(server.run_on(listening))
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
                served = Served(gate, session, folder, server, task)
                session.cookie_jar.update_cookies({gate.cookie: gate.token})
                try:
                    await body(served)
                finally:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


async def until(holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


async def raw(served: Served, text: bytes) -> bytes:
    """The answer to a request as it is written here: clients tidy theirs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.gate.port)
    writer.write(text)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 2)
    except TimeoutError:
        return b""
    finally:
        writer.close()
