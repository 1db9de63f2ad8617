"""The fields of the form: the keys of a preset that users change most. Their help and values come from the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from crild_tui.runs import option_help
from engine.preset import schema_keys
from engine.preset.field_types import Record
from engine.preset.names import TOY_TASKS
from engine.preset.schema import Consistency, Preset, Stage, Train
from engine.preset.schema_source import help_texts
from engine.preset.text import listed, shown
from engine.preset.toml_file import parse
from engine.preset.toml_text import inline

SEEDS, NAME = "seeds", "name"
"""Fields that are options of `crild run`, not keys of a preset."""
SOURCE = "task.source"
OFF = "off"
"""Text of the field of a table that is switched off."""
NAMES_OFF = (OFF, "false", "none", "")
UNUSED = "no stage uses this: each has its own value"
_DEFAULTS = frozenset(Train.model_fields) & frozenset(Stage.model_fields)  # what a stage can set for itself

MOST_STAGES = 20
"""Most stages that the form shows; a preset with more is edited as text."""

_RUN = ("train.device", "train.precision", "baseline.enabled")
_HEAD = {
    "task": ("task.name", "task.source", "task.examples", "task.label_noise"),
    "teacher": ("teacher.model", "teacher.finetune.epochs"),
    "student": ("student.layers", "student.init", "student.keep"),
    "train": ("train.epochs", "train.batch_size", "train.learning_rate"),
}
_OF_FILES = (
    "task.columns.text", "task.columns.pair", "task.columns.label", "task.kind", "task.class_names", "task.files.dev",
    "task.dev_share", "task.files.test",
)  # fmt: skip
"""Fields of a task from the user's files."""
_OF_ANSWERS = ("teacher.answers", "teacher.columns.label")
"""Fields of a teacher that is a file."""
_STAGE = (
    "epochs", "objectives", "layer_map", "mixup.alpha", "consistency.weight", "consistency.ramp", "consistency.target",
    "consistency.decay", "temperature", "batch_size", "learning_rate",
)  # fmt: skip
_HINTS = {
    **dict.fromkeys(("task.columns.text", "task.columns.label", "task.kind", "teacher.columns.label"), "recognised"),
    "task.columns.pair": "recognised, or none",
    "task.files.dev": "a share of the training rows",
    "task.files.test": "none",
    "task.class_names": "recognised",
    "task.dev_share": "0.2, without a dev file",
}
"""What applies where a field of the task is left open."""
_SWITCHES = {"finetune": "epochs", "mixup": "alpha", "consistency": "weight"}
"""Tables that `false` switches off, and the key of each whose field shows "off" then."""
_QUOTED = re.compile(r'"([a-z][a-z0-9:]*)"')


@dataclass(frozen=True)
class Field:
    """A line of the form: one key, with its help and values from the schema."""

    key: str
    label: str
    group: str
    help: str
    expected: str
    """The allowed values, in words; "" where the help names them."""
    words: tuple[str, ...] = ()
    """Values to pick from a list."""
    closed: bool = False
    """Whether no other value is allowed."""

    def matches(self, words: str) -> bool:
        """Whether each word occurs in its key, its section or its name."""
        text = f"{self.key} {self.group} {self.label}".casefold()
        return all(word in text for word in words.casefold().split())

    @property
    def path(self) -> tuple[str, ...]:
        """The key's parts."""
        return tuple(self.key.split("."))

    @property
    def switch(self) -> str | None:
        """The table that this field can switch off, as a dotted key."""
        *table, key = self.path
        return ".".join(table) if table and _SWITCHES.get(table[-1]) == key else None

    @property
    def depends_on(self) -> str | None:
        """The field that can switch off the table that this one is in."""
        *table, key = self.path
        switch = _SWITCHES.get(table[-1]) if table else None
        return ".".join([*table, switch]) if switch is not None and switch != key else None


_OPTIONS = (
    Field(SEEDS, SEEDS, "run", option_help.SEEDS, ""),
    Field(NAME, NAME, "run", option_help.NAME, ""),
)


def fields_of(preset: Preset) -> list[Field]:
    """The form of a preset, in the order in which it is read: the run, then the preset from top to bottom."""
    fields = [*_OPTIONS, *(field(key, "run") for key in _RUN)]
    for group, keys in _HEAD.items():
        has_answers = group == "teacher" and preset.teacher.answers is not None
        fields += [field(key, group) for key in (_OF_ANSWERS if has_answers else keys)]
        if group == "task" and preset.task.name == "custom":
            fields += [field(key, group) for key in _OF_FILES]
    for stage in preset.stage[:MOST_STAGES]:
        keys = _STAGE if stage.data == "task" else ("data", *_STAGE)
        fields += [field(f"stage.{stage.name}.{key}", f"stage {stage.name}") for key in keys]
    return fields


@cache
def field(key: str, group: str) -> Field:
    """A field for a key of the schema."""
    *table, last = key.split(".")
    path = (*table, last)
    help_text = next(
        text for record in schema_keys.tables(tuple(table)) if (text := help_texts().get(f"{record.__name__}.{last}"))
    )
    expected = schema_keys.expected(path)
    words = ("true", "false") if expected == "true or false" else schema_keys.words_at(path)
    closed = bool(words) and expected in ("true or false", listed(map(shown, words)))
    if not words and schema_keys.takes_text(path):
        words = tuple(dict.fromkeys(_QUOTED.findall(f"{help_text} {expected}")))  # words among other texts
    line = Field(key, _label(path), group, help_text, expected, words, closed)
    if line.switch is None:
        return line
    return replace(line, expected=f'{expected}, or "{OFF}"', words=(OFF,), closed=False)


