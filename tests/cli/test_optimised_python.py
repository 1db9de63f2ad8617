"""PYTHONOPTIMIZE=2 takes docstrings and asserts away: help, commands and engines need neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.launch.start import engine_environment
from tests.cli.samples import make_run


def _optimised(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-OO", "-m", "crild", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("words", [(), ("run",), ("presets",), ("presets", "list"), ("cache", "clear")])
def test_the_help_is_the_same(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "crild", *words, "--help"]
    usual = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert _optimised(*words, "--help").stdout == usual.stdout


def test_commands_and_the_dashboard_load(runs_dir: Path) -> None:
    make_run(runs_dir)
    for words in (("show", "latest"), ("presets", "validate", "crild"), ("report", "--format", "json")):
        done = _optimised(*words)
        assert done.returncode == 0, done.stderr
    code = "import crild_tui.app, scipy.stats, matplotlib.pyplot"
    subprocess.run([sys.executable, "-OO", "-c", code], timeout=120, check=True)


def test_engines_keep_the_docstrings_that_their_libraries_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    assert "PYTHONOPTIMIZE" not in engine_environment()
    assert os.environ["PYTHONOPTIMIZE"] == "2"
