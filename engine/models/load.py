"""Load teachers and other pretrained models: from a folder, from the hub, or from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from engine.data.types import TaskSpec
from engine.data.word_tokenizer import word_tokenizer
from engine.errors import ModelError
from engine.models.checkpoint import Checkpoint, check_family, read_checkpoint, read_tokenizer
from engine.models.class_names import align, describe, has_names, name_outputs, names_of, order_by_name
from engine.models.families import family_of, output_of, positions
from engine.models.head_init import fit_head
from engine.models.hub import fetch
from engine.models.model_files import has_tokenizer, is_exported
from engine.models.onnx_model import OnnxModel
from engine.models.problem_types import KNOWS_TASK, MULTI_LABEL, teacher_without_head
from engine.models.seeded_init import initial_range, seeded
from engine.models.thresholds import thresholds_of
from engine.preset import schema
from engine.preset.kinds import WORD_LABELS
from engine.preset.text import plain
from engine.record.phases import Report, unreported
from engine.user.consent import NONE, Consent
from engine.user.own_code import may_run

SCRATCH_POSITIONS = 512
"""Positions of a model from scratch, unless the task needs more."""


@dataclass(frozen=True)
class LoadedModel:
    """A sequence-classification model with the task's outputs, on the CPU, in fp32, in evaluation mode.

    `order_known` is false when the class names don't match the task's: then the rows are still in the checkpoint's
    order, and `align(model, permutation, spec)` brings them into the task's. `fresh_head` is true when its last layer
    is random, `problem_type` what the checkpoint's own config says that its outputs mean, `foreign_tokenizer` when
    the model has a tokenizer of its own with another vocabulary. `notes` are sentences worth showing.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    order_known: bool
    notes: tuple[str, ...]
    fresh_head: bool
    problem_type: str | None = None
    foreign_tokenizer: bool = False

    @property
    def multi_label(self) -> bool:
        """Whether the checkpoint was trained to answer each class on its own."""
        return self.problem_type == MULTI_LABEL

    def decides(self, spec: TaskSpec) -> TaskSpec:
        """The task with the thresholds that the model decides by, where texts can have several labels."""
        return replace(spec, thresholds=thresholds_of(self.model.config)) if spec.kind == "multilabel" else spec


def load_teacher(
    teacher: schema.Teacher,
    spec: TaskSpec,
    *,
    train_texts: Iterable[str] = (),
    max_length: int | None = None,
    consent: Consent = NONE,
    report: Report = unreported,
) -> LoadedModel:
    """The teacher of a preset, before its fine-tuning (if any).

    With `teacher.finetune` a bare encoder, or a classifier with another number of outputs, gets a fresh output layer
    drawn from `teacher.finetune.seed`, and the order of its outputs is the task's. Otherwise the model must
    know the task: its outputs are brought into the task's order by name.

    `train_texts` is only read for "scratch" teachers: their vocabulary comes from it, unless `teacher.tokenizer` names a
    tokenizer. `max_length` is the longest input in tokens that the model must be able to read. Code that comes with a
    checkpoint runs only with `consent`.

    Raises `ModelError` when the checkpoint is broken or unsuitable, reads less than `max_length`, or cannot be fetched,
    and `OwnCodeError` for one with code and without consent.
    """
    if teacher.named == "scratch":
        report("building the teacher")
        return _scratch(teacher, spec, train_texts, max_length, consent)
    if teacher.finetune is not None:
        seed = teacher.finetune.seed
        return load_pretrained(teacher, spec, seed=seed, max_length=max_length, consent=consent, report=report)
    read = _read(teacher, max_length, consent, by_word=spec.kind == WORD_LABELS, report=report)
    model = read.checkpoint.model
    _check_knows_task(read.checkpoint, teacher.named, spec)
    problem_type = model.config.problem_type  # which aligning overwrites
    order_known, notes = _align_by_name(model, teacher, spec)
    return LoadedModel(model, read.tokenizer, order_known, (*read.notes, *notes), False, problem_type, read.foreign)


def load_classifier(source: schema.Teacher, *, consent: Consent = NONE, report: Report = unreported) -> PreTrainedModel:
    """A sequence-classification model as it is, for measurements that need neither its task nor its tokenizer.

    A bare encoder gets a random head of the config's size. Raises `ModelError` as `load_teacher` does.
    """
    folder, code = _fetch(source, source.named, consent, revision=source.revision, report=report)
    report(f"loading {plain(source.named)}")
    if is_exported(folder):
        return cast(PreTrainedModel, OnnxModel(folder))
    return read_checkpoint(folder, by_word=None, trust_remote_code=code).model


