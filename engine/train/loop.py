"""The training loop: every stage, including the teacher's fine-tuning and the baseline, is one `StageRun`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from engine.data.tokens import TokenSet
from engine.distill.transport import LayerWeights
from engine.errors import RunError
from engine.preset.schema import Train
from engine.record.checkpoints import Checkpoint, checkpoints_folder, flaw
from engine.record.phases import Report
from engine.record.session import RunSession
from engine.record.stop_request import Stopped
from engine.train import checkpoint
from engine.train.dev_evaluation import Evaluation, LogitsBySplit
from engine.train.messages import say
from engine.train.out_of_memory import is_out_of_memory, step_out_of_memory
from engine.train.ranks import ALONE, Ranks
from engine.train.settings import StageSettings
from engine.train.step import Models, StepLosses
from engine.train.stepper import Stepper
from engine.train.teacher import data_hash


@dataclass
class Evaluated:
    """The result of one evaluation of the model in training."""

    step: int
    score: float
    """See `Evaluation.score`."""
    metrics: dict[str, float]
    """On the primary dev set."""
    label_loss: float | None = None
    """On the gold labels there; None in a run that an older crild began, in which the first of equal scores is the best."""

    def better_than(self, other: Evaluated) -> bool:
        """Whether its score is higher, or the same with a lower loss on the gold labels: on a small dev set many scores
        are the same."""
        if self.score != other.score or self.label_loss is None or other.label_loss is None:
            return self.score > other.score
        return self.label_loss < other.label_loss


@dataclass
class Progress:
    """Progress of a stage: what a checkpoint stores besides tensors."""

    step: int = 0
    last: Evaluated | None = None
    best: Evaluated | None = None
    best_weights: str | None = None
    since_best: int = 0
    ended_early: bool = False
    self_teacher: dict[str, float] | None = None
    """Metrics of the averaged self-teacher at the last evaluation."""
    seconds: float = 0.0
    """Time in optimiser steps only, without evaluations and checkpoints."""
    examples: int = 0
    layer_weights: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    compares_losses: bool = False
    """Whether a lower loss decides between equal scores; not in checkpoints of crild 0.1."""

    @staticmethod
    def of(data: Mapping[str, Any]) -> Progress:
        """The inverse of `dataclasses.asdict`."""
        values = dict(data)
        for name in ("last", "best"):
            if values.get(name) is not None:
                values[name] = Evaluated(**values[name])
        return Progress(**values)


class Evaluator(Protocol):
    """Evaluates the model in training on dev."""

    def __call__(self, losses: StepLosses, *, report: Report) -> Evaluation:
        """Reports its progress. Raises Stopped."""


@dataclass(frozen=True)
class StagePosition:
    """Position of a stage in its run."""

    index: int
    stages: int
    before: int
    """Steps of the earlier stages."""
    total: int
    """Steps of all stages."""


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run have in common."""

    session: RunSession
    accelerator: Accelerator
    train: Train
    pad_id: int
    finished: dict[str, dict[str, Any]]
    """Results of the earlier stages by name; part of every checkpoint."""
    document: Mapping[str, Any]
    """The run's preset as plain data; part of every checkpoint, see `engine.launch.resume_check`."""
    protect: frozenset[str]
    """Stages whose newest checkpoint is kept, so that a finished run can be extended."""
    whole: set[str]
    """Names of the checkpoints that count as saved: see `checkpoint.rotate`."""
    unreadable: frozenset[str]
    """Names of those that could not be read, and so may be good."""
    ranks: Ranks = ALONE
    """The processes that share the steps."""
    compares_losses: bool = True
    """See `Progress`."""

    @property
    def run_dir(self) -> Path:
        """The run directory. Raises RunError when it is gone."""
        return self.session.run_dir


