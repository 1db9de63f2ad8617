"""What the process of a sweep or queue does, with its record. `crild/process.py` starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine.errors import CrildError
from engine.record.home import provide_home
from engine.record.standard_streams import open_standard_streams
from engine.sweep.execute import work


def main(words: list[str]) -> int:
    """Execute the sweep or queue in a record; returns the exit code."""
    open_standard_streams()
    if (sentence := provide_home()) is not None:
        print(sentence, file=sys.stderr, flush=True)
    if len(words) not in (1, 2):
        print("usage: crild/process.py sweep RECORD [ENGINE COMMAND AS JSON]", file=sys.stderr)
        return 2
    try:
        return work(Path(words[0]), json.loads(words[1]) if len(words) == 2 else None)
    except CrildError as error:
        print(error, file=sys.stderr)
        return error.exit_code
