"""Sum the metrics of steps between two step events, on the device until an event is written."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from engine.train.selection import Chosen
from engine.train.step import Losses


class StepMetrics:
    """Sums what a `step` event reports; only `read` waits for the device."""

    def __init__(self, device: torch.device):
        self.device = device
        self.clear()

    def add(self, losses: Losses, consistency_weight: float) -> None:
        """One micro-batch."""
        _add(self.sums, "loss", losses.total)
        for name, value in losses.terms.items():
            _add(self.terms, name, value)
        if losses.consistency is not None:
            _add(self.sums, "consistency", losses.consistency)
            self.consistency_weight = consistency_weight

    def step(self, norm: Tensor, rate: float, *, examples: int, tokens: int) -> None:
        """The end of an optimiser step: gradient norm before clipping, learning rate, real examples and tokens."""
        _add(self.sums, "norm", norm)
        self.rate = rate
        self.steps += 1
        self.examples += examples
        self.tokens += tokens

    def chose(self, found: Chosen) -> None:
        """What a step chose of its candidates."""
        self.candidates += len(found.compared)
        self.chosen += len(found.worst)
        self.divergences += (float(found.worst.sum()), float(found.compared.sum()))

    def share(self, terms: Iterable[str], total: Callable[[Tensor], Tensor], *, consistency: bool) -> None:
        """Replace each sum of losses by that of all processes. `total` sums a tensor over them, in place.

        Processes whose share of the batches was empty have no losses: `terms` and `consistency` say which there are.
        """
        names = ["loss", *(["consistency"] if consistency else [])]
        named = [*((self.sums, name) for name in names), *((self.terms, name) for name in terms)]
        nothing = torch.zeros((), device=self.device)
        values = total(torch.stack([sums.get(name, nothing).float() for sums, name in named]))
        for (sums, name), value in zip(named, values.unbind(), strict=True):
            sums[name] = value

    def read(self) -> dict[str, Any] | None:
        """Means over the steps since the last read, as a `step` event has them; None if there were no steps."""
        if not self.steps:
            return None
        sums = [*self.sums.values(), *self.terms.values()]
        values = [value / self.steps for value in torch.stack([value.float() for value in sums]).tolist()]
        means = dict(zip(self.sums, values, strict=False))
        seconds = self.seconds
        metrics: dict[str, Any] = {
            "loss": means["loss"],
            "terms": dict(zip(self.terms, values[len(self.sums) :], strict=True)),
            "learning_rate": self.rate,
            "gradient_norm": means["norm"],
            "examples_per_second": round(self.examples / seconds, 2),
            "tokens_per_second": round(self.tokens / seconds, 1),
            "memory": memory(self.device),
        }
        if "consistency" in means:
            metrics["consistency"] = means["consistency"]
            metrics["consistency_weight"] = self.consistency_weight
        if self.candidates:
            metrics |= {"candidates": self.candidates, "chosen": self.chosen}
            metrics["divergence"], metrics["candidates_divergence"] = (
                self.divergences / (self.chosen, self.candidates)
            ).tolist()
        self.clear()
        return metrics

    @property
    def seconds(self) -> float:
        """Seconds of training since the last read."""
        return max(time.monotonic() - self.began, 1e-9)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that isn't training: left out of the rates."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.began += time.monotonic() - began

    def clear(self) -> None:
        """Begin a new sum."""
        self.sums: dict[str, Tensor] = {}
        self.terms: dict[str, Tensor] = {}
        self.steps = self.examples = self.tokens = 0
        self.rate = self.consistency_weight = 0.0
        self.candidates = self.chosen = 0
        self.divergences = np.zeros(2)
        """Sums over the chosen, and over all candidates."""
        self.began = time.monotonic()


def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    value = value.detach()  # a captured step writes the next value into the same memory
    sums[name] = sums[name] + value if name in sums else value.clone()


def peak_memory(device: torch.device) -> int:
    """Bytes: the most so far that was allocated on a CUDA device, or that this process had in RAM."""
    if device.type == "cuda":
        return memory(device)
    try:  # Linux; the figure of getrusage there includes what the parent had when it started this process
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def memory(device: torch.device) -> int:
    """Bytes: the peak allocated on a CUDA device, or what this process uses in RAM."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
