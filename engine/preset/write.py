"""Write a resolved preset as readable TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import AoT, Item, Table

from engine.preset.names import GLUE_TASKS
from engine.preset.schema import Preset
from engine.preset.toml_text import inline

_HEADER = "A resolved preset: everything that was set, and every default, written out."
_COMMENTS = {
    "task": "What the student must learn.",
    "teacher": "The model to distil.",
    "architecture": "Its shape.",
    "finetune": "How it learns the task first.",
    "student": "The model that training produces.",
    "train": "Settings of the loop, and defaults for every stage.",
    "baseline": "The same student trained for as many steps on labels alone.",
}
_OWN_HEADER = ("architecture", "finetune")


def dump(preset: Preset) -> str:
    """Complete TOML of a preset: defaults are written out, keys that are left open are left out.

    Loading it from a file gives an equal preset; paths in it should be absolute already.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment(_HEADER))
    data = preset.document()
    if preset.task.name not in GLUE_TASKS:
        data["task"].pop("source", None)  # these tasks have none
    for key, value in data.items():
        if key != "stage" and not isinstance(value, dict):
            document.add(key, tomlkit.item(value))
    for key in ("task", "teacher", "student", "train", "stage", "baseline"):
        if not data[key]:
            continue
        document.add(tomlkit.nl())
        document.add(key, _stages(data[key]) if key == "stage" else _table(data[key], key))
    return tomlkit.dumps(document)


def _stages(data: Sequence[Mapping[str, Any]]) -> AoT:
    stages = tomlkit.aot()
    for stage in data:
        table = tomlkit.table()
        for key, value in stage.items():
            table.add(key, _value(value))
        stages.append(table)
    return stages


def _table(data: Mapping[str, Any], name: str) -> Table:
    """One table; of the tables in it, the long ones follow with headers of their own."""
    table = tomlkit.table()
    table.comment(_COMMENTS[name])
    table.trivia.comment_ws = "  "
    for key, value in data.items():
        if key not in _OWN_HEADER:
            table.add(key, _value(value))
    for key in _OWN_HEADER:
        if key in data:
            table.add(tomlkit.nl())
            table.add(key, _table(data[key], key))
    return table


def _value(value: object) -> Item:
    """The value on one line, tables as `{ weight = 1.0 }`."""
    return tomlkit.value(inline(value)) if isinstance(value, dict) else tomlkit.item(value)
