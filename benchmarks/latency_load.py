"""How far the ratio of two latencies moves when other programs keep the machine busy.

    python benchmarks/latency_load.py [--loads 0,2,8] [--repeats 3] [--layers 6,3] [--hidden 384] [--json]

Two models with random weights are measured by the protocol of docs/latency.md while 0, 2 and 8 busy loops run, the loads
in turn. Beside the ratio of the protocol stands that of the medians on the wall, of the same passes. Prints ratios only;
whatever else runs on the machine adds to every load. The exit code is 1 if the ratio at a load is 10 % or more from that
at the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import source_tree  # noqa: F401 - before the product's packages
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from engine.evaluate.timing import Shape, measure

LIMIT = 0.10


def model_of(layers: int, hidden: int) -> PreTrainedModel:
    """A BERT with random weights."""
    config = BertConfig(
        vocab_size=1000, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=max(1, hidden // 32),
        intermediate_size=4 * hidden,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many other programs that compute without a pause."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def ratios(models: list[PreTrainedModel], shape: Shape, seconds: float) -> tuple[float, float, float]:
    """Ratio of the protocol, ratio of medians on the wall, and the share of time spent waiting."""
    named = {str(index): model for index, model in enumerate(models)}
    (case,) = measure(named, [shape], device=torch.device("cpu"), seconds=seconds).cases
    first, second = case.models
    return second.ratio.median, (first.wall_ms or 0.0) / (second.wall_ms or 1.0), case.waited or 0.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loads", default="0,2,8", help="busy loops")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", default="6,3", help="of the reference and of the other model")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    models = [model_of(int(layers), options.hidden) for layers in options.layers.split(",")]
    shape = Shape(options.batch, options.length)
    loads = [int(load) for load in options.loads.split(",")]
    found: dict[int, list[tuple[float, float, float]]] = {load: [] for load in loads}
    for _ in range(options.repeats):
        for load in loads:
            with busy_loops(load):
                found[load].append(ratios(models, shape, options.seconds))
    rows = {load: [statistics.median(values) for values in zip(*found[load], strict=True)] for load in loads}
    first, first_wall, _ = rows[loads[0]]
    moved = {load: (row[0] / first - 1, row[1] / first_wall - 1) for load, row in rows.items()}
    if options.json:
        names = ("ratio", "wall_ratio", "waited")
        print(json.dumps({load: dict(zip(names, row, strict=True)) for load, row in rows.items()}))
    else:
        print("busy loops   waited   ratio   moved   medians on the wall   moved")
        for load, (ratio, wall, waited) in rows.items():
            own, on_the_wall = moved[load]
            print(f"{load:10}   {waited:6.0%}   {ratio:5.2f}   {own:+5.1%}   {wall:19.2f}   {on_the_wall:+5.1%}")
    return int(any(abs(own) >= LIMIT for own, _ in moved.values()))


if __name__ == "__main__":
    sys.exit(main())
