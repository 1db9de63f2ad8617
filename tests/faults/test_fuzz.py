"""A few cases of every fuzzer. `python -m tests.faults.fuzz` and `tests.faults.fuzz_keys` run as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine.launch.background
import engine.launch.foreground
import engine.launch.start
from tests.faults.fuzz import TARGETS, fuzz
from tests.faults.fuzz_keys import NO_ENGINE, press

CASES = 12


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_refused_or_read(target: str, tmp_path: Path) -> None:
    assert "\n".join(map(str, fuzz(target, CASES, tmp_path))) == ""


@pytest.mark.parametrize(
    ("target", "number"),
    [("sweeps", 102), ("sweeps", 396), ("configs", 27), ("data", 148)],
)
def test_cases_that_once_failed_pass(target: str, number: int, tmp_path: Path) -> None:
    assert fuzz(target, 1, tmp_path, seed=1, only=number) == []


def test_random_keys_do_not_end_the_dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (engine.launch.start, "engine_command"),
        (engine.launch.foreground, "engine_command"),
        (engine.launch.background, "process_command"),
    ):
        monkeypatch.setattr(module, name, lambda *_: NO_ENGINE)
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.chdir(tmp_path)
    assert press(200, tmp_path) == []
