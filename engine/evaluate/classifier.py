"""Apply a classifier to tokenised texts of any lengths, as fast as the device allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import Indices, budget_batches, collate
from engine.data.tokens import TokenSet
from engine.errors import RunError
from engine.evaluate.metrics import sigmoid
from engine.evaluate.predict import TOKENS, Logits, inputs_of, softmax, takes_types

TOKENS_ON_GPU = 65536
"""Tokens of a batch, with padding, on a device that holds nothing but the model."""


@dataclass(frozen=True)
class Classifier:
    """A sequence classification model on its device, in evaluation mode.

    `pad_id` fills rows up; `dtype` is the type of matrix products (float32, or bfloat16 by autocast); `batch_size` is the
    most rows of a batch, None for as many as the device's budget of tokens takes.
    """

    model: torch.nn.Module
    device: torch.device
    pad_id: int
    dtype: torch.dtype = torch.float32
    batch_size: int | None = None

    def logits(self, tokens: TokenSet, outputs: int, progress: Callable[[int], object]) -> Logits:
        """The logits (answers, `outputs`): of each row, NaN for a row without tokens; or, of labels by word, of each word.

        `progress` takes, before each batch, how many rows are done. Raises RunError when a single row does not fit into
        the device's memory.
        """
        budget = TOKENS.get(self.device.type, TOKENS_ON_GPU)
        batches = budget_batches(tokens.lengths, budget, self.batch_size)
        logits: Logits = np.full((tokens.answer_count(), outputs), np.nan, np.float32)
        parts: list[torch.Tensor] = []
        done, types = 0, takes_types(self.model)
        half = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=self.dtype if half else None, enabled=half):
            for rows in batches:
                progress(done)
                parts += self._forward(tokens, rows, types=types)
                done += len(rows)
        if parts:  # one copy from the device for all batches
            logits[np.concatenate([tokens.answers_of(rows) for rows in batches])] = torch.cat(parts).cpu().numpy()
        return logits

    def _forward(self, tokens: TokenSet, rows: Indices, *, types: bool) -> list[torch.Tensor]:
        """The logits of a batch in parts; halves it where the device's memory is too small."""
        batch = collate(tokens, rows, pad_id=self.pad_id).to(self.device)
        try:
            return [batch.of_answers(self.model(**inputs_of(batch, types=types)).logits.float())]
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                sentence = (
                    f"the memory of {self.device} is too small for one text of {int(tokens.lengths[rows[0]])} tokens; "
                    "lower --max-length, or choose another --device"
                )
                raise RunError(sentence, kind="prediction-out-of-memory") from None
        torch.cuda.empty_cache()
        middle = len(rows) // 2
        return [*self._forward(tokens, rows[:middle], types=types), *self._forward(tokens, rows[middle:], types=types)]


def probabilities(logits: Logits, *, each_alone: bool) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes): a softmax, or a sigmoid of `each_alone`. NaN stays in its row."""
    if each_alone:
        return sigmoid(logits)
    with np.errstate(invalid="ignore", over="ignore"):
        return softmax(logits)
