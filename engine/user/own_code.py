"""Whether a checkpoint comes with Python code of its own, which transformers would run. Reads JSON; runs nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelError
from engine.preset.regular_file import read_regular
from engine.preset.source_names import is_path
from engine.preset.text import cut, listed, plain
from engine.user.consent import Consent

_CLASSES = ("AutoConfig", "AutoModelForSequenceClassification", "AutoModelForTokenClassification")
"""Entries of `auto_map` in config.json that loading a classifier would run; the tokenizer's config has its own."""
_LARGEST = 10_000_000  # bytes of a config; a larger one is refused elsewhere
_SHOWN = 200


class OwnCodeError(ModelError):
    """The own code of a model, whose files are in `folder`, may not run."""

    def __init__(self, sentence: str, *, kind: str, model: str, code: OwnCode, key: str):
        super().__init__(sentence, kind=kind, file=plain(str(code.folder)), key=key)
        self.model, self.folder, self.files = model, code.folder, code.files

    def consented(self, consent: Consent) -> bool:
        """Whether it may run with this consent."""
        try:
            return may_run(self.model, self.folder, consent)
        except OwnCodeError:
            return False


@dataclass(frozen=True)
class OwnCode:
    """The code that a model folder declares."""

    folder: Path
    classes: tuple[str, ...]
    """Its classes, as `module.Class`; `repository--module.Class` for code that is elsewhere."""

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The repositories of code that is not in the folder."""
        return tuple(dict.fromkeys(name.partition("--")[0] for name in self.classes if "--" in name))

    @property
    def files(self) -> str:
        """The files in the folder that run first, as the end of a sentence."""
        modules = (name.rpartition("--")[2].partition(".")[0] for name in self.classes)
        return plain(cut(listed(dict.fromkeys(f"{module}.py" for module in modules), "and"), _SHOWN))


def own_code(folder: Path) -> OwnCode | None:
    """The code that transformers would run to load a classifier and its tokenizer from this folder, with consent."""
    declared = [*_declared(folder / "config.json", _CLASSES), *_declared(folder / "tokenizer_config.json", None)]
    return OwnCode(folder, tuple(dict.fromkeys(declared))) if declared else None


def _declared(file: Path, keys: tuple[str, ...] | None) -> Iterator[str]:
    """The classes in the `auto_map` of a config; those of the tokenizer without `keys`."""
    try:
        config = json.loads(read_regular(file, _LARGEST))
    except (OSError, ValueError, RecursionError):  # whoever loads the folder reports it
        return
    table = config.get("auto_map") if isinstance(config, dict) else None
    if keys is None:  # a list of a slow and a fast class, by itself or in a table
        values = [table.get("AutoTokenizer") if isinstance(table, Mapping) else table]
    else:
        values = [table.get(key) for key in keys] if isinstance(table, Mapping) else []
    for value in values:
        yield from (name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))


def code_hash(folder: Path) -> str:
    """The hash of all Python files in a folder, as settings.toml names it: their relative paths and contents.

    Linked folders count, since code can import from them. Raises OSError when a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(_python_files(folder)):
        content = read_regular(file)
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def _python_files(folder: Path) -> Iterator[Path]:
    entered: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        folders[:] = [name for name in folders if os.path.realpath(Path(place) / name) not in entered]
        yield from (Path(place) / name for name in files if name.endswith(".py"))


def may_run(model: str, folder: Path, consent: Consent, *, key: str = "teacher.model") -> bool:
    """Whether the own code of a model is to be run: False where it has none.

    `model` is its name in the preset, `folder` its local files, `key` the preset's key that names it. Raises
    OwnCodeError for code without consent.
    """
    code = own_code(folder)
    if code is None:
        return False
    name = plain(model)
    library = "To use the class of transformers instead of the code, set teacher.trust_remote_code = false"
    if code.elsewhere:
        sentence = (
            f"the code of {name} is in another repository ({plain(listed(code.elsewhere, 'and'))}), and crild never runs "
            f"code of another repository. {library}"
        )
        raise OwnCodeError(sentence, kind="code-elsewhere", model=model, code=code, key=key)
    if consent.to_code(model, commit=_commit(model, folder), code_hash=lambda: code_hash(folder)):
        return True
    sentence = (
        f"{name} comes with its own Python code ({code.files}), which runs only with your consent, since it can do all that "
        "you can. If you trust its author, add --trust-remote-code. To consent for good, add this to remote_code in the "
        f"section [consent] of your settings.toml: {_entry(model, folder)}. {library}"
    )
    raise OwnCodeError(sentence, kind="model-code-not-trusted", model=model, code=code, key=key)


def _commit(model: str, folder: Path) -> str | None:
    """The commit of a hub model's files: the hub's cache has a folder for each."""
    return None if is_path(model) else folder.name


def _entry(model: str, folder: Path) -> str:
    """The entry in settings.toml that would consent to a model's code."""
    if is_path(model):
        try:
            return f'{{ model = "{plain(model)}", code = "{code_hash(folder)}" }}'
        except OSError as error:
            return f"nothing yet, since its code cannot be read: {plain(str(error))}"
    return f'{{ model = "{plain(model)}", commit = "{plain(folder.name)}" }}'
