"""How many examples a second one CR-ILD training step makes, beside a plain baseline and the machine's own limit.

    python benchmarks/step.py [--shape minilm|base] [--model FOLDER] [--device cuda] [--threads 2] [--blocks 7] [--json]

Both sides train on the same sentences from the same weights, by the same objectives: attention and hidden states of
the last layer, mixup, consistency with an averaged self-teacher, one AdamW step. crild's side is the engine's own code.
The baseline is what one writes first: fp32, padded to 128, eager attention, all hidden states and attentions asked for,
everything recomputed, AdamW parameter by parameter. With dropout off and in fp32 both give the same loss, which is
checked before anything is timed. Sides alternate in short blocks, so that whatever else the machine does hits both; the
ratio is taken within each pair of blocks. On CUDA crild's step is measured as captured graphs, as it runs there, and
once more without.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import source_tree  # noqa: F401 - before the product's packages
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, PreTrainedModel

from engine.data.batches import Batch, collate, epoch_batches
from engine.data.tokens import TokenSet
from engine.distill import self_teacher
from engine.launch.start import PACE, engine_environment
from engine.preset.schema import Consistency, Mixup, Stage
from engine.train import hardware
from engine.train.graphs import Backward, CapturedBackward, own_stream, padded
from engine.train.optim import Optimiser
from engine.train.settings import StageSettings
from engine.train.step import Counts, Models, StepLosses, bound_terms
from engine.train.step_metrics import StepMetrics

PADDED = 128
"""Tokens that the baseline pads every sentence to."""
LENGTHS = (10, 50)
"""Shortest and longest sentence, in tokens."""
SENTENCES = 2048
BATCH = 32
_LAUNCHES = 100
"""Calls that are timed together on a GPU, where one alone would measure its launch."""
WARM = 24
"""Steps before the first that counts: a CPU's kernels are made at the first batch of each length."""
RATE, DECAY, CLIP, WEIGHT_DECAY, PULL = 3e-5, 0.999, 1.0, 0.01, 0.1
SHAPES: dict[str, tuple[int, int, int, int]] = {"minilm": (6, 384, 12, 1536), "base": (12, 768, 12, 3072)}
"""Layers, width, heads, feed-forward width of the teacher; the student has half the layers."""


# -- what both sides get


@dataclass(frozen=True)
class Work:
    """One step's input: rows of the sentences and the mixing share."""

    rows: npt.NDArray[np.int64]
    lam: float


def make_sentences(vocabulary: int, seed: int) -> TokenSet:
    """Random sentences of `LENGTHS` tokens; no token is padding (id 0)."""
    random = np.random.default_rng(seed)
    lengths = random.integers(LENGTHS[0], LENGTHS[1], SENTENCES, endpoint=True)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(1, vocabulary, offsets[-1], dtype=np.int32)
    types = np.zeros(offsets[-1], np.int8)
    return TokenSet(tuple(map(str, range(SENTENCES))), offsets, ids, types, None, 0, f"random {seed}")


def make_work(sentences: TokenSet, seed: int) -> Iterator[Work]:
    """The engine's own batches, epoch after epoch, with a λ each; the baseline gets the same ones."""
    random = np.random.default_rng(seed)
    order = [rows for epoch in range(4) for rows in epoch_batches(sentences.lengths, BATCH, [seed, epoch])]
    for rows in cycle(order):
        lam = float(random.beta(1, 1))
        yield Work(rows, max(lam, 1 - lam))


def make_teacher(shape: str, folder: Path | None, seed: int) -> PreTrainedModel:
    """A BERT classifier from a folder, or one of `SHAPES` with random weights (speed does not depend on them)."""
    if folder is not None:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder)
        if model.config.model_type != "bert":
            sys.exit(f"{folder} holds a {model.config.model_type} model; the baseline here is written for BERT")
        return model.eval().requires_grad_(False)
    layers, width, heads, intermediate = SHAPES[shape]
    torch.manual_seed(seed)
    config = BertConfig(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=intermediate
    )
    return BertForSequenceClassification(config).eval().requires_grad_(False)


