"""The files of a model folder: their names, what is wrong with them, which folder of a run has its student. No torch."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from engine.errors import ModelError
from engine.models.family_rules import FAMILIES
from engine.preset.regular_file import read_regular
from engine.preset.text import listed, plain, shown
from engine.record.files import cause, why_unreadable

SAFETENSORS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json")
"""Weights: in one file, in several, and the index of several."""
ONNX = "model.onnx"
"""An exported model: computed by ONNX Runtime, and not trained."""

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Patterns of files of which a folder with a tokenizer has one at least."""

TOKENIZER = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")

BY_TEXT, BY_WORD = "ForSequenceClassification", "ForTokenClassification"
"""How the names of the classes end that label texts, and every token."""
MOST_LAYERS = 1_000
"""More than any encoder has; a config with more is damaged."""

_ADAPTER = "adapter_config.json"
_TRAINER_FOLDER = re.compile(r"checkpoint-(\d+)")
_LARGEST_JSON = 1_000_000  # bytes of a small JSON file that is read for a message


def check_folder(folder: Path) -> None:
    """Check that a folder can hold a model: each file opens, and it is not something else that training leaves behind.

    Raises ModelError with the cause and the way out: a folder or file that cannot be opened, a link to nowhere, an
    adapter without its model, a Trainer's output folder, no config.json.
    """
    names = _names(folder)
    check_files(folder, names)
    name = plain(str(folder))
    has_weights = any(fnmatch(file, pattern) for file in names for pattern in (*SAFETENSORS, *PICKLED))
    if _ADAPTER in names and not has_weights:
        base = _small_json(folder / _ADAPTER).get("base_model_name_or_path")
        of = f" of {plain(str(base))}" if base else ""
        sentence = (
            f"this is a PEFT adapter{of}, not a whole model: load it with peft, merge it into its model "
            "(merge_and_unload), and save that with its tokenizer"
        )
        raise ModelError(sentence, kind="adapter-not-model", file=name)
    if "config.json" in names:
        return
    steps = {int(match[1]): file for file in names if (match := _TRAINER_FOLDER.fullmatch(file))}
    models = [steps[step] for step in sorted(steps) if (folder / steps[step] / "config.json").is_file()]
    if models:
        sentence = f"there is no model in this folder, but there is in {listed(models, 'and', 3)}: name one of these"
        raise ModelError(sentence, kind="trainer-output-folder", file=name)
    raise ModelError("this is not a model folder: it has no config.json", kind="no-config", file=name)


def check_files(folder: Path, names: Iterable[str] | None = None) -> None:
    """Check that config, weights and tokenizer of a folder, as far as it has them, can be opened.

    Raises ModelError for the first that cannot. `names` are the names in the folder, if they are known.
    """
    read = ("config.json", *TOKENIZER, *SAFETENSORS, *PICKLED)
    for name in _names(folder) if names is None else names:
        if not any(fnmatch(name, pattern) for pattern in read):
            continue
        path = folder / name
        file = plain(str(path))
        if os.path.isdir(path):  # noqa: PTH112  (Path.is_dir raises where it may not look)
            continue
        if (reason := why_unreadable(path)) is not None:
            raise ModelError(f"cannot be read: {reason}", kind="unreadable-file", file=file)
        if path.is_symlink() and not path.exists():
            target = plain(str(path.readlink()))
            sentence = (
                f"this is a link to {target}, which does not exist: was a hub cache copied without what it links to? "
                "Copy the folder again with cp -rL, which follows links"
            )
            raise ModelError(sentence, kind="dangling-link", file=file)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. Raises ModelError when it cannot be a path, or the system does not let one look."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            sentence = f"this model folder cannot be read: {cause(error)}"
            raise ModelError(sentence, kind="unreadable-folder", file=plain(str(path))) from None
    except ValueError:  # a null character
        pass
    raise ModelError(f"{shown(str(path))} cannot be the path of a model", kind="invalid-path")


