"""Predict with a model, and write the predictions to a file by example."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engine.data.batches import Batch, collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.data.types import Example, TaskSpec
from engine.errors import RunError
from engine.preset.text import json_escaped
from engine.record.files import cause, finite, write_atomic
from engine.record.phases import Report, counted, unreported
from engine.record.removal import OpenFolder

Logits = npt.NDArray[np.float32]


def predict(
    model: torch.nn.Module,
    tokens: TokenSet,
    *,
    batch_size: int,
    device: torch.device | str,
    pad_id: int,
    report: Report = unreported,
    phase: str = "predicting",
) -> Logits:
    """The logits (rows, outputs) of a sequence classification model, float32, in the order of the rows.

    Runs without dropout, gradients or mixed precision, whatever the context, on batches of rows of similar length;
    modules in training mode return to it afterwards. Before each batch, `report` takes how many rows of `phase` are done.
    """
    types = takes_types(model)
    batches = evaluation_batches(tokens.lengths, batch_size)
    parts: list[torch.Tensor] = []
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
            done = 0
            for rows in batches:
                report(phase, done, len(tokens), "rows")
                batch = collate(tokens, rows, pad_id=pad_id).to(device)
                parts.append(model(**inputs_of(batch, types=types)).logits.float())
                done += len(rows)
            return in_row_order(parts, batches)
    finally:
        for module in training:
            module.training = True


def in_row_order(parts: Sequence[torch.Tensor], batches: Sequence[npt.NDArray[np.int64]]) -> Logits:
    """Logits of batches (rows, outputs) in the order of the rows, which `batches` lists."""
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

    {"id", "label", "prediction", "probabilities": {class: …}}; label and prediction are names of classes. For regression
    they are scores, without probabilities. Where labels are unknown there is no "label"; NaN and infinity become null.
    `root` has to exist, and no folder between it and the file may be a link (see `write_atomic`). Raises RunError when the
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


def _rows(tokens: TokenSet, logits: Logits, spec: TaskSpec) -> Iterator[dict[str, Any]]:
    """The objects of `write_predictions`."""
    scores = spec.kind == "regression"
    values = logits.reshape(len(logits)) if scores else softmax(logits)
    for index, (name, value) in enumerate(zip(tokens.ids, values.tolist(), strict=True)):
        row: dict[str, Any] = {"id": name}
        if tokens.labels is not None:
            label = tokens.labels[index]
            row["label"] = round(float(label), 6) if scores else spec.labels[int(label)]
        if scores:
            yield row | {"prediction": round(value, 6)}
        else:
            shares = {label: round(share, 6) for label, share in zip(spec.labels, value, strict=True)}
            yield row | {"prediction": spec.labels[int(logits[index].argmax())], "probabilities": shares}