def _label(path: tuple[str, ...]) -> str:
    own = path[2:] if path[0] == "stage" else path[1:]
    if path == ("baseline", "enabled"):
        own = path[:1]
    return " ".join(own).replace("_", " ")


def without_source(task: str) -> str | None:
    """What to show for the source of a task that takes none; None for a GLUE task."""
    if task == "custom":
        return "not applicable: the files of the preset"
    return "not applicable: embedded in crild" if task in TOY_TASKS else None


def base_text(field: Field, preset: Preset) -> str:
    """A preset's value of a field, as the form and `--set` write it; "" for a key that is left open."""
    if field.key == SEEDS:
        return str(preset.seed)
    if field.key == NAME:
        return ""
    if field.key == SOURCE and without_source(preset.task.name):
        return ""
    value, off = _value(preset, field.path)
    return OFF if off and field.switch is not None else toml_text(value)


def is_off(field: Field, preset: Preset, edits: Mapping[str, str]) -> bool:
    """Whether the table that a field is in is switched off, so that the field means nothing."""
    owner = field.depends_on
    if owner is None:
        return False
    if owner in edits:
        return edits[owner].strip().lower() in NAMES_OFF
    return _value(preset, field.path)[1]


def is_unused(field: Field, preset: Preset) -> bool:
    """Whether a key of [train] changes nothing, because every stage has its own."""
    table, _, key = field.key.partition(".")
    if table != "train" or key not in _DEFAULTS or (key == "accumulate" and preset.baseline.enabled):
        return False
    names = ("epochs", "steps") if key == "epochs" else (key,)
    return all(any(getattr(stage, name) is not None for name in names) for stage in preset.stage)


def hint(field: Field, preset: Preset) -> str:
    """What applies if a field is left open: the value of [train], or that there is none."""
    if field.key == NAME:
        return "task, method, time"
    if field.key == SOURCE:
        return without_source(preset.task.name) or "hub"
    path = field.path
    if path[0] == "stage" and len(path) == 3:
        stage = next(stage for stage in preset.stage if stage.name == path[1])
        if path[2] == "epochs" and stage.steps is not None:
            return f"{stage.steps} steps instead"
        if path[2] in type(preset.train).model_fields:
            return f"{toml_text(getattr(preset.train, path[2]))}, from train"
    return _HINTS.get(field.key) or {"layers": "half of the teacher's", "examples": "all"}.get(path[-1], "left open")


def _value(preset: Preset, path: tuple[str, ...]) -> tuple[Any, bool]:
    """The value under a path, and whether its table is switched off (then its default, or None)."""
    value: Any = preset
    rest = list(path)
    if path[0] == "stage":
        value = next(stage for stage in preset.stage if stage.name == path[1])
        rest = list(path[2:])
    for part in rest:
        if not isinstance(value, Record):  # false, or None, where a table could be
            return (getattr(Consistency(), part, None) if path[-2] == "consistency" else None), True
        value = getattr(value, part)
    return value, False


def toml_text(value: object) -> str:
    """A value as the user types it after `--set key=`: texts without quotes, whole numbers without a point."""
    return value if isinstance(value, str) else "" if value is None else inline(_plain(value), short=True)


def _plain(value: object) -> object:
    """The value with records as dicts of what they set."""
    if isinstance(value, Record):
        return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def same(field: Field, text: str, other: str) -> bool:
    """Whether two texts of a field mean the same: `20` and `20.0`, `{a=1}` and `{ a = 1.0 }`."""
    text, other = text.strip(), other.strip()
    if text == other:
        return True
    if field.switch is not None and other == OFF:
        return text.lower() in NAMES_OFF
    if field.group == "run" and field.key in (SEEDS, NAME):
        return False
    return not schema_keys.takes_text(field.path) and _equal(_parsed(text), _parsed(other))


def _parsed(text: str) -> Any:
    try:
        return parse(f"value = {text}")["value"]
    except (ValueError, KeyError):
        return text


def _equal(one: Any, other: Any) -> bool:
    """Equality without 1 == true, and with 1 == 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def set_item(field: Field, text: str, base: str) -> str | None:
    """The `--set` item for a field's text; None if it equals the preset's value."""
    text = text.strip()
    if same(field, text, base):
        return None
    if field.switch is not None and text.lower() in NAMES_OFF:
        return f"{field.switch}=false"
    if not text:
        return f"{field.key}=false" if schema_keys.takes_false_back(field.path) else None
    return f"{field.key}={text}"


def field_at(fields: Mapping[str, Field], key: str) -> Field | None:
    """The field that a problem's key belongs to: its own, that of the table around it, or the first in its table."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        if (found := fields.get(".".join(parts[:length]))) is not None:
            return found
    return next(_inside(fields, key), None)


def _inside(fields: Mapping[str, Field], key: str) -> Iterator[Field]:
    if key.count(".") == 0 or (key.startswith("stage.") and key.count(".") == 1):
        return  # a whole table or stage: no single field is to blame
    yield from (field for name, field in fields.items() if name.startswith(f"{key}."))
