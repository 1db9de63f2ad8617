"""Talk to a Ray cluster: connect, list its nodes, look whether they share this machine's folders.

Only processes of their own load Ray: that of a sweep, and `engine.sweep.ray_nodes`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.launch.devices import cores
from engine.preset.text import plain
from engine.record.files import cause, write_atomic
from engine.record.owner import temporary_name
from engine.record.paths import cache_dir
from engine.record.removal import OpenFolder, remove_file
from engine.sweep.cluster import AUTO, LOCAL, Node, check_installed

PROBE_WITHIN = 120.0
"""Seconds that a node has to start a task that only reads two small files."""
_STORE = 100 << 20
"""Bytes of a local Ray's store for objects: crild's tasks return a few bytes."""


class Connection:
    """A connection to a cluster; at most one at a time in a process. A local Ray ends with it, and leaves no file."""

    def __init__(self, address: str) -> None:
        """Connect. Raises RunError when the cluster does not answer or has another version, UsageError without Ray."""
        check_installed()
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a local Ray would report its use to its makers
        import ray

        from engine.sweep import ray_tasks

        self.ray: Any = ray
        self._folder: Path | None = None
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
        if address == LOCAL:
            os.environ.setdefault("RAY_worker_niceness", "0")  # engines inherit it; crild's own have none either
            # Ray's sockets are below it, and a socket's path has at most 107 characters
            self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_short_temporary_folder()))
            options |= {"include_dashboard": False, "num_cpus": cores(), "object_store_memory": _STORE}
            options["_temp_dir"] = str(self._folder)
        try:
            ray.init(**options)
        except Exception as error:
            self.close()
            raise connection_error(address, error) from error
        ray.cloudpickle.register_pickle_by_value(ray_tasks)
        self.probe: Any = ray.remote(max_retries=0, num_cpus=0)(ray_tasks.probe)
        self.run_engine: Any = ray.remote(max_retries=0)(ray_tasks.run_engine)

    def close(self) -> None:
        """Disconnect; a local Ray ends."""
        with contextlib.suppress(Exception):
            self.ray.shutdown()
        if self._folder is not None:
            with contextlib.suppress(OSError), OpenFolder.at(self._folder.parent) as parent:
                parent.remove(self._folder.name)

    def nodes(self, runs_dir: Path, known: Sequence[Node] = ()) -> tuple[Node, ...]:
        """The nodes that are alive; those that are not `known` are asked what they see of the runs folder and the cache.

        Raises RunError when no marker can be written.
        """
        before = {node.id: node for node in known}
        alive = [entry for entry in self.ray.nodes() if entry["Alive"]]
        with_room = (entry for entry in alive if entry["Resources"].get("CPU", 0.0) >= 1.0)  # often not the head
        new = [entry["NodeID"] for entry in with_room if entry["NodeID"] not in before]
        seen = self._probed(new, runs_dir) if new else {}
        return tuple(
            before.get(entry["NodeID"]) or Node(
                id=entry["NodeID"],
                host=str(entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress")),
                cpus=float(entry["Resources"].get("CPU", 0.0)),
                gpus=float(entry["Resources"].get("GPU", 0.0)),
                problem=seen.get(entry["NodeID"], (None, True))[0],
                shares_cache=seen.get(entry["NodeID"], (None, True))[1],
            )
            for entry in alive
        )  # fmt: skip

    def _probed(self, nodes: Sequence[str], runs_dir: Path) -> dict[str, tuple[str | None, bool]]:
        """For each node: why no run can take place there, and whether it sees the cache."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        with marker(runs_dir) as runs, marker(cache_dir()) as cache:
            tasks = {
                node: self.probe.options(scheduling_strategy=On(node, soft=False)).remote(str(runs[0]), str(cache[0]))
                for node in nodes
            }
            self.ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=PROBE_WITHIN)
            return {node: self._seen(task, runs[1], cache[1], runs_dir) for node, task in tasks.items()}

    def _seen(self, task: Any, runs: str, cache: str, runs_dir: Path) -> tuple[str | None, bool]:
        try:
            found = self.ray.get(task, timeout=0)
        except self.ray.exceptions.GetTimeoutError:
            self.ray.cancel(task, force=True)
            return f"starts no task within {PROBE_WITHIN:.0f} seconds", False
        except self.ray.exceptions.RayError as error:
            return f"cannot run a task: {one_line(error)}", False
        if found["runs"] != runs:
            return f"does not see {plain(str(runs_dir))}: put the runs folder on storage that all nodes share", False
        return None, found["cache"] == cache


def connection_error(address: str, error: Exception) -> RunError:
    """Ray's error on connecting, as a sentence."""
    text = one_line(error)
    if "version mismatch" in text.lower():
        sentence = f"the Ray cluster has other versions than this environment; install the same everywhere: {text}"
        return RunError(sentence, kind="ray-version-mismatch")
    if isinstance(error, ConnectionError) and address == AUTO:
        sentence = "this machine is part of no running Ray cluster: start one with `ray start`, or use --ray local or --ray HOST:PORT"
        return RunError(sentence, kind="no-ray-cluster")
    where = "start a local Ray" if address == LOCAL else f"connect to the Ray cluster at {plain(address)}"
    return RunError(f"cannot {where}: {text}", kind="cannot-connect-to-ray")


def one_line(error: BaseException) -> str:
    """The message of an exception of Ray's, without its line breaks and what follows in length."""
    return plain(" ".join(str(error).split()))[:500] or type(error).__name__


@contextmanager
def marker(folder: Path) -> Iterator[tuple[Path, str]]:
    """A small file with a random content in a folder (or above it, if it does not exist yet), for another host to read.

    Raises RunError when it cannot be written.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    path, content = folder / temporary_name("shared"), os.urandom(16).hex()
    try:
        write_atomic(path, content)
    except OSError as error:
        sentence = f"cannot write there, to see which nodes share it: {cause(error)}"
        raise RunError(sentence, kind="cannot-mark-folder", file=str(folder)) from error
    try:
        yield path, content
    finally:
        remove_file(path, missing_ok=True)


def _short_temporary_folder() -> str:
    chosen = tempfile.gettempdir()
    return chosen if len(chosen) <= 20 or sys.platform == "darwin" else "/tmp"  # noqa: S108 - mkdtemp makes a folder of the user's own
