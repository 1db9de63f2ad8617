"""Check a preset against the configs of its models: layers, maps, heads, vocabularies, files."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.distill import layer_maps
from engine.distill.model_shape import ModelShape, heads_of_term
from engine.errors import CrildError, ModelError, UsageError
from engine.models.family_rules import FAMILIES, FIRST_LAYER_STAYS, not_offered, odd_heads
from engine.models.layer_selection import layer_count, selected_layers
from engine.models.model_files import PICKLED, SAFETENSORS, check_files, has_tokenizer, is_folder, missing_weights
from engine.models.problem_types import teacher_of_other_kind, teacher_without_head
from engine.models.vocabularies import needs_same_words
from engine.preflight.model_facts import ModelFacts, model_facts
from engine.preset.field_types import LayerMap
from engine.preset.load import Loaded
from engine.preset.names import LAYER_OBJECTIVES
from engine.preset.regular_file import open_regular, read_regular
from engine.preset.schema import Architecture, Objective, Stage
from engine.preset.source_names import INIT_WORDS, is_path
from engine.preset.text import listed, plain
from engine.record.files import cause
from engine.record.run import is_run

_LARGEST_VOCABULARY = 2**28  # bytes of a file of words


@dataclass(frozen=True)
class _Sides:
    """What is known of teacher and student; of a hub model that is not in the local cache, nothing."""

    teacher: ModelShape | None
    student: ModelShape | None
    teacher_facts: ModelFacts | None
    student_facts: ModelFacts | None
    """Of the model that gives the student its layers or sizes."""


def model_problems(loaded: Loaded) -> Iterator[CrildError]:
    """Everything that is wrong with the models of a preset: first the models themselves, then what the student takes
    from them, then the stages."""
    preset, student = loaded.preset, loaded.preset.student
    teacher_facts = None
    if preset.teacher.model is not None:
        teacher_facts, faults = _facts(loaded, "teacher.model", preset.teacher.model, preset.teacher.revision)
        yield from faults
    named = student.init not in INIT_WORDS
    yield from _other_problems(loaded)
    source_facts = teacher_facts
    if named:
        source_facts, faults = _facts(loaded, "student.init", student.init, student.revision)
        yield from faults
        if preset.teacher.model is not None:
            yield from _vocabulary_problems(loaded, teacher_facts, source_facts)
    for stage in preset.stage:
        if stage.augment is not None and stage.augment.model is not None:
            key = f"stage.{stage.name}.data.augment.model"
            yield from _facts(loaded, key, stage.augment.model, stage.augment.revision)[1]
    if preset.teacher.model is None:
        yield from _tokenizer_problems(loaded, "student.init", source_facts)
    else:
        yield from _tokenizer_problems(loaded, "teacher.model", teacher_facts)
        if preset.teacher.finetune is None:
            yield from _headless(loaded, "teacher.model", preset.teacher.model, teacher_facts)
        yield from _output_problems(loaded, teacher_facts)
    for key, facts in {"teacher.model": teacher_facts, "student.init": source_facts if named else None}.items():
        if facts is not None and preset.task.max_length > facts.max_positions:
            sentence = (
                f"task.max_length is {preset.task.max_length}, but {key} reads at most {facts.max_positions} tokens"
            )
            yield loaded.problem(UsageError, "task.max_length", sentence, kind="max-length-too-long")
    teacher = _shape(teacher_facts)
    if preset.teacher.model == "scratch":
        own = preset.teacher.architecture or Architecture()
        teacher = ModelShape(own.layers, own.hidden_size, own.heads)
    source = _shape(source_facts) if named else teacher
    shape = None
    if source is not None:
        width, heads = student.hidden_size or source.width, student.heads or source.heads
        shape = ModelShape(layer_count(student, source.layers), width, heads)
        yield from _student_problems(loaded, source, shape, source_facts)
    for stage in preset.stage:
        yield from _stage_problems(loaded, stage, _Sides(teacher, shape, teacher_facts, source_facts))


def _shape(facts: ModelFacts | None) -> ModelShape | None:
    return None if facts is None else ModelShape(facts.layers, facts.hidden_size, facts.heads)


def _facts(loaded: Loaded, key: str, model: str, revision: str | None) -> tuple[ModelFacts | None, list[CrildError]]:
    """The facts of a model that crild can use, or what is wrong with it."""
    if model == "scratch":
        return None, []
    try:
        facts = model_facts(model, revision)
    except ModelError as error:
        sentence = error.sentence + loaded.set_in(key)
        return None, [ModelError(sentence, kind=error.kind, file=error.file, line=error.line, key=key)]
    if revision is not None and is_path(model):
        sentence = f"only hub models have a revision, and {plain(model)} is a folder: remove it"
        revision_key = f"{key.rpartition('.')[0]}.revision"
        return None, [loaded.problem(UsageError, revision_key, sentence, kind="revision-of-folder")]
    if facts is None:
        return None, []
    if facts.family not in FAMILIES:
        sentence = f"models of the family {plain(facts.family)} cannot be used; supported are {listed(FAMILIES, 'and')}"
        file = plain(str(facts.folder / "config.json"))
        return None, [ModelError(sentence, kind="unsupported-family", file=file, key=key)]
    return facts, list(weight_problems(facts.folder, key))


def _other_problems(loaded: Loaded) -> Iterator[CrildError]:
    """What is wrong with further teachers."""
    most = loaded.preset.task.max_length
    for key, teacher in loaded.preset.teacher.models().items():
        if key == "teacher":
            continue
        facts, faults = _facts(loaded, f"{key}.model", teacher.named, teacher.revision)
        yield from faults
        yield from _headless(loaded, f"{key}.model", teacher.named, facts)
        if facts is not None and most > facts.max_positions:
            sentence = f"task.max_length is {most}, but {key}.model reads at most {facts.max_positions} tokens"
            yield loaded.problem(UsageError, "task.max_length", sentence, kind="max-length-too-long")


def _vocabulary_problems(
    loaded: Loaded, teacher: ModelFacts | None, student: ModelFacts | None
) -> Iterator[CrildError]:
    """A student whose initial model reads other tokens than the teacher, where a stage needs the same."""
    key, named, reason = (
        "student.init",
        loaded.preset.teacher,
        needs_same_words(loaded.preset.stage, loaded.preset.task.kind),
    )
    if reason is None:
        return
    if _learns_words(loaded):
        if is_run(Path(loaded.preset.student.init)):
            return  # its teacher may have learnt the same words from the same rows: the engine compares them
        sentence = f'a teacher from "scratch" learns its own vocabulary, which no other model has: {reason}'
        yield loaded.problem(UsageError, key, sentence, kind="vocabulary-from-scratch")
    elif teacher is not None and student is not None:
        ours, theirs = _vocabulary(Path(named.tokenizer or teacher.folder)), _vocabulary(student.folder)
        if teacher.vocab_size != student.vocab_size:
            what = f"has a vocabulary of {student.vocab_size} tokens, but the teacher has one of {teacher.vocab_size}"
        elif ours and theirs and ours != theirs:
            what = "has a vocabulary of other words than the teacher"
        else:
            return
        file = plain(str(student.folder / "config.json"))
        yield ModelError(
            f"the student's initial model (student.init) {what}: {reason}", kind="other-vocabulary", file=file, key=key
        )


def chain_problem(first: Loaded, later: Loaded) -> CrildError | None:
    """Why a later run of a chain would fail: its teacher has to read the student's tokens, and has others; None where that is not
    clear before the student exists.

    The student reads the tokens of the first run's teacher. Teachers from scratch learn theirs from the rows of their tasks.
    """
    ours, theirs = (_learns_words(each) for each in (first, later))
    same = first.preset.task == later.preset.task if ours and theirs else ours == theirs
    if same or first.preset.student.init not in INIT_WORDS or later.preset.teacher.model is None:
        return None
    reason = needs_same_words(later.preset.stage, later.preset.task.kind)
    if reason is None:
        return None
    sentence = f'a teacher from "scratch" learns its tokens from the rows of its own task, and the student would read others: {reason}'
    return later.problem(UsageError, "teacher.model", sentence, kind="chain-of-other-words")


def _learns_words(loaded: Loaded) -> bool:
    """Whether the teacher's vocabulary is that of its training rows."""
    return loaded.preset.teacher.model == "scratch" and loaded.preset.teacher.tokenizer is None


