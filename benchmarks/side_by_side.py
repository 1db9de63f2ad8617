"""crild's training step beside a plain one, and beside what other tools offer: ratios, and the share of the machine's limit.

    make bench                                # in an environment of its own, .venv-bench, with the other tools
    python benchmarks/side_by_side.py [--quick] [--shapes minilm base] [--methods crild kd] [--json]

All sides train the same models from the same weights on the same sentences, whose lengths are those of GLUE tasks
(`length_profiles.py`), in fp32 or, crild and the Trainer, in bf16 where the machine has it. They alternate in short
blocks, so that other work on the machine slows all of them; ratios are taken within each round. Before a method is timed,
all sides compute its loss in fp32 without dropout on one batch: a side whose loss is another one is left out, with the
reason.

crild's side is the engine's `Stepper` with the stage of the shipped preset. The plain side (`plain_step.py`) is padded to
128, so its time does not depend on the task, and each round measures it once. A block is a few steps on batches that are
typical of an epoch: their tokens with padding are as many as in the mean.

KD is over four epochs: crild and TextBrewer keep the teacher's answers, so each step carries a quarter of the teacher's
pass. The limit counts the products that a step needs (real tokens, layers that are read; of the student three times as
many, for the backward pass) at the fastest rate that the products of the model's own linear layers reached in this run.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import source_tree  # noqa: F401 - before the product's packages
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from length_profiles import PROFILES, make_sentences
from plain_step import PlainStep, Work
from rivals import RIVALS, Rival, RivalUnavailableError
from step import SHAPES, best_time, make_student, settled, spread
from step_flops import Encoder, step_flops
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, PreTrainedModel

from engine.data.batches import POOL, collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.distill import consistency, mixup, self_teacher
from engine.distill.activations import ActivationSpec
from engine.launch.start import PACE, engine_environment
from engine.models.attention import choose_attention
from engine.models.partial_encoder import PartialEncoder
from engine.preset.load import load_preset
from engine.train import hardware, seeding
from engine.train.graphs import own_stream
from engine.train.row_order import batches_of
from engine.train.settings import StageSettings, student_stage
from engine.train.step import Counts, Models, StepLosses, bound_terms
from engine.train.stepper import Stepper
from engine.train.teacher_logits import BATCH

METHODS = {
    "finetune": "fine-tuning (labels)",
    "kd": "KD (logits), four epochs",
    "ild-last": "ILD, last layer",
    "ild-uniform": "ILD, uniform layers",
    "crild": "CR-ILD (mixup, consistency)",
    "minilmv2": "MiniLMv2 relations",
}
"""Shipped methods whose first stage is measured, with their titles."""
RIVAL_METHODS = {"minilm": ("kd", "ild-last"), "base": ("ild-last",)}
"""Methods for which other tools are measured, by shape, unless `--rivals` names others."""
ROUNDS, STEPS = {"minilm": 3, "base": 1}, {"minilm": 2, "base": 1}
"""Rounds that count, and steps of crild in a block, by shape: a round of BERT-base takes minutes on two cores."""
EPOCHS = 4
"""Of a KD stage: the teacher's pass over the data is shared by so many."""
TOLERANCE = 1e-5
"""Largest relative distance of two sides' losses in fp32."""
BF16_TOLERANCE = 2e-2
"""As above, of crild's loss in bf16 from the one in fp32."""
_SPREAD = 8.0
"""Times as large as random the weights of the head are: teacher and student then differ in their answers, and the sums in a
KL do not cancel to what fp32 rounds."""
_BATCHES = POOL
"""Batches in an epoch: so many are sorted by length together."""
TOGETHER = ("minilm",)
"""Shapes whose sides for all tasks are in memory at once, so that each round times the plain step once; BERT-base's would take
more than 24 GB."""
_GPU_REPEATS = 10
"""Times that a block repeats its steps on a GPU, where one takes milliseconds."""
_GPU_WARM = 3
"""Rounds there before the first that counts: graphs are captured in the second."""


# -- what all sides get


def make_teacher(shape: str, folder: Path | None, seed: int) -> PreTrainedModel:
    """A BERT classifier from a folder, or one of `SHAPES` with random weights (speed does not depend on them)."""
    if folder is not None:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder)
        if model.config.model_type != "bert":
            sys.exit(f"{folder} holds a {model.config.model_type} model; the plain step is written for BERT")
        return model.eval().requires_grad_(False)
    layers, width, heads, inner = SHAPES[shape]
    torch.manual_seed(seed)
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=inner,
        initializer_range=width**-0.5,  # attention about as peaked as a trained model's, and logits apart
    )
    classifier: PreTrainedModel = BertForSequenceClassification(config).eval().requires_grad_(False)
    classifier.classifier.weight.mul_(_SPREAD)
    return classifier


