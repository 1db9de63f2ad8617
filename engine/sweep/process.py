"""What the process of a sweep or queue does, with its record. `crild/process.py` starts it.

`--consent MODELS` before the record is handed on to its engines (`engine/user/consent.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from engine.errors import CrildError
from engine.record.home import provide_home
from engine.record.standard_streams import open_standard_streams
from engine.sweep.execute import Supply, Worker, work
from engine.user.consent import split_words


def main(words: list[str], supply: Callable[[Worker], Supply] | None = None) -> int:
    """Execute the sweep or queue in a record, or a search with its `supply`; returns the exit code."""
    open_standard_streams()
    if (sentence := provide_home()) is not None:
        print(sentence, file=sys.stderr, flush=True)
    words, consent = split_words(words)
    if len(words) not in (1, 2):
        print("usage: crild/process.py sweep [--consent MODELS] RECORD [ENGINE COMMAND AS JSON]", file=sys.stderr)
        return 2
    try:
        return work(Path(words[0]), json.loads(words[1]) if len(words) == 2 else None, consent, supply)
    except CrildError as error:
        print(error, file=sys.stderr)
        return error.exit_code
