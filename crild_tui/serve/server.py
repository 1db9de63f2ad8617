"""The server behind `crild serve`: textual-serve's, with a gate in front, a page of its own, and limits."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from crild_tui.serve import fonts
from crild_tui.serve.app_process import AppProcess
from crild_tui.serve.gate import TOKEN, Gate
from engine.record.secrets import without_secrets

PAGE = Path(__file__).with_name("page")
MOST = 8
"""Browsers that have the dashboard open at a time: each is a process."""
FULL = f"{MOST} browsers have this dashboard open, the most that crild serves: close one, then reload this page."
LARGEST_MESSAGE = 1 << 20
"""Bytes of a message from a browser: what is pasted comes in one."""
HEARTBEAT = 15.0
"""Seconds between two signs of life that a browser is asked for."""
GRACE = 2.0
"""Seconds that processes of the dashboard get before the server itself ends. They end by themselves after it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DashboardServer(Server):  # type: ignore[misc]  # mypy does not look into it
    """Serves the dashboard that `words` start to browsers that pass the gate, a process for each."""

    def __init__(self, words: Sequence[str], gate: Gate) -> None:
        super().__init__("", port=gate.port, title="crild", templates_path=PAGE)
        self._words, self._gate = words, gate
        self._open: set[web.WebSocketResponse] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def on_startup(self, app: web.Application) -> None:
        """Print nothing: the command does."""

    async def on_shutdown(self, app: web.Application) -> None:  # noqa: ARG002 - its signature
        """Close all connections; their processes end with them."""
        closing = [each.close(code=WSCloseCode.GOING_AWAY, message=b"crild serve has ended.") for each in self._open]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), GRACE / 2)
        if self._ending:
            await asyncio.wait(self._ending, timeout=GRACE)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.router.add_static("/page", PAGE)
        app.router.add_get("/fonts/{name}", _font)
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(_add_headers)
        return app

    @web.middleware  # type: ignore[untyped-decorator]  # as above
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what lacks the token or comes from elsewhere; exchange the token in the address for a cookie."""
        websocket = request.path == "/ws"
        given = request.query.get(TOKEN) if request.path == "/" else None
        cookies = {self._gate.cookie: given} if self._gate.knows(given) and given is not None else request.cookies
        if (sentence := self._gate.refusal(request.headers, cookies, websocket=websocket)) is not None:
            return web.Response(status=403, text=f"{sentence}\n")
        if given is not None:
            return self._with_cookie(request)
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - one request that fails must not end the others
            print(f"crild serve: {type(error).__name__}: {without_secrets(str(error))}", file=sys.stderr)
            return web.Response(status=500, text="crild serve failed at this request; its terminal shows why.\n")

    def _with_cookie(self, request: web.Request) -> web.Response:
        """Keep the token in a cookie, out of the address, its history, and what other sites see of it.

        A link on another site brings no strict cookie along, not even through a redirect: there, a page of this server's
        leads on.
        """
        query = {name: value for name, value in request.query.items() if name == "fontsize" and value.isdigit()}
        target = str(request.rel_url.with_query(query))
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            page = f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={target}"><title>crild</title>'
            response = web.Response(text=page, content_type="text/html")
        else:
            response = web.Response(status=303, headers={"Location": target})
        response.set_cookie(self._gate.cookie, self._gate.token, httponly=True, samesite="Strict", path="/")
        return response

    async def handle_index(self, request: web.Request) -> web.Response:  # noqa: ARG002 - its signature
        """The page, which needs nothing from the server but its files."""
        return web.Response(text=(PAGE / "index.html").read_text(encoding="utf-8"), content_type="text/html")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Start a process for a browser and connect the two until either ends."""
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=LARGEST_MESSAGE, timeout=GRACE)
        await websocket.prepare(request)
        if len(self._open) >= MOST or len(self._open) + len(self._ending) >= 2 * MOST:
            await websocket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=FULL.encode())
            return websocket
        self._open.add(websocket)
        process = AppProcess(self._words, websocket, self.download_manager)
        try:
            await process.start(*(to_int(request.query.get(name, ""), 80) for name in ("width", "height")))
            await self._process_messages(websocket, process)
        finally:
            self._open.discard(websocket)
            ending = asyncio.create_task(process.stop())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        return websocket

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        """Pass on what the browser sends. A message that its page would not send ends the connection."""
        async for message in websocket:
            if message.type != WSMsgType.TEXT or not await self._pass_on(message.data, websocket, app_service):
                await websocket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"crild does not know this message.")
                return

    async def _pass_on(self, text: str, websocket: web.WebSocketResponse, process: AppService) -> bool:
        """Whether a message is one that the page sends; passes it on if so."""
        match _parsed(text):
            case ["stdin", str(keys)]:
                await process.send_bytes(keys.encode(errors="replace"))
            case ["resize", {"width": int(width), "height": int(height)}]:
                await process.set_terminal_size(width, height)
            case ["ping", str(sign)]:
                await websocket.send_json(["pong", sign[:32]])
            case ["blur"]:
                await process.blur()
            case ["focus"]:
                await process.focus()
            case _:
                return False
        return True

    async def run_on(self, listening: socket.socket, started: Callable[[], object] = lambda: None) -> None:
        """Serve on a socket until SIGINT or SIGTERM; `started` is called once it answers."""
        logging.getLogger("textual-serve").setLevel(logging.CRITICAL)
        logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # requests that are no HTTP, with all that is in them
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=GRACE / 2)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            started()
            await ended.wait()
        finally:
            await runner.cleanup()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


async def _font(request: web.Request) -> web.Response:
    """A font of the page. Made or read in a thread: others must not wait for it."""
    name = request.match_info["name"]
    if name not in fonts.NAMES:
        raise web.HTTPNotFound
    return web.Response(body=await asyncio.to_thread(fonts.font, name), content_type="font/ttf")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Nothing is stored, sent elsewhere, loaded from elsewhere, or shown inside another page."""
    ours = f"'self' ws://{request.host} wss://{request.host}" if response.status != 403 else "'none'"
    response.headers.update(
        {
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
                f"img-src 'self' data:; connect-src {ours}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Server": "crild",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
    )
