"""Runs whose files are pipes or devices: no command waits for them or reads without end."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from crild_tui.monitor.log import LogReader
from crild_tui.monitor.run import RunWatcher
from crild_tui.runs.details import read_about
from engine.record.files import write_json
from engine.record.student import student_replaced
from engine.user.settings import settings_problems
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.record.own_files import checkpoint, model
from tests.report.test_student_errors import ANSWERS, GOLD, sure, write

SECONDS = 30
MEMORY = 2**30
Kind = Literal["pipe", "device"]


def a_run(runs_dir: Path, name: str) -> Path:
    """A run with a file of every kind that crild reads."""
    run_dir = make_run(runs_dir, name)
    write(run_dir, "student", GOLD, [sure(answer) for answer in ANSWERS])
    write(run_dir, "teacher", GOLD, [sure(answer) for answer in GOLD])
    (run_dir / "texts.jsonl").write_text('{"id": "dev-2", "text": "very long"}\n')
    (run_dir / "log.1.txt").write_text("started\n")
    for record in ("annotations", "inputs", "probe"):
        write_json(run_dir / f"{record}.json", {"schema": 1})
    (run_dir / "student").rmdir()
    model(run_dir / "student", "{}")
    model(run_dir / "teacher", "{}")
    (run_dir / "teacher" / "pointer.json").write_text("{}")
    checkpoint(run_dir, "001-kd-00000010")
    for folder in (".sweep", ".queue"):
        (runs_dir / folder).mkdir(exist_ok=True)
        write_json(runs_dir / folder / "study.json", {"schema": 1, "cells": [{"run": run_dir.name}]})
        write_json(runs_dir / folder / "study.presets.json", {"schema": 1, "presets": []})
    return run_dir


def replace_by(kind: Kind, path: Path) -> None:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


class LateError(BaseException):
    """A call took too long; no handler of errors catches it."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raise LateError after some seconds, also in a system call that waits, and MemoryError beyond some memory."""

    def late(*_: object) -> None:
        raise LateError

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def readers(crild: Call, runs_dir: Path, run: str, other: str) -> dict[str, Callable[[], object]]:
    """What reads the files of a run, by name."""
    run_dir = runs_dir / run
    return {
        "show": lambda: crild("show", run),
        "compare": lambda: crild("compare", run, other),
        "report": lambda: crild("report", run, other, "--format", "json"),
        "errors": lambda: crild("errors", run),
        "logs": lambda: crild("logs", run),
        "runs": lambda: crild("runs"),
        "prune": lambda: crild("prune"),
        "stop": lambda: crild("stop", "study"),
        "live": lambda: RunWatcher(run_dir, lambda _: None).look(None),
        "log": lambda: LogReader(run_dir).read(),
        "details": lambda: read_about(run_dir),
        "student": lambda: student_replaced(run_dir),
    }


@pytest.mark.parametrize("kind", ["pipe", pytest.param("device", marks=pytest.mark.slow)])
def test_no_command_waits_for_a_file_of_a_run(kind: Kind, crild: Call, runs_dir: Path) -> None:
    other = make_run(runs_dir, "other")
    names = [path.relative_to(runs_dir) for path in a_run(runs_dir, "odd").parent.rglob("*") if path.is_file()]
    odd = [name for name in names if name.parts[0] in ("odd-s1", ".sweep", ".queue") and name.name != "lock"]
    assert len(odd) > 20
    commands = readers(crild, runs_dir, "odd-s1", other.name)
    for name in sorted(odd):
        path = runs_dir / name
        good = path.read_bytes()
        replace_by(kind, path)
        for command, call in commands.items():
            try:
                with bounded():
                    call()
            except (LateError, MemoryError):
                pytest.fail(f"{command} waits for {name}, which is a {kind}")
        path.unlink()
        path.write_bytes(good)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_settings_that_are_no_file_are_refused(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "settings.toml"
    settings.touch()
    replace_by(kind, settings)
    monkeypatch.setenv("CRILD_CONFIG", str(settings))
    with bounded():
        assert [problem.kind for problem in settings_problems()] == ["not-regular-file"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_presets_that_are_no_files_are_refused(kind: Kind, crild: Call, tmp_path: Path) -> None:
    preset = tmp_path / "odd.toml"
    preset.touch()
    replace_by(kind, preset)
    with bounded():
        assert crild("presets", "show", str(preset)).code == 2
        assert crild("presets", "show", str(preset), "--source").code == 2
        assert crild("presets", "new", str(tmp_path / "mine"), "--from", str(preset)).code == 2
        assert crild("run", str(preset)).code == 2
