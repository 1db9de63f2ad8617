"""Students: some layers of another model, or a small model of their own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from engine.data.types import TaskSpec
from engine.errors import ModelError
from engine.models.class_names import name_outputs
from engine.models.families import family_of, layers_of
from engine.models.family_rules import odd_heads
from engine.models.load import LoadedModel, load_pretrained
from engine.models.new_heads import fit_head, head_parameters
from engine.models.seeded_init import initial_range, seeded
from engine.preset import schema
from engine.preset.text import plain


def make_student(
    student: schema.Student,
    teacher: schema.Teacher,
    teacher_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    *,
    seed: int,
    max_length: int | None = None,
) -> PreTrainedModel:
    """The student of a preset, on the CPU, in fp32, in evaluation mode; the same bytes for the same seed.

    `init` says where its weights come from:

    - "teacher": embeddings, the kept layers and the head of `teacher_model`
    - "pretrained": the same of the checkpoint that the teacher was fine-tuned from, with a fresh output layer
    - "scratch": drawn from `seed`, in the family and vocabulary of the teacher
    - a folder, a run or a hub id: embeddings and the kept layers of that model, its head where it fits the task

    `teacher_model` and `tokenizer` are the teacher's, which reads the same tokens. `max_length` is the longest input in
    tokens that the student must be able to read. The generator that the run draws from is left where it was.

    Raises `ModelError` when layers are asked for that are not there, when another model's vocabulary is not the
    teacher's, and as `load_pretrained` does.
    """
    if student.init == "scratch":
        return _from_scratch(student, teacher_model.config, type(teacher_model), spec, seed)
    if student.init == "teacher":
        there = len(layers_of(teacher_model))
        return keep_layers(teacher_model, layers_kept(there, student.keep, _count(student, _half(there))))
    source = _source(student, teacher, tokenizer, spec, seed, max_length)
    _check_vocabulary(student.init, source, teacher.model, teacher_model, tokenizer)
    there = len(layers_of(source.model))
    left_open = _half(there) if student.init == "pretrained" else there
    kept = layers_kept(there, student.keep, _count(student, left_open))
    if student.init == "pretrained":
        fresh = head_parameters(source.model, source.family)
        fit_head(source.model, source.family, spec, fresh, seed=seed)
    return keep_layers(source.model, kept)


def layers_kept(there: int, keep: str | Sequence[int], count: int) -> tuple[int, ...]:
    """Which of `there` layers a model of `count` layers keeps, counted from 0.

    "first" and "last" say it; "alternate" spreads them evenly from the first layer on, layer i of the student being
    layer ⌊i·there/count⌋: of 12 layers six are 0, 2, 4, 6, 8, 10 and four are 0, 3, 6, 9. A list says it itself.
    Raises `ModelError` for layers that are not there, and for a list that names a layer twice.
    """
    if not isinstance(keep, str):
        kept = tuple(keep)
        beyond = [layer for layer in kept if not 0 <= layer < there]
        if beyond:
            raise ModelError(
                f"student.keep names layer {beyond[0]}, but the initial model has layers 0 to {there - 1}",
                key="student.keep",
            )
        if len(set(kept)) != len(kept) or not kept:
            raise ModelError("student.keep must name layers, each of them once", key="student.keep")
        if len(kept) != count:
            raise ModelError(f"student.keep names {len(kept)} layers, student.layers says {count}", key="student.keep")
        return kept
    if not 1 <= count <= there:
        raise ModelError(
            f"the student cannot have {count} layers: the initial model has {there}; choose 1 to {there}, "
            'or init = "scratch"',
            key="student.layers",
        )
    if keep == "last":
        return tuple(range(there - count, there))
    if keep == "alternate":
        return tuple(index * there // count for index in range(count))
    return tuple(range(count))


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A new model with the embeddings, the given layers (counted from 0, in this order) and the head of `model`.

    Nothing is shared with `model`: not a tensor, not a hook. The config says how many layers there are. Raises
    `ModelError` where the family cannot do without a layer, or not repeat its shared layers so.
    """
    family = family_of(model.config)
    config = copy.deepcopy(model.config)
    kept = family.cut(config, kept)
    with seeded(0):  # what is drawn here is overwritten
        smaller = type(model)(config)
    source = model.state_dict()
    with torch.no_grad():
        for name, tensor in smaller.state_dict().items():
            tensor.copy_(source[_old_name(name, f"{family.layers}.", kept)])
    return smaller.float().eval()


