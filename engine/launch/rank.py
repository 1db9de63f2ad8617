"""The place of this process among those that torchrun or srun started together, on one machine or on several."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import UsageError

_FIRST_PORT, _PORTS = 20000, 20000
"""Ports from which a job of SLURM gets one by its number."""
STARTED_BY = "CRILD_STARTED_BY"
"""Environment variable of an engine that is one of several which others started: what started them."""
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_JOB_ID")
OF_OTHERS = frozenset(
    (STARTED_BY, *_TORCHRUN, "LOCAL_WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
)
"""Variables that say to a process that it is one of several."""


@dataclass(frozen=True)
class Rank:
    """One of `world` processes, counted from 0; `local` is its number among the `local_world` of the same machine."""

    number: int
    world: int
    local: int
    local_world: int
    address: str
    """Host where rank 0 listens (MASTER_ADDR)."""
    port: int
    started_by: str
    """What started them: "torchrun" or "srun"."""

    def environment(self) -> dict[str, str]:
        """The variables by which torch connects the processes."""
        return {
            "RANK": str(self.number), "WORLD_SIZE": str(self.world), "LOCAL_RANK": str(self.local),
            "LOCAL_WORLD_SIZE": str(self.local_world), "MASTER_ADDR": self.address, "MASTER_PORT": str(self.port),
            STARTED_BY: self.started_by,
        }  # fmt: skip


def rank_of(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """The rank that torchrun or srun has given this process; None if it was started alone.

    Raises UsageError for variables that are not numbers.
    """
    if all(environment.get(name) for name in _TORCHRUN):
        number, world, local = (_number(environment, name) for name in _TORCHRUN[:3])
        address, port = environment["MASTER_ADDR"], _number(environment, "MASTER_PORT")
        local_world = _number(environment, "LOCAL_WORLD_SIZE") if environment.get("LOCAL_WORLD_SIZE") else 1
        started_by = "torchrun"
    elif all(environment.get(name) for name in _SRUN):
        number, world, local = (_number(environment, name) for name in _SRUN[:3])
        address = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
        by_job = _FIRST_PORT + _number(environment, "SLURM_JOB_ID") % _PORTS
        port = _number(environment, "MASTER_PORT") if environment.get("MASTER_PORT") else by_job
        local_world = 1 if environment.get("SLURM_CPUS_PER_TASK") else _tasks_per_node(environment)
        started_by = "srun"
    else:
        return None
    return Rank(number, world, local, local_world, address, port, started_by) if world > 1 else None


def launched() -> Rank | None:
    """The rank of this engine process, if torchrun or srun has started it and others; None if crild did."""
    return rank_of() if STARTED_BY in os.environ else None


def first_host(hosts: str) -> str:
    """The first host of a SLURM list such as `node[07-10,12],login`: node07."""
    first = re.split(r",(?![^\[]*\])", hosts)[0]
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first)


def _tasks_per_node(environment: Mapping[str, str]) -> int:
    """Of `2(x3),1`: 2. With cores of its own for each task (SLURM_CPUS_PER_TASK) each counts as alone."""
    found = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    return int(found[0]) if found else 1


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except ValueError:
        sentence = f"the environment variable {name} is {environment[name]!r}, not a number"
        raise UsageError(sentence, kind="unreadable-rank") from None