def make_student(teacher: PreTrainedModel) -> PreTrainedModel:
    """The lower half of the teacher's layers."""
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = teacher.config.num_hidden_layers // 2
    student = BertForSequenceClassification(config)
    student.load_state_dict(teacher.state_dict(), strict=False)
    return student.to(teacher.device).requires_grad_(True).train()


def make_settings() -> StageSettings:
    """The CR-ILD stage as the engine knows it."""
    stage = Stage(
        name="ild",
        objectives={"attention": 1.0, "hidden": 1.0},
        layer_map="last",
        mixup=Mixup(),
        consistency=Consistency(weight=PULL, ramp="constant", decay=DECAY, warmup=False),
    )
    return StageSettings(
        name="ild", role="student", seed=0, kind="classification", stage=stage,
        mixup=stage.mixup or None, consistency=stage.consistency or None,
        temperature=1.0, epochs=1.0, fixed_steps=None, batch_size=BATCH, learning_rate=RATE, weight_decay=WEIGHT_DECAY,
        warmup=0.0, schedule="constant", clip=CLIP, accumulate=1, evaluate="epoch", keep_best=False, patience=None,
    )  # fmt: skip


# -- crild's side


class Engine:
    """One optimiser step as `engine.train.loop` takes it."""

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        sentences: TokenSet,
        precision: str,
        *,
        capture: bool = False,
    ):
        self.sentences, self.capture = sentences, capture
        settings, self.device = make_settings(), student.device
        average = copy.deepcopy(student).requires_grad_(False).eval()
        self.models = Models(student, copy.deepcopy(teacher), average)
        self.losses = StepLosses(
            settings,
            self.models,
            bound_terms(settings, student, teacher),
            autocast=_autocast(precision, self.device),
        )
        self.backward = (CapturedBackward if capture else Backward)(self.losses, self.device)
        self.optimiser = Optimiser([student], peak=RATE, weight_decay=WEIGHT_DECAY, clip=CLIP, capture=capture)
        self.window = StepMetrics(self.device)
        self.average = list(average.parameters())
        self.current = list(student.parameters())

    def loss(self, work: Work) -> Tensor:
        """The step's loss."""
        batch = collate(self.sentences, work.rows, pad_id=0).to(self.device)
        counts = Counts.of(self.sentences.lengths[work.rows], mixed=True)
        return self.losses(batch, counts, work.lam, PULL).total

    def step(self, work: Work) -> None:
        """Forward, backward, optimiser, average."""
        longest = padded(int(self.sentences.lengths[work.rows].max()), PADDED) if self.capture else None
        batch = collate(self.sentences, work.rows, pad_id=0, pad_to=longest)
        counts = Counts.of(self.sentences.lengths[work.rows], mixed=True)
        self.window.add(self.backward(batch, counts, work.lam, PULL), PULL)
        self.losses.end_step()
        norm = self.optimiser.step(RATE)
        self.window.step(norm, RATE, examples=len(work.rows), tokens=0)
        self_teacher.update_average(self.average, self.current, DECAY)


# -- the baseline


