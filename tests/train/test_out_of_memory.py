"""A step that finds no memory ends with the setting to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.batches import mirrored_cuts
from engine.errors import RunError
from engine.preset.load import load_preset
from engine.train.loop import Progress, StageRun
from engine.train.out_of_memory import largest_micro_batch, smaller_accumulate, step_out_of_memory
from engine.train.ranks import ALONE
from engine.train.settings import StageSettings, student_stage
from engine.train.step_metrics import StepMetrics
from engine.train.stepper import Stepper
from engine.worker import memory_fault

ON_CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to")
ERRORS = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), ON_CPU, MemoryError()]


def settings_of(*presets: str, items: tuple[str, ...] = ()) -> StageSettings:
    preset = load_preset([*presets, "rte"], items).preset
    return student_stage(preset, preset.stage[0], kind="classification")


def stage_with(settings: StageSettings, backward: Callable[..., object]) -> StageRun:
    """As much of a stage as a step needs until its backward pass."""
    stepper: Any = object.__new__(Stepper)
    stepper.settings, stepper.total, stepper.backward, stepper.ranks = settings, 10, backward, ALONE
    stepper.metrics, stepper.tokens = (
        StepMetrics(torch.device("cpu")),
        SimpleNamespace(lengths=np.full(32, 8), answer_count=len),
    )
    stepper._rows, stepper._parts = lambda _: np.arange(32), lambda _: [(0, range(32))]
    stepper.own_examples, stepper.worked, stepper.per_epoch = 0, 0.0, 5
    stepper.losses = SimpleNamespace(begin_step=lambda *_, **__: None)
    stage: Any = object.__new__(StageRun)
    stage.progress = Progress()
    stage.settings, stage.stepper, stage.context = settings, stepper, SimpleNamespace(run_dir=Path("/r 1"))
    return stage  # type: ignore[no-any-return]


@pytest.mark.parametrize("error", ERRORS)
def test_a_step_without_memory_names_the_micro_batches_to_try(error: Exception) -> None:
    def none_left(*_: object) -> None:
        raise error

    stage = stage_with(settings_of("finetune", items=("train.batch_size=32",)), none_left)
    with pytest.raises(RunError) as caught:
        stage._checked_step(3)
    assert (caught.value.kind, caught.value.key) == ("out-of-memory", "train.accumulate")
    for fact in (
        "step 4",
        "micro-batches of 32",
        "accumulate = 2",
        "micro-batches of 16",
        "'/r 1/preset.toml' --set train.accumulate=2",
    ):
        assert fact in caught.value.sentence


def test_another_error_of_a_step_stays_what_it_is() -> None:
    stage = stage_with(settings_of("finetune"), lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stage._checked_step(0)


@pytest.mark.parametrize(("batch", "accumulate"), [(32, 1), (32, 3), (7, 2), (7, 9), (2, 1), (1, 4)])
def test_the_size_of_micro_batches_is_that_of_the_cuts(batch: int, accumulate: int) -> None:
    cuts = mirrored_cuts(batch, accumulate)
    largest = max(2 * (high - low) for low, high in pairwise(cuts))
    assert largest_micro_batch(batch, accumulate) == min(batch, largest)


def test_what_cannot_be_split_gets_other_advice(tmp_path: Path) -> None:
    settings = settings_of("finetune", items=("train.batch_size=6",))
    assert [smaller_accumulate(replace(settings, accumulate=parts)) for parts in (1, 2, 3)] == [2, 3, None]
    assert smaller_accumulate(settings_of("bert-emd")) is None
    error = step_out_of_memory(replace(settings, accumulate=3), 1, tmp_path)
    assert (error.kind, error.key) == ("out-of-memory", "train.gradient_checkpointing")
    assert f"crild resume {tmp_path} --set train.gradient_checkpointing=true" in error.sentence
    least = replace(settings, accumulate=3, gradient_checkpointing=True)
    assert step_out_of_memory(least, 1, tmp_path).key is None
    own = step_out_of_memory(settings_of("finetune", items=("stage.finetune.accumulate=2",)), 1, tmp_path)
    assert own.key == "stage.finetune.accumulate"
    teacher = replace(settings, role="teacher", name="teacher")
    assert step_out_of_memory(teacher, 1, tmp_path).key == "train.accumulate"


def test_memory_that_ends_outside_of_steps_is_an_error_too() -> None:
    for error in ERRORS:
        found = memory_fault(error)
        assert found is not None
        assert found.kind == "out-of-memory-outside-steps"
    assert memory_fault(RuntimeError("shapes differ")) is None
