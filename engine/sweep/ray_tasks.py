"""What Ray's workers do on a node for crild. It is sent to them as code, so it may import nothing of crild's.

Ray's worker loads neither crild nor torch: it starts `crild/process.py node`, which starts the ordinary engine process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from typing import Any


def probe(runs_marker: str, cache_marker: str) -> dict[str, str | None]:
    """What this node reads at the paths of two markers; None where there is nothing."""

    def content(path: str) -> str | None:
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                return file.read(100)
        except (OSError, ValueError):
            return None

    return {"runs": content(runs_marker), "cache": content(cache_marker)}


def run_engine(job: dict[str, Any]) -> dict[str, Any]:
    """Run the engine of a run and wait for its end; returns what `engine.sweep.node_process` prints."""
    import ray  # Ray's worker has loaded it

    python, process = job["python"], job["process"]
    if not (os.path.isfile(python) and os.path.isfile(process)):  # noqa: PTH113 - this node has its own installation
        found = importlib.util.find_spec("crild")
        if found is None or found.origin is None:
            sentence = f"crild is not installed for the Python of Ray on the node {socket.gethostname()!r}"
            return {"problem": sentence}
        python, process = sys.executable, os.path.join(os.path.dirname(found.origin), "process.py")  # noqa: PTH118, PTH120
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)  # set by Ray; a preset says how many threads a run has
    environment.update(job["environment"])
    if ray.get_runtime_context().get_node_id() in job["own_cache"]:
        environment.pop("CRILD_CACHE_DIR", None)
    child = subprocess.Popen(
        [python, "-P", process, "node", str(os.getpid()), *job["words"]], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, start_new_session=True, env=environment,
    )  # fmt: skip
    output = child.communicate()[0].decode(errors="replace").splitlines()
    try:
        return dict(json.loads(output[-1]))
    except (IndexError, ValueError, TypeError):
        sentence = f"the process that starts engines on {socket.gethostname()!r} exited with code {child.returncode}"
        return {"problem": sentence}
