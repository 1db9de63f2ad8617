"""The driver of a dashboard in a browser."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from textual import messages
from textual.drivers.web_driver import WebDriver

from crild_tui.serve import browser_driver
from crild_tui.serve.browser_driver import BrowserDriver


def test_the_end_of_what_the_server_sends_ends_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that writes nothing, and so doesn't notice that nobody reads; and one that hangs."""
    ended = threading.Event()
    monkeypatch.setattr(WebDriver, "run_input_thread", lambda _: None)
    monkeypatch.setattr(browser_driver, "_end", ended.set)
    posted: list[Any] = []
    driver = BrowserDriver.__new__(BrowserDriver)
    driver._app = type("App", (), {"post_message": lambda _, message: posted.append(message)})()
    driver.run_input_thread()
    assert [type(message) for message in posted] == [messages.ExitApp]
    assert ended.wait(60)


def test_a_dashboard_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(browser_driver, "PATIENCE", 0.0)
    monkeypatch.setattr(os, "_exit", codes.append)
    browser_driver._end()
    assert codes == [1]
