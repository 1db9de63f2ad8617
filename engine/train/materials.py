"""Load what a run needs: data, models, and each stage's inputs and settings."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from engine.data.answers import Answers, agreement_findings, load_answers
from engine.data.candidates import STAYS, Candidates
from engine.data.class_weights import class_weights
from engine.data.examples import Examples
from engine.data.findings import Finding
from engine.data.load import inputs_for, load_task, source_name
from engine.data.subset import few_samples
from engine.data.tokens import TokenSet, tokenise
from engine.data.types import TEST, Example, TaskData, TaskSpec
from engine.errors import ModelError, PresetError
from engine.models.attention import choose_attention
from engine.models.export import content_hash
from engine.models.hub import fetch
from engine.models.load import LoadedModel, load_teacher
from engine.models.students import has_own_words, make_student, named_init, reader_of, student_of_answers
from engine.models.vocabularies import needs_same_words
from engine.preset.kinds import WORD_LABELS
from engine.preset.schema import Preset, Stage
from engine.preset.text import plain
from engine.record.phases import Report, unreported
from engine.train import hardware, seeding
from engine.train.augmentation import with_copies
from engine.train.dev_evaluation import Dev, Labels
from engine.train.run_findings import Reader, reader_name, task_findings, teacher_findings
from engine.train.settings import StageSettings, baseline_stage, student_stage, teacher_stage
from engine.train.step import Models, bound_terms, shape_of
from engine.user.consent import NONE, Consent

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitialModel:
    """The model that `student.init` names, as loaded: what identifies it, and how it reads texts."""

    weights: str
    """Hash of its weights."""
    tokenizer: PreTrainedTokenizerBase
    reader: Reader
    has_own_words: bool
    """Whether its vocabulary is another one than the teacher's: then each of the two reads its own tokens."""

    @classmethod
    def of(cls, preset: Preset, teacher: LoadedModel, spec: TaskSpec, consent: Consent) -> InitialModel | None:
        """Load it, beside a teacher that is a model; None where `init` names none. Raises ModelError, also for a
        vocabulary with which a stage cannot work."""
        loaded = named_init(
            preset.student,
            teacher.tokenizer,
            spec,
            seed=0,
            max_length=preset.task.max_length,
            trust=preset.teacher.trust_remote_code,
            consent=consent,
        )
        if loaded is None:
            return None
        other = has_own_words(loaded, teacher)
        if other and (reason := needs_same_words(preset.stage, spec.kind)) is not None:
            sentence = f"{plain(preset.student.init)} and the teacher have different vocabularies: {reason}"
            raise ModelError(sentence, kind="vocabularies-differ", key="student.init")
        reader = Reader.of(preset.student.init, loaded, preset.task.max_length)
        return cls(content_hash(loaded.model), loaded.tokenizer, reader, other)


@dataclass(frozen=True)
class TaskTexts:
    """The rows of a task as one tokenizer reads them; `test` is that of `Materials`."""

    tokenizer: PreTrainedTokenizerBase
    train: TokenSet
    dev: Dev
    test: TokenSet | None

    @property
    def measured(self) -> Dev:
        """The dev sets, and the test set after them."""
        return self.dev if self.test is None else replace(self.dev, tokens={**self.dev.tokens, TEST: self.test})


@dataclass(frozen=True)
class FurtherTeacher:
    """One of `teacher.others`, loaded: `key` is the table that names it, `content` the hash of its weights."""

    key: str
    source: str
    loaded: LoadedModel
    texts: TaskTexts
    content: str


