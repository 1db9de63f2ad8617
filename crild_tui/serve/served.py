"""The process of the dashboard behind a browser, which `crild serve` starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path


def main(words: Sequence[str]) -> int:
    """Show the dashboard over the runs folder that `words` name, with `--readonly` before it or not; returns the exit code."""
    from crild_tui.cli.entry import guarded

    match list(words):
        case ["--readonly", folder]:
            return guarded(partial(_show, Path(folder), readonly=True))
        case [folder]:
            return guarded(partial(_show, Path(folder), readonly=False))
        case _:
            print("usage: process.py dashboard [--readonly] FOLDER", file=sys.stderr)
            return 2


def _show(runs_dir: Path, *, readonly: bool) -> int:
    """Show it until it is closed. Raises the error that has ended it."""
    from crild_tui.cli.dashboard import finish, make_app

    app = make_app(runs_dir, readonly=readonly, served=True)
    app.run()
    finish()
    if app.fault is not None:
        raise app.fault
    return app.return_code or 0
