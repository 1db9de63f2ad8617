"""Every test runs without the user's home, caches, network or clock settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests run side by side
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
PATIENCE = 240.0
"""Seconds that a test waits for another process or thread: enough for a slow machine with other work."""
os.environ["PYTHONPATH"] = str(REPOSITORY)  # for child processes: an installation exposes only `crild`


@pytest.fixture(autouse=True)
def hang_ups() -> None:
    """Signals do what they do at a terminal: in tests that nohup started, in the background, and after an engine's test."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home for fixtures that several tests share: they are made before a test has its own."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("session"))
        yield


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own; returns it."""
    return isolate(monkeypatch, tmp_path)


def isolate(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Keep the user's home, caches and settings out; returns another home, in this folder."""
    home = folder / "home"
    home.mkdir()
    patch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        patch.setenv(name, str(home / name.lower()))
    patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
    patch.setenv("CRILD_RUNS_DIR", str(folder / "runs"))
    patch.setenv("HF_HOME", str(folder / "hf"))
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("TZ", "UTC")
    patch.setenv("COLUMNS", "100")
    patch.setenv("CRILD_TRACK", "")  # registered, so that what `--track` sets ends with the test
    patch.delenv("CRILD_TRACK")
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "CUDA_VISIBLE_DEVICES"):
        patch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and parity vectors beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the repository: real data and parity vectors are not at hand")
    return SHARED
