"""Run a model only as far as the objectives look, and hand out the activations that they compare.

A step of layer distillation reads a few tensors inside the encoder. `PartialEncoder` computes these and nothing behind
them: no layer beyond the last one that is read, and of that layer only the projections when nothing else is read. It
calls the model's own modules (embeddings, layers, head) one after the other, so parameters, dropout and training mode
are the model's own, and gradients arrive there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from engine.data.batches import Batch
from engine.distill.activations import PROJECTIONS, Activations, ActivationSpec, Projection
from engine.distill.mixup import mix
from engine.errors import ModelError
from engine.models.families import family_of, layers_of
from engine.models.kernels import fast_attention
from engine.models.layer_inputs import LayerInputs


class PartialEncoder(nn.Module):
    """A sequence-classification model that runs on a batch only as far as `spec` asks.

    One model may have several, with different specs: each sees only its own calls, and the model's own forward is
    unchanged. Training mode, parameters and gradients are the model's. `parameters()` are those that the activations
    depend on, so a distributed wrapper waits for no others. `remove()` takes the hooks off again.

    Raises:
        ModelError: `spec` names a layer that the model doesn't have, or nothing at all.
    """

    def __init__(self, model: PreTrainedModel, spec: ActivationSpec, *, checkpointing: bool = False):
        """With `checkpointing`, layers that run whole keep their input alone, and run again in the backward pass."""
        super().__init__()
        self.checkpointing = checkpointing
        self.family = family_of(model.config)
        self.spec = spec
        layers = layers_of(model)
        top = self._top(spec, len(layers))
        projects = top > 0 and not spec.logits and top not in spec.hidden
        # The model itself is not a registered submodule: only the modules that run are.
        self.__dict__["model"] = model
        self.embeddings: nn.Module = model.get_submodule(self.family.embeddings)
        self.project = self._embedding_projection(model) if top else None
        self.whole = nn.ModuleList(layers[: top - 1 if projects else top])
        self.last = nn.ModuleDict()
        self.before: nn.Module | None = None
        if projects:
            self.last.update({name: self._projection_of(layers[top - 1], name) for name in spec.projections(top)})
            if self.family.norm_before is not None:
                self.before = layers[top - 1].get_submodule(self.family.norm_before)
        ends = self.family.final is not None and top == len(layers) and not projects
        self.final = model.get_submodule(self.family.final) if ends and self.family.final is not None else None
        self.head = nn.ModuleList([model.get_submodule(path) for path in self.family.head] if spec.logits else [])
        self._caught: dict[Projection, dict[int, Tensor]] | None = None
        self._running = 0  # the current layer, from 1: a module that layers share cannot tell
        self._hooks = list(self._tap())

    def forward(
        self,
        batch: Batch,
        *,
        lam: float | Tensor | None = None,
        unpaired: Literal["padding", "whole"] = "padding",
    ) -> Activations:
        """The activations on `batch`, or with `lam` on the batch mixed with its own reverse.

        `lam` is λ in [0, 1], a number or a tensor without dimensions; `unpaired` as in `mix`.
        """
        mask = batch.attention_mask.bool()
        embedding = self._embed(batch)
        if lam is not None:
            embedding, mask = mix(embedding, mask, lam, unpaired)
        activations = Activations(mask=mask, embedding=embedding if self.spec.embedding else None)
        if len(self.whole) + len(self.last):
            self._caught = {"query": activations.query, "key": activations.key, "value": activations.value}
            try:
                with self._attention(embedding.device):
                    self._run(embedding if self.project is None else self.project(embedding), activations)
            finally:
                self._caught = None
        return activations

    def remove(self) -> None:
        """Take the hooks off the model: layers that run whole no longer hand out their projections."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    @property
    def _config(self) -> Any:
        return self.__dict__["model"].config

    @staticmethod
    def _top(spec: ActivationSpec, layers: int) -> int:
        """The last layer that must run, 0 for the embeddings alone."""
        for layer in sorted(spec.layers):
            if not 1 <= layer <= layers:
                raise ModelError(f"there is no layer {layer}: the model has layers 1 to {layers}", kind="unknown-layer")
        if spec == ActivationSpec():
            sentence = "no activations requested: name a layer, the embedding or the logits"
            raise ModelError(sentence, kind="no-activations")
        return layers if spec.logits else max(spec.layers, default=0)

    def _embedding_projection(self, model: PreTrainedModel) -> nn.Module | None:
        """ELECTRA's step from the embedding's width to the encoder's, where there is one."""
        path = self.family.project
        if path is None or not hasattr(model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]):
            return None
        project: nn.Module = model.get_submodule(path)
        return project

    def _projection_of(self, layer: nn.Module, name: Projection) -> nn.Module:
        path: str = getattr(self.family, name)
        return layer.get_submodule(path)

    def _tap(self) -> Iterator[RemovableHandle]:
        """Hook the projections to hand out of layers that run whole: each once, however often it runs."""
        tapped: set[tuple[nn.Module, Projection]] = set()
        for number, layer in enumerate(self.whole, start=1):
            for name in self.spec.projections(number):
                projection = self._projection_of(layer, name)
                if (projection, name) not in tapped:
                    tapped.add((projection, name))
                    yield projection.register_forward_hook(self._catcher(name))

    def _catcher(self, name: Projection) -> Any:
        layers = getattr(self.spec, name)

        def catch(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
            # None: another caller runs the same model. A second call within a layer is not of the hidden states:
            # DeBERTa's layers project relative positions with the same weights.
            if self._caught is not None and self._running in layers:
                self._caught[name].setdefault(self._running, output)

        return catch

    def _embed(self, batch: Batch) -> Tensor:
        types = {}
        # A model with a single type (as RoBERTa) has no row for the second sentence.
        if self.family.takes_types and batch.token_type_ids is not None and self._config.type_vocab_size > 1:
            types["token_type_ids"] = batch.token_type_ids
        if self.family.masks_embeddings:
            types["mask"] = batch.attention_mask
        embedding: Tensor = self.embeddings(input_ids=batch.input_ids, **types)
        return embedding

    def _attention(self, device: torch.device) -> AbstractContextManager[None]:
        return fast_attention(self._config, device) if self.family.fused else nullcontext()

    def _layer(self, layer: nn.Module, hidden: Tensor, inputs: tuple[Any, ...]) -> Any:
        if not (self.checkpointing and torch.is_grad_enabled()):
            return layer(hidden, *inputs)
        again = partial(_contexts, partial(self._attention, hidden.device))
        return checkpoint(layer, hidden, *inputs, use_reentrant=False, context_fn=again)

    def _run(self, hidden: Tensor, activations: Activations) -> None:
        family, model = self.family, self.__dict__["model"]
        # Projections alone need no inputs but the hidden states, except where they are rotated by position.
        inputs: LayerInputs = lambda layer: ()  # noqa: ARG005, E731
        if len(self.whole) or family.split is not None:
            inputs = family.inputs(model, hidden, activations.mask)
        for number, layer in enumerate(self.whole, start=1):
            self._running = number
            output = self._layer(layer, hidden, inputs(number - 1))
            hidden = output[0] if isinstance(output, tuple) else output
            if number in self.spec.hidden:
                activations.hidden[number] = hidden
        self._running = number = len(self.whole) + 1
        if len(self.last):
            states = hidden if self.before is None else self.before(hidden)
            outputs: dict[nn.Module, Tensor] = {}  # a fused projection gives several of them and runs once
            for name, projection in self.last.items():
                if projection not in outputs:
                    outputs[projection] = projection(states)
                getattr(activations, name)[number] = outputs[projection]
        if self.final is not None:
            hidden = self.final(hidden)
            if len(self.whole) in self.spec.hidden:
                activations.hidden[len(self.whole)] = hidden
        if family.split is not None:
            for name in PROJECTIONS:
                by_layer = getattr(activations, name)
                for layer, output in by_layer.items():
                    by_layer[layer] = family.split(model.config, name, output, inputs(layer - 1))
        if self.spec.logits and family.logits is not None:
            activations.logits = family.logits(model, hidden, activations.mask)
        elif self.spec.logits:
            for module in self.head:
                hidden = module(hidden)
            activations.logits = hidden


def _contexts(
    attention: Callable[[], AbstractContextManager[None]],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Those of a checkpointed layer, of its first run and of the one in the backward pass, which needs the same attention."""
    return nullcontext(), attention()