def _tokenizer_problems(loaded: Loaded, model: str, facts: ModelFacts | None) -> Iterator[CrildError]:
    """A local folder that should have the tokenizer, and has none; `model` is the key of the model that reads the texts."""
    key, name = "teacher.tokenizer", loaded.preset.teacher.tokenizer
    if name is None:
        if facts is None or _is_in_hub_cache(facts.folder):
            return
        key, name = model, str(facts.folder)
    folder = Path(name)
    if not is_path(name):
        return
    try:
        exists = is_folder(folder)
        if exists:
            check_files(folder)
    except ModelError as error:
        yield ModelError(error.sentence + loaded.set_in(key), kind=error.kind, file=error.file, key=key)
        return
    if not exists:
        sentence = f"there is no such folder with a tokenizer{loaded.set_in(key)}"
        yield ModelError(sentence, kind="no-such-folder", file=plain(name), key=key)
    elif not has_tokenizer(folder):
        advice = "; name another with teacher.tokenizer" if model == "teacher.model" else ""
        sentence = f"this folder has no tokenizer (tokenizer.json or vocab.txt){advice}"
        yield ModelError(sentence + loaded.set_in(key), kind="no-tokenizer", file=plain(name), key=key)


def _headless(loaded: Loaded, key: str, model: str, facts: ModelFacts | None) -> Iterator[CrildError]:
    """A teacher that is to know the task and has no head for one."""
    task = loaded.preset.task
    kind = task.kind if task.name == "custom" else "classification"  # no other task has labels of words
    if facts is not None and not facts.has_head(kind):
        sentence = teacher_without_head(model, task.display_name)
        yield ModelError(sentence, kind="teacher-without-head", file=plain(str(facts.folder / "config.json")), key=key)


