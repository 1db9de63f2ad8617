"""Rules for keys of a preset that do not go together. What files or models show is checked in `engine.preflight`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from engine.preset.field_types import Fault
from engine.preset.kinds import KINDS, RANKINGS, WORD_LABELS
from engine.preset.names import (
    ALP_OBJECTIVES,
    EMD_OBJECTIVES,
    HEAD_OBJECTIVES,
    LAYER_OBJECTIVES,
    RELATIONS,
    SCORES,
    TOY_TASKS,
)
from engine.preset.schema import (
    Architecture,
    Augment,
    Columns,
    OtherTask,
    Preset,
    Select,
    Stage,
    Student,
    Task,
    Teacher,
)
from engine.preset.toml_lines import KeyPath

_OF_A_MODEL = ("revision", "trust_remote_code", "tokenizer", "labels", "architecture", "finetune", "others")
_OF_ANSWERS = ("columns", "values", "join")


def all_faults(preset: Preset, stage_names: Sequence[str]) -> Iterator[tuple[KeyPath, Fault]]:
    """Every fault of a preset with the path of its table.

    `stage_names` stand for the stages in paths: their names, or a stand-in where a name is missing.
    """
    tables: list[tuple[KeyPath, Iterator[Fault]]] = [
        ((), _stages(preset, stage_names)),
        (("task",), of_task(preset.task)),
        (("teacher",), of_teacher(preset.teacher)),
        (("student",), of_student(preset.student)),
    ]
    if preset.teacher.architecture is not None:
        tables.append((("teacher", "architecture"), of_shape(preset.teacher.architecture)))
    for name, stage in zip(stage_names, preset.stage, strict=True):
        tables.append((("stage", name), of_stage(stage)))
        if isinstance(stage.data, OtherTask):
            tables.append((("stage", name, "data", "task"), of_task(stage.data.task)))
    for path, faults in tables:
        for fault in faults:
            yield path, fault


def of_task(task: Task) -> Iterator[Fault]:
    """What a custom task needs, and keys of custom tasks in other tasks."""
    if task.measure_holdout and task.holdout is None:
        sentence = (
            "measure_holdout measures the rows of holdout, and none are set aside: set holdout, as in holdout = 0.2"
        )
        yield Fault(("measure_holdout", "holdout"), sentence, "no-holdout-to-measure")
    if task.measure_holdout and task.files is not None and task.files.test is not None:
        sentence = "measure_holdout makes rows of train the test set, and there is a test file: leave out one of them"
        yield Fault(("measure_holdout", "files.test"), sentence, "holdout-and-test-file")
    if task.name != "custom":
        for key in ("files", "columns", "kind", "class_names", "dev_share", "metrics", "thresholds"):
            if getattr(task, key) is not None:
                sentence = f'{key} is for name = "custom"; {task.name} has its own'
                yield Fault((key, "name"), sentence, "custom-task-key")
        if task.name in TOY_TASKS and task.source != "hub":
            sentence = f"source is for GLUE tasks; {task.name} is built into crild"
            yield Fault(("source", "name"), sentence, "source-of-other-task")
        return
    if task.files is None:
        sentence = 'a custom task needs its files: files = { train = "train.csv" }, and dev if there is a dev file'
        yield Fault(("name", "files"), sentence, "custom-task-without-files")
    elif task.files.dev is not None and task.dev_share is not None:
        sentence = "dev_share draws the dev set from the training rows, and there is a dev file: leave out one of them"
        yield Fault(("dev_share", "files.dev"), sentence, "dev-share-and-dev-file")
    if task.source != "hub":
        sentence = "source is for GLUE tasks; a custom task reads its files"
        yield Fault(("source", "name"), sentence, "source-of-other-task")
    for metric in task.metrics or ():
        if task.kind is not None and metric not in KINDS[task.kind].metrics:
            yield Fault(("metrics", "kind"), f"{metric} is not a metric for {task.kind}", "unsuitable-metric")
    if task.kind == WORD_LABELS and task.label_noise > 0:
        sentence = "label_noise is not defined for labels of words"
        yield Fault(("label_noise", "kind"), sentence, "noise-in-word-labels")
    if task.thresholds is not None and task.kind not in (None, "multilabel"):
        sentence = 'thresholds are for texts with several labels: set kind = "multilabel"'
        yield Fault(("thresholds", "kind"), sentence, "thresholds-without-labels")
    ranked = [metric for metric in task.metrics or () if metric in RANKINGS]
    if ranked and (task.columns is None or task.columns.group is None):
        sentence = f"{ranked[0]} ranks the rows of each query: name the column of the queries, columns.group"
        yield Fault(("metrics", "columns"), sentence, "ranking-without-groups")
    if task.columns is not None:
        yield from _of_columns(task, task.columns)
    if task.class_names is not None:
        yield from _of_class_names(task, task.class_names)


def _of_columns(task: Task, columns: Columns) -> Iterator[Fault]:
    names = [name for name in (columns.text, columns.pair, *columns.label_columns()) if name is not None]
    if len(set(names)) < len(names):
        yield Fault(("columns",), f"one column is named twice: {', '.join(names)}", "repeated-column")
    if columns.labels is not None and (columns.label != "label" or columns.separator is not None):
        sentence = "columns.labels names a column for each label, so it excludes columns.label and columns.separator"
        yield Fault(("columns.labels", "columns"), sentence, "labels-and-label")
    if columns.label_names is not None and task.kind not in (None, WORD_LABELS):
        sentence = f'columns.label_names is for labels of words: set kind = "{WORD_LABELS}"'
        yield Fault(("columns.label_names", "kind"), sentence, "label-names-without-words")
    if columns.pair is not None and task.kind == WORD_LABELS:
        sentence = "labels of words are for single texts: remove columns.pair"
        yield Fault(("columns.pair", "kind"), sentence, "pairs-of-word-labels")
    if columns.group is not None and task.kind in ("multilabel", WORD_LABELS):
        what = "each word has a label" if task.kind == WORD_LABELS else "a text can have several labels"
        sentence = f"columns.group is for rankings, by scores or by two classes; in this task {what}"
        yield Fault(("columns.group", "kind"), sentence, "group-of-several-labels")
    for key in ("labels", "separator"):
        if getattr(columns, key) is not None and task.kind not in (None, "multilabel"):
            sentence = f'columns.{key} is for texts with several labels: set kind = "multilabel"'
            yield Fault((f"columns.{key}", "kind"), sentence, "several-labels-without-kind")


def _of_class_names(task: Task, names: Sequence[str]) -> Iterator[Fault]:
    """What a task cannot have whose training rows have no labels."""
    if len(set(names)) < len(names):
        yield Fault(("class_names",), "class_names has a class twice", "repeated-class")
    if task.kind not in (None, "classification"):
        sentence = f'class_names is for texts with one class each, and kind is "{task.kind}": leave out one of them'
        yield Fault(("class_names", "kind"), sentence, "class-names-of-other-kind")
    if task.files is not None and task.files.dev is None:
        sentence = (
            "class_names says that the training rows have no labels, so that a share of them measures nothing: label some rows, "
            'and name their file, files = { train = "...", dev = "..." }'
        )
        yield Fault(("class_names", "files.dev"), sentence, "unlabelled-dev")
    for key, is_set in (
        ("label_noise", task.label_noise > 0),
        ("measure_holdout", bool(task.measure_holdout)),
        ("columns.group", task.columns is not None and task.columns.group is not None),
    ):
        if is_set:
            yield Fault((key, "class_names"), f"{key} {_NEEDS_LABELS}", "labels-needed")


_NEEDS_LABELS = "needs labels of the training rows, and they have none (task.class_names): leave it out"
_NO_FINETUNE = (
    "teacher.finetune needs labels of the training rows, and they have none (task.class_names): set teacher.finetune=false for a "
    "teacher.model that knows the task already, or name a file of answers, teacher.answers"
)


def of_unlabelled(preset: Preset, stage_names: Sequence[str]) -> Iterator[Fault]:
    """What learns from, or counts, labels that the training rows don't have."""
    for key, is_set in (
        ("teacher.finetune", preset.teacher.finetune is not None),
        ("baseline.enabled", preset.baseline.enabled),
        ("train.class_weights", preset.train.class_weights is not None),
        ("train.evaluate_train", preset.train.evaluate_train is not None),
    ):
        if is_set:
            needs = _NO_FINETUNE if key == "teacher.finetune" else f"{key} {_NEEDS_LABELS}"
            yield Fault((key, "task.class_names"), needs, "labels-needed")
    for name, stage in zip(stage_names, preset.stage, strict=True):
        if "labels" in stage.terms():
            sentence = (
                f"the stage {name} learns from labels, and the training rows have none (task.class_names): leave them out, "
                f"--set stage.{name}.objectives.labels=0"
            )
            yield Fault((f"stage.{name}.objectives.labels", "task.class_names"), sentence, "labels-needed")


