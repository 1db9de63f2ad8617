"""One optimiser step after the other: rows, losses and gradients over micro-batches and processes, the update of weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.data.batches import Batch, Indices, collate
from engine.data.candidates import Choice
from engine.data.tokens import TokenSet
from engine.distill import consistency, mixup, self_teacher
from engine.distill.transport import LayerWeights
from engine.train import seeding
from engine.train.graphs import Backward, CapturedBackward, padded
from engine.train.optim import Optimiser, learning_rate
from engine.train.ranks import ALONE, Order, Ranks
from engine.train.row_order import batches_of, choices_of
from engine.train.selection import chosen
from engine.train.settings import StageSettings
from engine.train.step import Counts, Models, StepLosses
from engine.train.step_metrics import StepMetrics, memory


class Stepper:
    """Takes the optimiser steps of one stage, by number: the same number gives the same rows, mixing share and dropout.

    In a run of several processes (`ranks`) each has one: rank 0 calls `step` and `read`, the others `follow`. Each computes
    its part of the batch; gradients are summed, so that all take the same step. Create it inside `graphs.own_stream`.
    """

    def __init__(
        self,
        settings: StageSettings,
        models: Models,
        tokens: TokenSet,
        losses: StepLosses,
        *,
        device: torch.device,
        pad_id: int,
        graphs: bool,
        ranks: Ranks = ALONE,
    ):
        self.settings, self.models, self.tokens, self.losses = settings, models, tokens, losses
        self.device, self.pad_id, self.ranks = device, pad_id, ranks
        self.total = settings.total_steps(tokens.per_epoch)
        self.per_epoch = settings.steps_per_epoch(tokens.per_epoch)
        self.captures = device.type == "cuda" and graphs and losses.capturable
        self.backward = (CapturedBackward if self.captures else Backward)(losses, device)
        self.optimiser = Optimiser(
            [models.student, models.projections],
            peak=settings.learning_rate,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            capture=self.captures,
        )
        self.average: list[Tensor] = [] if models.average is None else list(models.average.parameters())
        self.averaged: list[Tensor] = list(models.student.parameters())
        self.metrics = StepMetrics(device)
        self.orders: tuple[int, Sequence[Indices | Choice]] = (-1, [])
        self.own_examples, self.worked = 0, 0.0
        """What this process had of the steps since the last read, and its seconds without waiting for others."""

    def step(self, number: int) -> int:
        """Take step `number`, counted from 0; returns its examples."""
        self.ranks.tell(Order.STEP, number)
        return self._step(number)

    def read(self) -> dict[str, Any] | None:
        """The metrics of the steps since the last read, as `StepMetrics.read` gives them, with those of each process."""
        if not self.metrics.steps or not self.ranks.several:
            return self.metrics.read()
        self.ranks.tell(Order.READ)
        shares, seconds = self._sum_metrics(), self.metrics.seconds
        metrics = self.metrics.read()
        return None if metrics is None else {**metrics, "ranks": [self._of_rank(share, seconds) for share in shares]}

    def _of_rank(self, share: list[float], seconds: float) -> dict[str, Any]:
        """One process in a `step` event. A GPU still computes while its process waits, so it has no `busy`."""
        examples, worked, used = share
        own = {"examples_per_second": round(examples / seconds, 2), "memory": int(used)}
        return own if self.device.type == "cuda" else {**own, "busy": round(min(1.0, worked / seconds), 3)}

    def evaluate(self) -> None:
        """An evaluation follows, in which all processes take part."""
        self.ranks.tell(Order.EVALUATE)

    def end(self) -> None:
        """The stage has no more steps."""
        self.ranks.tell(Order.END)

    def follow(self, evaluate: Callable[[], object]) -> None:
        """Take part in the steps of rank 0, and in its evaluations by `evaluate`, until the stage ends.

        Raises RunError when the connection is lost.
        """
        while True:
            match self.ranks.hear():
                case Order.STEP, number:
                    self._step(number)
                case Order.READ, _:
                    self._sum_metrics()
                    self.metrics.clear()
                case Order.EVALUATE, _:
                    evaluate()
                case Order.LOAD, _:
                    self._load(self.ranks.receive(self.device))
                case _:
                    return

    def _step(self, number: int) -> int:
        began, waited = time.monotonic(), self.ranks.waits.seconds
        examples = self._optimise(number)
        self.worked += time.monotonic() - began - (self.ranks.waits.seconds - waited)
        return examples

    def _optimise(self, number: int) -> int:
        settings, seed, stage = self.settings, self.settings.seed, self.settings.name
        rows = self._rows(number)
        self.losses.begin_step(number, self.total, epoch=number // self.per_epoch)
        lam = None
        if settings.mixup:
            lam = mixup.draw(seeding.generator(seed, seeding.MIXUP, stage, number), settings.mixup.alpha)
        weight = 0.0
        if settings.consistency:
            weight = settings.consistency.weight * consistency.ramp(number + 1, self.total, settings.consistency.ramp)
        counts = Counts.of(
            self.tokens.lengths[rows],
            answers=self.tokens.answer_count(rows),
            mixed=lam is not None,
            pad_to=settings.pad_to,
        )
        for micro, part in self._parts(rows):
            if part is None:
                self.losses.without_part()
                continue
            self.own_examples += len(part)
            seeding.seed_torch(seed, seeding.DROPOUT, stage, number, micro)
            self.metrics.add(self.backward(part, counts, lam, weight), weight)
        self.ranks.sum_gradients(self.optimiser.parameters)
        self.losses.end_step()
        rate = learning_rate(
            number, self.total, peak=settings.learning_rate, warmup=settings.warmup, schedule=settings.schedule
        )
        norm = self.optimiser.step(rate)
        self.metrics.step(norm, rate, examples=len(rows), tokens=int(self.tokens.lengths[rows].sum()))
        if self.average and settings.consistency:
            decay = self_teacher.average_decay(number, settings.consistency.decay, settings.consistency.warmup)
            self_teacher.update_average(self.average, self.averaged, decay)
        return len(rows)

    def _rows(self, number: int) -> Indices:
        """The rows that a step reads; where there are candidates, those that the student, as it is now, gets most wrong."""
        epoch, position = divmod(number, self.per_epoch)
        if self.orders[0] != epoch:
            lengths, candidates = self.tokens.lengths, self.tokens.candidates
            orders = (
                batches_of(self.settings, lengths, epoch)
                if candidates is None
                else choices_of(self.settings, lengths, epoch, candidates)
            )
            self.orders = (epoch, orders)
        step = self.orders[1][position]
        if not isinstance(step, Choice):
            return step
        found = chosen(step, self.losses, self.tokens, device=self.device, pad_id=self.pad_id, ranks=self.ranks)
        self.metrics.chose(found)
        return found.rows

    def _parts(self, rows: Indices) -> Iterator[tuple[int, Batch | None]]:
        """The micro-batches of this process, with their numbers in the whole step; None where a small batch leaves it none."""
        fit, lengths = self.settings.pad_to, self.tokens.lengths
        if self.captures and fit is None:
            fit = padded(int(lengths[rows].max()), int(lengths.max()))
        batch = collate(self.tokens, rows, pad_id=self.pad_id, pad_to=fit)
        count = self.settings.accumulate * self.ranks.world
        parts = batch.mirrored_parts(count, trim=fit is None) if count > 1 else [batch]
        most = len(parts) if not self.ranks.several else count
        for micro in range(self.ranks.rank, most, self.ranks.world):
            yield micro, parts[micro] if micro < len(parts) else None

    def _sum_metrics(self) -> list[list[float]]:
        """Sum the losses over all processes; returns examples, seconds of work and bytes in use of each."""
        self.metrics.share(self.settings.stage.terms(), self.ranks.sum, consistency=bool(self.settings.consistency))
        shares = self.ranks.table([self.own_examples, self.worked, memory(self.device)])
        self.own_examples, self.worked = 0, 0.0
        return shares

    # -- the state that checkpoints store

    def state(self) -> dict[str, Any]:
        """What a resumed stage needs: weights of the model, its average and projections, and the optimiser's moments."""
        average = self.models.average
        return {
            "model": self.models.student.state_dict(),
            "optimiser": self.optimiser.state(),
            "average": {} if average is None else average.state_dict(),
            "projections": self.models.projections.state_dict(),
        }

    def load(self, state: dict[str, dict[str, Tensor]], layer_weights: dict[str, LayerWeights]) -> None:
        """Go on from a state, in all processes; `layer_weights` are those of the transport, by term."""
        self._load((state, layer_weights))
        if self.ranks.several:
            self.ranks.tell(Order.LOAD)
            self.ranks.send((state, layer_weights))

    def _load(self, loaded: tuple[dict[str, dict[str, Tensor]], dict[str, LayerWeights]]) -> None:
        state, self.losses.layer_weights = loaded
        self.models.student.load_state_dict(state["model"])
        self.models.projections.load_state_dict(state["projections"])
        if self.models.average is not None:
            self.models.average.load_state_dict(state["average"])
        self.optimiser.load(state["optimiser"])
