"""The user's own settings: one TOML file in typed sections, checked as strictly as a preset.

# ~/.config/crild/settings.toml
[consent]
remote_code = [{ model = "owner/name", commit = "0123456789abcdef0123456789abcdef01234567" }]
[notify]
terminal = "osc9"
command = 'notify-send crild "$CRILD_RUN: $CRILD_STATE"'
[slurm]
template = "~/crild.slurm"
[track]
to = ["tensorboard", "wandb"]
[dashboard]
theme = "crild-light"
[dashboard.keys]
"live.stop" = "f8"

Only the section that is asked for is validated, so that a mistake in one does not take the others away. A file from the
time before sections (`dashboard.toml`) is still read as the section `dashboard`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import CrildError, PresetError
from engine.preset.field_types import Name, Record
from engine.preset.paths import normal
from engine.preset.schema_keys import expected_in, words_in
from engine.preset.source_names import is_path
from engine.preset.text import listed, nearest, plain, shown
from engine.preset.toml_file import read_document
from engine.preset.toml_lines import KeyPath
from engine.preset.tree import dotted
from engine.record.paths import user_path

SETTINGS, OLD = "settings.toml", "dashboard.toml"
_WHAT = "settings file"


class CodeConsent(Record):
    """A model whose own code may run: one commit of a hub repository, or a folder with exactly these Python files."""

    model: Name
    """A hub id, or a folder."""
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """For a hub id: the full commit."""
    code: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """For a folder: the hash of its Python files, as the refusal of the model names it."""


class Consents(Record):
    """What shared files may do that they cannot do by themselves."""

    remote_code: list[CodeConsent] = Field(default_factory=list)
    """Models whose own code may run."""


class Notify(Record):
    """What to do when a run ends."""

    terminal: Literal["bell", "osc9", "osc777", "off"] = "bell"
    """How a terminal that shows the run asks for attention (`crild_tui/runs/attention.py`)."""
    command: str | None = None
    """Run by the shell in the home folder when an engine of this user ends (`engine/user/notification.py`)."""


class Slurm(Record):
    """The user's own part of SLURM jobs."""

    template: str | None = None
    """A file with `#SBATCH` lines and commands (`engine/launch/slurm_template.py`)."""


class Track(Record):
    """The trackers that runs are sent to (`engine/track`), and what each needs to know. Credentials are their own."""

    to: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(default_factory=list)
    """Those that every new run is sent to."""
    student: bool = False
    """Whether the student of a finished run is uploaded, too."""
    tensorboard_folder: Name | None = None
    """A folder for all runs, instead of one in each run directory."""
    wandb_mode: Literal["online", "offline"] | None = None
    """Instead of $WANDB_MODE; without both, online."""
    wandb_entity: Name | None = None
    """A user or team of W&B."""
    wandb_folder: Name | None = None
    """Where W&B keeps its files, instead of $WANDB_DIR; without both, the parent of the folder of runs."""
    mlflow_uri: Name | None = None
    """A server or store, instead of $MLFLOW_TRACKING_URI; without both, mlflow.db in the parent of the folder of runs."""
    trackio_space: Name | None = None
    """A Space of the hub, as owner/name; without one, trackio keeps runs on this machine."""
    trackio_folder: Name | None = None
    """Where trackio keeps its runs, instead of $TRACKIO_DIR."""


class Dashboard(Record):
    """How the dashboard looks. Keys are bound by the ids that `?` shows."""

    theme: Literal["crild-dark", "crild-light", "crild-contrast"] = "crild-dark"
    """The colours."""
    ascii: bool = False
    """Draw with ASCII characters alone, as with $CRILD_ASCII."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """How much curves are smoothed at first."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Keys by the ids of their actions, as "live.stop" = "f8"."""


SECTIONS: Mapping[str, type[Record]] = {
    "consent": Consents,
    "notify": Notify,
    "slurm": Slurm,
    "track": Track,
    "dashboard": Dashboard,
}
"""Each section and its record."""
_NAMES = {record: name for name, record in SECTIONS.items()}
_IN_WORDS = {
    ("consent", "remote_code"): 'a list of tables, as [{ model = "owner/name", commit = "40 hex digits" }]',
    ("consent", "remote_code", "commit"): "a full commit of 40 hex digits",
    ("consent", "remote_code", "code"): 'text as "sha256:" and 64 hex digits',
    ("track", "to"): 'a list of trackers, as ["tensorboard", "wandb", "mlflow", "trackio"]',
    ("dashboard", "keys"): 'a table of keys by the ids of their actions, as { "live.stop" = "f8" }',
}
"""Values that are easier to read when written by hand."""