def of_shape(shape: Architecture | Student) -> Iterator[Fault]:
    """Heads share the width evenly."""
    if shape.hidden_size is not None and shape.heads is not None and shape.hidden_size % shape.heads:
        sentence = f"hidden_size {shape.hidden_size} is not a multiple of heads {shape.heads}"
        yield Fault(("hidden_size", "heads"), sentence, "indivisible-width")


def of_teacher(teacher: Teacher) -> Iterator[Fault]:
    """A model or answers; what a teacher from scratch needs, what a checkpoint has of its own, what a file lacks."""
    if teacher.model is None and teacher.answers is None:
        sentence = "name a teacher: model = a hub id or folder, or answers = a file with a model's answers"
        yield Fault(("model",), sentence, "missing-key")
    if teacher.model is not None and teacher.answers is not None:
        sentence = "answers stand for a teacher that is not at hand, and model names one: leave out one of them"
        yield Fault(("answers", "model"), sentence, "model-and-answers")
    for keys, other, what in (
        (_OF_A_MODEL, teacher.answers, "is for a model, and answers = names a file"),
        (_OF_ANSWERS, teacher.model, "is for answers = a file, and model = names a model"),
    ):
        for key in keys:
            if other is not None and getattr(teacher, key) is not None:
                yield Fault((key,), f"{key} {what}: leave it out", "key-of-other-teacher")
    for key in ("weight", "combine"):
        if getattr(teacher, key) is not None and teacher.others is None:
            yield Fault((key, "others"), f"{key} is for several teachers, and others names none", "one-teacher")
    for name, further in (teacher.others or {}).items():
        if further.model == "scratch":
            sentence = (
                f'the teacher {name} is to be trained from "scratch", but only the first one can be: name a model'
            )
            yield Fault((f"others.{name}.model",), sentence, "untrained-teacher")
    if (columns := teacher.columns) is not None:
        if columns.pair is not None and columns.text is None:
            yield Fault(("columns.pair",), "columns.pair needs columns.text, the first sentence", "pair-without-text")
        if columns.label is not None and columns.classes is not None:
            sentence = "columns.label is one class for each row, columns.classes numbers for all: leave out one of them"
            yield Fault(("columns.label", "columns.classes"), sentence, "label-and-classes")
        if columns.label is not None and teacher.values is not None:
            sentence = "values is for columns of numbers, and columns.label names a column of classes or scores"
            yield Fault(("values", "columns.label"), sentence, "values-of-labels")
    if teacher.model == "scratch" and teacher.finetune is None:
        sentence = 'a teacher from "scratch" has learnt nothing yet: add a [teacher.finetune] table'
        yield Fault(("model", "finetune"), sentence, "untrained-teacher")
    if teacher.model not in ("scratch", None) and teacher.architecture is not None:
        sentence = 'architecture is for model = "scratch"; a checkpoint has its own'
        yield Fault(("architecture", "model"), sentence, "architecture-of-checkpoint")
    if teacher.labels is not None and len(set(teacher.labels)) < max(len(teacher.labels), 2):
        sentence = "labels must name at least two outputs, each once"
        yield Fault(("labels",), sentence, "repeated-label")


