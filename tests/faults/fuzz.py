"""Damaged inputs of every kind, read by all that reads them: python -m tests.faults.fuzz TARGET --count N [--seed S].

A case passes when nothing but a `CrildError` leaves the readers, within `SECONDS` of processor time and `MEMORY` bytes.
A failure is repeated by its number: --only NUMBER.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from crild_tui.cli import main as crild
from engine.errors import CrildError

SECONDS = 5.0
"""Processor seconds that a case may take."""
MEMORY = 1 << 30
"""Bytes that reading all cases of a target may add to the process."""
TARGETS = {
    "presets": "fuzz_presets", "overrides": "fuzz_presets", "sweep-files": "fuzz_presets", "settings": "fuzz_presets",
    "status": "fuzz_records", "events": "fuzz_records", "results": "fuzz_records", "probes": "fuzz_records",
    "sweeps": "fuzz_records", "queues": "fuzz_records", "annotations": "fuzz_records", "run-presets": "fuzz_records",
    "data": "fuzz_materials", "configs": "fuzz_materials", "tokenizers": "fuzz_materials", "weights": "fuzz_materials",
}  # fmt: skip
"""Each target and the module that holds its class, which `TARGET` there names."""


class Target:
    """One kind of input: `prepare` makes a good one, `damage` changes it, `read` takes it to its readers."""

    def prepare(self, folder: Path) -> None:
        """Write what all cases share."""

    def damage(self, rng: Random, folder: Path) -> None:
        """Write the damaged input of a case."""
        raise NotImplementedError

    def read(self, folder: Path) -> None:
        """Read it in all ways. May raise CrildError where only one reader is left."""
        raise NotImplementedError


@dataclass(frozen=True)
class Failure:
    """A case that did not pass."""

    target: str
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.target} {self.number}: {self.reason}"


class TooSlowError(BaseException):
    """A case took longer than `SECONDS`."""


def fuzz(name: str, count: int, folder: Path, *, seed: int = 0, only: int | None = None) -> list[Failure]:
    """The failures of `count` cases of a target."""
    target: Target = importlib.import_module(f"tests.faults.{TARGETS[name]}").targets()[name]
    target.prepare(folder)
    failures = []
    before = _memory()
    for number in range(count) if only is None else [only]:
        reason = _case(target, Random(f"{name} {seed} {number}"), folder)
        if reason is None and _memory() - before > MEMORY:
            before, reason = _memory(), "it took too much memory"
        if reason is not None:
            failures.append(Failure(name, number, reason))
    return failures


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _case(target: Target, rng: Random, folder: Path) -> str | None:
    """Why a case failed; None if it passed."""
    try:
        with time_limit():
            target.damage(rng, folder)
            target.read(folder)
    except CrildError as error:
        return None if error.kind else f"an error without a kind: {error!r}"
    except TooSlowError:
        return f"it took longer than {SECONDS:g} seconds of processor time\n{traceback.format_exc()}"
    except Exception:  # noqa: BLE001 - that is what is looked for
        return traceback.format_exc()
    return None


@contextlib.contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Raise TooSlowError when the block takes more than so many seconds of processor time."""

    def slow(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, slow)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def command(*words: str) -> str:
    """Call a command in this process; returns what it wrote. Raises AssertionError for a traceback or raw controls."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = crild(list(words))
    text = out.getvalue() + err.getvalue()
    if "inside crild" in text:
        crashes = sorted((Path(os.environ["CRILD_CACHE_DIR"]) / "crashes").iterdir())
        raise AssertionError(f"crild {' '.join(words)}: {crashes[-1].read_text()}")
    raw = [character for character in text if not character.isprintable() and character not in "\n\t"]
    assert not raw, f"crild {' '.join(words)} wrote {raw[0]!r}"
    assert code in (0, 1, 2, 3), code
    return out.getvalue()


def each(readers: Iterable[Callable[[], object]]) -> None:
    """Call several readers, of which any may refuse with a CrildError."""
    for reader in readers:
        with contextlib.suppress(CrildError):
            reader()


def main() -> int:
    """Run a target; returns 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    failed = 0
    for name in TARGETS if "all" in options.targets else options.targets:
        folder = Path(tempfile.mkdtemp(prefix="crild-fuzz-"))
        os.environ.update(
            HOME=str(folder), CRILD_CACHE_DIR=str(folder / "cache"), CRILD_RUNS_DIR=str(folder / "runs"), HF_HUB_OFFLINE="1",
            HF_HOME=str(folder / "hf"), XDG_STATE_HOME=str(folder / "state"), XDG_CONFIG_HOME=str(folder / "config"),
        )  # fmt: skip
        began = time.monotonic()
        failures = fuzz(name, options.count, folder, seed=options.seed, only=options.only)
        shutil.rmtree(folder, ignore_errors=True)
        for failure in failures[:20]:
            print(failure)
        taken = time.monotonic() - began
        print(
            f"{name}: {options.count} cases, {len(failures)} failures, {taken:.0f} s, {_memory() >> 20} MB", flush=True
        )
        failed += len(failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