@dataclass(eq=False)
class StageRun:
    """One stage: trains `models.student` with `settings`. Create and train it inside `graphs.own_stream`."""

    context: RunContext
    settings: StageSettings
    position: StagePosition
    models: Models
    tokens: TokenSet
    losses: StepLosses
    evaluate: Evaluator

    def __post_init__(self) -> None:
        context, settings, models, tokens, losses = (
            self.context, self.settings, self.models, self.tokens, self.losses,
        )  # fmt: skip
        self.session = context.session
        self.device = context.accelerator.device
        self.stepper = Stepper(
            settings, models, tokens, losses,
            device=self.device, pad_id=context.pad_id, graphs=context.train.graphs, ranks=context.ranks,
        )  # fmt: skip
        self.total, self.per_epoch = self.stepper.total, self.stepper.per_epoch
        self.metrics = self.stepper.metrics
        self.data = data_hash(tokens)
        self.progress = Progress(compares_losses=self.context.compares_losses)
        self.logits: dict[int, LogitsBySplit] = {}
        """On dev, of the last evaluation and of the best one, by step; none of earlier attempts."""
        self.checked_bad = 0
        self.saved_at: int | None = None
        self.saved_time = time.monotonic()

    # -- the loop

    def train(self, resume: Checkpoint | None) -> Progress:
        """Train from the start or from a checkpoint; returns the stage's progress.

        The model ends with its last weights; `Progress.best_weights` names the best ones. Raises Stopped (after writing a
        checkpoint) when the user or a scheduler asked for it, RunError when a loss or gradient is not finite, DataError
        when the checkpoint belongs to other data.
        """
        if resume is not None:
            with self.session.phases.open("loading the checkpoint"):
                self._load(resume)
        self._announce()
        try:
            self._steps()
        except Stopped:
            self._save()
            self._status()
            raise
        self._log()
        self.stepper.end()
        self._save()
        self._finished()
        return self.progress

    def _steps(self) -> None:
        """The steps that are left, with their evaluations and checkpoints. Raises Stopped between steps, or in an evaluation,
        which is then repeated by whoever resumes."""
        if self._evaluation_due():
            self._evaluate()
        while self.progress.step < self.total and not self.progress.ended_early:
            began = time.monotonic()
            self._checked_step(self.progress.step)
            self.progress.step += 1
            self.progress.seconds += time.monotonic() - began
            step = self.progress.step
            if step % self.context.train.log_every == 0 or step == self.total:
                self._log()
            if self._evaluation_due():
                self._evaluate()
            self.session.request.check()
            if self._checkpoint_due():
                self._save()
        if not self._is_evaluated():
            self._evaluate()

    def _evaluation_due(self) -> bool:
        """Whether the stage is to be evaluated after the present step, and has not been."""
        step, interval = self.progress.step, self.settings.evaluation_interval(self.tokens.per_epoch)
        return step > 0 and (step % interval == 0 or step == self.total) and not self._is_evaluated()

    def _is_evaluated(self) -> bool:
        return self.progress.last is not None and self.progress.last.step == self.progress.step

    def _checked_step(self, step: int) -> None:
        """A step. Raises RunError, with the setting to try, when the device has no memory for it."""
        try:
            self._step(step)
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise step_out_of_memory(self.settings, step + 1, self.context.run_dir) from error
            raise

    def _step(self, step: int) -> None:
        self.progress.examples += self.stepper.step(step)
        if self.device.type == "cpu":
            self._check_finite()  # costs nothing on a CPU

    def _check_finite(self) -> None:
        bad = int(self.stepper.optimiser.bad.item())
        if bad > self.checked_bad:
            self.checked_bad = bad
            step = self.progress.step + (1 if self.device.type == "cpu" else 0)
            saved = "" if self.saved_at is None else f"; the checkpoint of step {self.saved_at} has finite weights"
            raise RunError(
                f"loss or gradient is not finite in stage {self.settings.name} at step {step}; the step was skipped{saved}. "
                f'Try a learning rate below {self.settings.learning_rate:g}, or precision = "fp32"',
                kind="non-finite-loss",
            )

    # -- events and status

    def _announce(self) -> None:
        self.session.trained = True
        self.session.events.write(
            "stage_started",
            stage=self.settings.name,
            role=self.settings.role,
            step=self.progress.step,
            steps=self.total,
            epochs=round(self.total / self.per_epoch, 4),
            examples=len(self.tokens),
            objectives={name: term.weight for name, term in self.settings.stage.terms().items()},
        )
        self._status()

    def _log(self) -> None:
        self._check_finite()
        metrics = self.stepper.read()
        if metrics is None:
            return
        self.session.events.write(
            "step",
            stage=self.settings.name,
            step=self.progress.step,
            epoch=round(self.progress.step / self.per_epoch, 4),
            **metrics,
        )
        self._status(metrics["examples_per_second"])

    def _status(self, rate: float | None = None) -> None:
        step = self.progress.step
        done = self.position.before + step
        pace = self.progress.seconds / step if step else None
        self.session.update(
            stage=self.settings.name,
            stage_index=self.position.index + 1,
            stages=self.position.stages,
            step=step,
            steps=self.total,
            done=done,
            total=self.position.total,
            rate=rate,
            eta=None if pace is None else pace * (self.position.total - done),
        )

    def _evaluate(self) -> None:
        with self.metrics.paused(), self.session.phases.open("evaluating on dev") as report:
            self.stepper.evaluate()
            outcome = self.evaluate(self.losses, report=report)
        progress, step = self.progress, self.progress.step
        progress.self_teacher = outcome.self_teacher
        loss = outcome.label_loss if progress.compares_losses else None
        progress.last = Evaluated(step, outcome.score, outcome.metrics, loss)
        before = progress.best
        best = before is None or progress.last.better_than(before)
        is_higher = before is None or outcome.score > before.score
        progress.since_best = 0 if is_higher else progress.since_best + 1
        if best:
            progress.best = progress.last
            if self.settings.keep_best and self.settings.trains_head:
                with self.session.phases.writing("saving the best weights"):
                    progress.best_weights = checkpoint.save_best(
                        self.context.run_dir,
                        stage=self.settings.name,
                        step=step,
                        model=self.models.student.state_dict(),
                    )
        self.logits[step] = outcome.logits
        needed = {one.step for one in (progress.last, progress.best) if one is not None}
        self.logits = {at: logits for at, logits in self.logits.items() if at in needed}
        for event in outcome.events:
            picked = best and event["primary"] and self.settings.trains_head
            self.session.events.write("evaluation", stage=self.settings.name, step=step, best=picked, **event)
        self._status_of(outcome)
        patience = self.settings.patience
        if patience is not None and progress.since_best >= patience and step < self.total:
            progress.ended_early = True
            say(
                self.session,
                f"{self.settings.name}: no improvement in {patience} evaluations; the stage ends early at step {step}",
            )

    def _status_of(self, outcome: Evaluation) -> None:
        """Put the student's metrics into the status.

        Those of the teacher's stage and the baseline don't belong there, nor those of a classifier that isn't trained.
        """
        if self.settings.role != "student" or not self.settings.trains_head:
            return
        metric = next(iter(outcome.metrics.values()))
        averaged = next(iter(outcome.self_teacher.values())) if outcome.self_teacher else None
        best = self.progress.best.metrics if self.progress.best else None
        self.session.update(
            last=metric,
            best=next(iter(best.values())) if best else None,
            self_teacher=averaged,
        )

    def _finished(self) -> None:
        progress = self.progress
        self.session.events.write(
            "stage_finished",
            stage=self.settings.name,
            step=progress.step,
            seconds=round(progress.seconds, 3),
            examples_per_second=round(progress.examples / max(progress.seconds, 1e-9), 2),
            ended_early=progress.ended_early,
        )

    # -- checkpoints

    def _checkpoint_due(self) -> bool:
        train, step = self.context.train, self.progress.step
        if step == self.total:
            return False
        if train.checkpoint_every is not None and step % train.checkpoint_every == 0:
            return True
        return time.monotonic() - self.saved_time >= 60 * train.checkpoint_minutes

    def _save(self) -> None:
        if self.saved_at == self.progress.step:
            return
        self._check_finite()
        with self.metrics.paused(), self.session.phases.writing("saving a checkpoint"):
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        began = time.monotonic()
        self.progress.layer_weights = {name: weights.to_dict() for name, weights in self.losses.layer_weights.items()}
        saved = checkpoint.save(
            self.context.run_dir,
            index=self.position.index,
            stage=self.settings.name,
            step=self.progress.step,
            parts=self.stepper.state(),
            state={
                "progress": asdict(self.progress),
                "finished": self.context.finished,
                "total": self.total,
                "preset": dict(self.context.document),
                "data": self.data,
                "threads": torch.get_num_threads(),
                "best_weights": {
                    **{name: stage["best_weights"] for name, stage in self.context.finished.items()},
                    self.settings.name: self.progress.best_weights,
                },
            },
        )
        self.context.whole.add(saved.name)
        checkpoint.rotate(
            self.context.run_dir,
            whole=self.context.whole,
            keep=self.context.train.keep_checkpoints,
            protect=self.context.protect,
            unreadable=self.context.unreadable,
        )
        self.saved_at, self.saved_time = self.progress.step, time.monotonic()
        self.session.events.write(
            "checkpoint",
            stage=self.settings.name,
            step=self.progress.step,
            path=f"checkpoints/{saved.name}",
            seconds=round(time.monotonic() - began, 3),
        )

    def _load(self, saved: Checkpoint) -> None:
        state = saved.state
        self.progress = Progress.of(state["progress"])
        self.stepper.load(
            {part: checkpoint.tensors(saved, part) for part in self.stepper.state()},
            {name: LayerWeights.from_dict(weights) for name, weights in self.progress.layer_weights.items()},
        )
        self._restore_best()
        if state["total"] != self.total:
            self.progress.ended_early = False  # an extended stage continues
        self.saved_at = self.progress.step

    def _restore_best(self) -> None:
        """Write the best weights again if they are damaged and the model, just loaded, has them."""
        name, best, run_dir = self.progress.best_weights, self.progress.best, self.context.run_dir
        own = name is not None and best is not None and best.step == self.progress.step
        if own and flaw(checkpoints_folder(run_dir) / str(name)) is not None:
            model = self.models.student.state_dict()
            checkpoint.save_best(run_dir, stage=self.settings.name, step=self.progress.step, model=model)