@dataclass(frozen=True)
class Materials:
    """The loaded data and models of a run, and findings about them."""

    preset: Preset
    data: TaskData
    loaded: LoadedModel
    """The teacher; where that is a file of answers, the model that the student starts from."""
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

    answers: Answers | None = None
    """Those of a teacher that is a file: then there is no teacher to run."""
    initial: InitialModel | None = None
    """Of `student.init`, where that names a model beside a teacher."""
    own_texts: TaskTexts | None = None
    """As the teacher reads them, where the student has a vocabulary of its own: `train`, `dev` and `test` are the student's."""
    others: tuple[FurtherTeacher, ...] = ()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's."""
        assert self.own_texts is None or self.initial is not None
        return self.loaded.tokenizer if self.own_texts is None or self.initial is None else self.initial.tokenizer

    @property
    def reader(self) -> Reader:
        """What reads the texts of the student's stages."""
        if self.own_texts is not None and self.initial is not None:
            return self.initial.reader
        return Reader.of(reader_name(self.preset), self.loaded, self.preset.task.max_length)

    @property
    def teacher_texts(self) -> TaskTexts:
        """The rows as the teacher reads them."""
        return self.own_texts or TaskTexts(self.loaded.tokenizer, self.train, self.dev, self.test)

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The teacher, if it is a model."""
        return self.loaded.model if self.answers is None else None

    @property
    def measured(self) -> Dev:
        """The dev sets, and the test set after them."""
        return self.dev if self.test is None else replace(self.dev, tokens={**self.dev.tokens, TEST: self.test})

    def words_for(self, settings: StageSettings) -> Tensor | None:
        """Ids of the tokens that a stage may replace words by, special tokens excluded; None where it replaces none."""
        if settings.mixup is None or settings.mixup.project is None:
            return None
        return torch.tensor(sorted(set(self.tokenizer.get_vocab().values()) - set(self.tokenizer.all_special_ids)))

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
        assert self.train.labels is not None, "what reads labels is refused where there are none"
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
    if data.spec.kind == WORD_LABELS and preset.teacher.others is not None:
        sentence = "several teachers are for answers to texts, and in this task each word has a label: leave out teacher.others"
        raise ModelError(sentence, kind="several-teachers-of-words", key="teacher.others")
    answers = None
    if preset.teacher.answers is not None:
        answers = load_answers(preset.teacher, preset.task, data, report=report)
    warnings: list[str] = []
    texts = (text for row in Examples.of(data.train).inputs() for text in row if text)
    length = preset.task.max_length
    loaded = load_teacher(
        reader_of(preset), data.spec, train_texts=texts, max_length=length, consent=consent, report=report
    )

    initial = None if answers is not None else InitialModel.of(preset, loaded, data.spec, consent)
    dtype = torch.bfloat16 if preset.train.evaluate_precision == "bf16" else torch.float32

    def read_by(tokenizer: PreTrainedTokenizerBase) -> TaskTexts:
        def tokens_of(rows: Sequence[Example], what: str, split: str = "train") -> TokenSet:
            source = source_name(preset.task, split)
            return tokenise(
                rows, tokenizer, length, by_word=data.spec.kind == WORD_LABELS, report=report, what=what, source=source,
                warn=warnings.append,
            )  # fmt: skip

        train = tokens_of(data.train, "training rows")
        dev = {split: tokens_of(rows, f"rows of {split}", split) for split, rows in data.dev.items()}
        test = tokens_of(data.test, "rows of test", TEST) if data.test else None
        seen = None
        if count := preset.train.evaluate_train:
            rows = few_samples(data.train, min(count, len(data.train)), preset.task.data_seed)
            seen = tokens_of(rows, "training rows to evaluate")
        sets = Dev(data.spec, dev, int(tokenizer.pad_token_id or 0), accelerator.device, seen, dtype)
        return TaskTexts(tokenizer, train, sets, test)

    read = read_by(loaded.tokenizer)
    own = read_by(initial.tokenizer) if initial is not None and initial.has_own_words else read
    others = []
    for key, teacher in preset.teacher.models().items():
        if key != "teacher":
            other = load_teacher(teacher, data.spec, max_length=length, consent=consent, report=report)
            same = other.tokenizer.get_vocab() == loaded.tokenizer.get_vocab()
            texts_of = read if same else read_by(other.tokenizer)
            report(f"hashing {plain(teacher.named)}")
            source = teacher.named if teacher.revision is None else f"{teacher.named} at {teacher.revision}"
            others.append(FurtherTeacher(key, source, other, texts_of, content_hash(other.model)))
    report("hashing the teacher")
    teacher_hash = content_hash(loaded.model)
    report("checking data, tokens and labels")
    findings = task_findings(preset, data, loaded, read.train, read.measured.tokens)
    findings += tuple(
        finding
        for other in others
        for finding in teacher_findings(preset, other.source, other.loaded, data.spec.kind, finetuned=False)
    )
    if answers is not None:
        findings += tuple(agreement_findings(answers, data))
    if initial is not None and own is not read:
        findings += initial.reader.findings("training inputs of the student", data.train, own.train)
    materials = Materials(
        preset, data, loaded, own.train, own.dev, accelerator, teacher_hash, findings, consent, tuple(warnings), own.test,
        answers, initial, None if own is read else read, tuple(others),
    )  # fmt: skip
    for each in (loaded, *(other.loaded for other in others)):
        choose_attention(each.model, materials.device, materials.precision)
    return materials


@dataclass(frozen=True)
class StageRows:
    """The examples of the preset's stages that have data of their own, by stage name, and findings about how they were
    read."""

    rows: Mapping[str, Sequence[Example]]
    findings: tuple[Finding, ...]
    candidates: Mapping[str, Candidates]
    """Of the stages that choose among their rows."""


def rows_of_stages(materials: Materials, *, copies: bool = True, report: Report = unreported) -> StageRows:
    """The rows of the stages with data of their own, and the copies of them that a stage asks for.

    Without `copies` the rows themselves stand for their copies, to time steps without making any; a masked language model is
    fetched all the same. Raises DataError for data that cannot be used, ModelError for a masked language model that cannot,
    PresetError for `select` in a task of words.
    """
    rows: dict[str, Sequence[Example]] = {}
    findings: list[Finding] = []
    candidates: dict[str, Candidates] = {}
    for stage in materials.preset.stage:
        if stage.data == "task":
            continue
        rows[stage.name], found, groups = _rows_of_stage(materials, stage, copies=copies, report=report)
        if stage.select:
            if materials.data.spec.kind == WORD_LABELS:
                sentence = f"the stage {stage.name} has select, which compares answers to texts, and in this task each word has a label: leave it out"
                raise PresetError.single(sentence, kind="select-of-words", key=f"stage.{stage.name}.select")
            candidates[stage.name] = Candidates(groups(), stage.select.worst, stage.select.of)
            found = (*found, _choice_finding(stage.name, candidates[stage.name]))
        findings += [finding for finding in found if finding not in findings]
    return StageRows(rows, tuple(findings), candidates)


def _rows_of_stage(
    materials: Materials, stage: Stage, *, copies: bool, report: Report
) -> tuple[Sequence[Example], tuple[Finding, ...], Callable[[], npt.NDArray[np.int64]]]:
    """The rows of a stage with data of its own, findings, and a function that gives the group of each row for `Candidates`: of
    copies the row that they are copies of; without copies, all rows but the task's are in one."""
    inputs, found, of_task = inputs_for(stage.data, materials.preset.task, materials.data, report=report)
    own = len(inputs)
    if stage.augment is None:
        return inputs, found, lambda: np.repeat((0, STAYS), (own - of_task, of_task))
    if not copies:
        if stage.augment.model is not None:
            fetch(stage.augment.model, stage.augment.revision, report=report)
        times = stage.augment.copies
        whole = Examples.joined([Examples.of(inputs)] * (times + 1), "input")
        return whole, found, lambda: np.concatenate((np.full(own, STAYS), np.tile(np.arange(own), times)))
    copied, made, pool = with_copies(
        Examples.of(inputs), stage.augment, materials.data,
        precision=materials.precision, device=materials.device, report=report,
    )  # fmt: skip
    return copied, (*found, *made), lambda: np.concatenate((np.full(own, STAYS), pool.copied_rows()))


