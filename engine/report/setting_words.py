"""The settings of a run in the words of a methods section: data, teacher, student, each stage, the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from engine.preset.text import plain
from engine.preset.toml_text import inline
from engine.report.closing_table import ModelRow
from engine.report.units import amount

Words = Callable[[Any], str | None]
"""A value in words; None where it says nothing."""
_FROM_TRAIN = ("epochs", "batch_size", "learning_rate", "temperature")
"""Settings of a stage that come from [train] where it leaves them out; the others stand in the line of the loop."""
_NOT_LOOP = (
    *_FROM_TRAIN, "device", "precision", "threads", "processes", "graphs", "log_every", "checkpoint_every", "checkpoint_minutes",
    "keep_checkpoints", "keep_for_extending", "save_teacher_cache", "evaluate_train",
    "evaluate_precision",
)  # fmt: skip
"""Keys of [train] that stand elsewhere, or change nothing of what is learnt."""


def setting_lines(preset: Mapping[str, Any], sizes: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """A label and a text for each part of a run's preset; whatever has another type than expected is left out.

    sizes: what the results add, for "teacher" and "student", such as `12 layers, 109 M parameters`.
    """
    more = sizes or {}
    train = _table(preset, "train")
    if inputs := _joined(_table(preset, "task"), _TASK, _TASK_ELSEWHERE):
        yield "inputs", inputs
    teacher = _table(preset, "teacher")
    if "model" in teacher:
        words = _joined(teacher, _TEACHER, ("model", "finetune", "trust_remote_code"))
        yield "teacher", ", ".join(filter(None, [_name(teacher["model"]), more.get("teacher", ""), words]))
        finetune = _table(teacher, "finetune")
        yield "fine-tuning", _joined(finetune, _LOOP) or "none: the teacher knows the task"
    elif "answers" in teacher:
        words = _joined(teacher, _TEACHER, ("answers",))
        yield "teacher", ", ".join(filter(None, [f"the answers in {_name(teacher['answers'])}", words]))
    student = _table(preset, "student")
    if student or more.get("student"):
        unsaid = {"layers"} if "layers" in more.get("student", "") else set()
        if student.get("init") == "scratch":
            unsaid.add("keep")  # there are no layers to keep
        known = {key: value for key, value in student.items() if key not in unsaid}
        yield "student", ", ".join(filter(None, [more.get("student", ""), _joined(known, _STUDENT)]))
    stages = preset.get("stage")
    for stage in stages if isinstance(stages, list) else ():
        if isinstance(stage, Mapping):
            yield f"stage {_name(stage.get('name', '?'))}", _stage(stage, train)
    if loop := _joined(train, _LOOP, _NOT_LOOP):
        yield "optimiser", f"AdamW, {loop}"
    baseline = _table(preset, "baseline")
    if baseline.get("enabled") is True:
        own = _joined(baseline, _LOOP, ("enabled",))
        yield "labels alone", f"as many steps{f', {own}' if own else ''}"


def model_size(row: ModelRow) -> str:
    """The size of a model, `12 layers, 109 M parameters`; nothing where it is unknown."""
    layers = f"{row.layers} layer{'' if row.layers == 1 else 's'}" if row.layers is not None else ""
    parameters = f"{amount(row.parameters)} parameters" if row.parameters is not None else ""
    return ", ".join(filter(None, [layers, parameters]))


def _stage(stage: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    inherited = [key for key in _FROM_TRAIN if key in train and key not in stage]
    if "steps" in stage:
        inherited = [key for key in inherited if key != "epochs"]
    if "logits" not in _table(stage, "objectives"):
        inherited = [key for key in inherited if key != "temperature"]
    effective = {**stage, **{key: train[key] for key in inherited}}
    order = [
        "objectives",
        "layer_map",
        "data",
        "mixup",
        "consistency",
        "select",
        "epochs",
        "steps",
        "batch_size",
        "learning_rate",
    ]
    ordered = {
        key: effective[key] for key in [*order, *(key for key in effective if key not in order)] if key in effective
    }
    return _joined(ordered, _LOOP, ("name",))


def _joined(table: Mapping[str, Any], words: Mapping[str, Words], elsewhere: tuple[str, ...] = ()) -> str:
    """The keys of a table in words: those without words of their own as TOML writes them."""
    parts = []
    for key, value in table.items():
        if key not in elsewhere:
            text = words[key](value) if key in words else f"{plain(key)} {_value(value)}"
            parts += [text] if text else []
    return ", ".join(parts)


def _others(others: Mapping[str, Any]) -> str:
    """The further teachers in words."""
    tables = [other for other in others.values() if isinstance(other, Mapping)]
    return " ".join(
        f"and {_name(other.get('model', '?'))} (weight {_value(other.get('weight', 1))})" for other in tables
    )


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key)
    return found if isinstance(found, Mapping) else {}


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _name(value)
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{plain(str(key))} {_value(item)}" for key, item in value.items()) + ")"
    return f"{value:g}" if _is_number(value) else plain(inline(value, short=True))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(value: object) -> str:
    """A name; of a path the last two parts, which show nothing of the machine."""
    text = str(value)
    is_path = text.startswith(("/", "~", "./", "../"))
    return plain("/".join(part for part in PurePath(text).parts[-2:] if part != "/") if is_path else text)


def _labelled(label: str) -> Words:
    return lambda value: f"{label} {_value(value)}"


def _counted(one: str) -> Words:
    return lambda value: f"{_value(value)} {one if value == 1 else f'{one}s'}"


def _unless(usual: object, words: Words) -> Words:
    return lambda value: None if value == usual else words(value)


def _nothing(_: Any) -> None:
    return None


def _objectives(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _value(value)
    return " + ".join(_objective(plain(str(name)), weight) for name, weight in value.items())


def _objective(name: str, weight: Any) -> str:
    if isinstance(weight, Mapping):
        options = ", ".join(f"{plain(str(key))} {_value(item)}" for key, item in weight.items() if key != "weight")
        return f"{_objective(name, weight.get('weight', 1))}{f' ({options})' if options else ''}"
    return name if weight == 1 else f"{_value(weight)} {name}"


def _options(label: str, first: str) -> Words:
    """A table of a stage: `mixup 0.4`; its further keys in brackets."""

    def words(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return None  # switched off
        others = {key: item for key, item in value.items() if key != first}
        more = ", ".join(f"{plain(str(key))} {_value(item)}" for key, item in others.items())
        return f"{label} {_value(value[first]) if first in value else ''}".rstrip() + (f" ({more})" if more else "")

    return words


def _select(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None  # switched off
    return f"the worst {_value(value.get('worst', '?'))} of {_value(value.get('of', '?'))} inputs"


def _evaluate(value: Any) -> str | None:
    return None if value == "epoch" else f"evaluated every {_value(value)} steps"


_TASK: Mapping[str, Words] = {
    "max_length": lambda value: f"at most {_value(value)} tokens",
    "data_seed": _unless(0, _labelled("data seed")),
    "examples": _nothing,  # counted from what was read
    "label_noise": _unless(0, lambda value: f"label noise {_value(value)}"),
    "files": _nothing,
    "columns": _nothing,
    "class_names": lambda _: "training rows without labels",
    "dev_share": _labelled("dev share"),
    "holdout": _labelled("held out of train"),
    "measure_holdout": _unless(False, lambda _: "measured on the rows held out of train"),
}
_TASK_ELSEWHERE = ("name", "title", "source", "kind", "metrics", "revision")
_TEACHER: Mapping[str, Words] = {
    "revision": lambda value: f"revision {_name(value)[:12]}",
    "tokenizer": _labelled("tokenizer"),
    "labels": _nothing,
    "architecture": lambda value: _joined(value, {}) if isinstance(value, Mapping) else None,
    "others": lambda value: _others(value) if isinstance(value, Mapping) else None,
    "combine": lambda value: f"the mean of their {_name(value)}",
}
_STUDENT: Mapping[str, Words] = {
    "layers": _counted("layer"),
    "init": lambda value: f"initialised from {_name(value)}" if value != "scratch" else "from scratch",
    "keep": lambda value: (
        f"keeps layers {_value(value)}" if isinstance(value, list) else f"keeps the {_value(value)} layers"
    ),
    "revision": lambda value: f"revision {_name(value)[:12]}",
}
_LOOP: Mapping[str, Words] = {
    "objectives": _objectives,
    "layer_map": _labelled("layers"),
    "data": _unless("task", lambda value: f"data {_value(value)}"),
    "mixup": _options("mixup", "alpha"),
    "consistency": _options("consistency", "weight"),
    "select": _select,
    "epochs": _counted("epoch"),
    "steps": _counted("step"),
    "batch_size": _labelled("batch"),
    "learning_rate": _labelled("rate"),
    "weight_decay": _labelled("weight decay"),
    "warmup": _labelled("warm-up"),
    "schedule": lambda value: f"{_value(value)} schedule",
    "clip": _labelled("clip"),
    "accumulate": _unless(1, _counted("micro-batch")),
    "gradient_checkpointing": _unless(False, lambda _: "gradient checkpointing"),
    "temperature": _labelled("temperature"),
    "evaluate": _evaluate,
    "keep_best": lambda value: "best weights" if value is True else "last weights",
    "patience": _labelled("patience"),
    "seed": _labelled("seed"),
}