def make_settings(method: str, batch: int) -> StageSettings:
    """The first stage of a shipped method, at a constant rate and, with consistency, at its full weight."""
    preset = load_preset([method, "rte"]).preset
    settings = student_stage(preset, preset.stage[0], kind="classification")
    pull = settings.consistency
    return replace(
        settings,
        seed=0,
        batch_size=batch,
        epochs=1.0,
        fixed_steps=None,
        warmup=0.0,
        schedule="constant",
        consistency=None if pull is None else pull.model_copy(update={"ramp": "constant"}),
    )


def make_work(settings: StageSettings, lengths: npt.NDArray[np.int64]) -> list[Work]:
    """The steps of the first epoch, as `Stepper` takes them."""
    total = settings.total_steps(len(lengths))
    return [_work(settings, number, rows, total) for number, rows in enumerate(batches_of(settings, lengths, 0))]


def _work(settings: StageSettings, number: int, rows: npt.NDArray[np.int64], total: int) -> Work:
    lam, weight, decay = None, 0.0, 0.0
    if settings.mixup:
        lam = mixup.draw(seeding.generator(settings.seed, seeding.MIXUP, settings.name, number), settings.mixup.alpha)
    if settings.consistency:
        pull = settings.consistency
        weight = pull.weight * consistency.ramp(number + 1, total, pull.ramp)
        decay = self_teacher.average_decay(number, pull.decay, pull.warmup)
    return Work(number, rows, lam, weight, decay)


def shuffled(work: Sequence[Work], lengths: npt.NDArray[np.int64], batch: int) -> list[Work]:
    """The same steps on batches of a plain shuffle, as a data loader forms them."""
    rows = np.random.default_rng(0).permutation(len(lengths))
    return [replace(part, rows=rows[index * batch : (index + 1) * batch]) for index, part in enumerate(work)]


def typical(work: Sequence[Work], lengths: npt.NDArray[np.int64], count: int) -> list[Work]:
    """`count` steps whose tokens with padding are as many as in the mean: of the epoch in order of length, cut into so
    many parts, the one next to each part's mean."""
    padded = np.array([len(part.rows) * int(lengths[part.rows].max()) for part in work])
    order = np.argsort(padded, kind="stable")
    parts = np.array_split(order, count)
    return [work[int(part[np.argmin(np.abs(padded[part] - padded[part].mean()))])] for part in parts]


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """The model, with every probability of dropout at 0."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


# -- crild's side

Autocast = Callable[[], AbstractContextManager[object]]


class Side(Protocol):
    """One way to train."""

    def loss(self, work: Work) -> Tensor:
        """Of a step."""

    def step(self, work: Work) -> Tensor | None:
        """Take it."""


class CrildStep:
    """The engine's own step."""

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        tokens: TokenSet,
        settings: StageSettings,
        precision: str,
        *,
        graphs: bool = True,
        answered: Sequence[Work] = (),
    ):
        """`answered` are the steps that will be taken, whose rows the teacher answers now."""
        self.tokens, self.device = tokens, student.device
        self.autocast = _autocast(precision, self.device)
        for model in (teacher, student):
            choose_attention(model, self.device, precision)
        average = copy.deepcopy(student).requires_grad_(False).eval() if settings.consistency else None
        self.models = Models(student, None if settings.name == "finetune" else teacher, average)
        self.answers = Answers(teacher, tokens, self.autocast) if "logits" in settings.stage.terms() else None
        self.losses = StepLosses(
            settings,
            self.models,
            bound_terms(settings, student, self.models.teacher),
            autocast=self.autocast,
            teacher_logits=None if self.answers is None else self.answers.table(answered),
        )
        self.stepper = Stepper(
            settings, self.models, tokens, self.losses, device=self.device, pad_id=0, graphs=graphs
        )  # fmt: skip

    def loss(self, work: Work) -> Tensor:
        """Of a step, as it computes it."""
        batch = collate(self.tokens, work.rows, pad_id=0).to(self.device)
        counts = Counts.of(self.tokens.lengths[work.rows], mixed=work.lam is not None)
        return self.losses(batch, counts, work.lam, work.pull).total

    def step(self, work: Work) -> None:
        """By its number alone."""
        self.stepper.step(work.number)

    def loss_of_last(self) -> float:
        """The mean loss of the steps since this was asked last."""
        metrics = self.stepper.read()
        assert metrics is not None
        return float(metrics["loss"])

    def update_seconds(self) -> float:
        """What optimiser and averaging take, alone."""

        def update() -> None:
            for parameter, gradient in zip(self.stepper.averaged, gradients, strict=True):
                parameter.grad = gradient
            self.stepper.optimiser.step(0.0)
            if self.stepper.average:
                self_teacher.update_average(self.stepper.average, self.stepper.averaged, 0.999)

        gradients = [torch.zeros_like(parameter) for parameter in self.stepper.averaged]
        return best_time(update, 0.5)


