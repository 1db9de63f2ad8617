"""`python -P -m engine.sweep RECORD`: the process of a sweep or queue; `--consent MODELS` as for an engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine.errors import CrildError
from engine.sweep.execute import work
from engine.user.consent import split_words


def main(words: list[str]) -> int:
    """Execute the sweep or queue in a record; returns the exit code."""
    words, consent = split_words(words)
    if len(words) not in (1, 2):
        print("usage: python -m engine.sweep [--consent MODELS] RECORD [ENGINE COMMAND AS JSON]", file=sys.stderr)
        return 2
    try:
        return work(Path(words[0]), json.loads(words[1]) if len(words) == 2 else None, consent)
    except CrildError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
