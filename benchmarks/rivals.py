"""The nearest that other tools can do to crild's step: TextBrewer, torchdistill, and the Trainer of transformers.

They are no dependencies of crild: `make bench` installs them into an environment of the benchmark. A side that cannot be
made raises `RivalUnavailableError` with the reason, which then stands in the table.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import source_tree  # noqa: F401 - before the product's packages
import torch
from plain_step import PADDED, Watched, Work, decayed_groups, distillation_loss
from step import settled
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainingArguments

from engine.data.batches import Batch, collate
from engine.data.tokens import TokenSet
from engine.distill.layer_maps import pairs
from engine.train.settings import StageSettings


class RivalUnavailableError(Exception):
    """A tool isn't installed, doesn't load, or has no such method; the message says which."""


class Rival(Protocol):
    """One tool on one task."""

    pads_to: int | None
    """Tokens that it pads every batch to; None for a batch's longest."""
    shuffles: bool
    """Whether its batches are those of a plain shuffle, rather than crild's, which are of similar lengths."""

    def loss(self, work: Work) -> Tensor:
        """Of a step."""

    def constant(self, work: Work) -> float:
        """What it adds to the plain loss and that has no gradient, as the entropy that makes a KL a cross-entropy."""

    def step(self, work: Work) -> None:
        """Take a step."""

    def answers(self, work: Sequence[Work]) -> Callable[[], float] | None:
        """A timer of one example's answer, where the tool keeps the teacher's answers over epochs."""


@dataclass(frozen=True)
class _Variant:
    """How a tool pads and batches."""

    pads_to: int | None
    shuffles: bool


def _entropy(scores: Tensor, mask: Tensor) -> float:
    """The mean entropy of the softmax of scores (batch, heads, query, key) over heads and real rows."""
    log = (scores + (1.0 - mask[:, None, None, :].float()) * -1e9).log_softmax(-1)
    rows = -(log.exp() * log).sum(-1).mean(1)
    return float((rows * mask).sum() / mask.sum())


class _Scored(torch.nn.Module):
    """A classifier whose outputs are a dictionary as TextBrewer's adaptors read it."""

    def __init__(self, model: PreTrainedModel, settings: StageSettings, layers: Sequence[int]):
        super().__init__()
        self.model = model
        self.__dict__["watched"] = Watched(model)
        self.settings, self.layers = settings, layers

    def forward(self, batch: Batch) -> dict[str, Any]:
        """Logits, and of the layers that are compared masked scores and hidden states."""
        outputs = self.__dict__["watched"](batch, batch.attention_mask)
        terms, heads = self.settings.stage.terms(), self.model.config.num_attention_heads
        found: dict[str, Any] = {"inputs_mask": batch.attention_mask}
        if "logits" in terms:
            found["logits"] = [outputs.logits]
        absent = (1.0 - batch.attention_mask[:, None, None, :].float()) * -1e9
        found["attention"] = [
            outputs.scores(*(("query", "key") if name == "attention" else (name, name)), layer, heads) + absent
            for layer in self.layers
            for name in terms
            if name in ("attention", "query", "key", "value")
        ]
        found["hidden"] = [outputs.hidden[layer] for layer in self.layers]
        return found