def of_student(student: Student) -> Iterator[Fault]:
    """A shape of its own only from scratch; a list of layers to keep that has the right length."""
    if student.init != "scratch":
        for key in ("hidden_size", "heads", "intermediate_size"):
            if getattr(student, key) is not None:
                sentence = f'{key} is for init = "scratch"; this student takes over the weights of a model'
                yield Fault((key, "init"), sentence, "shape-of-initial-model")
    if isinstance(student.keep, list):
        if len(set(student.keep)) < len(student.keep):
            yield Fault(("keep",), f"keep lists a layer twice: {student.keep}", "repeated-layer")
        if student.layers is not None and len(student.keep) != student.layers:
            sentence = f"keep lists {len(student.keep)} layers, but the student has {student.layers}"
            yield Fault(("keep", "layers"), sentence, "wrong-number-of-layers")
    yield from of_shape(student)


def of_stage(stage: Stage) -> Iterator[Fault]:
    """Objectives, data, options and schedule of a stage that contradict each other."""
    terms = stage.terms()
    if stage.name in ("teacher", "baseline"):
        sentence = f'a stage cannot be named "{stage.name}": the engine uses that name itself'
        yield Fault(("name",), sentence, "reserved-stage-name")
    if not terms:
        yield Fault(("objectives",), "every objective has weight 0, so nothing would be learnt", "no-objective")
    if stage.epochs is not None and stage.steps is not None:
        yield Fault(("steps", "epochs"), "set epochs or steps, not both", "epochs-and-steps")
    if stage.data != "task" and "labels" in stage.objectives:
        sentence = "the labels objective needs data with the task's labels; this stage reads other data"
        yield Fault(("objectives.labels", "data"), sentence, "labels-without-task-data")
    if terms and not HEAD_OBJECTIVES & terms.keys():
        for key, is_set in (("keep_best", stage.keep_best), ("patience", stage.patience is not None)):
            if is_set:
                sentence = f"{key} needs labels or logits: without them nothing trains the classifier"
                yield Fault((key, "objectives"), sentence, "no-classifier-objective")
    if terms and stage.consistency and not LAYER_OBJECTIVES & terms.keys():
        names = ", ".join(sorted(LAYER_OBJECTIVES))
        sentence = f"consistency applies to layer objectives ({names}), and this stage has none"
        yield Fault(("consistency", "objectives"), sentence, "consistency-without-layers")
    if stage.mixup and stage.mixup.project and stage.padding:
        sentence = 'padding = "released" mixes words with padding, and mixup.project leaves words without a partner as they are'
        yield Fault(("padding", "mixup.project"), sentence, "projected-padding")
    yield from _options(stage)
    if stage.augment is not None:
        yield from _augment(stage.augment)
    if stage.select:
        yield from _select(stage, stage.select)
    for name, term in terms.items():
        layer_map = term.layer_map or stage.layer_map
        if layer_map == "alp" and name in LAYER_OBJECTIVES - ALP_OBJECTIVES:
            key = f"objectives.{name}.layer_map" if term.layer_map else "layer_map"
            sentence = f'layer_map "alp" is defined for hidden and cls, not for {name}'
            yield Fault((key, "layer_map", f"objectives.{name}"), sentence, "alp-objective")
        if name not in LAYER_OBJECTIVES or layer_map != "emd":
            continue
        if name not in EMD_OBJECTIVES:
            key = f"objectives.{name}.layer_map" if term.layer_map else "layer_map"
            sentence = f'layer_map "emd" is defined for attention and hidden, not for {name}'
            yield Fault((key, "layer_map", f"objectives.{name}"), sentence, "emd-objective")
        if stage.padding:
            sentence = 'padding = "released" is not defined for layer_map "emd"'
            yield Fault(("padding", "layer_map"), sentence, "emd-padding")


