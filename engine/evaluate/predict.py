"""Predict with a model, and write the predictions to a file by example."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import Batch, Indices, budget_batches, collate
from engine.data.examples import named_label, plain_label
from engine.data.tokens import TokenSet
from engine.data.types import Example, TaskSpec
from engine.errors import RunError
from engine.evaluate.metrics import predicted, ranking_scores, sigmoid
from engine.preset.kinds import WORD_LABELS
from engine.preset.text import json_escaped
from engine.record.files import cause, finite, write_atomic
from engine.record.phases import Report, counted, unreported
from engine.record.removal import OpenFolder

Logits = npt.NDArray[np.float32]
T = TypeVar("T")

TOKENS = {"cpu": 4096}
"""Tokens of a batch without gradients, with padding, by the type of the device: larger ones leave a processor's caches."""
TOKENS_ON_GPU = 16384
MOST_COLLATED = 2**21
"""Tokens, with padding, that stay collated between two passes: up to 50 MB."""


@dataclass(frozen=True)
class LengthBatches:
    """The rows of a token set in batches of similar length, the longest first: at most `budget` tokens with padding each.

    Each row is padded to the longest of its batch, or to `pad_to`. Passes over it after the first find the batches as they
    are, on the device, unless they are too large to stay there (`MOST_COLLATED`).
    """

    tokens: TokenSet
    device: torch.device
    pad_id: int
    pad_to: int | None = None
    budget: int | None = None
    """None: what suits the device."""
    most: int | None = None
    """Rows of a batch, at most."""
    part: tuple[int, int] = (0, 1)
    """Which of the batches these are: the first counted from 0, and every n-th after it."""

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def rows(self) -> list[Indices]:
        """The rows of each batch of this part."""
        lengths = self.tokens.lengths
        lengths = np.maximum(lengths, 1) if self.pad_to is None else np.full_like(lengths, self.pad_to)
        batches = budget_batches(lengths, self.budget or TOKENS.get(self.device.type, TOKENS_ON_GPU), self.most)
        first, every = self.part
        return batches[first::every]

    @cached_property
    def answers(self) -> list[Indices]:
        """The numbers of the answers to each batch's rows."""
        return [self.tokens.answers_of(rows) for rows in self.rows]

    def __iter__(self) -> Iterator[Batch]:
        yield from self._collated if self._stays else map(self._collate, self.rows)

    @cached_property
    def _collated(self) -> list[Batch]:
        return [self._collate(rows) for rows in self.rows]

    @cached_property
    def _stays(self) -> bool:
        lengths = self.tokens.lengths
        longest = (self.pad_to or int(lengths[rows].max(initial=0)) for rows in self.rows)
        return sum(len(rows) * length for rows, length in zip(self.rows, longest, strict=True)) <= MOST_COLLATED

    def _collate(self, rows: Indices) -> Batch:
        with torch.inference_mode(False):  # others than `predict` may read them
            return collate(self.tokens, rows, pad_id=self.pad_id, pad_to=self.pad_to).to(self.device)


def predict(
    model: torch.nn.Module,
    batches: LengthBatches,
    *,
    dtype: torch.dtype = torch.float32,
    total: Callable[[torch.Tensor], torch.Tensor] | None = None,
    report: Report = unreported,
    phase: str = "predicting",
) -> Logits:
    """The logits (answers, outputs) of a classifier, float32, in the order of the rows: one for each row, or, of labels by
    word, for each word.

    `total` sums a tensor over the processes that have the other parts of the `batches`.

    Runs without dropout or gradients, whatever the context; matrix products are in `dtype`, float32 or bfloat16. Modules in
    training mode return to it afterwards. Before each batch, `report` takes how many rows of `phase` are done. A batch that
    does not fit into a GPU's memory is halved.
    """
    types, kind, half = takes_types(model), batches.device.type, dtype != torch.float32
    parts: list[torch.Tensor] = []
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype if half else None, enabled=half):
            done = 0
            for batch in batches:
                report(phase, done, len(batches), "rows")
                parts += _forward(model, batch, types=types)
                done += len(batch)
        if total is None:
            return in_row_order(parts, batches.answers)
        logits = torch.zeros(batches.tokens.answer_count(), int(model.config.num_labels))  # type: ignore[arg-type, union-attr]
        if parts:
            logits[np.concatenate(batches.answers)] = torch.cat(parts).cpu()
        return total(logits).numpy()
    finally:
        for module in training:
            module.training = True


def _forward(model: torch.nn.Module, batch: Batch, *, types: bool) -> list[torch.Tensor]:
    """The logits of a batch in parts; halves it where the device's memory is too small."""
    try:
        return [batch.of_answers(model(**inputs_of(batch, types=types)).logits.float())]
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    torch.cuda.empty_cache()
    rows, middle = torch.arange(len(batch), device=batch.index.device), len(batch) // 2
    halves = (batch.take(rows[:middle]), batch.take(rows[middle:]))
    return [part for half in halves for part in _forward(model, half, types=types)]


def in_row_order(parts: Sequence[torch.Tensor], batches: Sequence[npt.NDArray[np.int64]]) -> Logits:
    """Logits of batches (answers, outputs) in the order of the answers, whose numbers `batches` lists (`TokenSet.answers_of`)."""
    if not parts:
        return np.zeros((0, 0), np.float32)
    in_batches = torch.cat(list(parts)).cpu().numpy()
    logits: Logits = np.empty_like(in_batches)
    logits[np.concatenate(batches)] = in_batches
    return logits