class TextBrewer:
    """TextBrewer's GeneralDistiller (BasicDistiller with cached answers for KD), by the steps of its own loop.

    Its losses between rows of attention are cross-entropies, so they are the plain ones plus the teacher's entropy. It
    trains in fp32: half precision needs NVIDIA's apex.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        tokens: TokenSet,
        settings: StageSettings,
        precision: str,  # noqa: ARG002
        *,
        variant: _Variant,
    ):
        try:
            import textbrewer
        except Exception as error:  # noqa: BLE001 - a library that doesn't load may raise anything
            raise RivalUnavailableError(f"does not load: {error}") from None
        terms = settings.stage.terms()
        if settings.mixup or settings.consistency:
            raise RivalUnavailableError("has neither mixed inputs nor a self-teacher")
        if "labels" in terms:
            raise RivalUnavailableError("trains without a teacher by a loop that is the plain one")
        self.settings, self.tokens, self.device = settings, tokens, student.device
        self.pads_to, self.shuffles = variant.pads_to, variant.shuffles
        layers = pairs(
            settings.stage.layer_map, teacher.config.num_hidden_layers, student.config.num_hidden_layers
        )  # fmt: skip
        self.teacher = _Scored(teacher, settings, [above for above, _ in layers])
        self.student = _Scored(student, settings, [below for _, below in layers])
        self.cached = "logits" in terms
        scored = [name for name in terms if name != "hidden"]
        matches = []
        if "logits" not in terms:
            count = len(scored) * len(layers)
            matches += [
                {"layer_T": n, "layer_S": n, "feature": "attention", "loss": "attention_ce", "weight": 1}
                for n in range(count)
            ]
        if "hidden" in terms:
            matches += [
                {"layer_T": n, "layer_S": n, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
                for n in range(len(layers))
            ]
        temperature = settings.temperature
        config = textbrewer.DistillationConfig(
            temperature=temperature,
            kd_loss_weight=temperature**2,
            intermediate_matches=matches,
            is_caching_logits=self.cached,
        )
        training = textbrewer.TrainingConfig(
            device=str(self.device), output_dir=tempfile.mkdtemp(prefix="textbrewer"), log_dir=None
        )
        kind = textbrewer.BasicDistiller if self.cached else textbrewer.GeneralDistiller
        self.distiller = kind(training, config, self.teacher, self.student, _as_it_is, _as_it_is)
        self.adamw = torch.optim.AdamW(decayed_groups(student, settings.weight_decay), lr=settings.learning_rate)
        self.taken = 0
        self.logits: dict[bytes, list[Tensor]] = {}

    def _batch(self, work: Work) -> Batch:
        return collate(self.tokens, work.rows, pad_id=0, pad_to=self.pads_to)

    def _given(self, work: Work) -> Any:
        """A batch as `train_on_batch` takes it: a tuple of the model's arguments, with the answers where it caches them."""
        batch = (self._batch(work).to(self.device),)
        if not self.cached:
            return batch
        key = work.rows.tobytes()
        if key not in self.logits:
            self.distiller.logits_cache.clear()
            self.teacher.eval()
            self.distiller.cache_logits(batch, {}, None)
            self.logits[key] = self.distiller.logits_cache[-1][1]
        return [batch, self.logits[key]]

    def loss(self, work: Work) -> Tensor:
        """Of a step."""
        with self.distiller:
            total: Tensor = self.distiller.train_on_batch(self._given(work), {})[0]
        return total

    def constant(self, work: Work) -> float:
        """The teacher's entropies."""
        batch = self._batch(work).to(self.device)
        with torch.no_grad():
            found = self.teacher.eval()(batch)
        temperature = self.settings.temperature
        if self.cached:
            log = (found["logits"][0] / temperature).log_softmax(-1)
            return temperature**2 * float(-(log.exp() * log).sum(-1).mean())
        return math.fsum(_entropy(scores, batch.attention_mask) for scores in found["attention"])

    def step(self, work: Work) -> None:
        """As in `BasicDistiller.train_with_num_steps`."""
        self.teacher.eval()
        self.student.train()
        total, parts = self.distiller.train_on_batch(self._given(work), {})
        self.distiller.write_loss(total, self.taken, parts)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.settings.clip)
        self.adamw.step()
        self.adamw.zero_grad()
        self.taken += 1

    def answers(self, work: Sequence[Work]) -> Callable[[], float] | None:
        """Of `cache_logits`."""
        if not self.cached:
            return None
        part = work[0]

        def seconds() -> float:
            self.teacher.eval()
            settled()
            began = time.perf_counter()
            self.distiller.cache_logits((self._batch(part).to(self.device),), {}, None)
            settled()
            self.distiller.logits_cache.clear()
            return (time.perf_counter() - began) / len(part.rows)

        return seconds


def _as_it_is(batch: object, outputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return outputs


class _DistillingTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose loss is that of a stage, with a teacher that runs at each step."""

    settings: StageSettings
    teacher: Watched | None
    student: Watched

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The stage's loss."""
        del model, return_outputs, num_items_in_batch
        batch: Batch = inputs["batch"]
        mask = batch.attention_mask
        teacher = None
        if self.teacher is not None:
            with torch.no_grad():
                teacher = self.teacher(batch, mask)
        heads = self.student.model.config.num_attention_heads
        return distillation_loss(self.settings, self.student(batch, mask), teacher, batch, mask, heads)


class HuggingFaceTrainer:
    """A subclass of Trainer with a loss of its own, the usual way; by `training_step`, clipping and its optimiser."""

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        tokens: TokenSet,
        settings: StageSettings,
        precision: str,
        *,
        variant: _Variant,
    ):
        if settings.mixup or settings.consistency:
            raise RivalUnavailableError("mixed inputs and a self-teacher would be the plain step's code again")
        self.tokens, self.device, self.settings = tokens, student.device, settings
        self.pads_to, self.shuffles = variant.pads_to, variant.shuffles
        arguments = TrainingArguments(
            output_dir=tempfile.mkdtemp(prefix="trainer"),
            use_cpu=self.device.type == "cpu",
            bf16=precision == "bf16",
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            lr_scheduler_type="constant",
            max_grad_norm=settings.clip,
            report_to=[],
            save_strategy="no",
        )
        self.trainer = _DistillingTrainer(model=student, args=arguments)
        self.trainer.current_gradient_accumulation_steps = 1  # what its loop sets before the first step
        self.trainer.settings = settings
        self.trainer.student = Watched(student)
        labels = "labels" in settings.stage.terms()
        self.trainer.teacher = None if labels else Watched(teacher)
        self.trainer.create_optimizer_and_scheduler(num_training_steps=10_000)
        self.trainer.optimizer = self.trainer.accelerator.prepare(self.trainer.optimizer)

    def _batch(self, work: Work) -> Batch:
        return collate(self.tokens, work.rows, pad_id=0, pad_to=self.pads_to).to(self.device)

    def loss(self, work: Work) -> Tensor:
        """Of a step."""
        loss: Tensor = self.trainer.compute_loss(None, {"batch": self._batch(work)})
        return loss

    def constant(self, work: Work) -> float:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def step(self, work: Work) -> None:
        """As in Trainer's loop."""
        trainer = self.trainer
        trainer.training_step(trainer.model, {"batch": self._batch(work)})
        trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), self.settings.clip)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.model.zero_grad()

    def answers(self, work: Sequence[Work]) -> Callable[[], float] | None:  # noqa: ARG002
        """The teacher runs at each step."""
        return None


