"""The nodes of a Ray cluster, and how many runs of a sweep fit on them at a time. Loads no Ray: another process asks it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import RunError, UsageError
from engine.launch.devices import cores, devices
from engine.launch.start import engine_environment, process_command
from engine.preset.text import listed, plain, shown
from engine.record.fields import read_fields
from engine.sweep.slots import MOST_SLOTS, Slot, check_number, own_device

LOCAL, AUTO = "local", "auto"
"""Instead of an address: a Ray of the sweep's own on this machine; the cluster that this machine is part of."""
ANSWER_WITHIN = 180.0
"""Seconds that a cluster has to tell its nodes, the time to load Ray included."""
CONNECT_WITHIN = 10.0
"""Seconds in which something must listen at an address."""
_SLACK = 1e-6


@dataclass(frozen=True)
class Node:
    """A node of a Ray cluster that is alive."""

    id: str
    host: str
    cpus: float
    gpus: float
    problem: str | None = None
    """Why no run can take place there, as the end of a sentence that begins with the host."""
    shares_cache: bool = True
    """Whether it sees the cache of this machine."""

    def room(self, slot: Slot) -> int:
        """How many runs of these resources fit on the node."""
        rooms = [int(self.cpus / slot.threads + _SLACK)] if slot.threads else []
        if slot.gpus >= 1.0:
            rooms.append(int(self.gpus / slot.gpus + _SLACK))
        elif slot.gpus:
            rooms.append(int(self.gpus) * int(1.0 / slot.gpus + _SLACK))  # a run never has parts of two GPUs
        return min(rooms, default=0)


@dataclass(frozen=True)
class Cluster:
    """The nodes of a cluster at one moment."""

    address: str
    nodes: tuple[Node, ...] = field(default=())

    @property
    def usable(self) -> tuple[Node, ...]:
        """The nodes on which runs can take place."""
        return tuple(node for node in self.nodes if node.problem is None)

    def room(self, slot: Slot) -> int:
        """How many runs of these resources fit on all usable nodes."""
        return sum(node.room(slot) for node in self.usable)

    def problems(self) -> list[str]:
        """A sentence for each node that no run can use, or that has a cache of its own."""
        sentences = [f"{plain(node.host)} {node.problem}" for node in self.nodes if node.problem is not None]
        sentences += [
            f"{plain(node.host)} does not see the cache of this machine: it caches data and fine-tunes teachers for itself; "
            "CRILD_CACHE_DIR can name a shared folder"
            for node in self.usable
            if not node.shares_cache
        ]
        return list(dict.fromkeys(sentences))


def look_at(address: str, runs_dir: Path) -> Cluster:
    """The nodes of the cluster at an address, and whether they see a runs folder; starts nothing for "local".

    Raises UsageError when Ray is not installed or the address is none, RunError when the cluster does not answer, has another
    version of Ray or Python, or has no node that can use the runs folder.
    """
    if address == LOCAL:
        check_installed()
        gpus = sum(device.startswith("cuda") for device in devices())
        return Cluster(address, (Node("", socket.gethostname(), cores(), gpus),))
    if address != AUTO:
        _check_address(address)
    check_installed()
    answer = _ask(address, runs_dir)
    cluster = Cluster(address, tuple(read_fields(Node, node) for node in answer))
    if not cluster.usable:
        sentence = f"no run can take place on the Ray cluster: {'; '.join(cluster.problems()) or 'it has no node'}"
        raise RunError(sentence, kind="no-usable-ray-node")
    return cluster


def check_installed() -> None:
    """Raise UsageError when Ray is not installed."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise UsageError('--ray needs Ray, which is not installed: pip install "crild[ray]"', kind="ray-not-installed")


def _check_address(address: str) -> None:
    """Raise UsageError for an address that Ray cannot have, RunError when nothing listens there."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(
            f"--ray takes auto, local or the address of a cluster's head as HOST:PORT (Ray's own port is 6379), not {shown(address)}; "
            "run crild on a machine of the cluster",
            kind="invalid-ray-address",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_WITHIN).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        sentence = f"no Ray cluster answers at {plain(address)}: {reason}. `ray start --head` prints the address"
        raise RunError(sentence, kind="no-ray-cluster") from error


