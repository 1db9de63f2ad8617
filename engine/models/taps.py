"""Running a model as far as an objective looks, and handing out what it reads.

A step of layer distillation reads a few tensors inside the encoder. `Tapped` computes these and nothing behind them:
no layer beyond the last one that is read, and of that one only the projections when they are all that is read. It
drives the model's own modules (embeddings, layers, head) one after the other, so parameters, dropout and training
mode are the model's own, and gradients land there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from engine.errors import ModelError
from engine.models.families import family_of, layers_of
from engine.models.kernels import fast_attention

Part = Literal["query", "key", "value"]
PARTS: tuple[Part, ...] = ("query", "key", "value")


class Inputs(Protocol):
    """What is read of a batch; `token_type_ids` may be None. All are `(batch, length)`, integers."""

    @property
    def input_ids(self) -> Tensor:
        """Tokens, filled up with the padding token."""

    @property
    def attention_mask(self) -> Tensor:
        """1 at real positions, 0 at padding."""

    @property
    def token_type_ids(self) -> Tensor | None:
        """0 in the first sentence and in padding, 1 in the second."""


@dataclass(frozen=True)
class Need:
    """What an objective reads. Layers are counted from 1; layer l is the output of the l-th encoder layer."""

    query: frozenset[int] = frozenset()
    key: frozenset[int] = frozenset()
    value: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    embedding: bool = False
    logits: bool = False

    def __or__(self, other: Need) -> Need:
        """What both read together."""
        return Need(
            query=self.query | other.query,
            key=self.key | other.key,
            value=self.value | other.value,
            hidden=self.hidden | other.hidden,
            embedding=self.embedding or other.embedding,
            logits=self.logits or other.logits,
        )

    def projections(self, layer: int) -> tuple[Part, ...]:
        """Which of query, key and value are read of a layer."""
        return tuple(part for part in PARTS if layer in getattr(self, part))

    @property
    def layers(self) -> frozenset[int]:
        """Layers of which anything is read."""
        return self.query | self.key | self.value | self.hidden


@dataclass
class Seen:
    """What was asked for; every tensor is `(batch, length, width)`, `logits` is `(batch, classes)`.

    `mask (batch, length)` is true at the positions that an objective counts: the batch's own real positions, or under
    mixing those of either sentence. `embedding` is the output of the embedding module (after normalisation and
    dropout, mixed if the input was; for ELECTRA and ALBERT before it is projected to the encoder's width). Queries and
    keys are as attention multiplies them: ModernBERT's are turned by their positions. The hidden state of ModernBERT's
    last layer is what its final normalisation gives, as in transformers.
    """

    mask: Tensor
    query: dict[int, Tensor] = field(default_factory=dict)
    key: dict[int, Tensor] = field(default_factory=dict)
    value: dict[int, Tensor] = field(default_factory=dict)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    embedding: Tensor | None = None
    logits: Tensor | None = None


def mix(
    embedding: Tensor, mask: Tensor, lam: float | Tensor, unpaired: Literal["padding", "whole"] = "padding"
) -> tuple[Tensor, Tensor]:
    """λ·e(x) + (1 − λ)·e(x′), x′ the batch reversed, and the union of both masks.

    `embedding (batch, length, width)`, `mask (batch, length)` bool. Where only one of the two sentences reaches,
    "padding" mixes with the embedding of the padding token at that position, as the CR-ILD code does; "whole" takes
    the longer sentence's embedding as it is.
    """
    other = mask.flip(0)
    share: float | Tensor = lam
    if unpaired == "whole":
        share = torch.where(mask & ~other, 1.0, torch.where(other & ~mask, 0.0, lam)).unsqueeze(-1)
        share = share.to(embedding.dtype)
    return share * embedding + (1 - share) * embedding.flip(0), mask | other


class Tapped(nn.Module):
    """A sequence-classification model, run on a batch as far as `need` goes.

    Several may be made over one model, also with different needs; each sees its own calls only, and the model's own
    forward stays what it is. Training mode, parameters and gradients are the model's. `parameters()` are those that
    what is needed depends on, so a distributed wrapper waits for no others. `remove()` takes the hooks off again.

    Raises `ModelError` when a layer is asked for that the model has not, or nothing at all.
    """

    def __init__(self, model: PreTrainedModel, need: Need):
        super().__init__()
        self.family = family_of(model.config)
        self.need = need
        layers = layers_of(model)
        top = self._top(need, len(layers))
        partial = top > 0 and not need.logits and top not in need.hidden
        # The model is kept out of the registered modules: only what is run counts as a part.
        self.__dict__["model"] = model
        self.embeddings: nn.Module = model.get_submodule(self.family.embeddings)
        self.project = self._projection(model) if top else None
        self.whole = nn.ModuleList(layers[: top - 1 if partial else top])
        self.last = nn.ModuleDict()
        self.before: nn.Module | None = None
        if partial:
            self.last.update({part: self._part(layers[top - 1], part) for part in need.projections(top)})
            if self.family.norm_before is not None:
                self.before = layers[top - 1].get_submodule(self.family.norm_before)
        ends = self.family.final is not None and top == len(layers) and not partial
        self.final = model.get_submodule(self.family.final) if ends and self.family.final is not None else None
        self.head = nn.ModuleList([model.get_submodule(path) for path in self.family.head] if need.logits else [])
        self._caught: dict[Part, dict[int, Tensor]] | None = None
        self._running = 0  # the layer, from 1: a shared module does not know
        self._hooks = list(self._tap())

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return int(self._config.num_attention_heads)

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return int(self._config.hidden_size)

    @property
    def layers(self) -> int:
        """Layers of the model, those that are not run included."""
        return int(self._config.num_hidden_layers)

    def forward(
        self,
        batch: Inputs,
        *,
        lam: float | Tensor | None = None,
        unpaired: Literal["padding", "whole"] = "padding",
    ) -> Seen:
        """What is needed of the model on `batch`; on the batch mixed with its own reverse when `lam` is given.

        `lam` is λ in [0, 1], a number or a tensor of no dimensions; `unpaired` as in `mix`.
        """
        mask = batch.attention_mask.bool()
        embedding = self._embed(batch)
        if lam is not None:
            embedding, mask = mix(embedding, mask, lam, unpaired)
        seen = Seen(mask=mask, embedding=embedding if self.need.embedding else None)
        if len(self.whole) + len(self.last):
            self._caught = {"query": seen.query, "key": seen.key, "value": seen.value}
            try:
                with fast_attention(self._config, embedding.device) if self.family.fused else nullcontext():
                    self._run(embedding if self.project is None else self.project(embedding), seen)
            finally:
                self._caught = None
        return seen

    def remove(self) -> None:
        """Take the hooks off the model. What layers run whole would have handed out is no longer seen."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    @property
    def _config(self) -> Any:
        return self.__dict__["model"].config

    @staticmethod
    def _top(need: Need, layers: int) -> int:
        """The last layer that is needed, 0 for the embeddings alone."""
        asked = sorted(need.layers)
        if asked and (asked[0] < 1 or asked[-1] > layers):
            wrong = next(layer for layer in asked if not 1 <= layer <= layers)
            raise ModelError(f"layer {wrong} was asked for, but the model has layers 1 to {layers}")
        if not asked and not need.logits and not need.embedding:
            raise ModelError("nothing was asked for: no layer, no embedding, no logits")
        return layers if need.logits else max(asked, default=0)

    def _projection(self, model: PreTrainedModel) -> nn.Module | None:
        """ELECTRA's step from the embedding's width to the encoder's, where there is one."""
        path = self.family.project
        if path is None or not hasattr(model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]):
            return None
        project: nn.Module = model.get_submodule(path)
        return project

    def _part(self, layer: nn.Module, part: Part) -> nn.Module:
        path: str = getattr(self.family, part)
        return layer.get_submodule(path)

    def _tap(self) -> Iterator[RemovableHandle]:
        """Hook the projections that are read of layers which run whole: each once, however often it runs."""
        tapped: set[tuple[nn.Module, Part]] = set()
        for number, layer in enumerate(self.whole, start=1):
            for part in self.need.projections(number):
                projection = self._part(layer, part)
                if (projection, part) not in tapped:
                    tapped.add((projection, part))
                    yield projection.register_forward_hook(self._catcher(part))

    def _catcher(self, part: Part) -> Any:
        wanted = getattr(self.need, part)

        def catch(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
            # None: someone else's call of the same model. A second call in a layer is not of the hidden states:
            # DeBERTa's layers project relative positions with the same weights.
            if self._caught is not None and self._running in wanted:
                self._caught[part].setdefault(self._running, output)

        return catch

    def _embed(self, batch: Inputs) -> Tensor:
        types = {}
        # A model with a single type (as RoBERTa) has no row for the second sentence.
        if self.family.takes_types and batch.token_type_ids is not None and self._config.type_vocab_size > 1:
            types["token_type_ids"] = batch.token_type_ids
        if self.family.masks_embeddings:
            types["mask"] = batch.attention_mask
        embedding: Tensor = self.embeddings(input_ids=batch.input_ids, **types)
        return embedding

    def _run(self, hidden: Tensor, seen: Seen) -> None:
        family, model = self.family, self.__dict__["model"]
        # Of a single layer's projections nothing is asked, unless their meaning depends on what the layer is given.
        given = family.given(model, hidden, seen.mask) if len(self.whole) or family.part is not None else _nothing
        for number, layer in enumerate(self.whole, start=1):
            self._running = number
            output = layer(hidden, *given(number - 1))
            hidden = output[0] if isinstance(output, tuple) else output
            if number in self.need.hidden:
                seen.hidden[number] = hidden
        self._running = number = len(self.whole) + 1
        if len(self.last):
            states = hidden if self.before is None else self.before(hidden)
            made: dict[nn.Module, Tensor] = {}  # a fused projection gives several parts and runs once
            for part, projection in self.last.items():
                if projection not in made:
                    made[projection] = projection(states)
                getattr(seen, part)[number] = made[projection]
        if self.final is not None:
            hidden = self.final(hidden)
            if len(self.whole) in self.need.hidden:
                seen.hidden[len(self.whole)] = hidden
        if family.part is not None:
            for part in PARTS:
                found = getattr(seen, part)
                for layer, output in found.items():
                    found[layer] = family.part(model.config, part, output, given(layer - 1))
        if self.need.logits:
            seen.logits = family.logits(model, hidden, seen.mask)


def _nothing(layer: int) -> tuple[Any, ...]:  # noqa: ARG001
    return ()