def inputs_of(batch: Batch, *, types: bool) -> dict[str, torch.Tensor]:
    """The arguments of a model's forward; with token types where `types` says that it takes them."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if types and batch.token_type_ids is not None:
        inputs["token_type_ids"] = batch.token_type_ids
    return inputs


def takes_types(model: torch.nn.Module) -> bool:
    """Whether the model has token types for the two sentences of a pair (DistilBERT has none)."""
    config = getattr(model, "config", None)
    if getattr(config, "type_vocab_size", 2) < 2:
        return False  # RoBERTa has the argument, but only one type
    return "token_type_ids" in inspect.signature(model.forward).parameters


def write_predictions(
    path: Path,
    tokens: TokenSet,
    logits: Logits,
    spec: TaskSpec,
    *,
    report: Report = unreported,
    root: Path | None = None,
) -> None:
    """Write predictions as JSON lines, one object for each example in the order of the rows.

    {"id", "label", "prediction", "probabilities": {class: …}}; label and prediction are names of classes, of several labels lists of names. For regression
    they are scores, without probabilities. Where labels are unknown there is no "label"; NaN and infinity become null.
    Where rows are ranked, "group" numbers the queries in the order in which they come, and "score" is what a row is ranked by,
    unrounded.
    Of labels by word, label, prediction and "word_probabilities" (of the predicted label) are lists with an entry for each word up to
    the last that has an answer, null for one without. `root` has to exist, and no folder between it and the file may be a link (see `write_atomic`). Raises RunError when the
    file cannot be written.
    """
    rows = counted(_rows(tokens, logits, spec), report, f"writing {path.name}", total=len(tokens))
    text = _json_lines(rows)
    try:
        if root is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            OpenFolder.at(root, *path.parent.relative_to(root).parts, create=True).close()
        write_atomic(path, text, root=root)
    except OSError as fault:
        sentence = f"cannot write the predictions: {cause(fault)}"
        raise RunError(sentence, kind="cannot-write-predictions", file=str(path)) from fault


def write_texts(path: Path, examples: Sequence[Example]) -> None:
    """Write the texts of a dev set into a run directory as JSON lines: {"id", "text"} and, of pairs, "pair".

    Predictions have ids alone: with these, what a student gets wrong can be read later, wherever the data is then. Raises
    RunError when the file cannot be written.
    """
    pairs = ({"id": row.id, "text": row.text} | ({} if row.pair is None else {"pair": row.pair}) for row in examples)
    try:
        write_atomic(path, _json_lines(pairs).encode("utf-8", "surrogatepass"))
    except OSError as fault:
        sentence = f"cannot write the texts of the predictions: {cause(fault)}"
        raise RunError(sentence, kind="cannot-write-texts", file=str(path)) from fault


def softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes) of logits."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _json_lines(rows: Iterable[dict[str, Any]]) -> str:
    lines = (json_escaped(json.dumps(finite(row), ensure_ascii=False, allow_nan=False)) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _word_rows(tokens: TokenSet, logits: Logits, spec: TaskSpec) -> Iterator[dict[str, Any]]:
    """The objects of `write_predictions` where labels are by word."""
    chosen, shares = predicted(spec, logits), softmax(logits).max(axis=1) if len(logits) else np.zeros(0)
    for index, name in enumerate(tokens.ids):
        answers = slice(int(tokens.answer_offsets[index]), int(tokens.answer_offsets[index + 1]))
        places = tokens.words_of(index)
        row: dict[str, Any] = {"id": name}
        if tokens.labels is not None:
            row["label"] = by_place(places, [spec.labels[int(label)] for label in tokens.labels[answers]])
        row["prediction"] = by_place(places, [spec.labels[label] for label in chosen[answers].tolist()])
        yield row | {"word_probabilities": by_place(places, [round(share, 6) for share in shares[answers].tolist()])}


def _rank_columns(tokens: TokenSet, logits: Logits) -> Iterator[dict[str, Any]]:
    """What a row has more where rows are ranked; nothing where they are not."""
    if tokens.groups is None:
        return
    numbers: dict[int, int] = {}
    for group, score in zip(tokens.groups.tolist(), ranking_scores(logits).tolist(), strict=True):
        yield {"group": numbers.setdefault(group, len(numbers)), "score": score}


def by_place(places: Sequence[int], values: Sequence[T]) -> list[T | None]:
    """Values of some words as a list by word; None for words between them, which have none."""
    found: list[T | None] = [None] * (places[-1] + 1 if len(places) else 0)
    for place, value in zip(places, values, strict=True):
        found[place] = value
    return found


def _rows(tokens: TokenSet, logits: Logits, spec: TaskSpec) -> Iterator[dict[str, Any]]:
    """The objects of `write_predictions`."""
    if spec.kind == WORD_LABELS:
        yield from _word_rows(tokens, logits, spec)
        return
    scores = spec.kind == "regression"
    ranks = _rank_columns(tokens, logits)
    shares_of = sigmoid if spec.kind == "multilabel" else softmax
    values = logits.reshape(len(logits)) if scores else shares_of(logits)
    chosen = predicted(spec, logits)
    for index, (name, value) in enumerate(zip(tokens.ids, values.tolist(), strict=True)):
        row: dict[str, Any] = {"id": name} | next(ranks, {})
        if tokens.labels is not None:
            label = tokens.labels[index]
            row["label"] = round(float(label), 6) if scores else named_label(plain_label(label), spec.labels)
        if scores:
            yield row | {"prediction": round(value, 6)}
        else:
            shares = {label: round(share, 6) for label, share in zip(spec.labels, value, strict=True)}
            answer = named_label(plain_label(chosen[index]), spec.labels)
            yield row | {"prediction": answer, "probabilities": shares}