class Baseline:
    """The same step, written as one writes it first."""

    def __init__(self, teacher: PreTrainedModel, student: PreTrainedModel, sentences: TokenSet):
        self.sentences = sentences
        self.teacher, self.student = copy.deepcopy(teacher), student
        self.average = copy.deepcopy(student).requires_grad_(False).eval()
        for model in (self.teacher, self.student, self.average):
            model.set_attn_implementation("eager")
        self.adamw = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY, foreach=False)

    def loss(self, work: Work) -> Tensor:
        """Distillation on mixed inputs, and the pull towards the self-teacher on both clean ones."""
        batch = collate(self.sentences, work.rows, pad_id=0, pad_to=PADDED).to(self.student.device)
        other = batch.take(torch.arange(len(batch), device=self.student.device).flip(0))
        union = torch.maximum(batch.attention_mask, other.attention_mask)
        with torch.no_grad():
            target = _last_layer(self.teacher, batch, union, work.lam)
        student = _last_layer(self.student, batch, union, work.lam)
        loss = _attention(student, target, union) + _hidden(student, target, union)
        for clean, share in ((batch, work.lam), (other, 1 - work.lam)):
            with torch.no_grad():
                pull = _last_layer(self.average, clean, clean.attention_mask, None)
            mask = clean.attention_mask
            loss = loss + PULL * share * (_attention(student, pull, mask) + _hidden(student, pull, mask))
        return loss

    def step(self, work: Work) -> None:
        """Forward, backward, clipping, optimiser, average."""
        self.adamw.zero_grad()
        torch.autograd.backward(self.loss(work))
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), CLIP, foreach=False)
        self.adamw.step()
        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.student.parameters(), strict=True):
                mean.mul_(DECAY).add_(new, alpha=1 - DECAY)


@dataclass(frozen=True)
class _Shown:
    """Of the last layer: scores (batch, heads, query, key) and hidden states (batch, length, width)."""

    scores: Tensor
    hidden: Tensor