def _old_name(name: str, prefix: str, kept: Sequence[int]) -> str:
    if not name.startswith(prefix):
        return name
    number, _, rest = name.removeprefix(prefix).partition(".")
    return f"{prefix}{kept[int(number)]}.{rest}"


def _count(student: schema.Student, default: int) -> int:
    """The number of layers: what the preset says, the length of its list, or the default."""
    if student.layers is None and not isinstance(student.keep, str):
        return len(student.keep)
    return student.layers or default


def _half(layers: int) -> int:
    return max(1, layers // 2)


def _from_scratch(
    student: schema.Student, like: PretrainedConfig, kind: type[PreTrainedModel], spec: TaskSpec, seed: int
) -> PreTrainedModel:
    """A student of the teacher's family and vocabulary whose weights know nothing."""
    family = family_of(like)
    config = copy.deepcopy(like)
    width = student.hidden_size or int(like.hidden_size)
    heads = student.heads or int(like.num_attention_heads)
    if width % heads:
        raise ModelError(
            f"a student of width {width} cannot have {heads} attention heads: {heads} does not divide {width}",
            key="student.heads",
        )
    same_width = width == int(like.hidden_size)
    teachers: int = getattr(like, family.intermediate)
    if family.windows(like) and width // heads % 2:
        raise ModelError(odd_heads(width, heads), key="student.heads")
    config.num_attention_heads = heads
    config.hidden_size = width
    setattr(config, family.intermediate, student.intermediate_size or (teachers if same_width else 4 * width))
    # Embeddings of ELECTRA and ALBERT may be narrower than the encoder; where they are as wide, they stay as wide.
    if getattr(like, "embedding_size", None) == int(like.hidden_size):
        config.embedding_size = width
    family.redo(config, student.layers or _half(int(like.num_hidden_layers)))
    config.initializer_range = initial_range(width)
    config.num_labels = spec.outputs
    with seeded(seed):
        model = kind(config)
    name_outputs(model, spec.labels)
    return model.float().eval()


def _source(
    student: schema.Student,
    teacher: schema.Teacher,
    tokenizer: PreTrainedTokenizerBase,
    spec: TaskSpec,
    seed: int,
    max_length: int | None,
) -> LoadedModel:
    """The model that gives its layers, where it is not the teacher itself."""
    if student.init != "pretrained":
        return load_pretrained(
            student_folder(student.init),
            spec,
            seed=seed,
            revision=student.revision,
            words=tokenizer,
            max_length=max_length,
        )
    if teacher.model == "scratch":
        raise ModelError(
            'init = "pretrained" needs a teacher that was pre-trained, but this one is trained from scratch: '
            'use init = "teacher" or "scratch"',
            key="student.init",
        )
    return load_pretrained(
        teacher.model,
        spec,
        seed=seed,
        revision=teacher.revision,
        tokenizer=teacher.tokenizer,
        trust_remote_code=teacher.trust_remote_code,
        max_length=max_length,
    )


def student_folder(init: str) -> str:
    """Where the model of `init` is: of a run directory its student, else the name itself."""
    run = Path(init)
    if not (run / "status.json").is_file():
        return init
    folder = run / "student"
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"the run {plain(run.name)} has no student yet: it must have finished",
            file=plain(str(folder)),
            key="student.init",
        )
    return str(folder)


def _check_vocabulary(
    init: str, source: LoadedModel, teacher: str, teacher_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raises `ModelError` unless teacher and student turn the same text into the same tokens."""
    if source.tokenizer is tokenizer:  # the other model has none of its own: only the sizes can be compared
        theirs, ours = source.model.config.vocab_size, teacher_model.config.vocab_size
        same = theirs == ours
    else:
        same = source.tokenizer.get_vocab() == tokenizer.get_vocab()
        theirs, ours = len(source.tokenizer), len(tokenizer)
    if not same:
        raise ModelError(
            f"the student is initialised from {plain(init)}, whose vocabulary of {theirs} tokens is not that of the teacher "
            f"{plain(teacher)} ({ours} tokens), but both must read the same tokens: choose a model with the teacher's "
            'vocabulary, or init = "teacher" or "scratch"',
            key="student.init",
        )
