"""The engines of a sweep's runs on a Ray cluster: each run is a task with its resources, in which its node runs the engine.

All nodes see the runs folder. The sweep's process reads there how runs go, as for engines of its own machine; Ray says only
that a task has ended, and why.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.launch import signals
from engine.launch.start import process_command
from engine.record.environment import crild_version
from engine.record.lock import held
from engine.record.paths import cache_dir
from engine.record.run import read_run, read_status, release_owner, update_status
from engine.record.secrets import without_secrets
from engine.record.states import ACTIVE
from engine.sweep.cluster import Cluster
from engine.sweep.engines import outlived, record_failed_start
from engine.sweep.ray_cluster import Connection, one_line
from engine.sweep.slots import Slot
from engine.user.consent import NONE, Consent

NODES_POLL = 10.0
"""Seconds between two looks at the cluster's nodes."""
NODE_WITHIN = 600.0
"""Seconds to wait for a node that has room for a run, when all such nodes are lost."""
SILENT_FOR = 20.0
"""Seconds without a heartbeat after which an engine is gone whose task has ended: four heartbeats."""
WAITING_BEAT = 20.0
"""Seconds between two signs of life of a run whose task waits for its resources."""
_PASSED = (
    "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE",
    "TRANSFORMERS_OFFLINE", "OMP_WAIT_POLICY", "OMP_NUM_THREADS",
)  # fmt: skip
"""Environment variables that nodes get, besides crild's own."""


@dataclass
class _Task:
    """A run's task, and what was seen of its engine."""

    ref: Any
    attempt: int
    """The last attempt before this one."""
    heartbeat: float | None = None
    changed: float = 0.0
    """When the heartbeat last changed, by this machine's clock (monotonic): clocks of hosts differ."""
    beat: float = 0.0
    """When the run last got a sign of life while its task waits."""
    is_lost: bool = False
    """Whether Ray lost the task, which was reported."""