class TorchDistill:
    """torchdistill's DistillationBox for KD: its `KDLoss` between the outputs of two classifiers.

    Its losses between layers are for images; none compares attention under a mask.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        tokens: TokenSet,
        settings: StageSettings,
        precision: str,  # noqa: ARG002
        *,
        variant: _Variant,
    ):
        if "logits" not in settings.stage.terms() or settings.mixup:
            raise RivalUnavailableError("has no loss between layers that knows of padding")
        try:
            from torchdistill.core.distillation import DistillationBox
            from torchdistill.core.interfaces.registry import register_forward_proc_func
        except Exception as error:  # noqa: BLE001 - a library that doesn't load may raise anything
            raise RivalUnavailableError(f"does not load: {error}") from None

        @register_forward_proc_func(key="crild_benchmark")  # type: ignore[untyped-decorator]
        def forward(model: Any, sample: dict[str, Tensor], targets: Any, supplement: Any, **_: Any) -> Any:  # noqa: ARG001
            return model(**sample)

        self.tokens, self.device = tokens, student.device
        self.pads_to, self.shuffles = variant.pads_to, variant.shuffles
        ends = {"forward_proc": "crild_benchmark", "forward_hook": {"output": ["classifier"]}}
        logits = {
            "student_module_path": "classifier",
            "student_module_io": "output",
            "teacher_module_path": "classifier",
            "teacher_module_io": "output",
            "temperature": settings.temperature,
            "alpha": 0.0,
        }
        term = {"criterion": {"key": "KDLoss", "kwargs": logits}, "weight": settings.temperature**2}
        optimiser = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        config = {
            "num_epochs": 1,
            "teacher": {**ends, "requires_grad": False},
            "student": ends,
            "optimizer": {"key": "AdamW", "kwargs": optimiser, "max_grad_norm": settings.clip},
            "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": term}}},
        }
        try:
            self.box = DistillationBox(teacher, student, {}, config, self.device, None, False, 1.0)
        except Exception as error:  # noqa: BLE001 - as above
            raise RivalUnavailableError(f"refuses these models: {error}") from None

    def _forward(self, work: Work) -> Tensor:
        batch = collate(self.tokens, work.rows, pad_id=0, pad_to=self.pads_to).to(self.device)
        names = ("input_ids", "attention_mask", "token_type_ids")
        loss: Tensor = self.box.forward_process({name: getattr(batch, name) for name in names}, batch.labels, {})
        return loss

    def loss(self, work: Work) -> Tensor:
        """Of a step."""
        return self._forward(work)

    def constant(self, work: Work) -> float:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def step(self, work: Work) -> None:
        """As in torchdistill's examples."""
        self.box.post_forward_process(self._forward(work))

    def answers(self, work: Sequence[Work]) -> Callable[[], float] | None:  # noqa: ARG002
        """The teacher runs at each step."""
        return None


def _made(kind: Any, pads_to: int | None, shuffles: bool) -> Callable[..., Rival]:
    def make(teacher: PreTrainedModel, student: PreTrainedModel, *others: Any) -> Rival:
        own = copy.deepcopy(teacher).eval()
        for model in (own, student):
            model.set_attn_implementation("sdpa")
        rival: Rival = kind(own, student, *others, variant=_Variant(pads_to, shuffles))
        return rival

    return make


RIVALS: dict[str, Callable[..., Rival]] = {
    "TextBrewer, padded to 128": _made(TextBrewer, PADDED, shuffles=True),
    "TextBrewer, dynamic padding": _made(TextBrewer, None, shuffles=True),
    "TextBrewer, crild's batches": _made(TextBrewer, None, shuffles=False),
    "Trainer, dynamic padding": _made(HuggingFaceTrainer, None, shuffles=True),
    "torchdistill, dynamic padding": _made(TorchDistill, None, shuffles=True),
}
"""By name: makers of sides, called with teacher, student, tokens, settings and precision. The student is theirs."""