def load_pretrained(
    source: schema.Teacher,
    spec: TaskSpec,
    *,
    seed: int,
    words: PreTrainedTokenizerBase | None = None,
    max_length: int | None = None,
    consent: Consent = NONE,
    report: Report = unreported,
) -> LoadedModel:
    """A model that will be trained on the task: with its own head if that fits the task, else with one from `seed`.

    Its own head is aligned by name (`source.labels` instead of the config's, if there are any). Where the config names no
    classes, its outputs are used in the task's order, since training settles it; where it names others, the head is another
    task's, and gets a new output layer. `words` is the tokenizer for a folder without one. Raises `ModelError` as
    `load_teacher` does.
    """
    read = _read(source, max_length, consent, words, report, by_word=spec.kind == WORD_LABELS)
    checkpoint = read.checkpoint
    model, name = checkpoint.model, plain(source.named)
    outputs = output_of(model).out_features
    notes: tuple[str, ...] = ()
    fresh_head = True
    if checkpoint.fresh_output:
        notes = (
            f"{name} has no classifier for {'words' if spec.kind == WORD_LABELS else 'sentences'}: it gets a new one",
        )
    elif outputs != spec.outputs:
        notes = (f"{name} has {outputs} outputs, {plain(spec.name)} {describe(spec)}: a fresh output layer is trained",)
    elif _align_by_name(model, source, spec)[0] or not has_names(model):
        fresh_head = False
        if spec.labels and not has_names(model):
            notes = (f"{name} does not name its classes: they are used in the task's order",)
        name_outputs(model, spec)
    else:
        own = ", ".join(map(plain, names_of(model)))
        notes = (f"{name} has the outputs {own}, {plain(spec.name)} {describe(spec)}: a fresh output layer is trained",)
    if fresh_head:
        fit_head(model, spec, {*checkpoint.fresh, f"{family_of(model.config).output}.weight"}, seed=seed)
    notes = (*read.notes, *notes)
    return LoadedModel(model, read.tokenizer, True, notes, fresh_head, foreign_tokenizer=read.foreign)


def load_with_tokenizer(source: schema.Teacher, *, consent: Consent = NONE, report: Report = unreported) -> LoadedModel:
    """A model with a trained head as it is, its outputs in its own order and with its own names (`names_of`).

    Raises `ModelError` as `load_teacher` does, and for a model without a trained head.
    """
    if is_exported(folder := Path(source.named)):
        report(f"loading {plain(source.named)}")
        model = cast(PreTrainedModel, OnnxModel(folder))
        return LoadedModel(model, read_tokenizer(folder), True, (), False, model.config.problem_type)
    read = _read(source, None, consent, by_word=None, report=report)
    if read.checkpoint.fresh_output:
        sentence = f"{plain(source.named)} is not a trained classifier: it has no weights for the output layer"
        raise ModelError(sentence, kind="model-without-head")
    model = read.checkpoint.model
    return LoadedModel(model, read.tokenizer, True, read.notes, False, model.config.problem_type)


@dataclass(frozen=True)
class _Read:
    """A checkpoint and the tokenizer for it; `foreign` as in `LoadedModel.foreign_tokenizer`."""

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    foreign: bool
    notes: tuple[str, ...]


def _read(
    source: schema.Teacher,
    max_length: int | None,
    consent: Consent,
    fallback: PreTrainedTokenizerBase | None = None,
    report: Report = unreported,
    *,
    by_word: bool | None,
) -> _Read:
    """The checkpoint, its tokenizer (or the one that `source` names), whose vocabulary must not be larger, and notes."""
    folder, code = _fetch(source, source.named, consent, revision=source.revision, report=report)
    if is_exported(folder):
        sentence = "this is an exported model, which predicts but cannot be trained or teach: name the model that it was made from"
        raise ModelError(sentence, kind="exported-model", file=plain(str(folder)))
    other, other_code = folder, code
    if source.tokenizer is not None:
        key = "teacher.tokenizer"
        other, other_code = _fetch(source, source.tokenizer, consent, weights=False, key=key, report=report)
    report(f"loading {plain(source.named)}")
    checkpoint = read_checkpoint(folder, by_word=by_word, trust_remote_code=code)
    if fallback is not None and not has_tokenizer(other):
        words = fallback
    else:
        words = read_tokenizer(other, trust_remote_code=other_code)
    config = checkpoint.model.config
    largest = max(words.get_vocab().values(), default=-1)  # ids can have gaps
    if largest >= config.vocab_size:
        sentence = (
            f"the tokenizer in {plain(str(other))} has {len(words)} tokens with ids up to {largest}, but the model "
            f"{plain(source.named)} only {config.vocab_size} tokens; use a tokenizer that belongs to the model"
        )
        raise ModelError(sentence, kind="tokenizer-too-large", key="tokenizer")
    limit = positions(config)
    if max_length is not None and max_length > limit:
        sentence = f"the model {plain(source.named)} reads at most {limit} tokens, but task.max_length is {max_length}"
        raise ModelError(sentence, kind="max-length-too-long", key="task.max_length")
    ran = {source.named: code, source.tokenizer: other_code}
    notes = tuple(f"{plain(name)} runs its own code, as you consented" for name, runs in ran.items() if name and runs)
    foreign = other != folder and _has_other_words(folder, words)
    return _Read(checkpoint, words, foreign, (*notes, *checkpoint.notes))


