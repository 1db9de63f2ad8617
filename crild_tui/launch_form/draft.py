"""What the user has chosen and changed so far, and the command line that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crild_tui.launch_form.catalog import Entry
from crild_tui.launch_form.fields import NAME, SEEDS, base_text, fields_of, is_off, same, set_item
from crild_tui.runs.create import RunRequest
from engine.preset.schema import Preset
from engine.preset.shipped import find
from engine.sweep.seeds import parse_seeds


@dataclass(frozen=True)
class Draft:
    """A run that is not started yet: presets as the command line names them, and texts of changed fields by key.

    `edits` outlive another choice of presets: those without a field in the new form wait until it has one.
    """

    main: str | None = None
    """The complete preset, or the method."""
    task: str | None = None
    """The task preset or the data file to merge with it."""
    parts: tuple[str, ...] = ()
    """Presets that only change some keys, merged last."""
    edits: Mapping[str, str] = field(default_factory=dict)

    @property
    def refs(self) -> tuple[str, ...]:
        """The presets in the order in which they are merged."""
        return tuple(ref for ref in (self.main, self.task, *self.parts) if ref is not None)

    def edited(self, key: str, text: str) -> Draft:
        """The draft with another text in a field."""
        return replace(self, edits={**self.edits, key: text})

    def undone(self, key: str) -> Draft:
        """The draft with a field as the preset has it."""
        return replace(self, edits={name: text for name, text in self.edits.items() if name != key})


def choose(draft: Draft, entry: Entry) -> Draft:
    """The draft after an entry of the list was picked.

    A complete preset stands alone; a method keeps the chosen task; a task or data file joins the method ("crild" if a
    shipped complete preset was chosen before). Those for a teacher of the user's count as methods here: `answers` goes with
    a data file. Picking a task or a part again removes it.
    """
    if entry.kind in ("task", "data"):
        if entry.ref == draft.task:
            return replace(draft, task=None)
        shipped = find(draft.main) if draft.main is not None else None
        alone = draft.main is None or (shipped is not None and shipped.kind == "run" and not shipped.takes_task)
        return replace(draft, task=entry.ref, main="crild" if alone else draft.main)
    if entry.kind in ("variant", "part"):
        others = tuple(ref for ref in draft.parts if ref != entry.ref)
        return replace(draft, parts=others if entry.ref in draft.parts else (*others, entry.ref))
    if entry.kind == "method" or entry.takes_task:
        return replace(draft, main=entry.ref)
    return replace(draft, main=entry.ref, task=None, parts=())


def overrides(draft: Draft, base: Preset) -> list[tuple[str, str]]:
    """The `--set` items of the draft, each with the key of its field, in the order of the form."""
    items = []
    for each in fields_of(base):
        text = draft.edits.get(each.key)
        if text is None or each.key in (SEEDS, NAME) or is_off(each, base, draft.edits):
            continue
        if (item := set_item(each, text, base_text(each, base))) is not None:
            items.append((each.key, item))
    return items


def changed(draft: Draft, base: Preset) -> set[str]:
    """Keys of the fields whose text differs from the preset."""
    return {
        each.key
        for each in fields_of(base)
        if each.key in draft.edits
        and not same(each, draft.edits[each.key], base_text(each, base))
        and (each.key != SEEDS or draft.edits[SEEDS].strip())
    }


def seeds_text(draft: Draft) -> str | None:
    """The value for `--seeds`; None to use the preset's own seed."""
    return draft.edits.get(SEEDS, "").strip() or None


def name_text(draft: Draft) -> str | None:
    """The value for `--name`; None for a name that crild chooses."""
    return draft.edits.get(NAME, "").strip() or None


def request_of(draft: Draft, base: Preset, runs_dir: Path) -> RunRequest:
    """The request that `crild run` would make. Raises UsageError for invalid seeds."""
    return RunRequest(
        presets=draft.refs,
        settings=tuple(item for _, item in overrides(draft, base)),
        seeds=parse_seeds(seeds_text(draft)),
        runs_dir=runs_dir,
        name=name_text(draft),
    )


def command_line(draft: Draft, base: Preset | None, runs_dir: Path | None = None) -> str:
    """The command line that does the same; `runs_dir` if it is not the one that `crild run` uses by default."""
    words = ["crild", "run", *draft.refs]
    for _, item in overrides(draft, base) if base is not None else ():
        words += ["--set", item]
    for name, value in (("--seeds", seeds_text(draft)), ("--name", name_text(draft))):
        words += [name, value] if value is not None and (base is None or value != str(base.seed)) else []
    if runs_dir is not None:
        words += ["--runs-dir", str(runs_dir)]
    return shlex.join(words)
