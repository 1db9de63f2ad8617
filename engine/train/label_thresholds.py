"""From which probability each label applies, chosen on the training rows when training has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.evaluate.metrics import sigmoid
from engine.evaluate.predict import LengthBatches, predict
from engine.evaluate.thresholds import best_thresholds
from engine.record.session import RunSession
from engine.train.materials import Materials, TaskTexts


def chosen_thresholds(
    session: RunSession,
    materials: Materials,
    name: str,
    readers: Sequence[tuple[PreTrainedModel, Materials | TaskTexts]],
    combine: Callable[[Sequence[Tensor]], Tensor] | None = None,
) -> tuple[float, ...]:
    """The threshold of each label; none where 0.5 counts.

    They are those of the model that messages call `name`, which reads the task's texts its own way; several are one model
    by `combine`, which takes the logits (rows, labels) of each.
    """
    if materials.preset.task.thresholds is None:
        return ()
    phase = f"choosing the thresholds of the {name} on the training rows"
    with session.phases.open(phase) as report:
        logits = []
        for model, texts in readers:
            batches = LengthBatches(texts.train, materials.device, texts.dev.pad_id)
            logits.append(torch.from_numpy(predict(model, batches, report=report, phase=phase)))
    whole = logits[0] if combine is None or len(logits) == 1 else combine(logits)
    return best_thresholds(sigmoid(whole.numpy()), materials.train_labels)
