"""Check a draft by the rules of the command line, and find the field of each fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from crild_tui.launch_form.draft import Draft, changed, name_text, overrides, seeds_text
from crild_tui.launch_form.fields import (
    NAME,
    SEEDS,
    Field,
    base_text,
    field_at,
    fields_of,
    hint,
    is_off,
    is_unused,
)  # fmt: skip
from engine.errors import CrildError
from engine.preflight.check import check
from engine.preflight.own_data import completed
from engine.preset.load import Loaded, load_preset
from engine.preset.regular_file import read_regular
from engine.preset.schema import Preset
from engine.preset.text import plain
from engine.preset.toml_file import LARGEST
from engine.preset.write import dump
from engine.record.run import name_taken, validate_name
from engine.sweep.seeds import parse_seeds

_LONGEST = 200  # characters of a line of a file that are shown


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a draft."""

    sentence: str
    key: str | None = None
    """The field to blame; None where there is none."""
    line: str | None = None
    """The line of the file to blame, with its number."""


@dataclass(frozen=True)
class FieldView:
    """One line of the form."""

    field: Field
    text: str
    hint: str = ""
    changed: bool = False
    off: bool = False
    """Whether its table is switched off."""
    unused: bool = False
    """Whether every stage has its own value, so that this one changes nothing."""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examined:
    """The result of checking a draft. `base` is what its presets merge to, `now` the same with the changes."""

    draft: Draft
    base: Loaded | None = None
    now: Loaded | None = None
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about what was recognised in the user's data."""
    lines: tuple[tuple[bool, str], ...] = ()
    """The resolved TOML; each line with whether it differs from the presets without changes, or was recognised."""

    @property
    def preset(self) -> Preset | None:
        """The preset that the form shows."""
        return None if self.base is None else self.base.preset

    @property
    def newest(self) -> Preset | None:
        """The preset with the changes; without them while they are invalid."""
        return self.preset if self.now is None else self.now.preset

    def views(self, draft: Draft) -> list[FieldView]:
        """The lines of the form for a draft that may be newer than the examined one."""
        preset, newest = self.preset, self.newest
        if preset is None or newest is None:
            return []
        differing = changed(draft, preset)
        # Without a source if the presets' task has none, or the task that was typed, before anything is checked.
        name = draft.edits.get("task.name", preset.task.name).strip()
        typed = preset.model_copy(update={"task": preset.task.model_copy(update={"name": name})})
        sentences: dict[str, list[str]] = {}
        for fault in self.faults:
            if fault.key is not None:
                sentences.setdefault(fault.key, []).append(fault.sentence)
        return [
            FieldView(
                field=each,
                text=draft.edits.get(each.key, base_text(each, typed) and base_text(each, preset)),
                hint=hint(each, typed),
                changed=each.key in differing,
                off=is_off(each, preset, draft.edits),
                unused=is_unused(each, newest),
                faults=tuple(sentences.get(each.key, ())),
            )
            for each in fields_of(preset)
        ]


def examine(draft: Draft, here: Path, runs_dir: Path | None = None) -> Examined:
    """Load and check a draft, without network; what is wrong is returned as faults.

    The name of an existing run in `runs_dir` is a fault too.
    """
    if not draft.refs:
        return Examined(draft, faults=(Fault("choose a method and a task, or a complete preset"),))
    try:
        base = load_preset(draft.refs, base=here)
    except CrildError as error:
        return Examined(draft, faults=tuple(_faults(error, {}, (), here)))
    fields = {each.key: each for each in fields_of(base.preset)}
    items = overrides(draft, base.preset)
    faults = _of_options(draft) or _of_name(draft, base.preset, runs_dir)
    try:
        now = load_preset(draft.refs, [item for _, item in items], base=here)
    except CrildError as error:
        return Examined(draft, base, None, (*faults, *_faults(error, fields, items, here)))
    try:
        check(now)
        now = completed(now)
    except CrildError as error:
        faults += _faults(error, fields, items, here)
    lines = marked_lines(dump(base.preset), dump(now.preset))
    return Examined(draft, base, now, tuple(faults), now.notes, tuple(lines))


def faults_of(error: CrildError, examined: Examined, here: Path) -> list[Fault]:
    """The problems that the full check at the start found, at the fields of the form."""
    preset = examined.preset
    fields = {each.key: each for each in fields_of(preset)} if preset is not None else {}
    items = overrides(examined.draft, preset) if preset is not None else []
    return _faults(error, fields, items, here)


def _of_options(draft: Draft) -> list[Fault]:
    faults = []
    for key, text, judge in ((SEEDS, seeds_text(draft), parse_seeds), (NAME, name_text(draft), validate_name)):
        if text is not None:
            try:
                judge(text)
            except CrildError as error:
                faults.append(Fault(error.sentence, key))
    return faults


def _of_name(draft: Draft, base: Preset, runs_dir: Path | None) -> list[Fault]:
    """A fault if the name is taken for at least one of the runs."""
    name = name_text(draft)
    if name is None or runs_dir is None:
        return []
    taken = (name_taken(runs_dir, name, seed) for seed in parse_seeds(seeds_text(draft)) or (base.seed,))
    return [Fault(error.sentence, NAME) for error in taken if error is not None][:1]


def _faults(error: CrildError, fields: dict[str, Field], items: Iterable[tuple[str, str]], here: Path) -> list[Fault]:
    by_item = {f"--set {plain(item)}": key for key, item in items}
    problems: Sequence[CrildError] = getattr(error, "problems", (error,))
    return [_fault(problem, fields, by_item, here) for problem in problems]


def _fault(problem: CrildError, fields: dict[str, Field], by_item: dict[str, str], here: Path) -> Fault:
    file = problem.file or ""
    if file.startswith("--set "):
        key = by_item.get(file)
        if key is None:
            key = next((own for item, own in by_item.items() if item.startswith(file.removesuffix("…"))), None)
        # The rule may blame another key than the one that was changed, but the user looks at the field they changed.
        return Fault(problem.sentence, key or _key(problem, fields))
    line = source_line(here / file, problem.line) if file and problem.line else None
    return Fault(str(problem), _key(problem, fields), line)


def _key(problem: CrildError, fields: dict[str, Field]) -> str | None:
    if problem.key in (SEEDS, NAME):
        return problem.key
    if problem.key == "seed":
        return SEEDS
    found = field_at(fields, problem.key) if problem.key else None
    return found.key if found is not None else None


def source_line(file: Path, number: int) -> str | None:
    """A line of a preset file with its number, safe to show; None where it cannot be read."""
    try:
        lines = read_regular(file, LARGEST).decode(errors="backslashreplace").split("\n")  # as TOML counts
    except OSError:
        return None
    if not 0 < number <= len(lines):
        return None
    text = plain(lines[number - 1].removesuffix("\r").expandtabs(4))
    return f"{number:>5} | {text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}"


def marked_lines(base: str, now: str) -> list[tuple[bool, str]]:
    """The lines of `now`, each with whether it differs from `base`."""
    before, after = (text.removesuffix("\n").split("\n") for text in (base, now))
    marked: list[tuple[bool, str]] = []
    for how, _, _, start, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        marked += [(how != "equal", line) for line in after[start:end]]
    return marked
