"""What the user lets the code of others do: run, when a model comes with its own.

Consent comes from the command line of a command that loads models, which hands it to the processes that it starts as
an argument, and from the user's settings.toml, which every process reads itself. It never comes from a preset, nor from
any file of a run or sweep: those may be a stranger's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import CrildError
from engine.preset.source_names import INIT_WORDS, is_path
from engine.record.paths import STUDENT

if TYPE_CHECKING:
    from engine.preset.schema import Preset

OPTION = "--consent"
"""The option of engine and sweep processes that is followed by a `Consent`."""


@dataclass(frozen=True)
class Consent:
    """The models, by their names in presets, whose code may run besides those in settings.toml."""

    models: frozenset[str] = frozenset()
    never: bool = False
    """Whether no code may run, not even that of models in settings.toml."""

    def to_code(self, model: str, *, commit: str | None, code_hash: Callable[[], str]) -> bool:
        """Whether the code of a model may run. `commit` is that of a hub model; `code_hash` computes that of a folder.

        Raises PresetError when settings.toml is invalid, OSError when the code cannot be read.
        """
        if self.never or model in self.models:
            return not self.never
        from engine.user.settings import Consents, read_settings

        for entry in read_settings(Consents).remote_code:
            if commit is not None:
                if (entry.model, entry.commit) == (model, commit):
                    return True
            elif entry.code is not None and _same_folder(entry.model, model) and entry.code == code_hash():
                return True
        return False

    def words(self) -> list[str]:
        """As words of a command line; none without models."""
        return [OPTION, json.dumps(sorted(self.models))] if self.models else []


NONE = Consent()
"""No consent but that in settings.toml."""
NEVER = Consent(never=True)
"""For looking only: a dry run."""


def split_words(words: Iterable[str]) -> tuple[list[str], Consent]:
    """A command line without the words of a consent, and the consent. Raises ValueError when it cannot be read."""
    rest = list(words)
    if OPTION not in rest:
        return rest, NONE
    index = rest.index(OPTION)
    models = json.loads(rest[index + 1]) if index + 1 < len(rest) else None
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise ValueError(f"{OPTION} takes a JSON list of models")
    return [*rest[:index], *rest[index + 2 :]], Consent(frozenset(models))


def models_of(preset: Preset) -> frozenset[str]:
    """The names of the models and tokenizers that a preset loads; of a run in `student.init`, its student too."""
    teacher, init = preset.teacher, preset.student.init
    named = (name for each in teacher.models().values() for name in (each.model, each.tokenizer))
    names = [name for name in named if name is not None]
    if init not in INIT_WORDS:
        names += [init, str(Path(init) / STUDENT)]
    return frozenset(names) - {"scratch"}


def models_of_run(run_dir: Path) -> frozenset[str]:
    """The names of the models of a run, its student and its fine-tuned teacher among them. Raises PresetError."""
    from engine.preset.load import load_run_preset
    from engine.record.teacher_folder import teacher_folder

    own = [str(run_dir / STUDENT)]
    with suppress(CrildError):  # probing the run reports it
        own.append(str(teacher_folder(run_dir)))
    return models_of(load_run_preset(run_dir).preset) | frozenset(own)


def consent_to(presets: Iterable[Preset], *, trust: bool) -> Consent:
    """The consent of `--trust-remote-code` (`trust`) on these presets."""
    return Consent(frozenset().union(*map(models_of, presets))) if trust else NONE


def _same_folder(entry: str, model: str) -> bool:
    """Whether an entry of settings.toml (which may begin with `~`) names the folder of a model."""
    if not is_path(entry) or not is_path(model):
        return False
    try:
        named = Path(entry).expanduser()
        return named.is_absolute() and named.resolve() == Path(model).resolve()
    except (OSError, RuntimeError, ValueError):
        return False