def _choice_finding(stage: str, candidates: Candidates) -> Finding:
    compared, per_epoch = int(np.count_nonzero(candidates.groups != STAYS)), candidates.per_epoch
    facts = {
        "stage": stage,
        "compared": compared,
        "worst": candidates.worst,
        "of": candidates.of,
        "per_epoch": per_epoch,
    }
    sentence = (
        f"stage {stage} trains on {per_epoch:,} inputs in each epoch: of {compared:,} it chooses, as it trains, the "
        f"{candidates.worst:,} of every {candidates.of:,} whose answers differ most from the teacher's"
    )
    return Finding(sentence, kind="inputs-chosen", severity="note", facts=facts)


def inputs_of_stages(
    materials: Materials,
    own: StageRows,
    texts: TaskTexts | None = None,
    *,
    report: Report = unreported,
    warn: Callable[[str], object] = log.warning,
) -> dict[str, TokenSet]:
    """Tokenised inputs of each of the preset's stages, by stage name; `own` is what `rows_of_stages` gives.

    As the student reads them, or the reader of `texts`. `warn` takes a sentence where the disk has no room for their tokens.
    """
    preset = materials.preset

    def of(stage: Stage) -> TokenSet:
        if stage.name not in own.rows:
            return materials.train if texts is None else texts.train
        tokenizer, length = materials.tokenizer if texts is None else texts.tokenizer, preset.task.max_length
        what = f"inputs of stage {stage.name}"
        by_word = materials.data.spec.kind == WORD_LABELS
        tokens = tokenise(own.rows[stage.name], tokenizer, length, by_word=by_word, report=report, what=what, warn=warn)
        return replace(tokens, candidates=own.candidates.get(stage.name))

    return {stage.name: of(stage) for stage in preset.stage}


def plan_stages(preset: Preset, data: TaskData, inputs: dict[str, TokenSet]) -> list[StageSettings]:
    """All stages of the run in order, including the teacher's and the baseline.

    Raises PresetError for class weights that don't fit the task.
    """
    kind = data.spec.kind
    students = [student_stage(preset, stage, kind=kind) for stage in preset.stage]
    steps = sum(stage.total_steps(inputs[stage.name].per_epoch) for stage in students)
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
    materials: Materials, teacher: PreTrainedModel | None, note: Callable[[str], None] | None = None
) -> PreTrainedModel:
    """The preset's student on the run's device, before any training; `note` as in `make_student`. `teacher` is None where
    that is a file of answers."""
    preset = materials.preset
    if teacher is None:
        student = student_of_answers(preset.student, materials.loaded.model)
    else:
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
