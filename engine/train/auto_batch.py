"""Find the batch size that a device computes fastest: `crild run --auto-batch`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from engine.data.tokens import TokenSet
from engine.errors import PresetError, RunError
from engine.preset.load import load_preset
from engine.record.phases import Report, unreported
from engine.train import hardware
from engine.train.engine_tools import time_steps
from engine.train.materials import (
    Materials,
    inputs_of_stages,
    load_materials,
    models_of,
    new_student,
    plan_stages,
    rows_of_stages,
)
from engine.train.out_of_memory import is_out_of_memory
from engine.train.settings import StageSettings
from engine.train.step_metrics import peak_memory
from engine.user.consent import NONE, Consent

SMALLEST, LARGEST = 8, 1024
GAIN = 0.05
"""Share of the examples/s by which a larger batch must be faster to be worth it; two in a row that aren't end the search."""
REPEATS = 2
"""Measurements of each size; the faster one counts, since other programs only make steps slower."""
SHARE = 0.9
"""Share of the free memory that a batch may take on a CPU, where too much of it ends the process without an error."""


@dataclass(frozen=True)
class Tried:
    """A batch size that was timed."""

    batch_size: int
    examples_per_second: float
    """Over all stages that follow train.batch_size, each counted as often as its examples are trained."""
    memory_bytes: int
    """The most so far, of the device or of this process."""


def fit_batch(path: Path, consent: Consent = NONE, *, report: Report = unreported) -> dict[str, Any]:
    """The batch size for the student's stages that follow `train.batch_size`: `choose` of those that were timed.

    Real steps are timed, at learning rate 0, on batches of 8, 16, 32 ... examples, up to 1024 or the number of rows: until two
    sizes in a row are hardly faster, or the device has no room. Returns `batch_size`, `tried` (fields of `Tried`), `ended`
    ("no gain", "memory", "rows" or "limit"), `device`, `learning_rate` and `stages`.

    Raises PresetError if all stages have a batch size of their own, RunError if not even the smallest fits.
    """
    preset = load_preset([str(path)]).preset
    hardware.set_threads(preset.train.threads)
    own = {stage.name for stage in preset.stage if stage.batch_size is None}
    if not own:
        sentence = "all stages have a batch_size of their own, so train.batch_size changes nothing"
        raise PresetError.single(sentence, kind="batch-size-unused", key="train.batch_size")
    materials = load_materials(preset, hardware.make_accelerator(preset.train), consent, report=report)
    inputs = inputs_of_stages(materials, rows_of_stages(materials, copies=False, report=report), report=report)
    stages = [
        (settings, inputs.get(settings.name, materials.train))
        for settings in plan_stages(preset, materials.data, inputs)
        if settings.role == "student" and settings.name in own
    ]
    rows = min(len(tokens) for _, tokens in stages)
    tried: list[Tried] = []
    ended = "rows" if rows < LARGEST else "limit"
    for found in _search(materials, stages, min(rows, LARGEST), report):
        if found is None:
            ended = "memory"
        else:
            tried.append(found)
            if no_gain(tried):
                ended = "no gain"
                break
    if not tried:
        smallest = min(SMALLEST, rows)
        sentence = f"{materials.device} has no memory for a batch of {smallest}; set train.accumulate, or choose a smaller model"
        raise RunError(sentence, kind="out-of-memory", key="train.accumulate")
    return {
        "batch_size": choose(tried),
        "tried": [asdict(one) for one in tried],
        "ended": ended,
        "device": str(materials.device),
        "learning_rate": preset.train.learning_rate,
        "stages": [settings.name for settings, _ in stages],
    }


def choose(tried: list[Tried]) -> int:
    """The smallest of the sizes whose examples/s are within `GAIN` of the most."""
    most = max(one.examples_per_second for one in tried)
    return next(one.batch_size for one in tried if one.examples_per_second >= most * (1 - GAIN))


def no_gain(tried: list[Tried]) -> bool:
    """Whether the last two sizes were hardly faster than the best before them."""
    if len(tried) < 3:
        return False
    best = max(one.examples_per_second for one in tried[:-2])
    return all(one.examples_per_second < best * (1 + GAIN) for one in tried[-2:])


def sizes(limit: int) -> Iterator[int]:
    """The sizes to try: powers of two, up to `limit` examples; `limit` itself where it is smaller than all of them."""
    size = min(SMALLEST, limit)
    while size <= limit:
        yield size
        size *= 2


def _search(
    materials: Materials, stages: list[tuple[StageSettings, TokenSet]], limit: int, report: Report
) -> Iterator[Tried | None]:
    """Each size in turn; None, and the end, where there is no memory for the next."""
    device = materials.device
    teacher = None if materials.teacher is None else materials.teacher.to(device)
    student = new_student(materials, teacher)
    models = {settings.name: models_of(settings, student, teacher, device) for settings, _ in stages}
    begin, took = peak_memory(device), 0
    for size in sizes(limit):
        if device.type == "cpu" and 2 * took > SHARE * psutil.virtual_memory().available:
            yield None
            return
        report(f"timing batches of {size:,}")
        seconds = examples = 0.0
        try:
            for settings, tokens in stages:
                count = settings.total_steps(tokens.per_epoch) * settings.batch_size
                sized = replace(settings, batch_size=size)
                steps = (time_steps(sized, models[settings.name], tokens, materials) for _ in range(REPEATS))
                seconds += count / size * min(steps)
                examples += count
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if device.type == "cuda":
                torch.cuda.empty_cache()
            yield None
            return
        took = max(took, peak_memory(device) - begin)
        yield Tried(size, round(examples / seconds, 1), peak_memory(device))
