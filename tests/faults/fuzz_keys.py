"""Random keys, mouse events, pastes and sizes, posted to the dashboard: python -m tests.faults.fuzz_keys --count N [--seed S].

Engines that it starts exit at once. A case passes when the dashboard neither raises nor takes `SECONDS` of processor time
for one event, or for a key that is held for a moment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from random import Random
from typing import Any

from textual import events

import engine.launch.background
import engine.launch.foreground
import engine.launch.start
from crild_tui.app import CrildApp
from engine.record.probe import write_probe
from engine.sweep.record import CellRecord, SweepRecord, create_folder, sweep_file, write_sweep_record
from engine.sweep.slots import Slot
from tests.cli.samples import make_run
from tests.faults.fuzz import MEMORY, SECONDS, TooSlowError, time_limit
from tests.record.probe_samples import sample

SESSION = 1500
"""Events after which another dashboard is opened."""
HELD = (1, 1, 1, 5, 20, 60)
"""How often a key repeats while it is held."""
NO_ENGINE = ["/bin/false"]
NAMED = (
    "up", "down", "left", "right", "enter", "escape", "tab", "shift+tab", "space", "backspace", "delete", "home", "end",
    "pageup", "pagedown", "insert", "f1", "f2", "f3", "f4", "f5", "f6", "f10", "shift+up", "shift+down", "ctrl+home", "ctrl+end",
    "ctrl+p", "ctrl+t", "ctrl+s", "ctrl+r", "ctrl+a", "ctrl+e", "ctrl+k", "ctrl+u", "ctrl+w", "ctrl+d", "ctrl+f", "ctrl+n",
)  # fmt: skip
"""Keys with a name; not those that end or suspend the process."""
PRINTED = "abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/?!:;.,<>[]{}()+-*=_#'\"\\|~^&%$@ éλ又\u0301"
TEXTS = (
    "metric:>0.5 !toy",
    "rte",
    "x" * 3000,
    "a\nb\tc",
    "\x1b[31m",
    "\u202e",
    "stage.kd.epochs=2",
    "[" * 400,
    "",
    "1,2,3",
)
SIZES = ((80, 24), (80, 24), (120, 40), (1, 1), (20, 5), (40, 12), (200, 50), (80, 1), (3, 60))


def prepare(folder: Path) -> Path:
    """A folder of runs in every state, with a probe and a sweep; returns it."""
    runs = folder / "runs"
    for state in ("running", "finished", "failed", "stopped", "created", "queued", "preempted"):
        run = make_run(runs, state, state=state, sweep="study", cell={"method": "kd", "task": "rte", "seed": "1"})
        if state == "finished":
            write_probe(run, sample(run.name))
    (runs / "finished-s1" / "log.1.txt").write_text("loading\r50 %\r100 %\n\x1b[31mred\x1b[0m\n" * 50)
    (make_run(runs, "broken") / "status.json").write_text("{")
    cells = tuple(
        CellRecord(f"{name}-s1", {"method": "kd", "task": "rte", "seed": "1"}, 1, 0) for name in ("finished", "failed")
    )
    axes = {"method": ("kd",), "task": ("rte",), "seed": ("1",)}
    record = SweepRecord("study", "study.toml", time.time(), axes, cells, (Slot("cpu", 1),))
    create_folder(sweep_file(runs, "study").parent)
    write_sweep_record(sweep_file(runs, "study"), record)
    return runs


def event(rng: Random, app: CrildApp) -> list[events.Event]:
    """What a person, or a cat, does next."""
    width, height = app.size
    x, y = rng.randrange(max(1, width)), rng.randrange(max(1, height))
    mouse: Any = {
        "widget": None,
        "x": x,
        "y": y,
        "delta_x": 0,
        "delta_y": 0,
        "shift": False,
        "meta": False,
        "ctrl": False,
    }
    match rng.choices(("key", "print", "click", "scroll", "paste", "move"), (10, 10, 3, 2, 1, 1))[0]:
        case "key":
            name = rng.choice(NAMED)
            return [events.Key(name, None)] * (1 if name.startswith("ctrl") else rng.choice(HELD))
        case "print":
            character = rng.choice(PRINTED)
            return [events.Key(character, character)] * rng.choice(HELD)
        case "click":
            return [kind(button=rng.choice((1, 3)), **mouse) for kind in (events.MouseDown, events.MouseUp)]
        case "scroll":
            return [rng.choice((events.MouseScrollDown, events.MouseScrollUp))(button=0, **mouse)]
        case "move":
            return [events.MouseMove(button=0, **mouse)]
        case _:
            return [events.Paste(rng.choice(TEXTS))]


async def session(rng: Random, runs: Path, count: int, recent: deque[str]) -> int:
    """Open a dashboard and post up to `count` events, fewer where one of them closes it; returns how many."""
    app = CrildApp(runs, readonly=rng.random() < 0.2)
    async with app.run_test(size=SIZES[0]) as pilot:
        done = 0
        while done < count:
            if app.return_code is not None or not app.is_running:
                return done
            posted = event(rng, app)
            with time_limit(SECONDS + len(posted) / 4):
                if rng.random() < 0.03:
                    size = rng.choice(SIZES)
                    recent.append(f"size {size}")
                    await pilot.resize_terminal(*size)
                recent.append(f"{len(posted)} x {posted[-1]!r}")
                for each in posted:
                    app.post_message(each)
                await pilot.pause()
            done += len(posted)
    return done


def press(count: int, folder: Path, *, seed: int = 0) -> list[str]:
    """The failures that `count` events brought about, each with the events before it."""
    os.chdir(folder)
    runs = prepare(folder)
    failures: list[str] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = number = 0
    while done < count:
        rng, recent = Random(f"keys {seed} {number}"), deque[str](maxlen=24)
        number += 1
        try:
            done += max(1, asyncio.run(session(rng, runs, min(SESSION, count - done), recent)))
        except (Exception, TooSlowError) as error:  # noqa: BLE001 - that is what is looked for
            done += 1
            import traceback

            text = "".join(traceback.format_exception(error))
            failures.append(f"session {number - 1}:\n{text}\nafter {list(recent)}")
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > MEMORY:
        failures.append("it took too much memory")
    return failures


def without_engines() -> None:
    """Make every engine, tool and sweep that the dashboard starts exit at once."""
    engine.launch.start.engine_command = lambda *_: NO_ENGINE
    engine.launch.foreground.engine_command = lambda *_: NO_ENGINE  # type: ignore[attr-defined]
    engine.launch.background.process_command = lambda *_: NO_ENGINE  # type: ignore[attr-defined]


def main() -> int:
    """Post events; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    without_engines()
    folder = Path(tempfile.mkdtemp(prefix="crild-keys-"))
    os.environ.update(
        HOME=str(folder), CRILD_CACHE_DIR=str(folder / "cache"), HF_HUB_OFFLINE="1", EDITOR="true", VISUAL="true",
        XDG_STATE_HOME=str(folder / "state"), XDG_CONFIG_HOME=str(folder / "config"), TERM="xterm-256color",
    )  # fmt: skip
    began = time.monotonic()
    failures = press(options.count, folder, seed=options.seed)
    for failure in failures[:5]:
        print(failure)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"keys: {options.count} events, {len(failures)} failures, {time.monotonic() - began:.0f} s, {memory} MB")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