class RayEngines:
    """The engines of one sweep, as `engine.sweep.engines.Engines`. `command` replaces their command line (for tests)."""

    def __init__(
        self, address: str, sweep: str, runs_dir: Path, command: Sequence[str] | None = None, consent: Consent = NONE
    ) -> None:
        self._address, self._sweep, self._runs_dir = address, sweep, runs_dir
        self._command, self._consent = command, consent
        self._connection: Connection | None = None
        self._cluster = Cluster(address)
        self._looked = self._had_room = 0.0
        self._tasks: dict[Path, _Task] = {}

    @property
    def _ray(self) -> Any:
        assert self._connection is not None
        return self._connection.ray

    def open(self) -> None:
        """Connect, and look which nodes can be used."""
        self._connection = Connection(self._address)
        self._had_room = time.monotonic()
        self._look()

    def close(self) -> None:
        """Disconnect; a local Ray ends."""
        if self._connection is not None:
            self._connection.close()

    def _look(self) -> None:
        assert self._connection is not None
        nodes = self._connection.nodes(self._runs_dir, self._cluster.nodes)
        before, self._cluster = self._cluster.problems(), Cluster(self._address, nodes)
        for sentence in self._cluster.problems():
            if sentence not in before:
                print(sentence, file=sys.stderr, flush=True)
        self._looked = time.monotonic()

    def reason_to_wait(self, slot: Slot, device: str, *, alone: bool) -> str | None:  # noqa: ARG002
        """Resources of the cluster, as far as this sweep's own runs hold them; Ray waits for those that others hold."""
        now = time.monotonic()
        if now - self._looked >= NODES_POLL:
            try:
                self._look()
            except RunError as error:  # such as a full disk: the nodes that are known stay in use
                print(error, file=sys.stderr, flush=True)
                self._looked = now
        room = self._cluster.room(slot)
        if room:
            self._had_room = now
            return None if len(self._tasks) < room else "for room on the Ray cluster"
        if now - self._had_room > NODE_WITHIN:
            sentence = (
                f"no node of the Ray cluster has had room for a run for {NODE_WITHIN / 60:.0f} minutes: repeat the command "
                "once nodes have joined it"
            )
            raise RunError(sentence, kind="no-ray-node-left")
        return "for a node of the Ray cluster: none that is left has room for a run"

    def start(self, run_dir: Path, slot: Slot) -> None:
        """Hand the run to Ray, which starts it once a node has its resources."""
        assert self._connection is not None
        python, _, process = process_command()
        words = [str(crild_version()), *self._consent.words(), str(run_dir.resolve())]
        job = {
            "python": python,
            "process": process,
            "words": words if self._command is None else [*words, json.dumps(list(self._command))],
            "environment": passed_environment(os.environ),
            "own_cache": [node.id for node in self._cluster.usable if not node.shares_cache],
        }
        usable = {node.id for node in self._cluster.usable}
        options: dict[str, Any] = {"name": f"crild {run_dir.name}", "num_cpus": slot.threads, "num_gpus": slot.gpus}
        if len(usable) < len(self._cluster.nodes):
            options["label_selector"] = {"ray.io/node-id": f"in({','.join(sorted(usable))})"}
        self._tasks[run_dir] = _Task(
            self._connection.run_engine.options(**options).remote(job),
            attempt=read_status(run_dir).attempt, changed=time.monotonic(), beat=time.monotonic(),
        )  # fmt: skip

    def has_engine(self, run_dir: Path) -> bool:
        """By the run's files."""
        return outlived(run_dir)

    def is_busy(self, run_dir: Path, *, alone: bool) -> bool:  # noqa: ARG002 - Ray gives a GPU away once its task has ended
        """By Ray while the run's task lasts; then until the run's files show its end.

        A run whose task was lost becomes "lost" once its engine is silent, and can be resumed on another node. Raises
        RunError when it could not be started on its node.
        """
        task = self._tasks.get(run_dir)
        if task is None:
            return read_run(run_dir).state in ACTIVE or held(run_dir)
        if not self._ray.wait([task.ref], timeout=0)[0]:
            self._keep_waiting(run_dir, task)
            return True
        if (problem := self._problem(run_dir, task)) is not None:
            del self._tasks[run_dir]
            error = RunError(problem, kind="not-started-on-node")
            record_failed_start(run_dir, error)
            raise error
        if self._may_be_running(run_dir, task):
            return True
        del self._tasks[run_dir]
        return False

    def _keep_waiting(self, run_dir: Path, task: _Task) -> None:
        """Show that a created run whose task waits for resources will start."""
        if time.monotonic() - task.beat > WAITING_BEAT:
            task.beat = time.monotonic()
            with contextlib.suppress(RunError):
                update_status(run_dir, expect=("created",), heartbeat=time.time())

    def _problem(self, run_dir: Path, task: _Task) -> str | None:
        """Why a run could not be started on its node; None if it was, or its node or worker was lost."""
        try:
            answer = self._ray.get(task.ref)
        except self._ray.exceptions.RayTaskError as error:
            return f"its task failed: {one_line(error)[-300:]}"
        except self._ray.exceptions.RayError as error:
            if not task.is_lost:
                print(f"{run_dir.name}: its task was lost: {one_line(error)[:200]}", file=sys.stderr, flush=True)
            task.is_lost = True
            return None
        return answer.get("problem") if isinstance(answer, Mapping) else None

    def _may_be_running(self, run_dir: Path, task: _Task) -> bool:
        """Whether the engine of a task that has ended may still write to its run, or its last words are not visible yet."""
        entry = read_run(run_dir)
        status = entry.status
        if status is None or status.owner is None or entry.state not in ACTIVE:
            return entry.state == "created"
        if status.heartbeat != task.heartbeat:
            task.heartbeat, task.changed = status.heartbeat, time.monotonic()
        if time.monotonic() - task.changed < SILENT_FOR or status.owner.state() != "elsewhere":
            return True
        try:
            release_owner(run_dir, status.owner)
        except RunError as error:
            print(f"{run_dir.name}: {error}", file=sys.stderr, flush=True)
            task.changed = time.monotonic()
            return True
        return False

    def stop(self, run_dir: Path) -> None:
        """Through the run directory; a task that still waits for resources is cancelled."""
        if not self._cancel_waiting(run_dir):
            signals.stop(run_dir)

    def kill(self, run_dir: Path) -> None:
        """Through the run directory; by Ray where the engine does not react."""
        if self._cancel_waiting(run_dir):
            return
        try:
            signals.kill(run_dir)
        except RunError:
            if run_dir in self._tasks:
                self._ray.cancel(self._tasks[run_dir].ref, force=True)
            raise

    def _cancel_waiting(self, run_dir: Path) -> bool:
        task = self._tasks.get(run_dir)
        if task is None or read_status(run_dir).attempt > task.attempt:
            return False
        self._ray.cancel(task.ref, force=True)
        with contextlib.suppress(RunError):
            update_status(run_dir, expect=("created",), state="stopped", ended=time.time())
        return True


def passed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of this process's environment the nodes get: settings and caches of crild and the hub, and no credentials.

    Credentials are those of each node: Ray keeps arguments of tasks, and sends them without encryption.
    """
    chosen = {
        name: value
        for name, value in environment.items()
        if (name.startswith("CRILD_") or name in _PASSED) and without_secrets(f"{name}={value}") == f"{name}={value}"
    }
    return {**chosen, "CRILD_CACHE_DIR": str(cache_dir())}
