"""Names of the files in a model folder, and which folder of a run holds its student. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import ModelError
from engine.preset.text import plain

SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json")
"""Weights: in one file, in several, and the index of several."""

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Patterns of files of which a folder with a tokenizer has one at least."""

TOKENIZER = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")


def has_tokenizer(folder: Path) -> bool:
    """Whether a model folder holds a tokenizer's vocabulary."""
    return any(file.is_file() for pattern in VOCABULARIES for file in folder.glob(pattern))


def missing_weights(folder: Path) -> list[str]:
    """Names of weight files that a model folder should hold but does not."""
    if any((folder / name).is_file() for name in (SAFETENSORS[0], PICKLED[0])):
        return []
    for index in (SAFETENSORS[2], PICKLED[2]):
        if (folder / index).is_file():
            shards = set(re.findall(r'"([^"/\\]+\.(?:safetensors|bin))"', (folder / index).read_text("utf-8")))
            return sorted(shard for shard in shards if not (folder / shard).is_file())
    return [SAFETENSORS[0]]


def student_of_run(folder: Path) -> Path | None:
    """The student's folder where `folder` is a run directory; None for any other folder, and where there is none.

    Raises:
        ModelError: the run has no student yet.
    """
    if not (folder / "status.json").is_file():
        return None
    student = folder / "student"
    if not (student / "config.json").is_file():
        sentence = f"run {plain(folder.name)} has no student yet: only a finished run has one"
        raise ModelError(sentence, kind="run-without-student", file=plain(str(student)), key="student.init")
    return student