class Answers:
    """The teacher's answers, ahead of the steps, as the engine computes them: in batches of one length."""

    def __init__(self, teacher: PreTrainedModel, tokens: TokenSet, autocast: Autocast):
        self.run = PartialEncoder(teacher, ActivationSpec(logits=True))
        self.tokens, self.autocast, self.device = tokens, autocast, teacher.device
        self.batches = evaluation_batches(tokens.lengths, BATCH)

    def of(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Of some rows (rows, classes), in fp32."""
        with torch.inference_mode(), self.autocast():
            logits = self.run(collate(self.tokens, rows, pad_id=0).to(self.device)).logits
            assert logits is not None
            answers: Tensor = logits.float()
            return answers

    def table(self, work: Sequence[Work]) -> Tensor:
        """Those of the rows of some steps, by row (rows, classes); others are NaN."""
        found = torch.full((len(self.tokens), 2), math.nan, device=self.device)
        for part in work:
            found[torch.from_numpy(part.rows).to(self.device)] = self.of(part.rows)
        return found

    def seconds(self) -> float:
        """Of one row, on a batch whose length is the mean's."""
        longest = np.array([int(self.tokens.lengths[rows].max()) for rows in self.batches])
        rows = self.batches[int(np.argmin(np.abs(longest - longest.mean())))]
        settled()
        began = time.perf_counter()
        self.of(rows)
        settled()
        return (time.perf_counter() - began) / len(rows)


def _autocast(precision: str, device: torch.device) -> Autocast:
    if precision == "bf16":
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


# -- the limit


def needed_flops(settings: StageSettings, teacher: PreTrainedModel, work: Sequence[Work], tokens: TokenSet) -> float:
    """Operations that an example needs, in the mean of an epoch."""
    above = encoder_of(teacher)
    below = replace(above, layers=above.layers // 2)
    flops = [
        step_flops(settings, above, below, tokens.lengths[part.rows], answer_epochs=EPOCHS) for part in work
    ]  # fmt: skip
    return sum(flops) / len(tokens)


def encoder_of(model: PreTrainedModel) -> Encoder:
    """The sizes of a classifier."""
    config = model.config
    return Encoder(config.num_hidden_layers, config.hidden_size, config.intermediate_size)


def product_rate(teacher: PreTrainedModel, precision: str, batch: int, seconds: float) -> float:
    """FLOP/s of the products in the model's linear layers, each measured alone on 32 tokens an example."""
    width, inner = teacher.config.hidden_size, teacher.config.intermediate_size
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rows, flops, spent = 32 * batch, 0.0, 0.0
    for count, inputs, outputs in ((4, width, width), (1, width, inner), (1, inner, width)):
        x, w = (torch.randn(size, inputs).to(teacher.device, dtype) for size in (rows, outputs))
        spent += count * best_time(lambda x=x, w=w: F.linear(x, w), seconds)  # type: ignore[misc]
        flops += count * 2.0 * rows * inputs * outputs
    return flops / spent


# -- measuring


@dataclass
class Course:
    """A side on one task: the steps of its blocks, and what each block took."""

    side: Side
    work: Sequence[Work]
    answers: Callable[[], float] | None = None
    """Seconds of an answer of the teacher, ahead of the steps."""
    seconds: list[float] = field(default_factory=list)
    """Of one example, by round."""

    def block(self, repeats: int) -> float:
        """Take the steps so many times; seconds of one example."""
        settled()
        began = time.perf_counter()
        for part in [*self.work] * repeats:
            self.side.step(part)
        settled()
        taken = (time.perf_counter() - began) / (repeats * sum(len(part.rows) for part in self.work))
        return taken if self.answers is None else taken + self.answers() / EPOCHS


def relative(one: float, other: float) -> float:
    """How far two losses are apart."""
    return abs(one - other) / abs(other)


def check_losses(
    plain: PlainStep, crild: CrildStep, rivals: dict[str, Rival], work: Work
) -> tuple[float, dict[str, str]]:
    """The relative distance of crild's loss from the plain one, and why rivals are left out whose loss is another.

    All are in fp32, without dropout. Exits when crild's and the plain loss are further apart than `TOLERANCE`.
    """
    with torch.no_grad():
        theirs = float(plain.loss(work))
        apart = relative(float(crild.loss(work)), theirs)
        if not apart < TOLERANCE:
            sys.exit(f"crild's loss is not the plain one: {apart:.1e} apart")
        reasons = {}
        for name, rival in rivals.items():
            distance = relative(float(rival.loss(work)), theirs + rival.constant(work))
            if not distance < TOLERANCE:
                reasons[name] = f"computes another loss ({distance:.1e} from the plain one)"
    return apart, reasons


@dataclass(frozen=True)
class Options:
    """What is measured."""

    shapes: tuple[str, ...]
    methods: tuple[str, ...]
    profiles: tuple[str, ...]
    rivals: dict[str, tuple[str, ...]]
    """Methods for which other tools are measured, by shape."""
    model: Path | None
    device: torch.device
    precision: str
    batch: int
    rounds: dict[str, int]
    """By shape."""
    typical: dict[str, int]
    """Steps in a block, by shape."""
    seed: int


def measure_method(options: Options, shape: str, method: str, teacher: PreTrainedModel) -> dict[str, Any]:
    """One method on the tasks of the options; `joined` adds the means."""
    settings = make_settings(method, options.batch)
    students = {name: make_student(teacher) for name in ("crild", "plain", "check")}
    rows = _BATCHES * options.batch
    tokens = {name: make_sentences(name, rows, teacher.config.vocab_size, options.seed) for name in options.profiles}
    work = {name: make_work(settings, tokens[name].lengths) for name in options.profiles}
    count = options.typical[shape]

    first = options.profiles[0]
    pairs_checked = {name: without_dropout(copy.deepcopy(students["check"])) for name in ("plain", "crild")}
    plain_check = PlainStep(copy.deepcopy(teacher), pairs_checked["plain"], tokens[first], settings)
    one = work[first][:1]
    crild_check = CrildStep(
        teacher, pairs_checked["crild"], tokens[first], settings, "fp32", graphs=False, answered=one
    )  # fmt: skip
    stir(plain_check.average, crild_check.models.average)
    reasons: dict[str, str] = {}
    offered = RIVALS if method in options.rivals[shape] else {}

    def make_rivals(student: PreTrainedModel, profile: str, names: Sequence[str], precision: str) -> dict[str, Rival]:
        made = {}
        for name in names:
            try:
                made[name] = RIVALS[name](teacher, copy.deepcopy(student), tokens[profile], settings, precision)
            except RivalUnavailableError as error:
                reasons[name] = str(error)
        return made

    checked = make_rivals(without_dropout(students["check"]), first, list(offered), "fp32")
    apart, others = check_losses(plain_check, crild_check, checked, work[first][0])
    reasons.update(others)
    bf16_apart = None
    if options.precision == "bf16":
        fast = CrildStep(
            teacher, pairs_checked["crild"], tokens[first], settings, "bf16", graphs=False, answered=one
        )  # fmt: skip
        with torch.no_grad():
            bf16_apart = relative(float(fast.loss(work[first][0])), float(plain_check.loss(work[first][0])))
        fast.losses.remove()
        if not bf16_apart < BF16_TOLERANCE:
            sys.exit(f"crild's loss in bf16 is {bf16_apart:.1e} from the one in fp32")
    crild_check.losses.remove()
    del plain_check, crild_check, checked, pairs_checked

    plain = Course(
        PlainStep(copy.deepcopy(teacher), students["plain"], tokens[first], settings),
        typical(work[first], tokens[first].lengths, 1),
    )
    courses: dict[str, dict[str, Course]] = {"crild": {}}
    for profile in options.profiles:
        lengths = tokens[profile].lengths
        picked = typical(work[profile], lengths, count)
        student = copy.deepcopy(students["crild"])
        side = CrildStep(teacher, student, tokens[profile], settings, options.precision, answered=picked)
        answers = None if side.answers is None else side.answers.seconds
        courses["crild"][profile] = Course(side, picked, answers)
        mine = [name for name in offered if name not in reasons]
        for name, rival in make_rivals(students["crild"], profile, mine, options.precision).items():
            own = shuffled(work[profile], lengths, options.batch) if rival.shuffles else work[profile]
            if rival.pads_to is not None and profile != first:
                continue  # its time does not depend on the task
            picked = typical(own, lengths, 1 if rival.pads_to is not None else count)
            courses.setdefault(name, {})[profile] = Course(rival, picked, rival.answers(picked))

    rate = 0.0
    warm, repeats = (_GPU_WARM, _GPU_REPEATS) if options.device.type == "cuda" else (1, 1)
    for turn in range(options.rounds[shape] + warm):
        for course in (plain, *(course for by_profile in courses.values() for course in by_profile.values())):
            taken = course.block(repeats)
            if turn >= warm:
                course.seconds.append(taken)
        rate = max(rate, product_rate(teacher, options.precision, options.batch, 0.1))
    sides = courses["crild"]
    ours = next(iter(sides.values())).side
    assert isinstance(ours, CrildStep)
    update = ours.update_seconds() if options.device.type == "cpu" else None
    result: dict[str, Any] = {
        "losses_apart": apart,
        "bf16_apart": bf16_apart,
        "gflop_per_second": rate / 1e9,
        "update_ms": None if update is None else 1e3 * update,
        "plain": spread([1 / seconds for seconds in plain.seconds]),
        "tasks": {},
        "rivals": {name: {} for name in courses if name != "crild"},
        "left_out": reasons,
    }
    for profile, course in sides.items():
        flops = needed_flops(settings, teacher, work[profile], tokens[profile])
        best = min(course.seconds)
        result["tasks"][profile] = {
            "crild": spread([1 / seconds for seconds in course.seconds]),
            "ratio": ratio(course, plain),
            "gflop_per_example": flops / 1e9,
            "share_of_limit": flops / rate / best,
            "share_with_update": None if update is None else (flops / rate + update / options.batch) / best,
        }
        for name, by_profile in courses.items():
            if name != "crild":
                other = by_profile.get(profile, by_profile.get(first))
                assert other is not None
                result["rivals"][name][profile] = ratio(course, other)
    return result


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The results of a method on several tasks as one; what is no task's own is that of the first."""
    result = copy.deepcopy(parts[0])
    for part in parts[1:]:
        result["tasks"] |= part["tasks"]
        result["left_out"] |= part["left_out"]
        for name, by_task in part["rivals"].items():
            result["rivals"].setdefault(name, {}).update(by_task)
    result["geometric_mean"] = geometric(task["ratio"] for task in result["tasks"].values())
    result["rival_means"] = {name: geometric(by_task.values()) for name, by_task in result["rivals"].items()}
    return result


def stir(*averages: PreTrainedModel | None) -> None:
    """Move self-teachers away from their students, all in the same way, or the pull would be all zeros."""
    for average in averages:
        torch.manual_seed(1)
        for parameter in () if average is None else average.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)


def ratio(ours: Course, other: Course) -> dict[str, float]:
    """How many times as fast crild is, in each round."""
    return spread([theirs / mine for mine, theirs in zip(ours.seconds, other.seconds, strict=True)])


def geometric(ratios: Any) -> float:
    """The geometric mean of medians."""
    return statistics.geometric_mean(ratio["median"] for ratio in ratios)


def measure(options: Options, threads: int) -> dict[str, Any]:
    """Everything that is printed."""
    gpu = options.device.type == "cuda"
    shapes: dict[str, Any] = {}
    for shape in options.shapes:
        teacher = make_teacher(shape, options.model, options.seed).to(options.device)
        shapes[shape] = {}
        for method in options.methods:
            print(f"{shape}: {METHODS[method]} ...", file=sys.stderr, flush=True)
            parts = [options.profiles] if shape in TOGETHER else [(profile,) for profile in options.profiles]
            found = []
            for profiles in parts:
                found.append(measure_method(replace(options, profiles=profiles), shape, method, teacher))
                gc.collect()  # models in circles: an optimiser, its hooks
            shapes[shape][method] = joined(found)
            print(f"  {shapes[shape][method]['geometric_mean']:.2f} times the plain step", file=sys.stderr, flush=True)
    return {
        "device": torch.cuda.get_device_name(options.device) if gpu else "CPU",
        "threads": threads,
        "precision": options.precision,
        "batch": options.batch,
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
        "rounds": options.rounds,
        "shapes": shapes,
    }


# -- printing


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result for a person, as Markdown."""
    yield (
        f"{result['device']}, {result['threads']} threads, crild in {result['precision']}, batches of {result['batch']}, "
        f"torch {result['torch']}, load {result['load']:.1f}"
    )
    for shape, methods in result["shapes"].items():
        layers = SHAPES[shape][0]
        profiles = list(next(iter(methods.values()))["tasks"])
        yield f"\n{shape}, {layers} → {layers // 2} layers: times as fast as the plain step, median (min to max), share of the limit\n"
        yield "| method | " + " | ".join(profiles) + " | geometric mean |"
        yield "| --- " * (len(profiles) + 2) + "|"
        for method, found in methods.items():
            cells = [f"{_ratio(task['ratio'])}, {task['share_of_limit']:.0%}" for task in found["tasks"].values()]
            yield f"| {METHODS[method]} | " + " | ".join(cells) + f" | **{found['geometric_mean']:.1f}** |"
        rates = [found["gflop_per_second"] for found in methods.values()]
        yield f"\nMatrix products: {min(rates):.0f} to {max(rates):.0f} GFLOP/s"
        if updates := [found["update_ms"] for found in methods.values() if found["update_ms"] is not None]:
            yield f"Optimiser and averaging alone: {min(updates):.0f} to {max(updates):.0f} ms a step"
        others = [(method, found) for method, found in methods.items() if found["rivals"] or found["left_out"]]
        if not others:
            continue
        yield f"\n{shape}: times as fast as other tools\n"
        yield "| method | tool | " + " | ".join(profiles) + " | geometric mean |"
        yield "| --- " * (len(profiles) + 3) + "|"
        for method, found in others:
            for name, by_task in found["rivals"].items():
                cells = [_ratio(by_task[profile]) for profile in profiles]
                yield (
                    f"| {METHODS[method]} | {name} | "
                    + " | ".join(cells)
                    + f" | **{found['rival_means'][name]:.1f}** |"
                )
            for name, reason in found["left_out"].items():
                yield f"| {METHODS[method]} | {name} | not measured: {reason} " + "| " * (len(profiles)) + "|"


def _ratio(values: dict[str, float]) -> str:
    return f"{values['median']:.1f} ({values['min']:.1f} to {values['max']:.1f})"


def read_options() -> tuple[argparse.Namespace, Options]:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="MiniLM alone, two rounds of single steps")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="default: minilm base")
    parser.add_argument("--model", type=Path, help="a folder with a BERT classifier instead of random weights")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--tasks", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--rivals", nargs="*", choices=METHODS, help="methods for which other tools are measured, too")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto", help="of crild's side")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--threads", type=int, help="CPU threads; all cores when left out")
    parser.add_argument("--batch", type=int, default=32, help="examples in a step")
    parser.add_argument("--rounds", type=int, help="of all sides; default: 3 for minilm, 1 for base")
    parser.add_argument("--steps", type=int, help="of crild in a block; default: 2 for minilm, 1 for base")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    given = parser.parse_args()
    device = torch.device(given.device)
    shapes = given.shapes or (["minilm"] if given.quick or given.model else ["minilm", "base"])
    rivals = RIVAL_METHODS if given.rivals is None else dict.fromkeys(SHAPES, tuple(given.rivals))
    if given.quick and given.rivals is None:
        rivals = dict.fromkeys(SHAPES, ("ild-last",))
    return given, Options(
        shapes=tuple(shapes),
        methods=tuple(given.methods),
        profiles=tuple(given.tasks),
        rivals=rivals,
        model=given.model,
        device=device,
        precision=hardware.pick_precision(given.precision, device),
        batch=given.batch,
        rounds={shape: given.rounds or (2 if given.quick else ROUNDS.get(shape, 1)) for shape in shapes},
        typical={shape: given.steps or (1 if given.quick else STEPS.get(shape, 1)) for shape in shapes},
        seed=given.seed,
    )


def main() -> None:
    """Measure and print."""
    given, options = read_options()
    if not PACE.keys() <= os.environ.keys():  # read when a process starts: this one is as an engine process would be
        os.execve(sys.executable, [sys.executable, *sys.argv], engine_environment())
    threads = hardware.set_threads(given.threads)
    if options.device.type == "cuda":
        hardware.use_deterministic_kernels()
    with own_stream(options.device):
        result = measure(options, threads)
    print(json.dumps(result, indent=2) if given.json else "\n".join(table(result)))


if __name__ == "__main__":
    main()
