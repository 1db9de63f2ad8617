"""How hard the embedded toy tasks are: four layers against two, and how far 200 examples overfit.

For each task and seed a small BERT of four layers and one of two are trained from scratch on the same rows in the same
order, with the same settings; then one of four layers on the first 200 rows only. Figures are accuracy in percent, or
Pearson's correlation times 100. The summary says whether four layers win by 3 points and 200 examples overfit by 10
(train minus dev), both as means over the seeds. Results and their reading: docs/toy-tasks.md.

    python benchmarks/toy_difficulty.py [--task toy-entailment]... [--seeds 0,1,2] [--threads 2]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import source_tree  # noqa: F401 - before the product's packages
import torch
from transformers import BertConfig, BertForSequenceClassification

from engine.data.toy import toy_task
from engine.data.types import Example, TaskData
from engine.data.word_tokenizer import word_tokenizer

TASKS = ("toy-entailment", "toy-sentiment", "toy-similarity", "toy-switch")
FEW = 200
LAYERS_MARGIN, OVERFIT_MARGIN = 3.0, 10.0
WARMUP = 0.2


@dataclass(frozen=True)
class Settings:
    """The same for every model of a comparison; only its layers and rows differ."""

    hidden_size: int
    learning_rate: float
    steps: int
    few_steps: int
    batch_size: int = 64
    heads: int = 4
    initializer_range: float = 0.05  # nearer to 1 / sqrt(width) than BERT's 0.02, which is for a width of 768
    precision: str = "bf16"


@dataclass(frozen=True)
class Rows:
    """Token ids and token types as matrices `(examples, length)`, padded with 0, and labels `(examples,)`."""

    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor

    def take(self, index: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The model's inputs for these rows, padded to the longest of them, and their labels."""
        lengths = self.lengths[index]
        longest = int(lengths.max())
        mask = (torch.arange(longest)[None, :] < lengths[:, None]).long()
        inputs = {
            "input_ids": self.input_ids[index, :longest],
            "token_type_ids": self.token_type_ids[index, :longest],
            "attention_mask": mask,
        }
        return inputs, self.labels[index]


def encode(examples: Sequence[Example], tokenizer: Any, *, regression: bool) -> Rows:
    """Examples as rows of token ids."""
    pairs = None if examples[0].pair is None else [example.pair for example in examples]
    out = tokenizer([example.text for example in examples], pairs, padding=True, return_tensors="pt")
    labels = torch.tensor([example.label for example in examples], dtype=torch.float32 if regression else torch.int64)
    return Rows(out["input_ids"], out["token_type_ids"], out["attention_mask"].sum(1), labels)


def batches(lengths: torch.Tensor, batch_size: int, generator: torch.Generator) -> list[torch.Tensor]:
    """One epoch's batches: shuffled, those of a batch about equally long, the last partial one kept."""
    order = torch.randperm(len(lengths), generator=generator)
    chunks = [chunk[lengths[chunk].argsort(stable=True)] for chunk in torch.split(order, batch_size * 16)]
    parts = [part for chunk in chunks for part in torch.split(chunk, batch_size)]
    return [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]


def train(data: TaskData, rows: Rows, words: int, layers: int, steps: int, seed: int, settings: Settings) -> Any:
    """A BERT of so many layers, trained from scratch: AdamW, linear warm-up and decay, gradients clipped at 1."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=words,
        hidden_size=settings.hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.hidden_size,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=settings.initializer_range,
        num_labels=data.spec.outputs,
    )
    model: Any = BertForSequenceClassification(config).train()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    generator = torch.Generator().manual_seed(seed)
    queue: list[torch.Tensor] = []
    for _ in range(steps):
        queue = queue or batches(rows.lengths, settings.batch_size, generator)
        inputs, labels = rows.take(queue.pop())
        torch.autograd.backward(loss(model, inputs, labels, settings))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model


def _share(step: int, steps: int) -> float:
    """The learning rate at a step, as a share of its peak."""
    warm = max(1.0, WARMUP * steps)
    return min((step + 1) / warm, max(0.0, (steps - step) / max(1.0, steps - warm)))


def loss(model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Cross-entropy, or mean squared error for scores."""
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
        logits = model(**inputs).logits
    if labels.is_floating_point():
        return torch.nn.functional.mse_loss(logits[:, 0].float(), labels)
    return torch.nn.functional.cross_entropy(logits.float(), labels)


