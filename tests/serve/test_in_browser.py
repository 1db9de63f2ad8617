"""The dashboard in Chromium: it opens, shows a run, starts and stops one, and survives a reload and a lost connection."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("textual_serve", reason="crild[web] is not installed: make test-extras runs these tests")
pytest.importorskip("playwright", reason="Playwright is not installed: make test-extras runs these tests")

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from engine.record.run import read_status
from tests.conftest import PATIENCE
from tests.serve.driver_of_pages import SEQUENCE
from tests.serve.tunnel import Tunnel

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: as in apt-get install chromium")
LINE = (86, 180, 233)
"""The colour of the first line of a chart on a dark ground."""


@dataclass
class Shown:
    """A page with the dashboard, and all that its server sent since it was loaded last."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _written: bytes = b""
    connections: int = 0

    def __post_init__(self) -> None:
        self.page.on("websocket", self._connected)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def _connected(self, websocket: Any) -> None:
        self._written, self.connections = b"", self.connections + 1
        websocket.on("framereceived", self._received)

    def _received(self, payload: bytes | str) -> None:
        if isinstance(payload, bytes):
            self._written += payload

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return SEQUENCE.sub("", self._written.decode(errors="replace"))

    def forget(self) -> None:
        """Take what was written so far for old."""
        self._written = b""

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.text[-2000:]
            self.page.wait_for_timeout(50)

    def wait_for(self, *texts: str) -> None:
        """Wait until all of these texts were written."""
        self.until(lambda: all(text in self.text for text in texts))

    def press(self, *keys: str) -> None:
        """Press keys, once the dashboard is there."""
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def notice(self) -> str:
        """What the page itself says, where it does."""
        return self.page.locator("#sentence").inner_text() if self.page.locator("#notice").is_visible() else ""

    def coloured(self, colour: tuple[int, int, int]) -> int:
        """How many pixels have a colour, nearly."""
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        pixels = picture.getcolors(1 << 24) or []
        return sum(count for count, found in pixels if max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 12)


@contextmanager
def served(*words: str, **wanted: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server whose engines are fake, and its address. `wanted` says what the engines do."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serve.fake", "serve", "--port", "0", *words],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "FAKE_ENGINE": json.dumps(wanted)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def browser(width: int = 1280, height: int = 800) -> Iterator[Shown]:
    """A page of a browser."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Shown(chromium.new_context(viewport={"width": width, "height": height}).new_page())
        chromium.close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to serve in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run_dirs(tmp_path: Path) -> list[Path]:
    """The runs that there are."""
    folder = tmp_path / "runs"
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def test_a_run_is_started_watched_reloaded_and_stopped(tmp_path: Path) -> None:
    with served(steps=4000, pause=0.02, hold=200) as (process, address), browser() as shown:
        shown.page.goto(address)
        shown.wait_for("Launch", "quickstart")
        assert shown.page.url == f"{address.partition('?')[0]}", "the token has left the address"
        shown.press("F5")
        shown.wait_for("running")
        (run_dir,) = run_dirs(tmp_path)
        shown.until(lambda: shown.coloured(LINE) > 200)
        (app,) = psutil.Process(process.pid).children()

        shown.forget()
        shown.page.reload()
        shown.until(lambda: shown.connections == 2)
        shown.wait_for(run_dir.name)
        app.wait(PATIENCE)
        assert read_status(run_dir).state == "running"

        shown.press("2")
        shown.wait_for("[2 Live]", "running", "loss")
        shown.press("s")
        shown.until(lambda: read_status(run_dir).state == "stopped")
        shown.wait_for("stopped")
        shown.press("q")
        shown.until(lambda: "closed" in shown.notice)
        shown.page.locator("#again").click()
        shown.wait_for(run_dir.name)
        assert shown.errors == []
        site = address.partition("?")[0]
        assert {url[: len(site)] for url in shown.requests if not url.startswith("data:")} == {site}


def test_a_lost_connection_comes_back_by_itself(tmp_path: Path) -> None:
    with served(steps=4000, pause=0.02, hold=200) as (process, address), browser(720, 420) as shown:
        port, token = int(address.split(":")[2].partition("/")[0]), address.partition("token=")[2]
        tunnel = Tunnel(port)
        shown.page.goto(f"http://localhost:{tunnel.port}/?token={token}&fontsize=12")
        shown.wait_for("Launch", "quickstart")
        shown.press("F5")
        shown.wait_for("running")
        (run_dir,) = run_dirs(tmp_path)
        (app,) = psutil.Process(process.pid).children()
        tunnel.cut()
        shown.until(lambda: "lost" in shown.notice)
        app.wait(PATIENCE)
        assert read_status(run_dir).state == "running"
        shown.forget()
        tunnel.mend()
        shown.wait_for(run_dir.name)
        shown.until(lambda: not shown.notice)
        assert shown.page.url.endswith("/?fontsize=12")
        shown.press("2")
        shown.wait_for("[2 Live]", "running")
        shown.press("s")
        shown.until(lambda: read_status(run_dir).state == "stopped")


def test_a_server_that_was_started_again_has_another_token(tmp_path: Path) -> None:
    with browser() as shown:
        with served() as (_, address):
            shown.page.goto(address)
            shown.wait_for("Launch")
        shown.until(lambda: "crild serve has ended" in shown.notice)
        port = address.split(":")[2].partition("/")[0]
        with served("--port", port) as (_, other):
            shown.until(lambda: "token" in shown.notice)
            assert shown.connections == 1
            shown.page.goto(other)
            shown.wait_for("Launch")


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong"])
def test_without_the_token_the_page_is_one_sentence(tmp_path: Path, query: str) -> None:
    with served() as (process, address), browser() as shown:
        answer = shown.page.goto(address.partition("?")[0] + query)
        assert answer is not None
        assert answer.status == 403
        assert "crild serve" in shown.page.locator("body").inner_text()
        assert shown.connections == 0
        assert psutil.Process(process.pid).children() == []


@contextmanager
def foreign_site() -> Iterator[str]:
    """A site of another port with an empty page."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><body></body>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_address[1]}/"
        site.shutdown()


