"""Which models of a preset come with code of their own, as far as their files are on this machine. Runs none of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.errors import CrildError, ModelError
from engine.preflight.model_facts import model_folder
from engine.preset.load import Loaded
from engine.preset.schema import Preset
from engine.preset.source_names import INIT_WORDS
from engine.user.consent import Consent
from engine.user.own_code import OwnCode, OwnCodeError, may_run, own_code


def models_with_code(preset: Preset) -> dict[str, tuple[str, OwnCode]]:
    """The models whose own code a run would load, by the key that names them: name and code.

    Those that `teacher.trust_remote_code = false` loads by the class of transformers have none to run; hub models that
    are not in the local cache are unknown.
    """
    found = {}
    for key, name, folder in _folders(preset):
        code = own_code(folder)
        if code is not None:
            found[key] = name, code
    return found


def own_code_problems(loaded: Loaded, consent: Consent) -> Iterator[CrildError]:
    """An OwnCodeError for each model whose own code may not run with this consent."""
    for key, (name, code) in models_with_code(loaded.preset).items():
        try:
            may_run(name, code.folder, consent, key=key)
        except OwnCodeError as error:
            yield error


def _folders(preset: Preset) -> Iterator[tuple[str, str, Path]]:
    """Key, name and folder of each model and tokenizer that is on this machine."""
    teacher, student = preset.teacher, preset.student
    if teacher.trust_remote_code is False:
        return
    named: list[tuple[str, str | None, str | None]] = []
    for key, each in teacher.models().items():
        named += [(f"{key}.model", each.model, each.revision), (f"{key}.tokenizer", each.tokenizer, None)]
    if student.init not in INIT_WORDS:
        named.append(("student.init", student.init, student.revision))
    for key, name, revision in named:
        if name is None or name == "scratch":
            continue
        try:
            folder = model_folder(name, revision)
        except ModelError:
            continue  # reported with the facts of the model
        if folder is not None:
            yield key, name, folder
