"""`crild/process.py ray-nodes ADDRESS RUNS_DIR`: prints the nodes of a Ray cluster, for `engine.sweep.cluster.look_at`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import CrildError
from engine.record.standard_streams import open_standard_streams


def main(words: Sequence[str]) -> int:
    """Print the nodes, or the error, as one JSON document; returns the exit code."""
    open_standard_streams()
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Ray and its processes print goes to stderr
    answer: dict[str, Any]
    try:
        from engine.sweep.ray_cluster import Connection

        address, runs_dir = words
        connection = Connection(address)
        try:
            answer, code = {"nodes": [asdict(node) for node in connection.nodes(Path(runs_dir))]}, 0
        finally:
            connection.close()
    except CrildError as error:
        answer, code = {"error": {"kind": error.kind, "sentence": str(error)}}, error.exit_code
    stdout.write(json.dumps(answer) + "\n")
    stdout.flush()
    return code
