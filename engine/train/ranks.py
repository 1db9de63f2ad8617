"""Processes that share the steps of a run.

Rank 0 is the engine: it alone reads data, decides and writes. The other ranks follow it: they get the models and inputs of
a stage, take part in its steps and evaluations, and hold the same weights after each. `torch.distributed` connects them, gloo on
CPUs, NCCL between GPUs. Rank 0 starts the others on its machine, unless torchrun or srun has started all
(`engine/launch/rank.py`).
"""

from __future__ import annotations

import ctypes
import datetime
import enum
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from engine.errors import CrildError, RunError
from engine.launch.rank import STARTED_BY, launched
from engine.launch.start import engine_environment, process_command
from engine.record.files import cause
from engine.record.inventory import PROCESSES
from engine.record.paths import cache_dir
from engine.record.removal import OpenFolder

NO_TIMEOUT = datetime.timedelta(days=30)
"""Followers wait while rank 0 saves or prepares a stage. A lost process is noticed by its closed connection."""
SILENT_FOR = datetime.timedelta(minutes=30)
"""So long rank 0 waits for processes that others started: a machine that lost its power closes no connection."""
CONNECT_WITHIN = datetime.timedelta(minutes=10)
"""So long processes that others started may take to connect."""
_FOLDER = "CRILD_PROCESSES"
"""Environment variable: the folder through which the processes of a run find one another."""
_PR_SET_PDEATHSIG = 1
_DIED_WITHIN = 10.0
"""Seconds that a process may take to exit after its connection is closed."""


class Order(enum.IntEnum):
    """What rank 0 lets its followers do next."""

    STEP = 0
    """Take the optimiser step of this number."""
    READ = 1
    """Sum the metrics of the steps since the last read."""
    LOAD = 2
    """Receive the state of a checkpoint."""
    EVALUATE = 3
    """Take part in an evaluation on dev."""
    END = 4
    """Leave the stage."""


@dataclass
class Waits:
    """Seconds that this process has waited for others."""

    seconds: float = 0.0


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, seen from one of them. A run of one process has nothing to share: every method returns at
    once.

    Raises RunError, in all methods, when another process was lost.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    """The rank among the processes of this machine."""
    local_world: int = 1
    """The processes of this machine."""
    followers: tuple[subprocess.Popen[bytes], ...] = ()
    """Those that rank 0 started, in the order of their ranks from 1."""
    waits: Waits = field(default_factory=Waits, compare=False)

    @property
    def several(self) -> bool:
        """Whether there is more than one process."""
        return self.world > 1

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make each gradient the sum of those of all processes; a parameter without one anywhere stays without.

        One message for all of them. A process whose share of the batch is empty has no gradients, and adds nothing.
        """
        if not self.several:
            return
        has = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([part.reshape(-1).float() for part in parts] + [has])
        self.together(lambda: distributed.all_reduce(flat))
        start = 0
        for p, anywhere in zip(parameters, flat[-len(parameters) :].tolist(), strict=True):
            if anywhere:
                own = flat[start : start + p.numel()].view_as(p)
                if p.grad is None:
                    p.grad = own.to(p.dtype).clone()
                else:
                    p.grad.copy_(own)
            start += p.numel()

    def sum(self, values: Tensor) -> Tensor:
        """The sum of the values of all processes, in the tensor itself."""
        if self.several:
            self.together(lambda: distributed.all_reduce(values))
        return values

    def table(self, own: Sequence[float]) -> list[list[float]]:
        """The numbers of each process, in the order of ranks."""
        rows = torch.zeros(self.world, len(own), dtype=torch.float64)
        rows[self.rank] = torch.tensor(own, dtype=torch.float64)
        table: list[list[float]] = self.sum(rows).tolist()
        return table

    def tell(self, order: Order, number: int = 0) -> None:
        """Give the followers an order (rank 0)."""
        if self.several:
            self.together(lambda: distributed.broadcast(torch.tensor([order, number]), 0))

    def hear(self) -> tuple[Order, int]:
        """Wait for an order (followers)."""
        heard = torch.zeros(2, dtype=torch.int64)
        self.together(lambda: distributed.broadcast(heard, 0))
        order, number = heard.tolist()
        return Order(order), number

    def send(self, value: object) -> None:
        """Send anything that can be pickled to the followers (rank 0); tensors arrive on their device."""
        if not self.several:
            return
        buffer = io.BytesIO()
        torch.save(value, buffer)
        content = torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)
        self.together(lambda: distributed.broadcast(torch.tensor([len(content)]), 0))
        self.together(lambda: distributed.broadcast(content, 0))

    def receive(self, device: torch.device | None = None) -> Any:
        """What rank 0 sends (followers)."""
        size = torch.zeros(1, dtype=torch.int64)
        self.together(lambda: distributed.broadcast(size, 0))
        content = torch.empty(int(size), dtype=torch.uint8)
        self.together(lambda: distributed.broadcast(content, 0))
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location=device, weights_only=False)

    def together(self, collective: Callable[[], object]) -> None:
        """Do what all processes do at once."""
        began = time.monotonic()
        try:
            collective()
        except RuntimeError as error:
            raise self._lost(error) from error
        finally:
            self.waits.seconds += time.monotonic() - began

    def _lost(self, error: RuntimeError) -> CrildError:
        codes = self._exit_codes()
        if codes:  # one that was killed comes first: the others end because its connection is closed
            rank, code = min(codes.items(), key=lambda item: (item[1] > 0, item[0]))
            return _process_lost(rank, self.world, code)
        reason = next(iter(str(error).splitlines()), "")
        sentence = f"the connection to another process of this run was lost ({reason}); the last checkpoint is good"
        return RunError(sentence, kind="connection-lost")

    def _exit_codes(self) -> dict[int, int]:
        """The exit codes of the followers that have ended, by rank, once there are some; none after `_DIED_WITHIN`."""
        until = time.monotonic() + _DIED_WITHIN
        while True:
            ended = {rank: code for rank, each in enumerate(self.followers, 1) if (code := each.poll()) is not None}
            if ended or not self.followers or time.monotonic() >= until:
                return ended
            time.sleep(0.05)


def _process_lost(rank: int, world: int, code: int) -> RunError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    sentence = (
        f"process {rank} of {world} {how}; the last checkpoint is good. If memory ran out, use fewer processes or a "
        "smaller batch, then run crild resume"
    )
    return RunError(sentence, kind="process-lost")


ALONE = Ranks()
"""One process."""


@contextmanager
def leading(processes: int) -> Iterator[Ranks]:
    """Connect the followers of a run of several processes; they end with the block.

    Those that torchrun or srun has started are all that take part; without them, starts `processes` on this machine.
    Raises RunError when one cannot be started or connected.
    """
    if (own := launched()) is not None:
        ranks = Ranks(0, own.world, own.local, own.local_world)
        try:
            ranks.together(lambda: _connect(ranks))
            yield ranks
            ranks.send(None)
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()
        return
    if processes == 1:
        yield ALONE
        return
    started: list[subprocess.Popen[bytes]] = []
    place: dict[str, str] = {}
    with _folder() as folder:
        try:
            for rank in range(1, processes):
                environment = {**engine_environment(), **_place(rank, processes, folder)}
                command = process_command("worker", "follow")
                started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment))
            place = _place(0, processes, folder)
            os.environ.update(place)
            ranks = Ranks(0, processes, 0, processes, tuple(started))
            ranks.together(lambda: _connect(ranks))
            yield ranks
        finally:
            for process in started:
                process.kill()
            for process in started:
                process.wait()
            for name in place:
                os.environ.pop(name, None)
            if distributed.is_initialized():
                distributed.destroy_process_group()


@contextmanager
def _folder() -> Iterator[str]:
    """A temporary folder of the user's alone, since its content gives orders. What a kill leaves is removed by the next run."""
    with ExitStack() as until_the_end:
        try:
            cache_dir().mkdir(parents=True, exist_ok=True)
            processes = until_the_end.enter_context(OpenFolder.at(cache_dir(), PROCESSES, create=True))
            folder = until_the_end.enter_context(processes.temporary_folder("connection"))
            os.fchmod(folder.handle, 0o700)
        except OSError as error:
            sentence = f"processes cannot be connected: {cause(error)}; CRILD_CACHE_DIR names another folder"
            raise RunError(sentence, kind="cannot-connect-processes", file=str(cache_dir() / PROCESSES)) from error
        yield str(folder.path)