def _has_other_words(folder: Path, words: PreTrainedTokenizerBase) -> bool:
    """Whether a model's folder has a tokenizer with another vocabulary; False if it has none that can be read."""
    if not has_tokenizer(folder):
        return False
    try:
        return bool(read_tokenizer(folder).get_vocab() != words.get_vocab())
    except ModelError:  # perhaps the reason why another one is named
        return False


def _fetch(
    source: schema.Teacher,
    name: str,
    consent: Consent,
    *,
    revision: str | None = None,
    weights: bool = True,
    key: str = "teacher.model",
    report: Report = unreported,
) -> tuple[Path, bool]:
    """The folder of a model or tokenizer, and whether its own code runs. Raises `OwnCodeError` without consent to it."""
    folder = fetch(name, revision, weights=weights, report=report)
    if weights:
        check_family(folder)  # no code could help
    if source.trust_remote_code is False or not may_run(name, folder, consent, key=key):
        return folder, False
    return fetch(name, revision, weights=weights, code=True, report=report), True


def _check_knows_task(checkpoint: Checkpoint, model: str, spec: TaskSpec) -> None:
    """Raises `ModelError` for a teacher that is not fine-tuned and has no outputs for the task."""
    if checkpoint.fresh_output:
        raise ModelError(teacher_without_head(model, spec.name), kind="teacher-without-head", key="teacher.model")
    outputs = output_of(checkpoint.model).out_features
    if outputs != spec.outputs:
        names = "" if outputs == 1 else f" ({', '.join(map(plain, names_of(checkpoint.model)))})"
        sentence = (
            f"the teacher {plain(model)} has {outputs} output{'s' if outputs > 1 else ''}{names}, but "
            f"{plain(spec.name)} has {describe(spec)}: {KNOWS_TASK}"
        )
        raise ModelError(sentence, kind="wrong-number-of-outputs", key="teacher.model")


def _align_by_name(model: PreTrainedModel, source: schema.Teacher, spec: TaskSpec) -> tuple[bool, tuple[str, ...]]:
    """Align the outputs by name; whether the names match the task's, and notes for the user.

    Raises `ModelError` when the names in the preset are not the task's.
    """
    if not spec.labels:
        name_outputs(model, spec)
        return True, ()
    names = names_of(model) if source.labels is None else tuple(source.labels)
    order = order_by_name(names, spec.labels) if len(names) == spec.outputs else None
    if order is not None:
        own = None if source.labels is None else order_by_name(names_of(model), spec.labels)
        align(model, order, spec)
        if own is not None and own != order:
            return True, (
                f"teacher.labels gives the outputs of {plain(source.named)} another order than the names in its config.json; "
                "teacher.labels is used",
            )
        if order == tuple(range(len(order))):
            return True, ()
        new = ", ".join(f"{plain(names[index])} (output {index})" for index in order)
        return True, (f"the outputs of {plain(source.named)} were reordered by name: {new}",)
    if source.labels is not None:
        sentence = f"teacher.labels names {', '.join(map(plain, names))}, but {plain(spec.name)} has {describe(spec)}"
        raise ModelError(sentence, kind="labels-do-not-match", key="teacher.labels")
    return False, (
        f"the outputs of {plain(source.named)} are named {', '.join(map(plain, names))}, so it is unknown which of "
        f"{', '.join(map(plain, spec.labels))} each one is",
    )


def _scratch(
    teacher: schema.Teacher, spec: TaskSpec, train_texts: Iterable[str], max_length: int | None, consent: Consent
) -> LoadedModel:
    """A random BERT: weights from the fine-tuning's seed, vocabulary from the texts or another tokenizer."""
    if teacher.finetune is None:  # the schema refuses it, too
        sentence = 'a teacher from "scratch" is untrained: add a [teacher.finetune] table'
        raise ModelError(sentence, kind="scratch-teacher-untrained")
    if teacher.tokenizer is None:
        tokenizer = word_tokenizer(train_texts)
    else:
        folder, code = _fetch(teacher, teacher.tokenizer, consent, weights=False, key="teacher.tokenizer")
        tokenizer = read_tokenizer(folder, trust_remote_code=code)
    shape = teacher.architecture or schema.Architecture()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate_size or 4 * shape.hidden_size,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        max_position_embeddings=max(SCRATCH_POSITIONS, max_length or 0),
        initializer_range=initial_range(shape.hidden_size),
        num_labels=spec.outputs,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    kind = BertForTokenClassification if spec.kind == WORD_LABELS else BertForSequenceClassification
    config.architectures = [kind.__name__]
    with seeded(teacher.finetune.seed):
        model = kind(config).eval()
    name_outputs(model, spec)
    return LoadedModel(model, tokenizer, order_known=True, notes=(), fresh_head=True)