def _output_problems(loaded: Loaded, teacher: ModelFacts | None) -> Iterator[CrildError]:
    """A teacher whose answers cannot be distilled."""
    preset = loaded.preset
    finetuned, objectives = preset.teacher.finetune is not None, {name for s in preset.stage for name in s.terms()}
    problem_type = None if teacher is None else teacher.problem_type
    fault = teacher_of_other_kind(
        preset.teacher.model or "", problem_type, kind=preset.task.kind, finetuned=finetuned, objectives=objectives
    )
    if teacher is not None and fault is not None:
        file, (sentence, kind) = plain(str(teacher.folder / "config.json")), fault
        yield ModelError(sentence, kind=kind, file=file, key="problem_type")


def _is_in_hub_cache(folder: Path) -> bool:
    """Whether files of this model may still be fetched."""
    return "snapshots" in folder.parts


def _student_problems(
    loaded: Loaded, source: ModelShape, shape: ModelShape, source_facts: ModelFacts | None
) -> Iterator[CrildError]:
    """What a student cannot take over from the model that gives its layers or sizes."""
    student = loaded.preset.student
    is_modernbert = source_facts is not None and source_facts.family == "modernbert"
    if student.init != "scratch":
        try:
            layers = selected_layers(source.layers, student.keep, shape.layers)
        except ModelError as error:
            yield loaded.problem(UsageError, error.key or "student", error.sentence, kind=error.kind)
        else:
            if is_modernbert and layers[0] != 0:
                yield loaded.problem(UsageError, "student.keep", FIRST_LAYER_STAYS, kind="first-layer-missing")
        return
    key = "student.heads" if student.heads else "student.hidden_size"
    if shape.width % shape.heads:
        sentence = f"the student's width of {shape.width} is not a multiple of its {shape.heads} heads"
        yield loaded.problem(UsageError, key, sentence, kind="heads-do-not-divide-width")
    elif is_modernbert and shape.width // shape.heads % 2:
        yield loaded.problem(UsageError, key, odd_heads(shape.width, shape.heads), kind="odd-head-size")


