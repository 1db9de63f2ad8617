"""How time and memory of a training step grow with the work: a small model of the cost, checked on this machine.

    python benchmarks/scale.py [--quick] [--json]     # measure a grid of small steps, and print the model's errors
    python benchmarks/scale.py --study                # what a study with BERT-base costs on H100s, by the model; modelled

The model of a step's time on a CPU: needed operations over the machine's product rate, plus memory traffic over its
bandwidth; both are measured alone, and nothing is fitted. Traffic is that of the optimiser (weights, gradients and
moments), of the average, and of activations, each written and read. The model of memory: weights, gradients, moments, and
what the forward pass saves for the backward one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import source_tree  # noqa: F401 - before the product's packages
import torch
from side_by_side import CrildStep, encoder_of, make_settings, make_work, product_rate
from step import best_time, make_student
from step_flops import Encoder, step_flops
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from engine.data.tokens import TokenSet
from engine.launch.start import PACE, engine_environment
from engine.preset.load import load_preset
from engine.train import hardware
from engine.train.settings import student_stage

METHOD = "crild"
VOCABULARY = 4000


@dataclass(frozen=True)
class Point:
    """A step to measure: the teacher's layers (the student has half), its width, sentences in a batch and their length."""

    layers: int = 4
    width: int = 256
    batch: int = 16
    length: int = 32

    @property
    def heads(self) -> int:
        """Attention heads, of 32 each."""
        return self.width // 32


GRID: dict[str, tuple[int, ...]] = {
    "length": (16, 32, 64, 128),
    "layers": (2, 4, 8, 12),
    "width": (128, 256, 512, 768),
    "batch": (4, 16, 32, 64),
}
"""What varies, one after the other, around the default `Point`."""


def points(quick: bool) -> Iterator[tuple[str, Point]]:
    """The grid: the name of what varies, and the point."""
    for name, values in GRID.items():
        for value in values[:2] if quick else values:
            yield name, replace(Point(), **{name: value})


