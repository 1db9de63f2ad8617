"""What the configs of teacher and student say about a preset: layers, maps, heads, vocabularies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import CrildError, ModelError, UsageError
from engine.models.family_rules import FAMILIES, FIRST_LAYER_STAYS, not_offered, odd_heads
from engine.preflight.model_facts import ModelFacts, model_facts
from engine.preset.base import RELATIONS, LayerMap, ObjectiveName
from engine.preset.load import Loaded
from engine.preset.schema import LAYER_OBJECTIVES, Architecture, Objective, Preset, Stage, Student
from engine.preset.source_names import is_path
from engine.preset.text import listed, plain

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


@dataclass(frozen=True)
class Shape:
    """The sizes of a teacher or student, as far as layer maps and objectives depend on them."""

    layers: int
    hidden_size: int
    heads: int


def model_problems(loaded: Loaded) -> list[CrildError]:
    """Everything that is wrong with the models of a preset, and with what it asks of them."""
    return list(_Models(loaded).problems())


def shapes(preset: Preset) -> tuple[Shape | None, Shape | None]:
    """The shapes of teacher and student; None where a hub model's config is not in the local cache.

    Raises ModelError when a model's folder or config cannot be used.
    """
    teacher_model, student = preset.teacher, preset.student
    facts = None if teacher_model.model == "scratch" else model_facts(teacher_model.model, teacher_model.revision)
    teacher = _teacher_shape(preset, facts)
    if student.init in ("teacher", "pretrained", "scratch"):
        return teacher, _student_shape(student, teacher)
    return teacher, _student_shape(student, _shape(model_facts(student.init, student.revision)))


def _shape(facts: ModelFacts | None) -> Shape | None:
    return None if facts is None else Shape(facts.layers, facts.hidden_size, facts.heads)


def _teacher_shape(preset: Preset, facts: ModelFacts | None) -> Shape | None:
    if preset.teacher.model != "scratch":
        return _shape(facts)
    own = preset.teacher.architecture or Architecture()
    return Shape(own.layers, own.hidden_size, own.heads)


def _student_shape(student: Student, source: Shape | None) -> Shape | None:
    """The student's shape, `source` being the model whose layers or sizes it takes over."""
    if source is None:
        return None
    halved = source.layers if student.init not in ("teacher", "pretrained", "scratch") else max(1, source.layers // 2)
    listed_layers = len(student.keep) if isinstance(student.keep, list) and student.init != "scratch" else None
    layers = student.layers or listed_layers or halved
    return Shape(layers, student.hidden_size or source.hidden_size, student.heads or source.heads)


class _Models:
    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self.preset = loaded.preset

    def problems(self) -> Iterator[CrildError]:
        """Models first, then what the student takes from them, then the stages."""
        preset, student = self.preset, self.preset.student
        teacher_facts, faults = self._facts("teacher.model", preset.teacher.model, preset.teacher.revision)
        yield from faults
        named = student.init not in ("teacher", "pretrained", "scratch")
        source_facts = teacher_facts
        if named:
            source_facts, faults = self._facts("student.init", student.init, student.revision)
            yield from faults
            yield from self._vocabulary(teacher_facts, source_facts)
        yield from self._tokenizer(teacher_facts)
        yield from self._length("teacher.model", teacher_facts)
        if named:
            yield from self._length("student.init", source_facts)
        teacher = _teacher_shape(preset, teacher_facts)
        source = _shape(source_facts) if named else teacher
        yield from self._kept(source, "the model in student.init" if named else "the teacher")
        if source_facts is not None and source_facts.family == "modernbert":
            yield from self._modernbert(source_facts)
        shape = _student_shape(student, source)
        if shape is not None and shape.hidden_size % shape.heads:
            sentence = f"the student's width of {shape.hidden_size} is not a multiple of its {shape.heads} heads"
            yield self._fault("student.heads" if student.heads else "student.hidden_size", sentence)
        for stage in preset.stage:
            yield from _Terms(self.loaded, stage, teacher, shape, teacher_facts, source_facts).problems()

    def _fault(self, key: str, sentence: str) -> CrildError:
        return self.loaded.problem(UsageError, key, sentence)

    def _facts(self, key: str, model: str, revision: str | None) -> tuple[ModelFacts | None, list[CrildError]]:
        """The facts of a model that crild can use, or what is wrong with it."""
        if model == "scratch":
            return None, []
        try:
            facts = model_facts(model, revision)
        except ModelError as error:
            place = self.loaded.place(key)
            where = f" ({key}, set in {place.file}{f':{place.line}' if place.line else ''})"
            error = ModelError(error.sentence + where, file=error.file, line=error.line, key=key)
            return None, [error]
        if revision is not None and is_path(model):
            where = f"{key.rpartition('.')[0]}.revision"
            return None, [
                self._fault(where, f"a revision belongs to a hub model, and {plain(model)} is a folder: remove it")
            ]
        if facts is not None and facts.family not in FAMILIES:
            sentence = (
                f"models of the family {plain(facts.family)} cannot be used; supported are {listed(FAMILIES, 'and')}"
            )
            return None, [ModelError(sentence, file=plain(str(facts.folder / "config.json")), key=key)]
        return facts, [] if facts is None else [ModelError(s, file=f, key=key) for f, s in _damage(facts.folder)]

    def _vocabulary(self, teacher: ModelFacts | None, student: ModelFacts | None) -> Iterator[CrildError]:
        key = "student.init"
        if self.preset.teacher.model == "scratch" and self.preset.teacher.tokenizer is None:
            sentence = 'a teacher from "scratch" learns words of its own, which no other model shares: init = "teacher"'
            yield self._fault(key, sentence)
        elif teacher is not None and student is not None:
            if teacher.vocab_size != student.vocab_size:
                what = f"has a vocabulary of {student.vocab_size} tokens, the teacher one of {teacher.vocab_size}"
            elif _differ(_words(self._words_of_teacher(teacher)), _words(student.folder)):
                what = "has other words in its vocabulary than the teacher"
            else:
                return
            sentence = f"the student's initial model {what}; both must read the same tokens: take another for {key}"
            yield ModelError(sentence, file=plain(str(student.folder / "config.json")), key=key)

    def _words_of_teacher(self, teacher: ModelFacts) -> Path:
        """The folder that the teacher's tokenizer comes from."""
        return Path(self.preset.teacher.tokenizer or teacher.folder)

    def _tokenizer(self, teacher: ModelFacts | None) -> Iterator[CrildError]:
        """A local folder that the tokenizer should come from, and that holds none."""
        named = self.preset.teacher.tokenizer
        if named is not None:
            key, folder = "teacher.tokenizer", Path(named)
        elif teacher is not None and "snapshots" not in teacher.folder.parts:
            key, folder = "teacher.model", teacher.folder
        else:
            return
        place = self.loaded.place(key)
        where = f" ({key}, set in {place.file}{f':{place.line}' if place.line else ''})"
        if is_path(str(folder)) and not folder.is_dir():
            yield ModelError(f"there is no such folder with a tokenizer{where}", file=plain(str(folder)), key=key)
        elif folder.is_dir() and not any(file.is_file() for name in _TOKENIZERS for file in folder.glob(name)):
            sentence = f"this folder holds no tokenizer (tokenizer.json or vocab.txt); name another with teacher.tokenizer{where}"
            yield ModelError(sentence, file=plain(str(folder)), key=key)

    def _length(self, key: str, facts: ModelFacts | None) -> Iterator[CrildError]:
        length = self.preset.task.max_length
        if facts is not None and length > facts.max_positions:
            sentence = f"task.max_length {length} is more than {key} can read: {facts.max_positions} tokens at most"
            yield self._fault("task.max_length", sentence)

    def _kept(self, source: Shape | None, whose: str) -> Iterator[CrildError]:
        student = self.preset.student
        if source is None or student.init == "scratch":
            return
        if student.layers is not None and student.layers > source.layers:
            sentence = f'the student cannot have {student.layers} layers: {whose} has {source.layers}, and only init = "scratch" can have more'
            yield self._fault("student.layers", sentence)
        if isinstance(student.keep, list):
            beyond = [layer for layer in student.keep if layer >= source.layers]
            if beyond:
                numbers = listed(map(str, beyond), "and")
                sentence = f"student.keep names layer {numbers}, but {whose} has layers 0 to {source.layers - 1}"
                yield self._fault("student.keep", sentence)

    def _modernbert(self, source: ModelFacts) -> Iterator[CrildError]:
        """What a student cannot take over from a ModernBERT."""
        student = self.preset.student
        if student.init == "scratch":
            width, heads = student.hidden_size or source.hidden_size, student.heads or source.heads
            if width % heads == 0 and width // heads % 2:
                yield self._fault("student.heads" if student.heads else "student.hidden_size", odd_heads(width, heads))
            return
        shape = _student_shape(student, _shape(source))
        last = student.keep == "last" and shape is not None and shape.layers < source.layers
        if last or (isinstance(student.keep, list) and student.keep[:1] != [0]):
            yield self._fault("student.keep", FIRST_LAYER_STAYS)


@dataclass(frozen=True)
class _Terms:
    """The objectives of one stage, held against the two models."""

    loaded: Loaded
    stage: Stage
    teacher: Shape | None
    student: Shape | None
    teacher_facts: ModelFacts | None
    student_facts: ModelFacts | None

    def problems(self) -> Iterator[CrildError]:
        maps: dict[str, LayerMap] = {}
        for name, term in self.stage.terms().items():
            key = f"stage.{self.stage.name}.objectives.{name}"
            for side, facts in (("teacher", self.teacher_facts), ("student", self.student_facts)):
                sentence = None if facts is None else not_offered(facts.family, name, side)
                if sentence is not None:
                    yield self.loaded.problem(UsageError, key, sentence)
                    break
            yield from self._heads(name, term, key)
            if name in LAYER_OBJECTIVES:
                own = term.layer_map is not None
                maps[f"{key}.layer_map" if own else f"stage.{self.stage.name}.layer_map"] = (
                    term.layer_map or self.stage.layer_map
                )
        for key, layer_map in maps.items():
            for sentence in self._map(layer_map):
                yield self.loaded.problem(UsageError, key, f"{key}: {sentence}")

    def _heads(self, name: ObjectiveName | str, term: Objective, key: str) -> Iterator[CrildError]:
        if self.teacher is None or self.student is None:
            return
        if name == "attention" and self.teacher.heads != self.student.heads:
            sentence = (
                f"attention needs as many heads on both sides, but the teacher has {self.teacher.heads} and the student "
                f"{self.student.heads}: take query, key and value relations (MiniLMv2), which have a free number of "
                "relation_heads"
            )
            yield self.loaded.problem(UsageError, key, sentence)
        if name in RELATIONS:
            heads = term.relation_heads or self.student.heads
            said = (
                f"relation_heads {heads} of"
                if term.relation_heads
                else f"the student's {heads} heads, as relation_heads of"
            )
            for side, shape in (("teacher", self.teacher), ("student", self.student)):
                if shape.hidden_size % heads:
                    sentence = f"{said} {key} do not divide the {side}'s width of {shape.hidden_size}"
                    yield self.loaded.problem(UsageError, f"{key}.relation_heads", sentence)

    def _map(self, layer_map: LayerMap) -> Iterator[str]:
        teacher = self.teacher.layers if self.teacher is not None else None
        student = self.student.layers if self.student is not None else None
        if layer_map == "uniform" and teacher is not None and student is not None and teacher % student:
            yield f'"uniform" needs a teacher whose layers are a multiple of the student\'s, and {teacher} is none of {student}; pairs [teacher layer, student layer] can say what you mean'
        if layer_map == "upper" and teacher is not None and student is not None and teacher < student:
            yield f'"upper" needs a teacher with as many layers as the student at least, and it has {teacher} to {student}'
        if isinstance(layer_map, list):
            for above, below in layer_map:
                if teacher is not None and above > teacher:
                    yield f"[{above}, {below}] names layer {above} of the teacher, which has layers 1 to {teacher}"
                if student is not None and below > student:
                    yield f"[{above}, {below}] names layer {below} of the student, which has layers 1 to {student}"


def _words(folder: Path) -> dict[str, int]:
    """The words of a tokenizer with their numbers, as far as they stand in a file that is simple to read; else none."""
    try:
        if (folder / "tokenizer.json").is_file():
            words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
            if isinstance(words, dict):
                return words
            return {str(entry[0]): number for number, entry in enumerate(words)}  # a list of words with their weights
        if not (folder / "vocab.txt").is_file():
            return {}
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        return {line.rstrip("\r"): number for number, line in enumerate(lines) if line}
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return {}


def _differ(ours: dict[str, int], theirs: dict[str, int]) -> bool:
    return bool(ours and theirs) and ours != theirs


def _damage(folder: Path) -> Iterator[tuple[str, str]]:
    """File and sentence for weights that are missing or cut short, as far as names and sizes tell."""
    weights = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
    if not weights:
        if "snapshots" not in folder.parts:  # of a hub model the weights may still be fetched
            yield plain(str(folder)), f"this model folder holds no weights ({_WEIGHTS[0]} or {_WEIGHTS[2]})"
        return
    if weights[0].suffix == ".safetensors":
        try:
            wanted, found = _promised(weights[0]), weights[0].stat().st_size
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            if _is_pointer(weights[0]):
                sentence = "this is a Git LFS pointer, not the weights; fetch them with git lfs pull"
                yield plain(str(weights[0])), sentence
                return
            yield plain(str(weights[0])), "this is not a safetensors file: its header cannot be read; fetch it again"
            return
        if found < wanted:
            sentence = f"the weights are cut short: {found:,} of {wanted:,} bytes are here; fetch the file again"
            yield plain(str(weights[0])), sentence


def _is_pointer(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(7) == b"version"
    return False


def _promised(path: Path) -> int:
    """The size in bytes that the header of a safetensors file promises: 8 bytes, the header, the tensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= 100_000_000:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + int(max(ends, default=0))