def following() -> Ranks:
    """Connect this process as the rank that its environment names. Raises RunError when rank 0 cannot be reached."""
    number, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    ranks = Ranks(number, world, local)
    ranks.together(lambda: _connect(ranks))
    return ranks


def _connect(ranks: Ranks) -> None:
    """Meet the other processes. Rank 0 first waits in Python until all have started, so that a request to stop and a
    process that ends at once are noticed."""
    store = _store(ranks)
    if ranks.rank:
        store.set(_started(ranks.rank), "1")
    else:
        _await_start(ranks, store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = SILENT_FOR if STARTED_BY in os.environ and not ranks.rank else NO_TIMEOUT
    distributed.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.world, timeout=timeout)


def _store(ranks: Ranks) -> Store:
    """Where the processes find one another's addresses: a file, or a server of torchrun's or of rank 0."""
    if STARTED_BY not in os.environ:
        return FileStore(os.path.join(os.environ[_FOLDER], "store"), ranks.world)  # noqa: PTH118
    serves = ranks.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    server = TCPStore(
        host, port, ranks.world, is_master=serves, wait_for_workers=False, multi_tenant=True, timeout=CONNECT_WITHIN
    )
    return PrefixStore("crild", server)


def _await_start(ranks: Ranks, store: Store) -> None:
    """Wait until all have started. Raises RunError when one has ended, or doesn't come."""
    until = time.monotonic() + CONNECT_WITHIN.total_seconds()
    while missing := [rank for rank in range(1, ranks.world) if not store.check([_started(rank)])]:
        for rank, process in enumerate(ranks.followers, 1):
            if (code := process.poll()) is not None:
                raise _process_lost(rank, ranks.world, code)
        if STARTED_BY in os.environ and time.monotonic() >= until:
            named = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
            sentence = (
                f"{len(missing)} of {ranks.world} processes did not connect within "
                f"{CONNECT_WITHIN.total_seconds() / 60:g} minutes (ranks {named}): their own output may say why"
            )
            raise RunError(sentence, kind="ranks-missing")
        time.sleep(0.05)


def _started(rank: int) -> str:
    return f"started/{rank}"


def _place(rank: int, world: int, folder: str) -> dict[str, str]:
    """The variables by which Accelerate and a follower know a process's place among those of one machine.

    Gloo listens on the loopback interface only.
    """
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
        "GLOO_SOCKET_IFNAME": loopback, _FOLDER: folder,
    }  # fmt: skip


def die_with_parent() -> None:
    """Let the system kill this process when the one that started it ends (Linux); elsewhere the connection tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
