"""Bad input on its whole way from the command line: what was said, what was left behind."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

import engine.launch.start
from crild_tui.cli import main
from engine.record.run import read_status
from engine.record.status import Status
from engine.user.consent import NONE, Consent

QUICK = (
    "teacher.finetune.epochs=0.5",
    "stage.ild.epochs=0.5",
    "stage.kd.epochs=0.5",
    "baseline.enabled=false",
)
"""Settings under which a tiny run takes a few steps."""


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def check(self) -> None:
        """Nothing raw reaches the terminal, and nobody is shown a traceback."""
        for text in (self.out, self.err):
            assert "Traceback" not in text
            assert "inside crild" not in text
            assert "bug in crild" not in text
            assert all(character.isprintable() or character == "\n" for character in text), repr(text)


class Crild(Protocol):
    """`crild("runs", "--json")`, in this process."""

    def __call__(self, *words: str) -> Said: ...


class Refused(Protocol):
    """`refused("run", "mine.toml", code=2)`: what is said of it; that nothing was made is checked."""

    def __call__(self, *words: str, code: int = 2) -> str: ...


class Failed(Protocol):
    """`failed("run", "mine.toml", code=3)`: an engine meets the fault; what is said, and the run's status."""

    def __call__(self, *words: str, code: int = 3) -> tuple[str, Status]: ...


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Where runs are made by default."""
    return tmp_path / "runs"


@pytest.fixture
def crild(capsys: pytest.CaptureFixture[str]) -> Crild:
    def call(*words: str) -> Said:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        said = Said(code, captured.out, captured.err)
        said.check()
        return said

    return call


@pytest.fixture
def refused(crild: Crild, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    def started(*_: Any, **__: Any) -> int:
        raise AssertionError("an engine was started")

    def call(*words: str, code: int = 2) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(engine.launch.start, "start_engine", started)
            said = crild(*words)
        assert said.code == code, said.err
        assert said.out == ""
        assert all(line.startswith("error: ") for line in said.err.splitlines()), said.err
        assert not runs_dir.is_dir() or not list(runs_dir.iterdir()), "something was left behind"
        return said.err

    return call


@pytest.fixture
def engine_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines work in this process, one after the other: torch is loaded once for all tests."""

    def work(run_dir: Path, *, consent: Consent = NONE, **_: object) -> int:
        import os

        from engine.worker import train

        handlers = {number: signal.getsignal(number) for number in (1, 2, 10, 15)}
        try:
            train(run_dir, consent)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return os.getpid()

    monkeypatch.setattr(engine.launch.start, "start_engine", work)


@pytest.fixture
def failed(crild: Crild, runs_dir: Path, engine_here: None) -> Failed:
    def call(*words: str, code: int = 3) -> tuple[str, Status]:
        said = crild(*words, "--quiet")
        assert said.code == code, said.err
        (run_dir,) = [path for path in runs_dir.iterdir() if not path.name.startswith(".")]
        status = read_status(run_dir)
        assert (status.state, status.exit_code) == ("failed", code)
        assert status.error is not None
        assert status.error.kind == {3: status.error.kind, 1: "run"}[code]
        assert f"error: {status.error}" in said.err
        shutil.rmtree(runs_dir)  # the next call begins in an empty folder
        return said.err, status

    return call


@dataclass(frozen=True)
class Tiny:
    """A tiny task, teacher and preset in a folder, to be spoilt."""

    folder: Path
    preset: Path

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher"

    @property
    def train(self) -> Path:
        return self.folder / "train.csv"

    @property
    def dev(self) -> Path:
        return self.folder / "dev.csv"

    def run(self, *settings: str) -> tuple[str, ...]:
        """The words of `crild run` for this preset with these settings."""
        return ("run", str(self.preset), *(word for setting in settings for word in ("--set", setting)))

    def quick(self, *settings: str) -> tuple[str, ...]:
        """As `run`, for a few steps."""
        return self.run(*QUICK, *settings)

    def spoil(self, old: str, new: str) -> None:
        """Change the preset's text; it must have been there."""
        text = self.preset.read_text(encoding="utf-8")
        assert old in text
        self.preset.write_text(text.replace(old, new), encoding="utf-8")

    def line_of(self, text: str) -> int:
        """The first line of the preset that holds a text, from 1."""
        lines = self.preset.read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that every tiny one is a copy of, and the text of its preset."""
    from tests.train.tiny_run import materials

    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    return folder, materials(folder)


@pytest.fixture
def tiny(tmp_path: Path, tiny_source: tuple[Path, str]) -> Tiny:
    source, text = tiny_source
    folder = tmp_path / "tiny"
    shutil.copytree(source, folder)
    preset = tmp_path / "mine.toml"
    preset.write_text(text.replace(str(source), str(folder)), encoding="utf-8")
    return Tiny(folder, preset)


Spoil = Callable[[Path], None]