def _augment(augment: Augment) -> Iterator[Fault]:
    """Keys of a masked language model, which only "mlm" has and needs."""
    if augment.words == "mlm" and augment.model is None:
        sentence = 'words = "mlm" needs a masked language model: set model to a folder or hub id'
        yield Fault(("data.augment.model", "data.augment.words"), sentence, "masked-words-without-model")
    for key in ("model", "revision", "top"):
        if augment.words != "mlm" and getattr(augment, key) is not None:
            sentence = f'{key} is for words = "mlm", and "{augment.words}" needs no model: leave it out'
            yield Fault((f"data.augment.{key}", "data.augment.words"), sentence, "option-of-masked-words")


def _select(stage: Stage, select: Select) -> Iterator[Fault]:
    """What there is to choose from, and by which answers."""
    if stage.data == "task":
        sentence = (
            "select chooses among changed copies or unlabelled rows, and this stage reads the task's rows alone: set data, as "
            '{ augment = { words = "delete", copies = 8 } }'
        )
        yield Fault(("select", "data"), sentence, "select-without-candidates")
    if stage.terms() and "logits" not in stage.terms():
        sentence = (
            "select compares the student's answers with the teacher's: add the logits objective, or leave out select"
        )
        yield Fault(("select", "objectives"), sentence, "select-without-logits")
    if stage.mixup:
        sentence = "select compares answers to clean inputs, and mixup trains on mixed ones: set mixup = false, or leave out select"
        yield Fault(("select", "mixup"), sentence, "select-and-mixup")
    if select.worst > select.of:
        sentence = f"select takes worst = {select.worst} of {select.of} inputs: set worst to {select.of} at most"
        yield Fault(("select.worst", "select.of"), sentence, "select-more-than-compared")
    if stage.augment is not None and stage.augment.copies % select.of:
        sentence = (
            f"of = {select.of} does not divide the {stage.augment.copies} copies of each row, which are compared in groups of "
            "that many: change select.of or data.augment.copies"
        )
        yield Fault(("select.of", "data.augment.copies"), sentence, "select-uneven-groups")


