"""Targets of `fuzz`: data files and model folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pyarrow
import pyarrow.parquet

from engine.data.custom import load_custom
from engine.data.files import check_table
from engine.data.text_files import check_corpus, text_lines
from engine.models.checkpoint import read_checkpoint, read_tokenizer
from engine.preflight.check import check
from engine.preflight.model_facts import model_facts
from engine.preset.load import load_preset
from engine.preset.schema import Task
from tests.faults.fuzz import Target, each
from tests.faults.fuzz_mutations import mutated_bytes, mutated_json, mutated_lines
from tests.models.tiny_models import saved, tiny, words

ROWS = [
    ("a good text, with a comma", "yes"),
    ('a "quoted" text', "no"),
    ("ein schöner Satz", "yes"),
    ("又一个", "no"),
] * 6


class DataFiles(Target):
    """The files of a custom task: CSV, TSV, JSON lines, Parquet, plain text."""

    def prepare(self, folder: Path) -> None:
        quoted = [(text.replace('"', '""'), label) for text, label in ROWS]
        table = pyarrow.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
        pyarrow.parquet.write_table(table, folder / "good.parquet")
        lines = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in ROWS if '"' not in text)
        self.contents = {
            "csv": ("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in quoted)).encode(),
            "tsv": ("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS)).encode(),
            "jsonl": lines.encode(),
            "parquet": (folder / "good.parquet").read_bytes(),
        }
        (folder / "dev.csv").write_bytes(self.contents["csv"])

    def damage(self, rng: Random, folder: Path) -> None:
        ending = rng.choice(list(self.contents))
        content = self.contents[ending]
        self.file = folder / f"train.{ending}"
        self.file.write_bytes(mutated_lines(rng, content) if ending == "jsonl" else mutated_bytes(rng, content))
        self.kind = rng.choice(("classification", "regression"))

    def read(self, folder: Path) -> None:
        files = {"train": str(self.file), "dev": str(folder / "dev.csv")}
        task = Task.model_validate({"name": "custom", "kind": self.kind, "files": files})
        each(
            (
                lambda: check_table(self.file, ["text", "label"]), lambda: load_custom(task), lambda: check_corpus(self.file),
                lambda: list(text_lines(self.file)),
            )
        )  # fmt: skip


class ModelFiles(Target):
    """One kind of file in the folder of a model."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def prepare(self, folder: Path) -> None:
        self.model = saved(folder / "model", tiny("bert"), words("bert"))
        self.contents = {path.name: path.read_bytes() for path in self.model.iterdir() if path.is_file()}
        files = [self.contents[name] for name in self.names if name in self.contents]
        assert files, sorted(self.contents)

    def damage(self, rng: Random, folder: Path) -> None:
        shutil.rmtree(self.model)
        self.model.mkdir()
        name = rng.choice([name for name in self.names if name in self.contents])
        change = mutated_json if name.endswith(".json") else mutated_bytes
        for known, content in self.contents.items():
            (self.model / known).write_bytes(change(rng, content) if known == name else content)

    def read(self, folder: Path) -> None:
        preset = load_preset(["kd", "rte"], [f'teacher.model="{self.model}"'])
        each(
            (
                lambda: check(preset), lambda: model_facts(str(self.model)), lambda: read_tokenizer(self.model),
                lambda: read_checkpoint(self.model),
            )
        )  # fmt: skip


def targets() -> dict[str, Target]:
    """The targets of this module by name."""
    return {
        "data": DataFiles(),
        "configs": ModelFiles("config.json"),
        "tokenizers": ModelFiles("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        "weights": ModelFiles("model.safetensors"),
    }
