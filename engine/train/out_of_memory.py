"""What to say when a device runs out of memory: which micro-batches would take less. Imports no torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from engine.errors import RunError
from engine.record.paths import PRESET
from engine.train.settings import StageSettings

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
"""Of CUDA, of PyTorch's allocator on the CPU, and of the system, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no more memory."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS)


def largest_micro_batch(batch_size: int, accumulate: int) -> int:
    """Examples in the largest micro-batch of a step: whole pairs of mixup partners, see `Batch.mirrored_parts`."""
    pairs = (batch_size + 1) // 2
    return min(batch_size, 2 * -(-pairs // min(accumulate, pairs)))


def smaller_accumulate(settings: StageSettings) -> int | None:
    """Twice the micro-batches, as far as the batch has pairs for them; None where it cannot be split further.

    A stage with a layer map "emd" takes its steps whole.
    """
    pairs = (settings.batch_size + 1) // 2
    maps = {settings.stage.layer_map, *(term.layer_map for term in settings.stage.terms().values())}
    if settings.accumulate >= pairs or "emd" in maps:
        return None
    return min(2 * settings.accumulate, pairs)


def step_out_of_memory(settings: StageSettings, step: int, run_dir: Path) -> RunError:
    """The error for a training step that found no memory, with the setting to try next.

    How much memory a smaller micro-batch takes is known once it runs, so the sentence promises nothing.
    """
    size = largest_micro_batch(settings.batch_size, settings.accumulate)
    what = f"stage {settings.name}, step {step}: the device ran out of memory with micro-batches of {size}"
    again = f"crild run {shlex.quote(str(run_dir / PRESET))} --set"
    more = smaller_accumulate(settings)
    if more is None and not settings.gradient_checkpointing:
        return RunError(
            f"{what}, which cannot be split further. Try gradient_checkpointing (the same result, slower): crild resume "
            f"{shlex.quote(str(run_dir))} --set train.gradient_checkpointing=true. If other programs use the memory, stop them, "
            "then run crild resume",
            kind="out-of-memory",
            key="train.gradient_checkpointing",
        )
    if more is None:
        return RunError(
            f"{what}, which cannot be split further. Try a smaller batch_size or task.max_length (which changes the result), "
            "or another device; if other programs use the memory, stop them, then run crild resume",
            kind="out-of-memory",
        )
    own = settings.role == "student" and settings.stage.accumulate is not None
    key = f"stage.{settings.name}.accumulate" if own else "train.accumulate"
    smaller = largest_micro_batch(settings.batch_size, more)
    return RunError(
        f"{what}. Try accumulate = {more} (micro-batches of {smaller}; the same steps, slower): {again} {key}={more}. If "
        "that isn't enough, double it again. If other programs use the memory, stop them, then run crild resume",
        kind="out-of-memory",
        key=key,
    )