def _options(stage: Stage) -> Iterator[Fault]:
    """Options of an objective that belong to another."""
    for name, value in stage.objectives.items():
        if isinstance(value, float | int):
            continue
        if value.mse and name not in ("attention", "logits"):
            sentence = f"mse is an option of attention and logits, not of {name}"
            yield Fault((f"objectives.{name}.mse",), sentence, "option-of-other-objective")
        if value.anneal is not None and name != "logits":
            sentence = f"anneal is an option of logits, not of {name}"
            yield Fault((f"objectives.{name}.anneal",), sentence, "option-of-other-objective")
        elif value.anneal is not None and not value.mse:
            sentence = "anneal is for logits that are compared by their squared error: add mse = true"
            yield Fault((f"objectives.{name}.anneal", f"objectives.{name}.mse"), sentence, "anneal-without-mse")
        if value.relation_heads is not None and name not in RELATIONS:
            sentence = f"relation_heads is an option of query, key and value, not of {name}"
            yield Fault((f"objectives.{name}.relation_heads",), sentence, "option-of-other-objective")
        if value.layer_map is not None and name not in LAYER_OBJECTIVES:
            sentence = f"{name} reads no layers, so it takes no layer_map"
            yield Fault((f"objectives.{name}.layer_map",), sentence, "option-of-other-objective")


