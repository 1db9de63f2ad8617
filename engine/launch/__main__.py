"""`python -P -m engine.launch queue <file>`: the process of a queue."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine.errors import CrildError
from engine.launch.queue import work


def main(words: list[str]) -> int:
    """Work through the queue in a file; returns the exit code."""
    if len(words) not in (2, 3) or words[0] != "queue":
        print("usage: python -m engine.launch queue FILE [ENGINE COMMAND AS JSON]", file=sys.stderr)
        return 2
    try:
        return work(Path(words[1]), json.loads(words[2]) if len(words) == 3 else None)
    except CrildError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
