"""Help texts of the Launch mode: faults first, then the help of the item under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from crild_tui.launch_form.catalog import Entry
from crild_tui.launch_form.checks import Examined, Fault
from crild_tui.launch_form.draft import Draft, changed
from crild_tui.launch_form.fields import MOST_STAGES, UNUSED, Field, fields_of, is_off, is_unused
from crild_tui.runs import formatting
from crild_tui.runs.states import KeyNames
from engine.preset.text import printable

NO_TOML = "the presets cannot be loaded"
NO_MATCH = "no preset matches: Escape or Enter shows all of them"
OLD_TOML = "without the changes, which are invalid"
KINDS = {
    "run": "complete: runs as it is",
    "method": "a method: pick a task for it",
    "task": "a task: goes with a method",
    "data": "data of your own: a task, goes with a method",
    "variant": "a variant: goes with a method and a task",
    "part": "changes some keys: merged last",
    "broken": "cannot be read",
}
CHANGED_LINE = "▌"
_MOST_FAULTS = 20


def no_form(keys: KeyNames) -> str:
    """The text in place of a form."""
    editor = keys["launch.editor"]
    return (
        "The presets must load before you can change them here; see the problems below. "
        f"Press {editor} to open the file in $EDITOR."
    )


def about(
    topic: Field | Entry | str | None, draft: Draft, examined: Examined, keys: KeyNames, *, starting: bool = False
) -> Text:
    """Faults without a field, the fields of the others, and the help of the field or preset under the cursor.

    `topic` may be a text, which is shown as it is.
    """
    text = Text()
    if starting:
        text.append("starting: creating the runs\n", "bold")
    loose = [fault for fault in examined.faults if fault.key is None]
    for fault in loose[:_MOST_FAULTS]:
        text.append(f"! {printable(fault.sentence)}\n", "bold")
        if fault.line is not None:
            text.append(f"{fault.line}\n")
    if len(loose) > _MOST_FAULTS:
        text.append(f"and {formatting.plural(len(loose) - _MOST_FAULTS, 'problem')} more\n")
    if (line := invalid_fields(examined)) is not None:
        text.append(f"! {line}\n", "bold")
    preset = examined.preset
    if preset is not None and len(preset.stage) > MOST_STAGES:
        text.append(
            f"the form has the first {MOST_STAGES} of {len(preset.stage)} stages; press {keys['launch.editor']} to edit the file\n"
        )
    if isinstance(topic, Field):
        _field(text, topic, draft, examined, keys)
    elif isinstance(topic, str):
        text.append(topic)
    elif topic is not None:
        _entry(text, topic)
        if topic.kind == "data" and topic.ref in draft.refs:
            text.append("".join(f"\n{printable(note)}" for note in examined.notes))
    text.rstrip()
    return text


def invalid_fields(examined: Examined) -> str | None:
    """Which fields are invalid, as a sentence; None when all are valid."""
    preset = examined.preset
    if preset is None:
        return None
    wrong = {fault.key for fault in examined.faults if fault.key is not None}
    names = [f"{each.group}: {each.label}" for each in fields_of(preset) if each.key in wrong]
    if not names:
        return None
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{formatting.plural(len(names), 'invalid field')}: {'; '.join(names[:3])}{more}"


def _field(text: Text, field: Field, draft: Draft, examined: Examined, keys: KeyNames) -> None:
    text.append(f"{field.key}  ", "bold")
    text.append(printable(field.help))
    if field.expected and field.expected != "text in quotes":
        text.append(f"\nAllowed: {field.expected}.", "dim")
    preset = examined.preset
    if preset is not None and is_off(field, preset, draft.edits):
        text.append(f"\nSwitched off: set {field.depends_on} to a number to use it.", "bold")
    if examined.newest is not None and is_unused(field, examined.newest):
        text.append(f"\n{UNUSED[0].upper()}{UNUSED[1:]}.", "bold")
    if preset is not None and field.key in changed(draft, preset):
        text.append(f"\nChanged; press {keys['launch.undo']} to reset it to the value of the presets.", "dim")


def _entry(text: Text, entry: Entry) -> None:
    text.append(f"{printable(entry.ref)}  ", "bold")
    kind = f"{KINDS[entry.kind]}, or with a task or data of yours" if entry.takes_task else KINDS[entry.kind]
    text.append(f"{kind}; {entry.origin}\n")
    text.append(printable(entry.problem or entry.description), "bold" if entry.problem else "")


def toml(lines: Sequence[tuple[bool, str]], *, old: bool = False) -> Text:
    """The resolved preset; lines that differ from the presets without changes are marked and bold."""
    text = Text(no_wrap=True)
    if old:
        text.append(f"! {OLD_TOML if lines else NO_TOML}\n", "bold")
    for differs, line in lines:
        look = "bold" if differs else "dim" if line.lstrip().startswith("#") else ""
        text.append(f"{CHANGED_LINE if differs else ' '} {printable(line)}\n", look)
    return text


def after_editing(file: str, examined: Examined) -> tuple[str, str]:
    """A message about a file after editing it, and its severity."""
    count = len(examined.faults)
    if not count:
        return f"{file}: no problems", "information"
    return f"{file}: {formatting.plural(count, 'problem')}, shown below and at the fields", "warning"


def fault_of_system(error: OSError) -> tuple[Fault, ...]:
    """An error of the system as a fault: the current folder was deleted, a file cannot be read."""
    from engine.record.files import cause

    return (Fault(f"the presets cannot be read: {cause(error)}"),)
