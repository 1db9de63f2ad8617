"""Measure the latency of models side by side, by the protocol in docs/latency.md.

Busy machines preempt a program for milliseconds at a time. So each forward pass of a CPU with one thread is timed by the
processor time of that thread, which stands still meanwhile; models take turns (A B B A), so that whatever else slows
the machine down (frequency, caches, other guests of a host) slows them alike; and ratios are taken within each round.
"""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from engine.evaluate.predict import takes_types
from engine.models.attention import choose_attention
from engine.record.latency import PROCESSOR, WALL, Latency, LatencyCase, ModelLatency, Quartiles
from engine.record.phases import Report, unreported

ROUNDS = 25
"""Rounds of a case, unless its time is up before."""
FEWEST = 5
"""Rounds that may take longer than the time of a case, up to `PATIENCE` times as long."""
PATIENCE = 3.0
WARM_PASSES = 3
TURN = 1 / 400
"""Shortest turn of a model, as a share of the time of a case."""
MOST_PASSES = 200
"""Passes of a turn."""


class Shape(NamedTuple):
    """Batch size, and tokens of each input."""

    batch: int
    length: int


class Pass(NamedTuple):
    """Seconds of one forward pass: by the protocol's clock, and on the wall."""

    measured: float
    wall: float


Round = Sequence[Sequence[Pass]]
"""The passes of each model in one round."""


def measure(
    models: Mapping[str, PreTrainedModel],
    shapes: Sequence[Shape],
    *,
    device: torch.device,
    threads: int = 1,
    seconds: float = 1.0,
    report: Report = unreported,
) -> Latency:
    """Time models, which are on `device`, side by side on random tokens; the first is the reference of the ratios.

    Takes about `seconds` for each shape after the warm-up; with slow models, up to `PATIENCE` times as long or one round.
    `report` is called before each pass. Each model must be able to read the longest inputs.
    """
    clock = time.thread_time if device.type == "cpu" and threads == 1 else time.perf_counter
    cases = []
    with _threads(threads), _prepared(models.values(), device), torch.inference_mode(), _full_precision(device):
        for shape in shapes:
            say = functools.partial(report, f"measuring latency at batch {shape.batch}")
            passes = [_timed(model, shape, device, clock, say) for model in models.values()]
            rounds = take_turns(passes, seconds)
            cases.append(summary(list(models), shape, rounds, waits=clock is time.thread_time))
    name = PROCESSOR if clock is time.thread_time else WALL
    return Latency(str(device), processor_name(device), threads, name, tuple(cases))


def take_turns(
    passes: Sequence[Callable[[], Pass]], seconds: float, now: Callable[[], float] = time.perf_counter
) -> list[Round]:
    """Warm each model up, then call them in turn: A B C C B A in each round.

    A model's turn is as many passes as take about as long as one pass of the slowest model, so that interruptions, which
    are evenly spread over time, hit all models alike.
    """
    typical = [_warm_up(run, seconds / len(passes), now) for run in passes]
    longest = max(TURN * seconds, *typical)
    counts = [min(MOST_PASSES, max(1, round(longest / max(each, 1e-9)))) for each in typical]
    turns = [*range(len(passes)), *reversed(range(len(passes)))]
    if 2 * longest * len(passes) > PATIENCE * seconds:
        turns = turns[: len(passes)]
    rounds: list[Round] = []
    start = now()
    while not _complete(len(rounds), now() - start, seconds):
        samples: list[list[Pass]] = [[] for _ in passes]
        for index in turns:
            samples[index] += [passes[index]() for _ in range(counts[index])]
        rounds.append(samples)
    return rounds


def _complete(rounds: int, elapsed: float, seconds: float) -> bool:
    if rounds < FEWEST:
        return rounds > 0 and elapsed >= PATIENCE * seconds
    return rounds >= ROUNDS or elapsed >= seconds


def _warm_up(run: Callable[[], Pass], seconds: float, now: Callable[[], float]) -> float:
    """Seconds of the last of a few passes, by the protocol's clock."""
    start = now()
    for _ in range(WARM_PASSES):
        last = run()
        if now() - start >= seconds:
            break
    return last.measured


def summary(names: Sequence[str], shape: Shape, rounds: Sequence[Round], *, waits: bool) -> LatencyCase:
    """Medians with quartiles: latencies over all passes, ratios over rounds.

    `waits` says whether the protocol's clock stands still while a pass waits for a processor.
    """
    means = np.array([[np.mean([each.measured for each in passes]) for passes in one] for one in rounds])
    models = []
    for index, name in enumerate(names):
        passes = [each for one in rounds for each in one[index]]
        milliseconds = quartiles([1000 * each.measured for each in passes])
        ratio = quartiles(means[:, 0] / np.maximum(means[:, index], 1e-12))
        wall = 1000 * float(np.median([each.wall for each in passes]))
        models.append(ModelLatency(name, milliseconds, len(passes), ratio, wall))
    waited = None
    if waits:
        every = [each for one in rounds for passes in one for each in passes]
        wall = sum(each.wall for each in every)
        waited = max(0.0, 1 - sum(each.measured for each in every) / wall) if wall > 0 else 0.0
    return LatencyCase(shape.batch, shape.length, len(rounds), tuple(models), waited)


def quartiles(values: Sequence[float] | np.ndarray) -> Quartiles:
    """The quartiles of one value or more, interpolated."""
    low, median, high = np.percentile(np.asarray(values, np.float64), [25, 50, 75])
    return Quartiles(float(median), float(low), float(high))


def _timed(
    model: PreTrainedModel, shape: Shape, device: torch.device, clock: Callable[[], float], say: Callable[[], None]
) -> Callable[[], Pass]:
    """A forward pass that takes its own time."""
    inputs = _inputs(model, shape, device)
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device.type)

    def run() -> Pass:
        say()
        if wait is not None:
            wait()
        on_the_wall, start = time.perf_counter(), clock()
        model(**inputs)
        if wait is not None:
            wait()
        return Pass(clock() - start, time.perf_counter() - on_the_wall)

    return run


def _inputs(model: PreTrainedModel, shape: Shape, device: torch.device) -> dict[str, torch.Tensor]:
    """Random tokens of a model's vocabulary without padding, the same for each call."""
    tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, size=shape)
    padding = model.config.pad_token_id
    if padding is not None:
        tokens[tokens == padding] = (padding + 1) % model.config.vocab_size
    ids = torch.from_numpy(tokens).to(device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**inputs, "token_type_ids": torch.zeros_like(ids)} if takes_types(model) else inputs


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Inside the block, torch computes with this many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _prepared(models: Iterable[PreTrainedModel], device: torch.device) -> Iterator[None]:
    """Inside the block, models are in evaluation mode and use the attention that is fastest in fp32."""
    before = [(model, model.training, model.config._attn_implementation) for model in models]
    try:
        for model, _, _ in before:
            model.eval()
            choose_attention(model, device, "fp32")
        yield
    finally:
        for model, training, attention in before:
            model.train(training)
            if model.config._attn_implementation != attention:
                model.set_attn_implementation(attention)


def _full_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)


def processor_name(device: torch.device) -> str:
    """The model of a device, as its maker or the system calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), "") or platform.processor() or platform.machine() or "unknown"