def _names(folder: Path) -> list[str]:
    """The names in a folder. Raises ModelError when it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        sentence = f"this model folder cannot be read: {cause(error)}"
        raise ModelError(sentence, kind="unreadable-folder", file=plain(str(folder))) from None


def architectures(value: object) -> list[str]:
    """The classes that a config names under `architectures`; none where a damaged one has something else there."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def has_own_head(names: Sequence[str], *, by_word: bool | None) -> bool:
    """Whether a head in a checkpoint with these `architectures` labels texts, or with `by_word` words (None: one of both), and
    not, say, spans. Where a config names no class, it may."""
    endings = {True: (BY_WORD,), False: (BY_TEXT,), None: (BY_TEXT, BY_WORD)}[by_word]
    return not names or any(name.endswith(endings) for name in names)


def check_layers(path: Path, config: Mapping[str, Any]) -> None:
    """Raises ModelError for more layers than any encoder has: only building them would tell that there are no weights."""
    for key in ("num_hidden_layers", "n_layers"):
        layers = config.get(key)
        if isinstance(layers, int) and layers > MOST_LAYERS:
            sentence = f"is invalid: {layers} layers, but crild takes at most {MOST_LAYERS}"
            raise ModelError(sentence, kind="too-many-layers", file=plain(str(path)), key=key)


def no_model_type(path: Path, config: Mapping[str, Any]) -> ModelError:
    """The error for a config that names no family, with the likely one."""
    likely = {re.sub(r"\W", "", family): family for family in FAMILIES}
    named = re.match(r"\w+?(?=For[A-Z]|Model$)", next(iter(architectures(config.get("architectures"))), ""))
    guess = likely.get(named[0].lower()) if named else None
    add = f'it is probably "{guess}"' if guess else f"allowed: {listed(FAMILIES)}"
    sentence = f'the model\'s config has no model_type, so its family is unknown; add "model_type" to it ({add})'
    return ModelError(sentence, kind="no-model-type", file=plain(str(path)), key="model_type")


def _small_json(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file; an empty one where there is none, or it is broken."""
    try:
        document = json.loads(read_regular(path, _LARGEST_JSON))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def has_tokenizer(folder: Path) -> bool:
    """Whether a model folder holds a tokenizer's vocabulary."""
    return any(file.is_file() for pattern in VOCABULARIES for file in folder.glob(pattern))


def missing_weights(folder: Path) -> list[str]:
    """Names of weight files that a model folder should hold but does not."""
    if any((folder / name).is_file() for name in (SAFETENSORS[0], PICKLED[0])):
        return []
    for index in (SAFETENSORS[2], PICKLED[2]):
        if (folder / index).is_file():
            shards = set(re.findall(r'"([^"/\\]+\.(?:safetensors|bin))"', read_regular(folder / index).decode("utf-8")))
            return sorted(shard for shard in shards if not (folder / shard).is_file())
    return [SAFETENSORS[0]]


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model, and no weights that could be trained."""
    return (folder / ONNX).is_file() and not any(
        fnmatch(file, pattern) for file in _names(folder) for pattern in (*SAFETENSORS, *PICKLED)
    )


def student_of_run(folder: Path) -> Path | None:
    """The student's folder where `folder` is a run directory; None for any other folder, and where there is none.

    Raises:
        ModelError: the run has no student yet, or the folder cannot be read.
    """
    student = folder / "student"
    try:
        if not (folder / "status.json").is_file():
            return None
        has_student = (student / "config.json").is_file()
    except PermissionError as error:
        sentence = f"this model folder cannot be read: {cause(error)}"
        raise ModelError(sentence, kind="unreadable-folder", file=plain(str(folder))) from None
    if not has_student:
        sentence = f"run {plain(folder.name)} has no student yet: only a finished run has one"
        raise ModelError(sentence, kind="run-without-student", file=plain(str(student)))
    return student