def make_teacher(point: Point) -> PreTrainedModel:
    """A BERT classifier with random weights."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=point.layers,
        hidden_size=point.width,
        num_attention_heads=point.heads,
        intermediate_size=4 * point.width,
    )
    return BertForSequenceClassification(config).eval().requires_grad_(False)


def make_tokens(point: Point) -> TokenSet:
    """Four batches of random sentences, all of one length."""
    rows = 4 * point.batch
    offsets = point.length * np.arange(rows + 1, dtype=np.int64)
    ids = np.random.default_rng(0).integers(1, VOCABULARY, offsets[-1], dtype=np.int32)
    labels = np.arange(rows) % 2
    return TokenSet(tuple(map(str, range(rows))), offsets, ids, np.zeros(len(ids), np.int8), labels, 0, f"{point}")


def saved_bytes(side: CrildStep, tokens: TokenSet) -> int:
    """What a step's forward pass saves for the backward one, weights left out."""
    weights = {parameter.data_ptr() for parameter in side.models.student.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = side.loss(make_work(side.stepper.settings, tokens.lengths)[0])
    del loss
    return sum(seen.values())


# -- the model


@dataclass(frozen=True)
class Machine:
    """What a machine can do, each measured alone."""

    rate: float
    """FLOP/s of matrix products."""
    bandwidth: float
    """Bytes read and written in a second."""


def layer_numbers(point: Point) -> int:
    """Numbers that a layer makes for each token: projections, scores, dropout masks, both parts of the feed-forward."""
    return 12 * point.width + 4 * 4 * point.width + 4 * point.heads * point.length


def modelled_memory(point: Point) -> int:
    """Bytes that a step's forward pass saves: of the student's layers, in fp32."""
    return 4 * (point.layers // 2) * point.batch * point.length * layer_numbers(point)


def state_bytes(teacher: Encoder, student: Encoder, vocabulary: int) -> int:
    """Bytes of weights: the teacher's once, the student's with gradient, two moments and average."""
    return 4 * teacher.parameters(vocabulary) + 20 * student.parameters(vocabulary)


def modelled_seconds(point: Point, flops: float, student: Encoder, machine: Machine) -> float:
    """Of one step."""
    update = 4 * student.parameters(VOCABULARY) * (1 + 4 + 3 + 3)  # norm; AdamW reads 4 and writes 3; the average 3
    tokens = point.batch * point.length
    # Each number is written and read in a forward; of the student twice more, for the backward pass.
    passes = point.layers + point.layers // 2 + 3 * (point.layers // 2)
    activations = 4 * 2 * passes * tokens * layer_numbers(point)
    return flops / machine.rate + (update + activations) / machine.bandwidth


def bandwidth(seconds: float = 0.5) -> float:
    """Bytes a second of a multiplication of a large tensor into another one, read and written."""
    source = torch.ones(16 << 20)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / best_time(lambda: torch.mul(source, 2.0, out=target), seconds)


def measure(quick: bool) -> dict[str, Any]:
    """The grid, measured and modelled."""
    settings = make_settings(METHOD, 32)
    found: list[dict[str, Any]] = []
    traffic = bandwidth()
    for name, point in points(quick):
        print(f"{name} {point} ...", file=sys.stderr, flush=True)
        teacher, tokens = make_teacher(point), make_tokens(point)
        own = replace(settings, batch_size=point.batch)
        side = CrildStep(teacher, make_student(teacher), tokens, own, "fp32")
        saved = saved_bytes(side, tokens)
        work = iter(range(10**6))
        seconds = best_time(lambda side=side, work=work: side.stepper.step(next(work) % 4), 0.2 if quick else 1.5)  # type: ignore[misc]
        above = encoder_of(teacher)
        below = replace(above, layers=above.layers // 2)
        flops = step_flops(own, above, below, np.full(point.batch, point.length))
        machine = Machine(product_rate(teacher, "fp32", point.batch * point.length // 32 or 1, 0.1), traffic)
        modelled = modelled_seconds(point, flops, below, machine)
        found.append(
            {
                "varies": name,
                "value": getattr(point, name),
                "milliseconds": 1e3 * seconds,
                "modelled_milliseconds": 1e3 * modelled,
                "error": modelled / seconds - 1,
                "saved_megabytes": saved / 1e6,
                "modelled_megabytes": modelled_memory(point) / 1e6,
                "memory_error": modelled_memory(point) / saved - 1,
                "gflop": flops / 1e9,
                "gflop_per_second": machine.rate / 1e9,
            }
        )
        side.losses.remove()
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "gigabytes_per_second": traffic / 1e9,
        "points": found,
        "median_error": statistics.median(abs(point["error"]) for point in found),
        "largest_error": max(abs(point["error"]) for point in found),
        "median_memory_error": statistics.median(abs(point["memory_error"]) for point in found),
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """The grid for a person, as Markdown."""
    yield (
        f"{METHOD} step in fp32, {result['threads']} threads, torch {result['torch']}, load {result['load']:.1f}; memory "
        f"traffic {result['gigabytes_per_second']:.1f} GB/s\n"
    )
    yield "| varies | value | GFLOP | ms | modelled | error | saved, MB | modelled | error |"
    yield "| --- " * 9 + "|"
    for point in result["points"]:
        yield (
            f"| {point['varies']} | {point['value']} | {point['gflop']:.1f} | {point['milliseconds']:.1f} | "
            f"{point['modelled_milliseconds']:.1f} | {point['error']:+.0%} | {point['saved_megabytes']:.0f} | "
            f"{point['modelled_megabytes']:.0f} | {point['memory_error']:+.0%} |"
        )
    yield (
        f"\nThe model's error: {result['median_error']:.0%} in the median, {result['largest_error']:.0%} at most; of "
        f"memory {result['median_memory_error']:.0%} in the median"
    )


# -- a large study, modelled

GLUE: dict[str, tuple[int, int]] = {
    "cola": (8551, 11),
    "mnli": (392702, 40),
    "mrpc": (3668, 53),
    "qnli": (104743, 50),
    "qqp": (363846, 31),
    "rte": (2490, 67),
    "sst2": (67349, 13),
    "stsb": (5749, 32),
    "wnli": (635, 37),
}
"""Training rows and mean tokens. Those of CoLA, MRPC, RTE and SST-2 were counted; the other means are assumed."""
STUDY = (
    "finetune", "kd", "mixkd", "pkd", "tinybert", "minilm", "minilmv2", "bert-emd", "ild-uniform", "ild-last", "crild",
    "crild-qkv", "crild-student", "crild-no-mixup", "crild-no-consistency", "crild-all-layers", "crild-supplementary",
    "crild-reference",
)  # fmt: skip
"""The methods of presets/study/glue.toml."""
_AS = {"crild-supplementary": "crild"}
"""Its stage has other data: as many rows of the same length."""
SEEDS = 5
BASE = Encoder(12, 768, 3072)
MEASURED = ((63.1e9, 32 / 11270), (502e9, 32 / 4474))
"""Operations and seconds of two CR-ILD steps on one H100 (docs/speed.md): MiniLM 6 → 3, BERT-base 12 → 6, batch 32."""
RUN_SECONDS = 15.0
"""Of a run besides its steps: libraries, models, first evaluation, graphs. Half of a run of 31 s was that."""
GPUS = (1, 8, 128)
"""One, a host of eight, sixteen such hosts."""


def gpu_seconds(flops: float) -> float:
    """Of a step on an H100: a constant part (launches, optimiser) and operations over a rate, through both measured points."""
    (small, quick), (large, slow) = MEASURED
    rate = (large - small) / (slow - quick)
    return max(quick - small / rate, 0.0) + flops / rate


def run_seconds(method: str, task: str) -> tuple[float, float]:
    """Seconds of the student's steps on one H100, and of its teacher's fine-tuning, which seeds and methods share."""
    rows, length = GLUE[task]
    preset = load_preset([_AS.get(method, method), task]).preset
    student = replace(BASE, layers=6)
    total = 0.0
    for stage in preset.stage:
        settings = student_stage(preset, stage, kind="regression" if task == "stsb" else "classification")
        longest = settings.pad_to or length
        lengths = np.full(settings.batch_size, longest)
        epochs = settings.epochs or 1.0
        flops = step_flops(settings, BASE, student, lengths, answer_epochs=max(epochs, 1.0))
        total += settings.total_steps(rows) * gpu_seconds(flops)
    tune = preset.teacher.finetune
    epochs = 0.0 if tune is None else tune.epochs
    teacher = 3 * BASE.forward(np.full(32, float(length)), ["labels"])
    return total, epochs * math.ceil(rows / 32) * gpu_seconds(teacher)


def study() -> Iterator[str]:
    """What nine tasks, eighteen methods and five seeds cost, as Markdown."""
    yield "Modelled, not measured: BERT-base 12 → 6 layers, bf16, on H100s, by two steps that were measured on one\n"
    yield "| task | rows | tokens | teacher, min | 18 methods, 5 seeds, GPU hours | longest run, h |"
    yield "| --- " * 6 + "|"
    jobs: list[float] = []
    for task, (rows, length) in GLUE.items():
        runs = {method: run_seconds(method, task) for method in STUDY}
        teacher = next(iter(runs.values()))[1]
        own = [RUN_SECONDS + seconds for seconds, _ in runs.values() for _ in range(SEEDS)]
        jobs += [*own, RUN_SECONDS + teacher]
        yield (
            f"| {task} | {rows:,} | {length} | {teacher / 60:.1f} | {(sum(own) + teacher) / 3600:.1f} | "
            f"{max(own) / 3600:.2f} |"
        )
    yield f"\n{len(jobs)} runs and teachers, {sum(jobs) / 3600:.0f} GPU hours. Longest first, one run on a GPU at a time:\n"
    yield "| GPUs | hours |"
    yield "| --- | --- |"
    for gpus in GPUS:
        yield f"| {gpus} | {schedule(jobs, gpus) / 3600:.1f} |"


def schedule(jobs: list[float], gpus: int) -> float:
    """Seconds until the last of the jobs ends, the longest started first; waiting for teachers left out."""
    free = [0.0] * gpus
    for job in sorted(jobs, reverse=True):
        index = free.index(min(free))
        free[index] += job
    return max(free)


def main() -> None:
    """Measure, or model, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="two values of each")
    parser.add_argument("--study", action="store_true", help="the cost of a large study, modelled; measures nothing")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores when left out")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    given = parser.parse_args()
    if given.study:
        print("\n".join(study()))
        return
    if not PACE.keys() <= os.environ.keys():  # read when a process starts: this one is as an engine process would be
        os.execve(sys.executable, [sys.executable, *sys.argv], engine_environment())
    hardware.set_threads(given.threads)
    result = measure(given.quick)
    print(json.dumps(result, indent=2) if given.json else "\n".join(table(result)))


if __name__ == "__main__":
    main()
