"""The released code's vectors: its cases, and the tiny models that they were computed with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor

from engine.distill.activations import Activations
from engine.distill.row_scores import scores

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "parity"
LAYERS = {"teacher": 4, "student": 2, "self_teacher": 2}
WIDTH, HEADS = 32, 4

Case = dict[str, Any]


def cases(kind: str, mask: str) -> list[Any]:
    """The cases of a kind as pytest parameters; none (a skip) where the vectors are not at hand."""
    import pytest

    if not FOLDER.is_dir():
        return []
    found = [
        c for c in json.loads((FOLDER / "cases.json").read_text())["cases"] if (c["kind"], c["mask"]) == (kind, mask)
    ]
    keys = ("objectives", "layer_map", "mode", "temperature", "mixup_lambda", "call")
    return [pytest.param(c, id="-".join([str(c[k]) for k in keys if c.get(k) is not None] + _target(c))) for c in found]


def _target(case: Case) -> list[str]:
    return [case["consistency"]["target"]] if case.get("consistency") else []


class Released:
    """Tensors of the vectors, and a forward pass of their BERT models written out."""

    def __init__(self) -> None:
        self.tensors = load_file(FOLDER / "tensors.safetensors")

    def mask(self, name: str) -> Tensor:
        return self.tensors[f"batch/{name}_mask"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], 1e-12)

    def fit_student(self, x: Tensor) -> Tensor:
        return self.linear("student/fit_dense", x)

    def run(self, model: str, mask: Tensor, lam: float | None = None, *, fitted: bool = False) -> Activations:
        """One pass in evaluation mode; `fitted`: hidden states go through the model's own linear map, as released."""
        names = f"{model}/bert.embeddings"
        ids, types = self.tensors["batch/input_ids"], self.tensors["batch/token_type_ids"]
        x = self.tensors[f"{names}.word_embeddings.weight"][ids]
        x = x + self.tensors[f"{names}.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(f"{names}.LayerNorm", x + self.tensors[f"{names}.token_type_embeddings.weight"][types])
        if lam is not None:
            x, mask = lam * x + (1 - lam) * x.flip(0), torch.maximum(mask, mask.flip(0))
        activations = Activations(mask, embedding=x)
        for layer in range(1, LAYERS[model] + 1):
            x = activations.hidden[layer] = self._layer(
                f"{model}/bert.encoder.layer.{layer - 1}", layer, x, mask, activations
            )
        if fitted:
            activations.hidden = {i: self.linear(f"{model}/fit_dense", h) for i, h in activations.hidden.items()}
        return activations

    def _layer(self, name: str, layer: int, x: Tensor, mask: Tensor, activations: Activations) -> Tensor:
        query = activations.query[layer] = self.linear(f"{name}.attention.self.query", x)
        key = activations.key[layer] = self.linear(f"{name}.attention.self.key", x)
        value = activations.value[layer] = self.linear(f"{name}.attention.self.value", x)
        split = (len(x), -1, HEADS, WIDTH // HEADS)
        q, k, v = (t.view(split).transpose(1, 2) for t in (query, key, value))
        weights = q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        weights = weights.masked_fill(mask[:, None, None, :] == 0, -math.inf).softmax(-1)
        context = (weights @ v).transpose(1, 2).reshape(x.shape)
        x = self.norm(f"{name}.attention.output.LayerNorm", x + self.linear(f"{name}.attention.output.dense", context))
        inner = F.gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", inner))


def entropy(activations: Activations, letter: str, layer: int, rows: Tensor, keys: Tensor) -> float:
    """Mean entropy of a model's own rows: what its cross-entropy as a target has over the KL divergence."""
    query, key = {"A": ("query", "key"), "Q": ("query",) * 2, "K": ("key",) * 2, "V": ("value",) * 2}[letter]
    raw = scores(getattr(activations, query)[layer], getattr(activations, key)[layer], HEADS)
    p = raw.masked_fill(keys[:, None, None, :] == 0, -math.inf).softmax(-1)
    by_row = torch.special.entr(p).sum(-1).mean(1)
    return float(by_row[rows.bool()].mean())
