"""Sums over the steps between two points of the curves, kept on the device until a point is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch import Tensor

from engine.train.step import Losses


class Window:
    """Gathers what a `step` event says; `read` is the only place that waits for the device."""

    def __init__(self, device: torch.device):
        self.device = device
        self._clear()

    def add(self, losses: Losses, consistency_weight: float) -> None:
        """One micro-batch."""
        self._sum("loss", losses.total)
        for name, value in losses.terms.items():
            self._sum(f"term.{name}", value)
        if losses.consistency is not None:
            self._sum("consistency", losses.consistency)
            self.consistency_weight = consistency_weight

    def step(self, norm: Tensor, rate: float, *, examples: int, tokens: int) -> None:
        """The end of an optimiser step: gradient norm before clipping, learning rate, real examples and tokens."""
        self._sum("norm", norm)
        self.rate = rate
        self.steps += 1
        self.examples += examples
        self.tokens += tokens

    def read(self) -> dict[str, Any] | None:
        """Means over the steps since the last reading, as a `step` event has them; None when there were none."""
        if not self.steps:
            return None
        values = torch.stack([value.float() for value in self.sums.values()]).tolist()
        means = {name: value / self.steps for name, value in zip(self.sums, values, strict=True)}
        seconds = max(time.monotonic() - self.began, 1e-9)
        reading: dict[str, Any] = {
            "loss": means["loss"],
            "terms": {name[5:]: value for name, value in means.items() if name.startswith("term.")},
            "learning_rate": self.rate,
            "gradient_norm": means["norm"],
            "examples_per_second": round(self.examples / seconds, 2),
            "tokens_per_second": round(self.tokens / seconds, 1),
            "memory": memory(self.device),
        }
        if "consistency" in means:
            reading["consistency"] = means["consistency"]
            reading["consistency_weight"] = self.consistency_weight
        self._clear()
        return reading

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Something that isn't training: its time is left out of the rates."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.began += time.monotonic() - began

    def _sum(self, name: str, value: Tensor) -> None:
        value = value.detach()  # a captured step writes the next one's into the same place
        self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()

    def _clear(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = self.examples = self.tokens = 0
        self.rate = self.consistency_weight = 0.0
        self.began = time.monotonic()


def memory(device: torch.device) -> int:
    """Bytes: the most that was allocated on a CUDA device, or what this process holds in RAM."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
