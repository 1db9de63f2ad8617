"""The keys that completion offers are those of the schema."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.preset import schema_keys
from engine.preset.schema_source import keys_of
from engine.preset.toml_lines import KeyPath

TABLES: list[tuple[str, KeyPath]] = [
    ("Preset", ()), ("Task", ("task",)), ("Files", ("task", "files")), ("Columns", ("task", "columns")),
    ("Teacher", ("teacher",)), ("Architecture", ("teacher", "architecture")), ("Finetune", ("teacher", "finetune")),
    ("Student", ("student",)), ("Train", ("train",)), ("Baseline", ("baseline",)), ("Stage", ("stage", "kd")),
    ("Mixup", ("stage", "kd", "mixup")), ("Consistency", ("stage", "kd", "consistency")),
    ("Objective", ("stage", "kd", "objectives", "logits")),
]  # fmt: skip


@pytest.mark.parametrize(("record", "path"), TABLES)
def test_keys_and_words_are_those_of_the_schema(record: str, path: KeyPath) -> None:
    keys = keys_of(record)
    assert tuple(keys) == schema_keys.known_keys(path)
    for name, key in keys.items():
        words = {word for word in (*key.words, *key.items) if word not in ("true", "false")}
        assert words - {"1"} == set(schema_keys.words_at((*path, name))), name
        assert {each.__name__ for each in schema_keys.tables((*path, name))} == set(key.tables) or name == "stage"


def test_defaults_are_those_of_the_schema() -> None:
    assert (keys_of("Train")["epochs"].default, keys_of("Consistency")["target"].default) == (3.0, "ema")
    assert keys_of("Train")["threads"].default is None


def test_a_table_that_does_not_exist_has_no_keys() -> None:
    assert keys_of("Nothing") == {}


def test_nothing_heavy_is_imported() -> None:
    code = "import sys; from engine.preset.schema_source import *; keys_of('Stage'); help_texts(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "tomlkit", "engine.preset.schema"} & set(done.stdout.split())