_Section = TypeVar("_Section", bound=Record)


@dataclass(frozen=True)
class SettingsFiles:
    """The files that settings are read from; None where the user has no configuration folder."""

    settings: Path | None
    old: Path | None = None
    """A dashboard.toml, read for a dashboard section that `settings` lacks."""
    old_first: bool = False
    """Whether it is read even where `settings` has the section: `$CRILD_CONFIG` names it."""


@dataclass(frozen=True)
class Source:
    """Where a section was read: `above` are the keys above its own."""

    file: Path
    lines: Mapping[KeyPath, int]
    above: KeyPath

    def line(self, path: KeyPath) -> int | None:
        """The line (from 1) of a key, or of the nearest key above it."""
        full = (*self.above, *path)
        return next((self.lines[full[:end]] for end in range(len(full), 0, -1) if full[:end] in self.lines), None)

    def problem(self, path: KeyPath, sentence: str, *, kind: str) -> CrildError:
        """An error about a key of the section."""
        key = plain(dotted((*self.above, *path)))
        return CrildError(sentence, kind=kind, file=plain(str(self.file)), line=self.line(path), key=key)


@dataclass(frozen=True)
class Located(Generic[_Section]):
    """A section: its values, the table as it is written, and where; no source where no file has it."""

    values: _Section
    written: Mapping[str, Any]
    source: Source | None


def settings_files() -> SettingsFiles:
    """`$CRILD_CONFIG`, else settings.toml and dashboard.toml in the user's configuration folder.

    Always absolute paths: a relative folder in $XDG_CONFIG_HOME or $HOME would mean another one in the engine's working
    directory, which is the run directory. If `$CRILD_CONFIG` names a file of the old form, only the dashboard is read
    from it.
    """
    folder = _configuration_folder()
    default = None if folder is None else folder / SETTINGS
    if chosen := os.environ.get("CRILD_CONFIG"):
        file = settings_path(chosen)
        return SettingsFiles(default, file, old_first=True) if _is_old(file) else SettingsFiles(file)
    return SettingsFiles(default, None if folder is None else folder / OLD)


def settings_path(chosen: str) -> Path:
    """The absolute path that `$CRILD_CONFIG` means in this working directory. Raises UsageError for one that is invalid."""
    return normal(user_path(chosen, "CRILD_CONFIG"))


def _configuration_folder() -> Path | None:
    from platformdirs import user_config_path

    try:
        folder = user_config_path("crild")
    except (OSError, RuntimeError, KeyError):  # no home
        return None
    return folder if folder.is_absolute() else None


def _is_old(file: Path) -> bool:
    """Whether a file has keys outside sections, as dashboard.toml has."""
    try:
        document, _ = read_document(file, plain(str(file)), _WHAT)
    except PresetError:
        return file.name == OLD
    return bool(document.keys() & Dashboard.model_fields.keys()) and not document.keys() & SECTIONS.keys()


def read_settings(section: type[_Section], files: SettingsFiles | None = None) -> _Section:
    """One section of the settings; its defaults where no file has it.

    Raises PresetError with every problem of the section and every unknown section, each with file, line and key.
    """
    return read_located(section, files).values


def read_located(section: type[_Section], files: SettingsFiles | None = None) -> Located[_Section]:
    """A section with what was written and where. Raises as `read_settings`."""
    name = _NAMES[section]
    files = settings_files() if files is None else files
    old = files.old if name == "dashboard" and files.old is not None and files.old.exists() else None
    if files.settings is not None and files.settings.exists() and not (old and files.old_first):
        document, lines = read_document(files.settings, plain(str(files.settings)), _WHAT)
        located = validated_section(section, document, lines, files.settings)
        if name in document:
            return located
    if old is not None:
        table, lines = read_document(old, plain(str(old)), _WHAT)
        source = Source(old, lines, ())
        return Located(_validated(section, table, source, []), table, source)
    return Located(section(), {}, None)


