"""Which keys of one table do not go together. What needs a file or a `config.json` to be seen is in `check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from engine.preset.base import (
    EMD_OBJECTIVES,
    HEAD_OBJECTIVES,
    LAYER_OBJECTIVES,
    REGRESSION_METRICS,
    RELATIONS,
    TOY_TASKS,
    Fault,
    ObjectiveName,
)
from engine.preset.toml_lines import KeyPath

if TYPE_CHECKING:
    from engine.preset.schema import Architecture, Objective, Preset, Stage, Student, Task, Teacher


def all_faults(preset: Preset, labels: Sequence[str]) -> Iterator[tuple[KeyPath, Fault]]:
    """Every fault of a preset, with the path of its table; `labels` name the stages in paths."""
    found: list[tuple[KeyPath, list[Fault]]] = [
        ((), of_preset(preset, labels)),
        (("task",), of_task(preset.task)),
        (("teacher",), of_teacher(preset.teacher)),
        (("student",), of_student(preset.student)),
    ]
    if preset.teacher.architecture is not None:
        found.append((("teacher", "architecture"), of_architecture(preset.teacher.architecture)))
    for label, stage in zip(labels, preset.stage, strict=True):
        found.append((("stage", label), of_stage(stage)))
        if not isinstance(stage.data, str) and hasattr(stage.data, "task"):
            found.append((("stage", label, "data", "task"), of_task(stage.data.task)))
    for path, faults in found:
        for fault in faults:
            yield path, fault


def of_task(task: Task) -> list[Fault]:
    """Keys of custom tasks in others, and what a custom task needs."""
    return _custom(task) if task.name == "custom" else _known(task)


def _custom(task: Task) -> list[Fault]:
    faults: list[Fault] = []
    if task.files is None:
        sentence = 'a custom task needs its files: files = { train = "train.csv", dev = "dev.csv" }'
        faults.append((("name", "files"), sentence))
    if task.kind is None:
        faults.append((("name", "kind"), 'a custom task needs its kind: "classification" or "regression"'))
    if task.source != "hub":
        faults.append((("source", "name"), "source is for GLUE tasks; a custom task reads its files"))
    faults += [
        (("metrics", "kind"), f"{metric} is no metric of {task.kind}")
        for metric in task.metrics or ()
        if task.kind is not None and (task.kind == "regression") != (metric in REGRESSION_METRICS)
    ]
    if task.columns is not None:
        named = [name for name in (task.columns.text, task.columns.pair, task.columns.label) if name is not None]
        if len(set(named)) < len(named):
            faults.append((("columns",), f"one column is named twice: {', '.join(named)}"))
    return faults


def _known(task: Task) -> list[Fault]:
    faults: list[Fault] = [
        ((key, "name"), f'{key} belongs to name = "custom"; {task.name} knows its own')
        for key in ("files", "columns", "kind", "metrics")
        if getattr(task, key) is not None
    ]
    if task.name in TOY_TASKS and task.source != "hub":
        faults.append((("source", "name"), f"source is for GLUE tasks; {task.name} is made by crild itself"))
    return faults


def of_architecture(architecture: Architecture | Student) -> list[Fault]:
    """Heads share the width evenly."""
    hidden_size, heads = architecture.hidden_size, architecture.heads
    if hidden_size is None or heads is None or hidden_size % heads == 0:
        return []
    return [(("hidden_size", "heads"), f"hidden_size {hidden_size} is not a multiple of heads {heads}")]


def of_teacher(teacher: Teacher) -> list[Fault]:
    """What a teacher from scratch needs, and what a checkpoint brings along."""
    faults: list[Fault] = []
    if teacher.model == "scratch" and teacher.finetune is None:
        sentence = 'a teacher from "scratch" knows nothing yet: add a [teacher.finetune] table'
        faults.append((("model", "finetune"), sentence))
    if teacher.model != "scratch" and teacher.architecture is not None:
        sentence = 'architecture belongs to model = "scratch"; a checkpoint brings its own'
        faults.append((("architecture", "model"), sentence))
    if teacher.labels is not None and len(set(teacher.labels)) < max(len(teacher.labels), 2):
        faults.append((("labels",), "labels must be the names of two outputs or more, each named once"))
    return faults


def of_student(student: Student) -> list[Fault]:
    """A shape of its own only from scratch; a list of kept layers that fits."""
    faults: list[Fault] = []
    if student.init != "scratch":
        for key in ("hidden_size", "heads", "intermediate_size"):
            if getattr(student, key) is not None:
                sentence = f'{key} belongs to init = "scratch"; this student takes over the weights of a model'
                faults.append(((key, "init"), sentence))
    if isinstance(student.keep, list):
        if len(set(student.keep)) < len(student.keep):
            faults.append((("keep",), f"keep lists a layer twice: {student.keep}"))
        if student.layers is not None and len(student.keep) != student.layers:
            sentence = f"keep lists {len(student.keep)} layers, but the student has {student.layers}"
            faults.append((("keep", "layers"), sentence))
    return faults + of_architecture(student)


def of_stage(stage: Stage) -> list[Fault]:
    """Objectives, data, options and schedule of a stage that contradict each other."""
    terms = stage.terms()
    faults: list[Fault] = []
    if stage.name in ("teacher", "baseline"):
        faults.append((("name",), f'a stage cannot be named "{stage.name}": the engine uses that name itself'))
    if not terms:
        faults.append((("objectives",), "every objective has weight 0, so nothing would be learnt"))
    if stage.epochs is not None and stage.steps is not None:
        faults.append((("steps", "epochs"), "give epochs or steps, not both"))
    if stage.data != "task" and "labels" in stage.objectives:
        sentence = "the labels objective needs data with the task's labels; this stage reads other data"
        faults.append((("objectives.labels", "data"), sentence))
    if terms and not HEAD_OBJECTIVES & terms.keys():
        for key, wanted in (("keep_best", stage.keep_best), ("patience", stage.patience is not None)):
            if wanted:
                sentence = f"{key} needs labels or logits: without them nothing trains the classifier"
                faults.append(((key, "objectives"), sentence))
    if terms and stage.consistency and not LAYER_OBJECTIVES & terms.keys():
        listed = ", ".join(sorted(LAYER_OBJECTIVES))
        sentence = f"consistency acts on layer objectives ({listed}), and this stage has none"
        faults.append((("consistency", "objectives"), sentence))
    return faults + _options(stage.objectives) + _emd(stage, terms)


def _options(objectives: Mapping[ObjectiveName, float | Objective]) -> list[Fault]:
    faults: list[Fault] = []
    for name, value in objectives.items():
        if isinstance(value, float | int):
            continue
        if value.mse and name != "attention":
            faults.append(((f"objectives.{name}.mse",), f"mse is an option of attention, not of {name}"))
        if value.relation_heads is not None and name not in RELATIONS:
            sentence = f"relation_heads is an option of query, key and value, not of {name}"
            faults.append(((f"objectives.{name}.relation_heads",), sentence))
        if value.layer_map is not None and name not in LAYER_OBJECTIVES:
            sentence = f"{name} reads no layers, so it takes no layer_map"
            faults.append(((f"objectives.{name}.layer_map",), sentence))
    return faults


def _emd(stage: Stage, terms: dict[str, Objective]) -> list[Fault]:
    faults: list[Fault] = []
    for name, term in terms.items():
        if name in LAYER_OBJECTIVES - EMD_OBJECTIVES and (term.layer_map or stage.layer_map) == "emd":
            key = f"objectives.{name}.layer_map" if term.layer_map else "layer_map"
            sentence = f'layer_map "emd" is defined for attention and hidden, not for {name}'
            faults.append(((key, "layer_map", f"objectives.{name}"), sentence))
        if stage.padding and name in LAYER_OBJECTIVES and (term.layer_map or stage.layer_map) == "emd":
            faults.append((("padding", "layer_map"), 'padding = "released" is not defined for layer_map "emd"'))
    return faults


def of_preset(preset: Preset, labels: Sequence[str] | None = None) -> list[Fault]:
    """What tables say to each other; `labels` name the stages in keys, instead of their own names."""
    faults: list[Fault] = []
    names = [stage.name for stage in preset.stage]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        faults.append((("stage",), f"two stages are named {', '.join(twice)}"))
    if preset.teacher.model == "scratch" and preset.student.init == "pretrained":
        sentence = 'student.init "pretrained" needs a teacher that was pre-trained: take "teacher" or "scratch"'
        faults.append((("student.init", "teacher.model"), sentence))
    for label, stage in zip(labels or names, preset.stage, strict=True):
        faults += _accumulated_emd(label, stage, preset.train.accumulate)
    return faults


def _accumulated_emd(label: str, stage: Stage, default: int) -> list[Fault]:
    """A plan between layers belongs to a whole optimiser step; a micro-batch of it would solve one of its own."""
    parts = default if stage.accumulate is None else stage.accumulate
    emd = [name for name, term in stage.terms().items() if (term.layer_map or stage.layer_map) == "emd"]
    if parts == 1 or not EMD_OBJECTIVES & set(emd):
        return []
    sentence = (
        f'the stage {label} has layer_map "emd", which solves one plan for each optimiser step, so the step cannot be cut '
        f"into {parts} micro-batches: set stage.{label}.accumulate = 1, or take another layer_map"
    )
    key = "train.accumulate" if stage.accumulate is None else f"stage.{label}.accumulate"
    return [((key, f"stage.{label}.layer_map", f"stage.{label}.objectives"), sentence)]
