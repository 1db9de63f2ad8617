"""Build students: from selected layers of another model, or from scratch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from engine.data.types import TaskSpec
from engine.errors import ModelError
from engine.models.class_names import name_outputs
from engine.models.families import family_of, layers_of
from engine.models.family_rules import odd_heads
from engine.models.head_init import fit_head, head_parameters
from engine.models.layer_selection import layer_count, selected_layers
from engine.models.load import LoadedModel, load_pretrained
from engine.models.seeded_init import initial_range, seeded
from engine.preset import schema
from engine.user.consent import NONE, Consent


def make_student(
    student: schema.Student,
    teacher: schema.Teacher,
    teacher_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    *,
    seed: int,
    max_length: int | None = None,
    note: Callable[[str], None] | None = None,
    consent: Consent = NONE,
) -> PreTrainedModel:
    """The student of a preset, on the CPU, in fp32, in evaluation mode; the same bytes for the same seed.

    `init` says where its weights come from:

    - "teacher": embeddings, the selected layers and the head of `teacher_model`
    - "pretrained": the same of the checkpoint that the teacher was fine-tuned from, with a fresh output layer
    - "scratch": random from `seed`, in the family and vocabulary of the teacher
    - a folder, a run or a hub id: embeddings and the selected layers of that model, its head if that fits the task

    `teacher_model` and `tokenizer` are the teacher's; a model that `init` names may have a vocabulary of its own
    (`has_own_words`). `max_length` is the longest input in
    tokens that the student must be able to read. `note` is called with what a user should know of a model that `init`
    names, such as tensors that were left out. The global random generator is left unchanged.

    Raises:
        ModelError: layers that don't exist, and as in `load_pretrained`.
    """
    if student.init == "scratch":
        return _from_scratch(student, teacher_model.config, type(teacher_model), spec, seed)
    if student.init == "teacher":
        return keep_layers(teacher_model, _selected(student, teacher_model))
    source = _source(student, teacher, tokenizer, spec, seed, max_length, consent)
    selected = _selected(student, source.model)
    if student.init != "pretrained" and note is not None:  # else they are the teacher's own, which are known
        for sentence in source.notes:
            note(sentence)
    if student.init == "pretrained":
        fit_head(source.model, spec, head_parameters(source.model), seed=seed)
    return keep_layers(source.model, selected)


def reader_of(preset: schema.Preset) -> schema.Teacher:
    """The model whose tokenizer reads a run's texts, as `load_teacher` takes it: the teacher, or, where that is a file of
    answers, the model that the student starts from, with a fresh output layer where its own doesn't fit the task."""
    teacher, student = preset.teacher, preset.student
    if teacher.model is not None:
        return teacher
    fresh = schema.Finetune(seed=preset.seed)
    if student.init != "scratch":
        return schema.Teacher(model=student.init, revision=student.revision, finetune=fresh)
    own = {key: getattr(student, key) for key in ("layers", "hidden_size", "heads", "intermediate_size")}
    shape = schema.Architecture.model_validate({key: value for key, value in own.items() if value is not None})
    return schema.Teacher(model="scratch", architecture=shape, finetune=fresh)


def student_of_answers(student: schema.Student, model: PreTrainedModel) -> PreTrainedModel:
    """The student of a teacher that is a file of answers: the layers of `model` (that of `reader_of`) that `student` keeps.

    As `make_student`, on the CPU, and a model of its own. Raises ModelError for layers that don't exist.
    """
    every = tuple(range(len(layers_of(model))))
    return keep_layers(model, every if student.init == "scratch" else _selected(student, model))


def _selected(student: schema.Student, model: PreTrainedModel) -> tuple[int, ...]:
    available = len(layers_of(model))
    return selected_layers(available, student.keep, layer_count(student, available))


def keep_layers(model: PreTrainedModel, selected: Sequence[int]) -> PreTrainedModel:
    """A new model with the embeddings, the selected layers (counted from 0, in this order) and the head of `model`.

    It shares no tensor and no hook with `model`.

    Raises:
        ModelError: the family needs its first layer, or cannot repeat its shared layers in this way.
    """
    family = family_of(model.config)
    config = copy.deepcopy(model.config)
    stored = selected if family.select_layers is None else family.select_layers(config, selected)
    config.num_hidden_layers = len(selected)
    with seeded(0):  # every weight drawn here is overwritten
        smaller = type(model)(config)
    source, prefix = model.state_dict(), f"{family.layers}."
    with torch.no_grad():
        for name, tensor in smaller.state_dict().items():
            if not name.startswith(prefix):
                tensor.copy_(source[name])
                continue
            number, _, rest = name.removeprefix(prefix).partition(".")
            tensor.copy_(source[f"{prefix}{stored[int(number)]}.{rest}"])
    return smaller.float().eval()