def _stage_problems(loaded: Loaded, stage: Stage, sides: _Sides) -> Iterator[CrildError]:
    """Objectives of a stage that the two models cannot take part in."""
    maps: dict[str, LayerMap] = {}
    for name, term in stage.terms().items():
        key = f"stage.{stage.name}.objectives.{name}"
        for side, facts in (("teacher", sides.teacher_facts), ("student", sides.student_facts)):
            sentence = None if facts is None else not_offered(facts.family, name, side)
            if sentence is not None:
                yield loaded.problem(UsageError, key, sentence, kind="objective-not-offered")
                break
        yield from _head_problems(loaded, stage, name, term, sides)
        if name in LAYER_OBJECTIVES:
            own = term.layer_map is not None
            maps[f"{key}.layer_map" if own else f"stage.{stage.name}.layer_map"] = term.layer_map or stage.layer_map
    for key, layer_map in maps.items():
        yield from _map_problems(loaded, key, layer_map, sides)


def _head_problems(loaded: Loaded, stage: Stage, name: str, term: Objective, sides: _Sides) -> Iterator[CrildError]:
    if sides.teacher is None or sides.student is None or sides.student.width % sides.student.heads:
        return  # nothing is known, or the student's heads are a problem already
    try:
        heads_of_term(name, term, sides.teacher, sides.student)
    except CrildError as error:
        yield loaded.problem(UsageError, f"stage.{stage.name}.{error.key}", error.sentence, kind=error.kind)


def _map_problems(loaded: Loaded, key: str, layer_map: LayerMap, sides: _Sides) -> Iterator[CrildError]:
    known = [shape for shape in (sides.teacher, sides.student) if shape is not None]
    if len(known) < (1 if isinstance(layer_map, list) else 2):
        return
    # Of a model that is not known yet, a listed layer of any number may exist.
    teacher, student = (sys.maxsize if shape is None else shape.layers for shape in (sides.teacher, sides.student))
    try:
        layer_maps.pairs(layer_map, teacher, student)
    except CrildError as error:
        yield loaded.problem(UsageError, key, f"{key}: {error.sentence}", kind=error.kind)


def _vocabulary(folder: Path) -> dict[str, Any]:
    """The words of a tokenizer with their numbers, as far as a file has them that is simple to read; else none."""
    try:
        if (folder / "tokenizer.json").is_file():
            words = json.loads(read_regular(folder / "tokenizer.json", _LARGEST_VOCABULARY).decode())["model"]["vocab"]
            if isinstance(words, dict):
                return words
            return {str(entry[0]): number for number, entry in enumerate(words)}  # a list of words with their weights
        if not (folder / "vocab.txt").is_file():
            return {}
        lines = read_regular(folder / "vocab.txt", _LARGEST_VOCABULARY).decode().split("\n")
        return {line.rstrip("\r"): number for number, line in enumerate(lines) if line}
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return {}


def weight_problems(folder: Path, key: str | None = None) -> Iterator[ModelError]:
    """Weights that are missing or cut short, as far as names and sizes tell."""
    if missing := missing_weights(folder):
        if not _is_in_hub_cache(folder):
            sentence = f"this model folder has no weights: {' and '.join(missing[:3])} missing"
            if missing == [SAFETENSORS[0]]:
                sentence = f"this model folder has no weights ({SAFETENSORS[0]} or {PICKLED[0]})"
            yield ModelError(sentence, kind="no-weights", file=plain(str(folder)), key=key)
        return
    weights = folder / SAFETENSORS[0]
    if not weights.is_file():
        return
    file = plain(str(weights))
    try:
        expected, size = _promised_size(weights), weights.stat().st_size
    except OSError as error:
        yield ModelError(f"cannot be read: {cause(error)}", kind="unreadable-file", file=file, key=key)
        return
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        if _is_pointer(weights):
            sentence = "this is a Git LFS pointer, not the weights; fetch them with git lfs pull"
            yield ModelError(sentence, kind="lfs-pointer", file=file, key=key)
        else:
            sentence = "this is not a safetensors file: its header cannot be read; fetch it again"
            yield ModelError(sentence, kind="not-safetensors", file=file, key=key)
        return
    if size < expected:
        sentence = f"the weights are cut short: the file has {size:,} of {expected:,} bytes; fetch it again"
        yield ModelError(sentence, kind="truncated-weights", file=file, key=key)


def _is_pointer(path: Path) -> bool:
    with contextlib.suppress(OSError), open_regular(path) as file:
        return file.read(7) == b"version"
    return False


def _promised_size(path: Path) -> int:
    """The size in bytes that the header of a safetensors file promises: 8 bytes, the header, the tensors."""
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= 100_000_000:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + int(max(ends, default=0))
