"""One process of the dashboard for each browser: its start, what goes in and out, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

READY = b"__GANGLION__\n"
"""What Textual's driver for browsers writes first."""
PATIENCE = 40.0
"""Seconds after which a process that was asked to end is killed. It may be starting a run."""
LARGEST = (1000, 500)
"""Most columns and lines that a browser gets."""
SMALLEST = (10, 4)
DRIVER = "crild_tui.serve.browser_driver:BrowserDriver"
CLOSED = "The dashboard was closed; runs keep going."
FAILED = "The dashboard ended with an error: the terminal of crild serve shows it."
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class AppProcess(AppService):  # type: ignore[misc]  # mypy does not look into it
    """The dashboard's process behind a websocket. Ends when the connection does, and closes it when it ends by itself."""

    _process: asyncio.subprocess.Process | None
    _task: asyncio.Task[None] | None

    def __init__(self, words: Sequence[str], websocket: web.WebSocketResponse, downloads: DownloadManager) -> None:
        super().__init__(
            "",
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=websocket.close,
            download_manager=downloads,
        )
        self._words, self._websocket = words, websocket

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        """The server's, without what opens Textual's tools for developers or an editor."""
        unwanted = ("TEXTUAL", "TEXTUAL_LOG", "TEXTUAL_DEVTOOLS_HOST", "TEXTUAL_DEVTOOLS_PORT", "EDITOR", "VISUAL")
        environment = super()._build_environment(width, height)
        kept = {name: value for name, value in environment.items() if name not in unwanted}
        return kept | {"TEXTUAL_DRIVER": DRIVER, "PYTHONIOENCODING": "utf-8"}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        """Start it without a shell, away from the terminal's signals. Its errors go where the server's go."""
        environment = self._build_environment(*size(width, height))
        self._process = await asyncio.create_subprocess_exec(
            *self._words, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
        )
        self._stdin = self._process.stdin
        return self._process

    async def run(self) -> None:
        """Pass on what the process writes until it ends; then close the connection."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await process.stdout.readuntil(READY)
            while True:
                kind, length = await process.stdout.readexactly(1), await process.stdout.readexactly(4)
                await self._packet(kind, await process.stdout.readexactly(int.from_bytes(length, "big")))
        code = await process.wait()
        await self._close(CLOSED if code == 0 else FAILED)

    async def _packet(self, kind: bytes, payload: bytes) -> None:
        """Pass a packet on. Without a browser it is dropped, so that the process never waits for one."""
        with contextlib.suppress(ConnectionError):
            if kind == b"D":
                await self.on_data(payload)
            elif kind == b"M":
                await self.on_meta(payload)
            elif kind == b"P":
                await self.on_packed(payload)

    async def on_meta(self, data: bytes) -> None:
        """Files to download; nothing that opens an address or shows a file inside the page."""
        meta: dict[str, Any] = json.loads(data)
        if meta["type"] == "exit":
            await self._close(CLOSED)
        elif meta["type"] == "deliver_file_start" and _FILE_NAME.fullmatch(Path(meta["path"]).name):
            await super().on_meta(json.dumps({**meta, "open_method": "download"}).encode())

    async def _close(self, reason: str) -> None:
        await self._websocket.close(message=reason.encode())

    async def set_terminal_size(self, width: int, height: int) -> None:
        """Pass on the browser's size, within limits."""
        await super().set_terminal_size(*size(width, height))

    async def stop(self) -> None:
        """Ask the process to end, and wait for that; kill it if it takes far too long."""
        task, self._task = self._task, None
        if task is None or self._process is None:
            return
        await self._download_manager.cancel_app_downloads(self.app_service_id)
        await self.send_meta({"type": "quit"})
        self.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(task), PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await task


def size(width: int, height: int) -> tuple[int, int]:
    """Columns and lines within the limits."""
    return min(max(width, SMALLEST[0]), LARGEST[0]), min(max(height, SMALLEST[1]), LARGEST[1])
