"""Teacher logits, computed once for inputs that never change, and reused over epochs and runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.batches import Indices, collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.distill.activations import ActivationSpec
from engine.models.export import content_hash
from engine.models.partial_encoder import PartialEncoder
from engine.preset.regular_file import read_regular
from engine.record.files import cause, write_atomic
from engine.record.paths import cache_dir
from engine.record.phases import Report, unreported
from engine.train.row_order import rows_read
from engine.train.settings import StageSettings
from engine.train.step import Autocast

BATCH = 64
FOLDER = "logits"
"""Subfolder of the cache directory."""

Logits = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


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
    report: Report = unreported,
    warn: Callable[[str], None] = log.warning,
) -> Tensor | None:
    """The teacher's logits (rows, classes) in fp32 for the rows that the stage reads, or None if they cannot be cached.

    Other rows are NaN, so that a step that reads one ends the run. Logits are computed in the precision of training, in
    batches that depend only on the rows that the whole stage reads (`rows_read`): so a resumed run computes the same bits.
    Cached files are keyed by the content of model and data and by these rows, and verified by a hash when they are read;
    `warn` takes a sentence if one is damaged or cannot be read. `report` is called for each batch.
    """
    if teacher is None or not can_cache(settings):
        return None
    report("hashing the teacher")
    rows = rows_read(settings, tokens.lengths)
    parts = [content_hash(teacher), tokens.content, precision, device.type]
    if len(rows) < len(tokens):
        parts.append(hashlib.sha256(rows.tobytes()).hexdigest())
    entry = LogitsEntry(hashlib.sha256("-".join(parts).encode()).hexdigest()[:32])
    logits, storable = entry.read(len(rows), warn)
    if logits is None:
        phase = f"computing the teacher's answers for stage {settings.name}"
        logits = _compute(teacher, tokens, rows, autocast, device, pad_id, report, phase)
        if storable:
            entry.write(logits)
    if len(rows) < len(tokens):
        spread = np.full((len(tokens), logits.shape[1]), np.nan, dtype=np.float32)
        spread[rows] = logits
        logits = spread
    return torch.from_numpy(logits).to(device)


class LogitsEntry:
    """A file of the cache: logits (rows, classes), with a hash of them and of the key."""

    def __init__(self, key: str) -> None:
        self.key = key

    @property
    def path(self) -> Path:
        """The file."""
        return cache_dir() / FOLDER / f"{self.key}.safetensors"

    def read(self, rows: int, warn: Callable[[str], None]) -> tuple[Logits | None, bool]:
        """The logits, if the file holds them undamaged for so many rows; and whether others may be stored in its place.

        A file that cannot be opened or read may be good, and somebody else's: it stays.
        """
        try:
            content = read_regular(self.path)
        except FileNotFoundError:
            return None, True
        except OSError as error:
            warn(
                f"the cached teacher logits {self.path} cannot be read ({cause(error)}); they stay as they are, and the "
                "teacher's answers are computed again"
            )
            return None, False
        try:
            arrays = load(content)
            logits, digest = arrays["logits"], arrays["digest"].tobytes()
            whole = logits.dtype == np.float32 and logits.ndim == 2 and len(logits) == rows
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError):
            whole = False
        if not whole or digest != self._digest(logits):
            warn(f"the cached teacher logits {self.path} are damaged; the teacher's answers are computed again")
            return None, True
        return np.array(logits), True  # a copy that can be written, as PyTorch wants it

    def write(self, logits: Logits) -> None:
        """Store logits; a failure only costs the next run time."""
        digest = np.frombuffer(self._digest(logits), np.uint8)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, save({"logits": logits, "digest": digest}), root=cache_dir())
        except OSError as fault:
            log.warning("teacher logits cannot be cached (%s): %s", cause(fault), self.path)

    def _digest(self, logits: Logits) -> bytes:
        found = hashlib.sha256(f"{self.key} {logits.shape}".encode())
        found.update(np.ascontiguousarray(logits).tobytes())
        return found.digest()


def _compute(
    teacher: PreTrainedModel,
    tokens: TokenSet,
    rows: Indices,
    autocast: Autocast,
    device: torch.device,
    pad_id: int,
    report: Report,
    phase: str,
) -> Logits:
    """The logits (rows, classes) of some rows, in their order."""
    run = PartialEncoder(teacher, ActivationSpec(logits=True))
    teacher.eval()
    found: Logits | None = None
    with torch.inference_mode(), autocast():
        for done, places in enumerate(evaluation_batches(tokens.lengths[rows], BATCH)):
            report(phase, done * BATCH, len(rows), "rows")
            logits = run(collate(tokens, rows[places], pad_id=pad_id).to(device)).logits
            assert logits is not None
            values = logits.float().cpu().numpy()
            if found is None:
                found = np.zeros((len(rows), values.shape[1]), dtype=np.float32)
            found[places] = values
    assert found is not None, "a stage has rows"
    return found