def _from_scratch(
    student: schema.Student, like: PretrainedConfig, kind: type[PreTrainedModel], spec: TaskSpec, seed: int
) -> PreTrainedModel:
    """A student of the teacher's family and vocabulary with random weights."""
    family = family_of(like)
    config = copy.deepcopy(like)
    width = student.hidden_size or int(like.hidden_size)
    heads = student.heads or int(like.num_attention_heads)
    if width % heads:
        sentence = f"a student of width {width} cannot have {heads} attention heads: {heads} does not divide {width}"
        raise ModelError(sentence, kind="heads-do-not-divide-width", key="student.heads")
    same_width = width == int(like.hidden_size)
    like_width: int = getattr(like, family.intermediate)
    if family.windows(like) and width // heads % 2:
        raise ModelError(odd_heads(width, heads), kind="odd-head-size", key="student.heads")
    config.num_attention_heads = heads
    config.hidden_size = width
    setattr(config, family.intermediate, student.intermediate_size or (like_width if same_width else 4 * width))
    # Embeddings of ELECTRA and ALBERT may be narrower than the encoder; if they are as wide, they stay as wide.
    if getattr(like, "embedding_size", None) == int(like.hidden_size):
        config.embedding_size = width
    config.num_hidden_layers = layer_count(student, int(like.num_hidden_layers))
    if family.fit_depth is not None:
        family.fit_depth(config)
    config.initializer_range = initial_range(width)
    config.num_labels = spec.outputs
    with seeded(seed):
        model = kind(config)
    name_outputs(model, spec)
    return model.float().eval()


def named_init(
    student: schema.Student,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    *,
    seed: int,
    max_length: int | None = None,
    trust: Literal[False] | None = None,
    consent: Consent = NONE,
) -> LoadedModel | None:
    """The model that `init` names by its folder, run or hub id; None where it names none ("teacher" and the like).

    `trust` is the preset's `teacher.trust_remote_code`. Raises `ModelError` as `load_pretrained` does.
    """
    if student.init in ("teacher", "pretrained", "scratch"):
        return None
    source = schema.Teacher(model=student.init, revision=student.revision, trust_remote_code=trust)
    return load_pretrained(source, spec, seed=seed, words=tokenizer, max_length=max_length, consent=consent)


def _source(
    student: schema.Student,
    teacher: schema.Teacher,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    seed: int,
    max_length: int | None,
    consent: Consent,
) -> LoadedModel:
    """The model that the layers come from, where that is not the teacher itself."""
    trust = teacher.trust_remote_code
    named = named_init(student, tokenizer, spec, seed=seed, max_length=max_length, trust=trust, consent=consent)
    if named is not None:
        return named
    if teacher.model == "scratch":
        sentence = (
            'init = "pretrained" needs a pre-trained teacher, but this one is trained from scratch; '
            'use init = "teacher" or "scratch"'
        )
        raise ModelError(sentence, kind="teacher-not-pretrained", key="student.init")
    return load_pretrained(teacher, spec, seed=seed, max_length=max_length, consent=consent)


def has_own_words(initial: LoadedModel, teacher: LoadedModel) -> bool:
    """Whether a student's initial model turns the same text into other tokens than the teacher does.

    Raises ModelError for one without a tokenizer whose vocabulary has another size than the teacher's, which it would use.
    """
    if initial.tokenizer is not teacher.tokenizer:
        return bool(initial.tokenizer.get_vocab() != teacher.tokenizer.get_vocab())
    theirs, ours = initial.model.config.vocab_size, teacher.model.config.vocab_size
    if theirs != ours:
        sentence = (
            f"the model that student.init names has no tokenizer and a vocabulary of {theirs} tokens, and the teacher's tokenizer "
            f"is made for {ours}: put the model's own tokenizer into its folder"
        )
        raise ModelError(sentence, kind="vocabularies-differ", key="student.init")
    return False
