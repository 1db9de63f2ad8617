"""Teacher logits, computed once for inputs that never change, and reused over epochs and runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.batches import collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.distill.activations import ActivationSpec
from engine.models.export import content_hash
from engine.models.partial_encoder import PartialEncoder
from engine.record.files import write_atomic
from engine.record.paths import cache_dir
from engine.train.settings import StageSettings
from engine.train.step import Autocast

BATCH = 64


def can_cache(settings: StageSettings) -> bool:
    """Whether the stage reads teacher logits of inputs that are the same in every epoch."""
    return "logits" in settings.stage.terms() and settings.mixup is None


def teacher_logits(
    settings: StageSettings,
    teacher: PreTrainedModel | None,
    tokens: TokenSet,
    *,
    autocast: Autocast,
    precision: str,
    device: torch.device,
    pad_id: int,
) -> Tensor | None:
    """The teacher's logits (rows, classes) in fp32 for every row of `tokens`, or None if they cannot be cached.

    Cached files are keyed by the content of model and data, so rows never get mixed up. Logits are computed in the
    precision of training.
    """
    if teacher is None or not can_cache(settings):
        return None
    name = f"{content_hash(teacher)}-{tokens.content}-{precision}-{device.type}"
    path = cache_dir() / "logits" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy"
    cached = _read(path, len(tokens))
    if cached is None:
        cached = _compute(teacher, tokens, autocast, device, pad_id)
        _write(path, cached)
    return torch.from_numpy(cached).to(device)


def _compute(
    teacher: PreTrainedModel, tokens: TokenSet, autocast: Autocast, device: torch.device, pad_id: int
) -> np.ndarray:
    run = PartialEncoder(teacher, ActivationSpec(logits=True))
    teacher.eval()
    found: np.ndarray | None = None
    with torch.inference_mode(), autocast():
        for rows in evaluation_batches(tokens.lengths, BATCH):
            logits = run(collate(tokens, rows, pad_id=pad_id).to(device)).logits
            assert logits is not None
            values = logits.float().cpu().numpy()
            if found is None:
                found = np.zeros((len(tokens), values.shape[1]), dtype=np.float32)
            found[rows] = values
    assert found is not None, "a stage has rows"
    return found


def _read(path: Path, rows: int) -> np.ndarray | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 2 and len(found) == rows and found.dtype == np.float32 else None


def _write(path: Path, logits: np.ndarray) -> None:
    """Store them; a failure only costs the next run time."""
    content = io.BytesIO()
    np.save(content, logits, allow_pickle=False)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue(), durable=False, root=path.parent.parent)
