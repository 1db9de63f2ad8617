"""`crild` with the fake engine, for tests that need a process and a terminal of its own: python -m tests.cli.driver WORDS."""

from __future__ import annotations

import functools
import sys

import engine.launch.start
import engine.sweep.queue
from crild_tui.cli import main

FAKE = [sys.executable, "-m", "tests.cli.fake_engine"]

if __name__ == "__main__":
    engine.launch.start.engine_command = lambda *_: FAKE
    engine.sweep.queue.enqueue = functools.partial(engine.sweep.queue.enqueue, command=FAKE)
    sys.exit(main())
