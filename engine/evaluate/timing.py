"""Measure a model's speed: the latency of one sentence and the throughput of many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import collate
from engine.data.tokens import TokenSet
from engine.evaluate.predict import inputs_of, takes_types
from engine.record.phases import Report, unreported

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Speed:
    """Measured in fp32, without gradient, on the device of the run, on sentences of the dev set."""

    latency_ms: float
    """Median milliseconds for one sentence of median length."""
    throughput: float
    """Sentences per second in batches of 32 in random order."""


def measure(
    model: Any,
    tokens: TokenSet,
    *,
    device: torch.device,
    pad_id: int,
    seconds: float = 0.5,
    report: Report = unreported,
    phase: str = "measuring the speed",
) -> Speed:
    """Time a model for about `seconds` on each figure, after a warm-up; `report` is called between forward passes."""
    types = takes_types(model)

    def batch_of(rows: npt.NDArray[np.int64]) -> Inputs:
        return inputs_of(collate(tokens, rows, pad_id=pad_id).to(device), types=types)

    order = np.argsort(tokens.lengths, kind="stable")
    single = batch_of(order[len(order) // 2 :][:1])
    rows = np.random.default_rng(0).permutation(len(tokens))[: 32 * 16]
    many = [batch_of(rows[start : start + 32]) for start in range(0, len(rows), 32)]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            latencies = _times(model, [single], device, seconds, partial(report, phase))
            times = _times(model, many, device, seconds, partial(report, phase))
    finally:
        model.train(training)
    timed = [len(many[index % len(many)]["input_ids"]) for index in range(len(times))]
    return Speed(1000 * float(np.median(latencies)), sum(timed) / sum(times))


def _times(
    model: Any, batches: list[Inputs], device: torch.device, seconds: float, between: Callable[[], None]
) -> list[float]:
    times: list[float] = []
    for _ in range(3):
        between()
        _once(model, batches[0], device)
    until = time.perf_counter() + seconds
    while not times or (time.perf_counter() < until and len(times) < 1000):
        between()
        times.append(_once(model, batches[len(times) % len(batches)], device))
    return times


def _once(model: Any, inputs: Inputs, device: torch.device) -> float:
    start = time.perf_counter()
    model(**inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