def _last_layer(model: PreTrainedModel, batch: Batch, mask: Tensor, lam: float | None) -> _Shown:
    """Run the whole model, with everything it can put out, and take what the objectives compare."""

    def mixed(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:  # noqa: ARG001
        return output if lam is None else lam * output + (1 - lam) * output.flip(0)

    hook = model.bert.embeddings.register_forward_hook(mixed)
    try:
        output = model(
            input_ids=batch.input_ids,
            attention_mask=mask,
            token_type_ids=batch.token_type_ids,
            output_hidden_states=True,
            output_attentions=True,
        )
    finally:
        hook.remove()
    layer = model.bert.encoder.layer[-1].attention.self
    size = layer.attention_head_size
    query, key = (
        part(output.hidden_states[-2]).unflatten(-1, (-1, size)).transpose(1, 2) for part in (layer.query, layer.key)
    )
    return _Shown(query @ key.transpose(2, 3) / size**0.5, output.hidden_states[-1])


def _attention(student: _Shown, target: _Shown, mask: Tensor) -> Tensor:
    """KL of the attention distributions, a mean over heads and real rows."""
    absent = (1.0 - mask[:, None, None, :].float()) * -1e9
    ours, theirs = F.log_softmax(student.scores + absent, -1), F.softmax(target.scores + absent, -1)
    rows = F.kl_div(ours, theirs, reduction="none").sum(-1).mean(1)
    return (rows * mask).sum() / mask.sum()


def _hidden(student: _Shown, target: _Shown, mask: Tensor) -> Tensor:
    """Mean squared error of hidden states over real tokens."""
    return ((student.hidden - target.hidden).square().mean(-1) * mask).sum() / mask.sum()


# -- measuring


def check(teacher: PreTrainedModel, sentences: TokenSet, work: Work) -> float:
    """How far the two sides' losses are apart, relatively, in fp32 without dropout. Stops the program above 1e-4."""
    student = make_student(teacher)
    ours = Engine(teacher, copy.deepcopy(student), sentences, "fp32")
    for module in ours.models.student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the consistency belongs to training mode, so that is where it stays
    plain = Baseline(teacher, student.eval(), sentences)
    for model in (ours.models.average, plain.average):
        assert model is not None
        torch.manual_seed(1)
        for parameter in model.parameters():  # a self-teacher that has moved, or the pull would be all zeros
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    with torch.no_grad():
        losses = float(ours.loss(work)), float(plain.loss(work))
    apart = abs(losses[0] - losses[1]) / abs(losses[1])
    if not apart < 1e-4:
        sys.exit(f"the two sides do not compute the same loss: {losses[0]:.6f} and {losses[1]:.6f}")
    return apart


def timed(step: Callable[[Work], None], work: Iterator[Work], steps: int) -> float:
    """Examples a second over so many steps."""
    parts = [next(work) for _ in range(steps)]
    settled()
    began = time.perf_counter()
    for part in parts:
        step(part)
    settled()
    return sum(len(part.rows) for part in parts) / (time.perf_counter() - began)


def settled() -> None:
    """Wait until a GPU, where there is one at work, has done what it was given."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def spread(values: list[float]) -> dict[str, float]:
    """Smallest, median and largest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def best_time(run: Callable[[], object], seconds: float = 0.25) -> float:
    """Seconds of the fastest of many calls: what the machine can do while nothing else disturbs it."""
    until, best = time.perf_counter() + seconds, float("inf")
    many = _LAUNCHES if torch.cuda.is_initialized() else 1  # type: ignore[no-untyped-call]
    run()
    while time.perf_counter() < until:
        settled()
        began = time.perf_counter()
        for _ in range(many):
            run()
        settled()
        best = min(best, (time.perf_counter() - began) / many)
    return best


@dataclass(frozen=True)
class Limit:
    """The least that a step can take here."""

    flops: float
    """Of a step: matrix products of teacher and self-teacher once, of the student three times."""
    rate: float
    """FLOP/s of these products at the step's shapes, each measured alone."""
    optimiser: float
    """Seconds that AdamW, norm and averaging take, measured alone."""

    def examples(self, *, optimiser: bool) -> float:
        """Examples a second if nothing else took time."""
        return BATCH / (self.flops / self.rate + (self.optimiser if optimiser else 0.0))


def limit(teacher: PreTrainedModel, sentences: TokenSet, precision: str, engine: Engine) -> Limit:
    """The physical limit of the step: model FLOPs over the measured throughput of the very products it is made of."""
    config = teacher.config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    batches = epoch_batches(sentences.lengths, BATCH, [0])
    own = np.mean([sentences.lengths[rows].sum() for rows in batches])
    union = np.mean([np.maximum(sentences.lengths[rows], sentences.lengths[rows][::-1]).sum() for rows in batches])
    student = layers // 2
    passes = layers * union + student * own + 3 * student * union  # layer passes over tokens
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    tokens = round(float(union))
    flops = seconds = 0.0
    for count, inputs, outputs in ((4, width, width), (1, width, inner), (1, inner, width)):
        x, w = (torch.randn(rows, inputs).to(engine.device, dtype) for rows in (tokens, outputs))
        once = best_time(lambda x=x, w=w: F.linear(x, w))  # type: ignore[misc]
        flops += count * 2 * inputs * outputs
        seconds += count * once / tokens
    rate = flops / seconds
    length = float(union) / BATCH
    flops += 4 * length * width  # QKᵀ and the weighted sum of values
    spent = best_time(lambda: _update_only(engine), 1.0)
    return Limit(float(flops * passes), rate, spent)


def _update_only(engine: Engine) -> None:
    for parameter in engine.current:
        if parameter.grad is None and not engine.capture:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in engine.current]
    engine.optimiser.step(0.0)
    self_teacher.update_average(engine.average, engine.current, DECAY)
    for parameter, gradient in zip(engine.current, gradients, strict=True):
        parameter.grad = gradient


