"""Load what a run needs: data, models, and each stage's inputs and settings."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel

from engine.data.class_weights import class_weights
from engine.data.examples import Examples
from engine.data.findings import Finding
from engine.data.load import inputs_for, load_task, source_name
from engine.data.subset import few_samples
from engine.data.tokens import TokenSet, tokenise
from engine.data.types import TEST, Example, TaskData
from engine.models.attention import choose_attention
from engine.models.export import content_hash
from engine.models.load import LoadedModel, load_teacher
from engine.models.students import make_student
from engine.preset.kinds import WORD_LABELS
from engine.preset.schema import Preset, Stage
from engine.record.phases import Report, unreported
from engine.train import hardware, seeding
from engine.train.dev_evaluation import Dev, Labels
from engine.train.run_findings import task_findings
from engine.train.settings import StageSettings, baseline_stage, student_stage, teacher_stage
from engine.train.step import Models, bound_terms, shape_of
from engine.user.consent import NONE, Consent

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Materials:
    """The loaded data and models of a run, and findings about them."""

    preset: Preset
    data: TaskData
    loaded: LoadedModel
    train: TokenSet
    dev: Dev
    accelerator: Accelerator
    teacher_hash: str
    """Hash of the teacher's weights as loaded, before any fine-tuning."""
    findings: tuple[Finding, ...]
    consent: Consent = NONE
    """Whose code may run: the student's initial model may have some, too."""
    warnings: tuple[str, ...] = ()
    """Sentences about what could not be stored for later runs."""
    test: TokenSet | None = None
    """The test set. Only `measured` has it, for the measurement after training: `dev` decides everything before."""

    @property
    def measured(self) -> Dev:
        """The dev sets, and the test set after them."""
        return self.dev if self.test is None else replace(self.dev, tokens={**self.dev.tokens, TEST: self.test})

    @property
    def device(self) -> torch.device:
        """Device of the models."""
        return self.dev.device

    @property
    def precision(self) -> hardware.Precision:
        """Precision of the forward passes in training."""
        return "bf16" if self.accelerator.mixed_precision == "bf16" else "fp32"

    @property
    def train_labels(self) -> Labels:
        """Gold labels of the training rows (rows,), or of their words (words,)."""
        assert self.train.labels is not None, "a task has labels"
        return self.train.labels

    @property
    def pad_id(self) -> int:
        """Id of the padding token."""
        return self.dev.pad_id


def load_materials(
    preset: Preset, accelerator: Accelerator, consent: Consent = NONE, *, report: Report = unreported
) -> Materials:
    """Load and tokenise the task, load the teacher (not yet fine-tuned), and check them against each other.

    Raises DataError and ModelError for what cannot be loaded; refusals among the findings are left to the caller.
    """
    data = load_task(preset.task, report=report)
    warnings: list[str] = []
    texts = (text for row in Examples.of(data.train).inputs() for text in row if text)
    length = preset.task.max_length
    loaded = load_teacher(
        preset.teacher, data.spec, train_texts=texts, max_length=length, consent=consent, report=report
    )

    def tokens_of(rows: Sequence[Example], what: str, split: str = "train") -> TokenSet:
        source = source_name(preset.task, split)
        return tokenise(
            rows, loaded.tokenizer, length, by_word=data.spec.kind == WORD_LABELS, report=report, what=what, source=source,
            warn=warnings.append,
        )  # fmt: skip

    train = tokens_of(data.train, "training rows")
    dev = {split: tokens_of(rows, f"rows of {split}", split) for split, rows in data.dev.items()}
    test = tokens_of(data.test, "rows of test", TEST) if data.test else None
    seen = None
    if count := preset.train.evaluate_train:
        rows = few_samples(data.train, min(count, len(data.train)), preset.task.data_seed)
        seen = tokens_of(rows, "training rows to evaluate")
    dtype = torch.bfloat16 if preset.train.evaluate_precision == "bf16" else torch.float32
    sets = Dev(data.spec, dev, int(loaded.tokenizer.pad_token_id or 0), accelerator.device, seen, dtype)
    report("hashing the teacher")
    teacher_hash = content_hash(loaded.model)
    report("checking data, tokens and labels")
    findings = task_findings(preset, data, loaded, train, dev if test is None else {**dev, TEST: test})
    materials = Materials(
        preset, data, loaded, train, sets, accelerator, teacher_hash, findings, consent, tuple(warnings), test
    )
    choose_attention(loaded.model, materials.device, materials.precision)
    return materials