def _of_answers(preset: Preset, stage_names: Sequence[str]) -> Iterator[Fault]:
    """What a file of answers cannot do: lend layers, show activations, answer other rows."""
    init = preset.student.init
    if init in ("teacher", "pretrained"):
        sentence = (
            f'student.init is "{init}", but teacher.answers is a file, which has no layers: name a model for the student '
            '(a folder, hub id or run), or set student.init = "scratch"'
        )
        yield Fault(("student.init", "teacher.answers"), sentence, "student-of-answers")
    for name, stage in zip(stage_names, preset.stage, strict=True):
        if layers := sorted(stage.terms().keys() - HEAD_OBJECTIVES):
            sentence = (
                f"the stage {name} compares {', '.join(layers)} of teacher and student, but teacher.answers is a file, which "
                "has answers alone: use the objectives logits and labels, or a teacher.model"
            )
            keys = (f"stage.{name}.objectives.{layers[0]}", "teacher.answers")
            yield Fault(keys, sentence, "answers-without-layers")
        if stage.data != "task" and "logits" in stage.terms():
            sentence = (
                f"the stage {name} learns logits on data of its own, but teacher.answers has those of the task's rows alone: "
                'use data = "task", or a teacher.model'
            )
            yield Fault((f"stage.{name}.data", "teacher.answers"), sentence, "answers-of-other-data")


def _stages(preset: Preset, stage_names: Sequence[str]) -> Iterator[Fault]:
    """Contradictions between tables."""
    twice = sorted(name for name, count in Counter(stage.name for stage in preset.stage).items() if count > 1)
    if twice:
        yield Fault(("stage",), f"two stages are named {', '.join(twice)}", "repeated-stage")
    if preset.teacher.model == "scratch" and preset.student.init == "pretrained":
        sentence = 'student.init "pretrained" needs a pre-trained teacher: use "teacher" or "scratch"'
        yield Fault(("student.init", "teacher.model"), sentence, "teacher-not-pretrained")
    if preset.teacher.answers is not None:
        yield from _of_answers(preset, stage_names)
    if preset.task.class_names is not None:
        yield from of_unlabelled(preset, stage_names)
    for name, stage in zip(stage_names, preset.stage, strict=True):
        if preset.teacher.others is not None and stage.mixup and "logits" in stage.terms():
            sentence = (
                f"the stage {name} mixes inputs (mixup), and the answers of several teachers are computed for the clean inputs "
                "alone: set mixup = false, or leave out teacher.others"
            )
            yield Fault((f"stage.{name}.mixup", "teacher.others"), sentence, "mixup-of-several-teachers")
    if preset.train.class_weights is not None and (preset.task.kind == "regression" or preset.task.name in SCORES):
        sentence = f"class_weights are for classes; the labels of {preset.task.name} are scores"
        yield Fault(("train.class_weights", "task.kind"), sentence, "class-weights-of-scores")
    for name, stage in zip(stage_names, preset.stage, strict=True):
        if stage.select and preset.task.kind == WORD_LABELS:
            sentence = f"the stage {name} has select, which compares answers to texts, and in this task each word has a label: leave it out"
            yield Fault((f"stage.{name}.select", "task.kind"), sentence, "select-of-words")
        parts = preset.train.accumulate if stage.accumulate is None else stage.accumulate
        emd = {name for name, term in stage.terms().items() if (term.layer_map or stage.layer_map) == "emd"}
        if parts > 1 and EMD_OBJECTIVES & emd:
            # A plan between layers belongs to a whole optimiser step; each micro-batch would solve one of its own.
            sentence = (
                f'the stage {name} has layer_map "emd", which solves one plan for each optimiser step, so the step '
                f"cannot be split into {parts} micro-batches: set stage.{name}.accumulate = 1, or use another layer_map"
            )
            key = "train.accumulate" if stage.accumulate is None else f"stage.{name}.accumulate"
            yield Fault((key, f"stage.{name}.layer_map", f"stage.{name}.objectives"), sentence, "emd-accumulation")