def test_a_page_of_another_site_gets_no_connection(tmp_path: Path) -> None:
    with served() as (process, address), browser() as shown:
        shown.page.goto(address)
        shown.wait_for("Launch")
        site = address.partition("?")[0]
        (app,) = psutil.Process(process.pid).children()
        other = shown.page.context.new_page()
        with foreign_site() as url:  # of the same host, so the browser sends the cookie along
            other.goto(url)
            closed = other.evaluate(
                "url => new Promise((done) => { new WebSocket(url).onclose = (event) => done(event.code); })",
                f"{site.replace('http', 'ws')}ws",
            )
            seen = other.evaluate("url => fetch(url, {credentials: 'include'}).then(() => true, () => false)", site)
            framed = other.evaluate(
                "url => new Promise((done) => { const frame = document.createElement('iframe'); frame.src = url; "
                "frame.onload = () => done(frame.contentDocument === null); document.body.append(frame); })",
                site,
            )
        assert (closed, seen, framed) == (1006, False, True)
        assert psutil.Process(process.pid).children() == [app]


def test_readonly_is_read_only(tmp_path: Path) -> None:
    from tests.cli.samples import make_run

    make_run(tmp_path / "runs", "done")
    make_run(tmp_path / "runs", "halted", state="stopped")

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    before = files()
    with served("--readonly") as (_, address), browser() as shown:
        shown.page.goto(address)
        shown.wait_for("done", "halted")
        for mode in "3214":
            shown.press(mode)
            shown.page.wait_for_timeout(500)
            for key in ("Space", "F5", "w", "Escape", "s", "r", "d", "y", "n", "x", "Enter", "Escape", "e", "Escape", "i", "h", "Shift+K", "y", "Control+z", "Escape"):  # fmt: skip
                shown.press(key)
        shown.press("3")
        shown.forget()
        shown.press("d")
        shown.wait_for("--readonly")
    assert files() == before
    assert list(Path.cwd().iterdir()) == []


def test_a_file_is_downloaded(tmp_path: Path) -> None:
    from tests.cli.samples import make_run

    make_run(tmp_path / "runs", "done")
    with served("--readonly") as (_, address), browser() as shown:
        shown.page.goto(address)
        shown.wait_for("done")
        shown.press("Space")
        shown.forget()
        shown.press("4")
        shown.wait_for("67.51", "loss")
        with shown.page.expect_download() as download:
            shown.press("w")
        assert download.value.suggested_filename == "comparison.md"
        assert "67.51" in Path(download.value.path()).read_text()
        assert shown.errors == []
    assert list(Path.cwd().iterdir()) == []