def rows_of_stages(materials: Materials, *, report: Report = unreported) -> dict[str, Sequence[Example]]:
    """The examples of the preset's stages that have data of their own, by stage name."""
    preset, data = materials.preset, materials.data
    own = [stage for stage in preset.stage if stage.data != "task"]
    return {stage.name: inputs_for(stage.data, data, preset.task.data_seed, report=report) for stage in own}


def inputs_of_stages(
    materials: Materials,
    own: Mapping[str, Sequence[Example]],
    *,
    report: Report = unreported,
    warn: Callable[[str], object] = log.warning,
) -> dict[str, TokenSet]:
    """Tokenised inputs of each of the preset's stages, by stage name; `own` is what `rows_of_stages` gives.

    `warn` takes a sentence where the disk has no room for their tokens.
    """
    preset = materials.preset

    def of(stage: Stage) -> TokenSet:
        if stage.name not in own:
            return materials.train
        tokenizer, length = materials.loaded.tokenizer, preset.task.max_length
        what = f"inputs of stage {stage.name}"
        by_word = materials.data.spec.kind == WORD_LABELS
        return tokenise(own[stage.name], tokenizer, length, by_word=by_word, report=report, what=what, warn=warn)

    return {stage.name: of(stage) for stage in preset.stage}


def plan_stages(preset: Preset, data: TaskData, inputs: dict[str, TokenSet]) -> list[StageSettings]:
    """All stages of the run in order, including the teacher's and the baseline.

    Raises PresetError for class weights that don't fit the task.
    """
    kind = data.spec.kind
    students = [student_stage(preset, stage, kind=kind) for stage in preset.stage]
    steps = sum(stage.total_steps(len(inputs[stage.name])) for stage in students)
    first = teacher_stage(preset, kind=kind)
    last = baseline_stage(preset, steps, kind=kind)
    weights = class_weights(preset.train.class_weights, data)
    return [replace(stage, class_weights=weights) for stage in (first, *students, last) if stage is not None]


def models_of(
    settings: StageSettings, student: PreTrainedModel, teacher: PreTrainedModel | None, device: torch.device
) -> Models:
    """The models of a stage: student, teacher, the moving average of the student (if it is the consistency target), and
    learned projections where hidden states of different widths are compared."""
    average = None
    if settings.consistency and settings.consistency.target == "ema":
        average = copy.deepcopy(student).requires_grad_(False).eval()
    maps = nn.ModuleDict()
    if teacher is not None:
        own, theirs = shape_of(student), shape_of(teacher)
        with torch.random.fork_rng(devices=[]):
            seeding.seed_torch(settings.seed, seeding.PROJECTION, settings.name)
            for term in bound_terms(settings, student, teacher):
                if term.projects:
                    maps[term.name] = nn.Linear(own.width_of(term.name), theirs.width_of(term.name))
    return Models(student, teacher, average, maps.to(device))


def new_student(
    materials: Materials, teacher: PreTrainedModel, note: Callable[[str], None] | None = None
) -> PreTrainedModel:
    """The preset's student on the run's device, before any training; `note` as in `make_student`."""
    preset = materials.preset
    student = make_student(
        preset.student,
        preset.teacher,
        teacher,
        materials.loaded.tokenizer,
        materials.data.spec,
        seed=preset.seed,
        max_length=preset.task.max_length,
        note=note,
        consent=materials.consent,
    )
    choose_attention(student, materials.device, materials.precision)
    return student.requires_grad_(True).to(materials.device)
