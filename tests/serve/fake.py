"""`crild` with the fake engine, also behind `crild serve`: python -m tests.serve.fake WORDS."""

from __future__ import annotations

import sys

import engine.launch.start
from crild_tui.cli import main
from crild_tui.serve import served

FAKE = [sys.executable, "-m", "tests.cli.fake_engine"]

if __name__ == "__main__":
    engine.launch.start.engine_command = lambda *_: FAKE
    if sys.argv[1] == "dashboard":
        sys.exit(served.main(sys.argv[2:]))
    engine.launch.start.process_command = lambda *words: [sys.executable, "-m", "tests.serve.fake", *words]
    sys.exit(main())