def validated_section(
    section: type[_Section], document: Mapping[str, Any], lines: Mapping[KeyPath, int], file: Path
) -> Located[_Section]:
    """A section of a settings file that was parsed already. Raises as `read_settings`."""
    unknown = [key for key in document if key not in SECTIONS]
    whole = Source(file, lines, ())
    problems = [whole.problem((key,), _unknown_section(key), kind="unknown-section") for key in unknown]
    name = _NAMES[section]
    table, source = document.get(name, {}), Source(file, lines, (name,))
    values = _validated(section, table, source, problems)
    return Located(values, table, source)


def settings_problems() -> list[CrildError]:
    """Everything that is wrong with the settings."""
    problems: dict[str, CrildError] = {}
    for section in SECTIONS.values():
        try:
            read_settings(section)
        except PresetError as error:
            problems |= {str(problem): problem for problem in error.problems}
    return list(problems.values())


def _unknown_section(key: str) -> str:
    homes = [name for name, record in SECTIONS.items() if key in record.model_fields]
    if homes:
        return f"{shown(key)} belongs in the section [{homes[0]}]"
    near = nearest(key, SECTIONS)
    hint = (
        f"did you mean [{near}]?" if near else f"the sections are {listed((f'[{name}]' for name in SECTIONS), 'and')}"
    )
    return f"unknown section {shown(key)}; {hint}"


def _validated(section: type[_Section], table: object, source: Source, problems: Sequence[CrildError]) -> _Section:
    found = list(problems)
    name = _NAMES[section]
    if not isinstance(table, dict):
        sentence = f"{name} must be a table, as [{name}], not {shown(table)}"
        raise PresetError([*found, source.problem((), sentence, kind="wrong-value")])
    try:
        valid = section.model_validate(table)
    except ValidationError as error:
        by_path: dict[tuple[int | str, ...], CrildError] = {}
        for detail in error.errors(include_url=False):
            by_path.setdefault(detail["loc"], _explained(section, detail, source))
        raise PresetError([*found, *by_path.values()]) from None
    if isinstance(valid, Consents):
        found += _consent_problems(valid, source)
    if found:
        raise PresetError(found)
    return valid


def _explained(section: type[Record], detail: ErrorDetails, source: Source) -> CrildError:
    """One of pydantic's errors in our own words."""
    path: KeyPath = tuple(detail["loc"])
    keys = [part for part in path if isinstance(part, str)]
    record: type[Record] = CodeConsent if keys[:1] == ["remote_code"] and len(path) > 2 else section
    key = str(path[2] if record is CodeConsent else path[0])
    if detail["type"] == "extra_forbidden":
        near = nearest(key, record.model_fields)
        known = listed(record.model_fields, "and")
        hint = f"did you mean {shown(near)}?" if near else f"known are {known}"
        return source.problem(path, f"unknown key {shown(key)}; {hint}", kind="unknown-key")
    if detail["type"] == "missing":
        return source.problem(path, f"{key} is missing; it must be {expected_in(record, key)}", kind="missing-key")
    words = _IN_WORDS.get((_NAMES[section], *keys)) or _IN_WORDS.get((_NAMES[section], keys[0]))
    value = detail["input"]
    expected = words or expected_in(record, key)
    near = nearest(value, words_in(record, key)) if isinstance(value, str) else None
    hint = f"; did you mean {shown(near)}?" if near else ""
    return source.problem(path, f"{key} must be {expected}, not {shown(value)}{hint}", kind="wrong-value")


def _consent_problems(consents: Consents, source: Source) -> list[CrildError]:
    """Entries that name no content: a hub id without its commit, a folder without the hash of its code."""
    problems = []
    for index, entry in enumerate(consents.remote_code):
        folder = is_path(entry.model)
        if folder and (entry.code is None or entry.commit is not None):
            sentence = f'{shown(entry.model)} is a folder, which has no commit: name its code as code = "sha256:..."'
            problems.append(source.problem(("remote_code", index), sentence, kind="consent-without-code"))
        elif not folder and (entry.commit is None or entry.code is not None):
            sentence = f'{shown(entry.model)} is a hub id: name the commit that you read as commit = "40 hex digits"'
            problems.append(source.problem(("remote_code", index), sentence, kind="consent-without-commit"))
    return problems
