"""What teaches a run's student: one model, several, or answers in a file. Its answers, and its figures on dev."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.tokens import TokenSet
from engine.distill.ensemble import combined
from engine.evaluate.metrics import compute, majority, sigmoid
from engine.evaluate.thresholds import best_thresholds
from engine.models.export import content_hash
from engine.record.phases import Report
from engine.record.session import RunSession
from engine.report import units
from engine.train.dev_evaluation import Dev, LogitsBySplit
from engine.train.label_thresholds import chosen_thresholds
from engine.train.materials import Materials, StageRows, TaskTexts, inputs_of_stages
from engine.train.messages import say
from engine.train.settings import StageSettings
from engine.train.teacher import settle_order
from engine.train.teacher_answers import teacher_answers
from engine.train.teacher_logits import teacher_logits


class _Reader(NamedTuple):
    """A teacher, the task as it reads it, and its tokens of each stage's inputs."""

    model: PreTrainedModel
    texts: TaskTexts
    inputs: Mapping[str, TokenSet]


class Teachers:
    """The teachers of one run. Several stand for one: their answers are combined as `teacher.combine` says."""

    def __init__(
        self,
        session: RunSession,
        materials: Materials,
        rows: StageRows,
        inputs: Mapping[str, TokenSet],
        warn: Callable[[str], object],
    ):
        """`inputs` are those of the stages as the student reads them, of `rows`; `warn` takes a sentence where the disk has
        no room for those of a teacher."""
        self._session, self._materials = session, materials
        self.content = ""
        """The `content_hash` of the fine-tuned teacher, or of the answers."""

        def read_by(texts: TaskTexts) -> Mapping[str, TokenSet]:
            return inputs_of_stages(materials, rows, texts, report=session.phases, warn=warn)

        texts = materials.teacher_texts
        first = inputs if materials.own_texts is None else read_by(texts)
        self._readers = [_Reader(materials.loaded.model, texts, first)]
        """None of them is asked where the answers come from a file."""
        for other in materials.others:
            same = other.texts.train is texts.train
            self._readers.append(_Reader(other.loaded.model, other.texts, first if same else read_by(other.texts)))

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self._readers) > 1

    def prepare_others(self, guessed: Callable[[str], None]) -> None:
        """Bring all but the first to the device, and their outputs into the task's order; `guessed` takes a note on each order
        that had to be guessed."""
        for other in self._materials.others:
            other.loaded.model.to(self._materials.device).eval().requires_grad_(False)
            sets = other.texts.dev
            with self._session.phases.open("finding the order of the teacher's classes") as report:
                note = settle_order(
                    other.loaded, self._materials.data.spec, sets.tokens[sets.primary],
                    device=self._materials.device, pad_id=sets.pad_id, report=report,
                )  # fmt: skip
            if note:
                guessed(note)

    # -- answers

    def measure(self, known: LogitsBySplit | None, advice: str) -> LogitsBySplit:
        """Record the metrics on dev, and warn (with `advice`) where they are not above the majority guess; returns the logits on
        dev, which no longer change, and on test where they come from a file. `known` are those on dev that are.

        Nothing where a file doesn't answer every row of the primary dev set: then the teacher has no figures.
        """
        dev, spec, given = self._materials.dev, self._materials.data.spec, self._materials.answers
        labels = dev.guess_labels(self._materials.train)
        floor = majority(spec, labels, dev.labels(dev.primary), dev.groups(dev.primary))[spec.primary]
        if given is not None:
            self.content = given.content()
            answers = given.measured if dev.primary in given.logits else {}
        else:
            first = self._readers[0].model.requires_grad_(False)
            with self._session.phases.open("evaluating the teacher") as report:
                self.content = content_hash(first)
                answers = self.answers(known, report=report)
        if not answers:
            self._session.update(majority=floor, metric_name=spec.primary)
            return answers
        metrics = {
            split: compute(spec, logits, dev.labels(split), dev.groups(split))
            for split, logits in answers.items()
            if split in dev.tokens
        }
        for split, values in metrics.items():
            self._session.events.write(
                "evaluation", stage=None, step=0, model="teacher", split=split, primary=split == dev.primary,
                metrics=values, best=False,
            )  # fmt: skip
        score = metrics[dev.primary][spec.primary]
        self._session.update(teacher=score, majority=floor, metric_name=spec.primary)
        if score <= floor:
            say(
                self._session,
                f"the teacher is no better than the majority class: {spec.primary} {units.metric(score)} against "
                f"{units.metric(floor)}. A student cannot learn the task from it: {advice}",
                level="warning",
            )
        return answers

    def answers(self, known: LogitsBySplit | None, *, test: bool = False, report: Report) -> LogitsBySplit:
        """The logits on the dev sets, and on `test` if asked; `known` are those of the first teacher that are."""

        def sets(reader: _Reader) -> Dev:
            return reader.texts.measured if test else reader.texts.dev

        warn = partial(say, self._session, level="warning")
        first, *others = self._readers
        several = [teacher_answers(first.model, self.content, sets(first), warn=warn, known=known, report=report)]
        for other in others:
            content = content_hash(other.model)
            several.append(teacher_answers(other.model, content, sets(other), warn=warn, report=report))
        if not others:
            return several[0]
        return {
            split: self._combined([torch.from_numpy(each[split]) for each in several]).numpy()
            for split in sets(first).tokens
        }

    def logits_for(
        self, settings: StageSettings, teacher: PreTrainedModel | None, tokens: TokenSet, report: Report
    ) -> Tensor | None:
        """The logits by row of a stage's inputs (`tokens`, as its student reads them), where they don't change; None where
        they are computed in each step, or the stage reads none. `teacher` is the stage's."""
        materials = self._materials
        if materials.answers is not None:
            reads = "logits" in settings.stage.terms()
            return torch.from_numpy(materials.answers.train).to(materials.device) if reads else None
        if teacher is None:
            return None
        several = [
            teacher_logits(
                settings,
                model,
                inputs.get(settings.name, texts.train),
                read_as=tokens,
                autocast=materials.accelerator.autocast,
                precision=materials.precision,
                device=materials.device,
                pad_id=texts.dev.pad_id,
                report=report,
                warn=partial(say, self._session, level="warning"),
            )
            for model, texts, inputs in self._readers
        ]
        known = [logits for logits in several if logits is not None]
        if len(known) < 2:
            return known[0] if known else None
        return self._combined(known, settings.temperature)

    def thresholds(self) -> tuple[float, ...]:
        """From which probability each label applies in their answers, chosen on the training rows; none where 0.5 counts."""
        materials, answers = self._materials, self._materials.answers
        if answers is None:
            readers = [(reader.model, reader.texts) for reader in self._readers]
            return chosen_thresholds(self._session, materials, "teacher", readers, self._combined)
        if materials.preset.task.thresholds is None:
            return ()
        return best_thresholds(sigmoid(answers.train), materials.train_labels)

    def _combined(self, logits: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
        """The logits that stand for all teachers."""
        teacher, kind = self._materials.preset.teacher, self._materials.data.spec.kind
        return combined(logits, teacher.weights, teacher.combine or "probabilities", temperature, kind=kind)