def measure(model: Any, rows: Rows) -> float:
    """Accuracy in percent, or Pearson's correlation times 100, in fp32."""
    model.eval()
    with torch.inference_mode():
        logits = torch.cat(
            [model(**rows.take(part)[0]).logits for part in torch.split(torch.arange(len(rows.labels)), 256)]
        )
    if not rows.labels.is_floating_point():
        return 100 * (logits.argmax(1) == rows.labels).double().mean().item()
    correlation = float(np.corrcoef(logits[:, 0].double().numpy(), rows.labels.double().numpy())[0, 1])
    return 0.0 if math.isnan(correlation) else 100 * correlation  # a constant prediction explains nothing


def run_task(name: str, seeds: Sequence[int], settings: Settings) -> None:
    """Measures one task and prints a line for each seed and a summary."""
    data = toy_task(name)
    regression = data.spec.kind == "regression"
    tokenizer = word_tokenizer(text for example in data.train for text in (example.text, example.pair or ""))
    rows = encode(data.train, tokenizer, regression=regression)
    dev = encode(data.dev["dev"], tokenizer, regression=regression)
    few = encode(data.train[:FEW], tokenizer, regression=regression)
    unit = "Pearson x 100" if regression else "accuracy %"
    print(f"{name}: {len(data.train)} train, {len(data.dev['dev'])} dev, {len(tokenizer)} words, {unit}", flush=True)
    wins, gaps = [], []
    for seed in seeds:
        figures, seconds = [], []
        for layers in (4, 2):
            began = time.perf_counter()
            model = train(data, rows, len(tokenizer), layers, settings.steps, seed, settings)
            seconds.append(time.perf_counter() - began)
            figures.append(measure(model, dev))
            print(
                f"    {name} seed {seed}, {layers} layers: {figures[-1]:.1f} ({seconds[-1]:.0f} s)",
                file=sys.stderr,
                flush=True,
            )
        model = train(data, few, len(tokenizer), 4, settings.few_steps, seed, settings)
        fit, held_out = measure(model, few), measure(model, dev)
        wins.append(figures[0] - figures[1])
        gaps.append(fit - held_out)
        print(
            f"  seed {seed}: 4 layers {figures[0]:5.1f} ({seconds[0]:.0f} s)   2 layers {figures[1]:5.1f} "
            f"({seconds[1]:.0f} s)   difference {wins[-1]:+5.1f}   {FEW} examples: train {fit:5.1f}, "
            f"dev {held_out:5.1f}, gap {gaps[-1]:+5.1f}",
            flush=True,
        )
    win, gap = float(np.mean(wins)), float(np.mean(gaps))
    print(
        f"  mean over {len(seeds)} seeds: 4 layers against 2 {win:+.1f} ({'ok' if win >= LAYERS_MARGIN else 'TOO LITTLE'}, "
        f"wanted {LAYERS_MARGIN:g}); overfit {gap:+.1f} ({'ok' if gap >= OVERFIT_MARGIN else 'TOO LITTLE'}, "
        f"wanted {OVERFIT_MARGIN:g})",
        flush=True,
    )


def main() -> None:
    """Reads the options and measures each task."""
    parser = argparse.ArgumentParser(description="How hard the embedded toy tasks are.")
    parser.add_argument("--task", action="append", choices=TASKS, help="may be repeated; all three when left out")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated training seeds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--few-steps", type=int, default=400, help="the same for the 200 examples")
    parser.add_argument("--initializer-range", type=float, default=0.05)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = Settings(
        hidden_size=options.hidden_size,
        learning_rate=options.learning_rate,
        steps=options.steps,
        few_steps=options.few_steps,
        batch_size=options.batch_size,
        initializer_range=options.initializer_range,
        precision=options.precision,
    )
    for name in options.task or TASKS:
        run_task(name, [int(seed) for seed in options.seeds.split(",")], settings)


if __name__ == "__main__":
    main()