def _autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    if precision == "bf16":
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed."""
    device = torch.device(options.device)
    with own_stream(device):
        return _measure(options, device)


def _measure(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    capture = device.type == "cuda"
    threads = hardware.set_threads(options.threads)
    precision = hardware.pick_precision(options.precision, device)
    teacher = make_teacher(options.shape, options.model, options.seed).to(device)
    sentences = make_sentences(teacher.config.vocab_size, options.seed)
    work = make_work(sentences, options.seed)
    apart = check(teacher, sentences, next(work))
    student = make_student(teacher)
    if capture:
        hardware.use_deterministic_kernels()
    engine = Engine(teacher, copy.deepcopy(student), sentences, precision, capture=capture)
    plain = Baseline(teacher, copy.deepcopy(student), sentences)
    sides = {"crild": (engine.step, 4), "baseline": (plain.step, 1)}
    if capture:
        sides["without graphs"] = (Engine(teacher, student, sentences, precision).step, 4)
    for step, _ in sides.values():
        timed(step, work, WARM)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.blocks):
        for name, (step, times) in sides.items():
            rates[name].append(timed(step, work, times * options.steps))
    found = limit(teacher, sentences, precision, engine)
    reached = max(rates["crild"])
    return {
        "model": str(options.model or options.shape),
        "teacher_layers": teacher.config.num_hidden_layers,
        "student_layers": student.config.num_hidden_layers,
        "batch": BATCH,
        "lengths": list(LENGTHS),
        "device": torch.cuda.get_device_name(device) if capture else "CPU",
        "threads": threads,
        "precision": precision,
        "torch": torch.__version__,
        "losses_apart": apart,
        "crild": spread(rates["crild"]),
        "baseline": spread(rates["baseline"]),
        "without_graphs": spread(rates["without graphs"]) if capture else None,
        "ratio": spread([ours / theirs for ours, theirs in zip(rates["crild"], rates["baseline"], strict=True)]),
        "limit": {
            "gflop_per_step": found.flops / 1e9,
            "gflop_per_second": found.rate / 1e9,
            "examples_per_second": found.examples(optimiser=False),
            "optimiser_ms": 1e3 * found.optimiser,
            "examples_per_second_with_optimiser": found.examples(optimiser=True),
            "reached": reached / found.examples(optimiser=False),
            "reached_with_optimiser": reached / found.examples(optimiser=True),
        },
    }


def told(result: dict[str, Any]) -> str:
    """The result for a person."""
    ours, plain, ratio, edge = result["crild"], result["baseline"], result["ratio"], result["limit"]
    eager = result["without_graphs"]
    return "\n".join(
        [
            f"CR-ILD step, {result['model']}, {result['teacher_layers']} → {result['student_layers']} layers, batch "
            f"{result['batch']}, {result['lengths'][0]} to {result['lengths'][1]} tokens, {result['device']}, "
            f"{result['threads']} threads, torch {result['torch']}",
            f"  crild ({result['precision']})   {ours['median']:8.1f} examples/s   ({ours['min']:.1f} to {ours['max']:.1f})",
            f"  plain baseline {plain['median']:8.1f} examples/s   ({plain['min']:.1f} to {plain['max']:.1f})",
            *(
                [f"  without graphs {eager['median']:8.1f} examples/s   ({eager['min']:.1f} to {eager['max']:.1f})"]
                if eager
                else []
            ),
            f"  ratio          {ratio['median']:8.2f}              ({ratio['min']:.2f} to {ratio['max']:.2f})",
            f"  limit: {edge['gflop_per_step']:.1f} GFLOP a step at {edge['gflop_per_second']:.0f} GFLOP/s "
            f"= {edge['examples_per_second']:.0f} examples/s; the best block reached {edge['reached']:.0%}",
            f"  with the optimiser's {edge['optimiser_ms']:.1f} ms: {edge['examples_per_second_with_optimiser']:.0f} "
            f"examples/s; reached {edge['reached_with_optimiser']:.0%}",
        ]
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--shape", choices=SHAPES, default="minilm", help="random weights of this shape")
    parser.add_argument("--model", type=Path, help="a folder with a BERT classifier or encoder instead")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto", help="of crild's side")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores when left out")
    parser.add_argument("--blocks", type=int, default=7, help="pairs of blocks, one of each side")
    parser.add_argument(
        "--steps", type=int, default=5, help="steps in a block of the baseline; crild takes 4 times as many"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    if not PACE.keys() <= os.environ.keys():  # read when a process starts: this one is as an engine process would be
        os.execve(sys.executable, [sys.executable, *sys.argv], engine_environment())
    result = measure(options)
    print(json.dumps(result, indent=2) if options.json else told(result))


if __name__ == "__main__":
    main()
