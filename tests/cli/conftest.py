"""The command line called in this process, with an engine that computes nothing."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import engine.launch.start
import engine.sweep.queue
from crild_tui.cli import main
from tests.conftest import REPOSITORY

FAKE = [sys.executable, "-m", "tests.cli.fake_engine"]


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture
def crild(capsys: pytest.CaptureFixture[str]) -> Call:
    """`crild("runs", "--json")`: the exit code and what went to stdout and stderr."""

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Where runs are looked for by default."""
    return tmp_path / "runs"


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Every engine process is the fake one; call it to say what it does."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setattr(engine.launch.start, "engine_command", lambda *_: FAKE)
    for name in ("enqueue", "continue_queue"):
        original = getattr(engine.sweep.queue, name)
        monkeypatch.setattr(engine.sweep.queue, name, functools.partial(original, command=FAKE))

    def behave(**wanted: Any) -> None:
        monkeypatch.setenv("FAKE_ENGINE", json.dumps(wanted))

    return behave


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """A small preset that needs nothing from outside."""
    from tests.cli.samples import PRESET

    path = tmp_path / "small.toml"
    path.write_text(PRESET)
    return path
