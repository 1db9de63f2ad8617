"""`crild serve`: what it prints and refuses, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from crild_tui.serve.listen import listen
from tests.cli.conftest import Call, crild
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.serve.driver_of_pages import connected

__all__ = ["crild"]

WITH_WEB = pytest.mark.skipif(
    find_spec("textual_serve") is None, reason="crild[web] is not installed: make test-extras runs these tests"
)
ADDRESS = re.compile(r"http://([\w.-]+|\[[\w:]+\]):(\d+)/\?token=([\w-]{43})\n")


# -- what it refuses


@pytest.fixture(autouse=True)
def nothing_is_served_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts within a test's own process would never end."""
    if find_spec("textual_serve") is None:
        return
    from crild_tui.serve.server import DashboardServer

    async def run_on(*_: object) -> None:
        raise AssertionError("it was served")

    monkeypatch.setattr(DashboardServer, "run_on", run_on)


def test_without_the_extra_it_says_how_to_get_it(crild: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("crild_tui.serve.server")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("aiohttp", "textual_serve.app_service", "textual_serve.server", "textual_serve"):
        monkeypatch.setitem(sys.modules, name, None)
    said = crild("serve", "--port", "0")
    assert (said.code, said.out) == (2, "")
    assert 'pip install "crild[web]"' in said.err


@pytest.mark.parametrize("port", ["-1", "65536", "x", ""])
def test_a_port_that_is_none(crild: Call, port: str) -> None:
    assert crild("serve", "--port", port).code == 2


@WITH_WEB
def test_a_port_in_use(crild: Call) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        said = crild("serve", "--port", port)
    assert (said.code, said.out) == (2, "")
    assert port in said.err
    assert "--port 0" in said.err


@WITH_WEB
@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid", ""])
def test_a_host_that_is_not_this_machine(crild: Call, host: str) -> None:
    said = crild("serve", "--host", host, "--port", "0")
    assert (said.code, said.out) == (2, "")
    assert "--host" in said.err


def test_a_runs_folder_that_is_none(crild: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = crild("serve", "--runs-dir", str(tmp_path / "file"))
    assert (said.code, said.out) == (2, "")
    run_dir = make_run(tmp_path / "others", "one")
    assert crild("serve", "--runs-dir", str(run_dir)).code == 2


def test_settings_that_cannot_be_used_are_found_before_a_browser_opens(crild: Call, isolated: Path) -> None:
    folder = isolated / "xdg_config_home" / "crild"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("[dashboard]\ntheme = 3\n")
    said = crild("serve", "--port", "0")
    assert said.code == 2
    assert "settings.toml" in said.err


# -- what it prints


@contextmanager
def served(*words: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own process, and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crild", "serve", "--port", "0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@WITH_WEB
def test_the_address_is_all_that_goes_to_stdout(tmp_path: Path) -> None:
    with served() as (process, address):
        found = ADDRESS.fullmatch(address)
        assert found is not None
        assert found[1] == "127.0.0.1"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "")
    assert found[3] not in err
    assert "ssh" not in err


@WITH_WEB
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_get_a_warning_with_the_tunnel(host: str) -> None:
    if host == "::" and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with served("--host", host) as (process, address):
        found = ADDRESS.fullmatch(address)
        assert found is not None
        assert found[1] == socket.gethostname()
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "warning" in err
    assert f"ssh -L {found[2]}:127.0.0.1:{found[2]}" in err
    assert found[3] not in err


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


# -- how it ends


def app_process(server: subprocess.Popen[str]) -> psutil.Process:
    """The process of the dashboard behind a server."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if children := psutil.Process(server.pid).children():
            return children[0]
        time.sleep(0.05)
    raise AssertionError("no process of the dashboard")


@WITH_WEB
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_the_dashboard_ends_with_the_server(number: signal.Signals) -> None:
    with served() as (process, address), connected(address) as browser:
        browser.wait_for("Launch")
        app = app_process(process)
        process.send_signal(number)
        process.wait(PATIENCE)
        assert process.returncode == (0 if number in (signal.SIGINT, signal.SIGTERM) else -number)
        app.wait(PATIENCE)


@WITH_WEB
def test_the_dashboard_ends_with_its_browser_and_another_one_sees_the_same_runs(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "the-only-run")
    with served("--readonly") as (process, address):
        for _ in range(2):
            with connected(address) as browser:
                browser.wait_for("the-only-run")
                app = app_process(process)
                assert "--readonly" in app.cmdline()
            app.wait(PATIENCE)


@WITH_WEB
def test_a_dashboard_that_fails_says_so_in_the_terminal_of_the_server(tmp_path: Path) -> None:
    with served() as (process, address):
        settings = Path(os.environ["XDG_CONFIG_HOME"]) / "crild" / "settings.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text("[dashboard]\ntheme = 3\n")
        with connected(address) as browser:
            code, reason = browser.wait_for_end()
        assert code == 1000
        assert reason
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert "settings.toml" in err
        assert json.dumps(address.split("token=")[1].strip()) not in err