def _ask(address: str, runs_dir: Path) -> list[Mapping[str, Any]]:
    """What `engine.sweep.ray_nodes` prints: it may hang in Ray, so it is a process of its own."""
    words = process_command("ray-nodes", address, str(runs_dir))
    try:
        child = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=engine_environment(), timeout=ANSWER_WITHIN,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        sentence = f"the Ray cluster at {plain(address)} has not answered within {ANSWER_WITHIN:.0f} seconds"
        raise RunError(sentence, kind="ray-not-answering") from None
    lines = child.stdout.decode(errors="replace").splitlines()
    try:
        answer = json.loads(lines[-1])
        error, nodes = answer.get("error"), answer.get("nodes")
    except (IndexError, ValueError, AttributeError):
        error, nodes = None, None
    if error is not None:
        raise RunError(str(error["sentence"]), kind=str(error["kind"]))
    if not isinstance(nodes, list):
        last = child.stderr.decode(errors="replace").strip().splitlines()
        sentence = f"cannot ask the Ray cluster at {plain(address)}: {last[-1] if last else 'it printed nothing'}"
        raise RunError(sentence, kind="cannot-ask-ray")
    return nodes


def ray_slots(
    cluster: Cluster,
    runs: int,
    own_devices: Sequence[str | None],
    own_threads: Sequence[int | None],
    *,
    gpus: float | None = None,
    slots: int | None = None,
    before: Sequence[Slot] = (),
) -> tuple[Slot, ...]:
    """The slots of a sweep of so many runs on a Ray cluster: as many as its nodes have room for, at most `slots`.

    `own_devices` and `own_threads` are what its presets ask for; `gpus` is what the user gives each run, by default one
    where the cluster has any and the presets don't name the CPU. Threads that no preset sets are those of the slots that
    the sweep had `before`; otherwise one, or a GPU's share of its node's cores. Raises UsageError for a run that fits on no node.
    """
    check_number(slots)
    device, count = _device_and_gpus(cluster, own_device(own_devices), gpus)
    own = max((number or 0 for number in own_threads), default=0)
    earlier = next((slot.threads for slot in before if slot.gpus == count), 0)
    slot = Slot(device, own or earlier or _threads(cluster, count), count)
    room = cluster.room(slot)
    if not room:
        nodes = listed(
            [f"{plain(node.host)} has {_resources(node.cpus, node.gpus)}" for node in cluster.usable[:8]], "and"
        )
        sentence = f"each run of this sweep needs {_resources(slot.threads, count)}, and no node of the Ray cluster has that: {nodes}"
        raise UsageError(sentence, kind="no-ray-node-with-resources", key="train.device" if count else "train.threads")
    return (slot,) * max(1, min(room, slots or MOST_SLOTS, runs, MOST_SLOTS))


def _device_and_gpus(cluster: Cluster, own: str | None, gpus: float | None) -> tuple[str, float]:
    if gpus is not None and not (0.0 <= gpus < 1.0 or (1.0 <= gpus < 1_000.0 and gpus == int(gpus))):
        sentence = f"--gpus-per-run takes a part of one GPU or a whole number of GPUs, not {gpus:g}"
        raise UsageError(sentence, kind="invalid-gpus-per-run")
    named = 0 if own is None or not own.startswith("cuda") else len(own.split(","))
    if own is not None and gpus is not None and (gpus > 0.0) != (named > 0):
        sentence = f'--gpus-per-run {gpus:g} does not go with train.device = "{own}" in the presets of this sweep'
        raise UsageError(sentence, kind="gpus-of-another-device", key="train.device")
    if gpus is None:
        gpus = float(named if own is not None else any(node.gpus >= 1.0 for node in cluster.usable))
    if not gpus:
        return "cpu", 0.0
    whole = max(1, int(gpus))
    return ("cuda" if whole == 1 else ",".join(f"cuda:{number}" for number in range(whole))), gpus


def _threads(cluster: Cluster, gpus: float) -> int:
    """One for a run on CPUs: more runs at a time are faster than more threads. With GPUs, their share of a node's cores."""
    if not gpus:
        return 1
    shares = [node.cpus * gpus / node.gpus for node in cluster.usable if node.gpus >= gpus]
    return max(1, int(min(shares, default=1.0)))


def _resources(cpus: float, gpus: float) -> str:
    parts = [f"{gpus:g} {'GPU' if gpus <= 1.0 else 'GPUs'}"] if gpus else []
    return " and ".join([*parts, f"{cpus:g} {'CPU' if cpus == 1 else 'CPUs'}"])
