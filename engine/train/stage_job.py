"""What a process needs to take part in a stage; rank 0 sends it to the others, which do nothing else."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from functools import partial

from accelerate import Accelerator
from torch import Tensor

from engine.data.tokens import TokenSet
from engine.errors import RunError
from engine.train import hardware
from engine.train.dev_evaluation import Dev
from engine.train.graphs import own_stream
from engine.train.ranks import Ranks, die_with_parent, following
from engine.train.settings import StageSettings
from engine.train.step import Models, StepLosses, bound_terms
from engine.train.stepper import Stepper


@dataclass(frozen=True)
class StageJob:
    """A stage before its first step, without the hooks by which losses read the models."""

    settings: StageSettings
    models: Models
    tokens: TokenSet
    teacher_logits: Tensor | None
    """Of `StepLosses`."""
    words: Tensor | None
    """Of `StepLosses`."""
    pad_id: int
    dev: Dev

    def losses(self, accelerator: Accelerator, ranks: Ranks) -> StepLosses:
        """The losses of the stage's steps; hooks into the models until they are removed."""
        models = self.models
        terms = bound_terms(self.settings, models.student, models.teacher)
        return StepLosses(
            self.settings, models, terms,
            autocast=accelerator.autocast, teacher_logits=self.teacher_logits, words=self.words, ranks=ranks,
        )  # fmt: skip


def follow() -> int:
    """Take part in the stages of rank 0 until it ends; returns the exit code.

    Signals are for rank 0: it decides when all stop, and ends its followers.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    try:
        ranks = following()
    except RunError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    try:
        train, threads = ranks.receive()
        hardware.set_threads(threads)
        accelerator = hardware.make_accelerator(train, ranks.local)
        while True:
            job: StageJob | None = ranks.receive(accelerator.device)
            if job is None:
                return 0
            with own_stream(accelerator.device):
                losses = job.losses(accelerator, ranks)
                stepper = Stepper(
                    job.settings, job.models, job.tokens, losses,
                    device=accelerator.device, pad_id=job.pad_id, graphs=train.graphs, ranks=ranks,
                )  # fmt: skip
                dev = job.dev.shared(ranks, accelerator.device)
                stepper.follow(partial(dev.evaluate, losses, job.settings.role))
            losses.remove()
    except RunError:  # rank 0 has ended, or another process: rank 0 reports that
        return 1
