"""What the tests of presets share: small presets, model folders, and the problems of a preset as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.errors import CrildError, PresetError
from engine.preflight.check import UnusableError, check
from engine.preset.load import Loaded, load_preset

MINIMAL = """
[task]
name = "toy-entailment"

[teacher]
model = "scratch"
finetune = { epochs = 1 }

[[stage]]
name = "ild"
objectives = { attention = 1.0, hidden = 1.0 }
mixup = { alpha = 0.5 }
consistency = { weight = 0.2 }

[[stage]]
name = "kd"
epochs = 2
objectives = { logits = 1.0 }
temperature = 2.0
"""

BERT = {
    "model_type": "bert",
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
}


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    """A preset file; returns its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, *overrides: str) -> Loaded:
    """The preset of this text, as `mine.toml` in the folder."""
    write(folder, text)
    return load_preset(["mine.toml"], overrides, base=folder)


def refused(folder: Path, refs: Sequence[str], *overrides: str) -> tuple[CrildError, ...]:
    """The problems of presets that cannot be loaded."""
    with pytest.raises(PresetError) as caught:
        load_preset(refs, overrides, base=folder)
    assert caught.value.exit_code == 2
    return caught.value.problems


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """The problems of this text, a line each, as the user sees them."""
    write(folder, text)
    return [str(problem) for problem in refused(folder, ["mine.toml"], *overrides)]


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """The problems of this text without their sentences: `mine.toml:2 unknown-key train.epohcs`."""
    write(folder, text)
    return [mistake(problem) for problem in refused(folder, ["mine.toml"], *overrides)]


def checked(loaded: Loaded) -> tuple[CrildError, ...]:
    """The problems that preflight finds with a preset."""
    try:
        check(loaded)
    except (PresetError, UnusableError) as error:
        return error.problems
    except CrildError as error:
        return (error,)
    return ()


def mistake(problem: CrildError) -> str:
    """Where a problem is, its kind and its key."""
    place = ":".join(str(part) for part in (problem.file, problem.line) if part is not None)
    return " ".join(part for part in (place, problem.kind, problem.key) if part)


def model_folder(folder: Path, *, vocabulary: Sequence[str] = ("[PAD]", "[UNK]"), **changes: object) -> Path:
    """A model's folder with a config like BERT's, changed, the smallest safetensors file there is, and some words."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in (BERT | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_weights(folder / "model.safetensors")
    if vocabulary:
        (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    return folder


def write_weights(path: Path, *, missing_bytes: int = 0) -> None:
    """A safetensors file of one tensor of four bytes, cut short by so many bytes."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    content = len(header).to_bytes(8, "little") + header + b"\0\0\0\0"
    path.write_bytes(content[: len(content) - missing_bytes])
