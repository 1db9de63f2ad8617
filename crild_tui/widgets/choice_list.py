"""Lists to choose from: the presets of the Launch mode, and the allowed values of a field."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from crild_tui.launch_form.catalog import Entry, families
from crild_tui.textual_internals import Options
from crild_tui.widgets.dialog import Dialog
from crild_tui.widgets.type_ahead import typed_early
from engine.preset.text import one_line, printable

GROUPS = {
    "run": "complete",
    "method": "methods",
    "task": "tasks, with a method",
    "variant": "variants, with both",
    "own": "your files here",
    "data": "your data here, with a method",
}
"""Titles in the list, each above its presets."""
CHOSEN, OPEN, BROKEN = "●", "·", "!"
FEW = 2
"""Variants of a preset from which they are folded into a line."""
MORE = "more "
"""Begins the id of that line, which unfolds them."""
_NAME, _LONG_NAME = 13, 24  # the most cells of the column of names, in a narrow list and in a wide one
_WIDE = 60


class PresetList(Vertical):
    """Presets by kind, with a search line."""

    DEFAULT_CSS = """
    PresetList {
        & > Input { display: none; height: 1; border: none; padding: 0; background: $surface; }
        &.-searching > Input { display: block; }
        & > OptionList {
            height: 1fr; border: none; padding: 0; background: $background; text-wrap: nowrap; text-overflow: ellipsis;
            scrollbar-size-vertical: 1;
            &:focus { border: none; background-tint: $foreground 0%; }
            & > .option-list--option { padding: 0; }
            & > .option-list--option-disabled { color: $primary; text-style: bold; }
        }
    }
    """

    @dataclass
    class Chosen(Message):
        """A preset was chosen."""

        entry: Entry

    @dataclass
    class Pointed(Message):
        """The cursor is on a preset."""

        entry: Entry

    class Empty(Message):
        """The search matches no preset."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: Sequence[Entry] = ()
        self._shown: dict[str, Entry] = {}
        self._filled_for = 0
        self._names = 0  # cells of the longest name
        self._chosen: Collection[str] = ()
        self._open: set[str] = set()  # presets whose variants are listed
        self._wanted: str | None = None  # where the cursor should go once it is in the list
        self.searching = False
        """Whether the search line is open but does not have the focus yet."""

    def compose(self) -> ComposeResult:
        """The search line and the list."""
        yield SearchLine(placeholder="name, kind or words", compact=True)
        yield Choices(markup=False)

    @property
    def options(self) -> Choices:
        """The list itself."""
        return self.query_one(Choices)

    @property
    def pointed(self) -> Entry | None:
        """The preset under the cursor."""
        option = self.options.highlighted_option
        return None if option is None or option.id is None else self._shown.get(option.id)

    def show(self, entries: Sequence[Entry], chosen: Collection[str]) -> None:
        """Show these presets and mark the chosen ones; the cursor stays on its preset."""
        old = [(entry, entry.ref in self._chosen) for entry in self._entries]
        self._entries, self._chosen = entries, chosen
        if old != [(entry, entry.ref in chosen) for entry in entries] or not entries:
            self._fill()

    def point(self, ref: str) -> None:
        """Put the cursor on a preset, now or as soon as it is in the list."""
        self._wanted = ref
        self._fill()

    def _fill(self) -> None:
        words = self.query_one(SearchLine).value
        pointed = self.pointed
        found = [entry for entry in self._entries if entry.matches(words)]
        options: list[Option] = []
        self._shown = {}
        self._names, self._filled_for = (
            max((cell_len(_name(entry)) for entry in found), default=0),
            self._most_name_cells,
        )
        for group, title in GROUPS.items():
            members = [entry for entry in found if _group(entry) == group]
            options += [Option(Text(f"── {title}"), disabled=True)] if members else []
            for head, variants in families(members):
                opened = bool(words) or len(variants) < FEW or self._is_open(head, variants)
                for entry in (head, *(variants if opened else ())):
                    name = f"{group} {entry.ref}"
                    self._shown[name] = entry
                    options.append(Option(self._line(entry), id=name))
                if not opened:
                    line = Text(f"  ▸ {len(variants)} variants of {printable(head.ref)}", Style(dim=True), no_wrap=True)
                    options.append(Option(line, id=f"{MORE}{head.ref}"))
        if words and not options:
            self.post_message(self.Empty())
        if not options:
            options.append(Option(Text("  nothing found" if words else "  no presets"), disabled=True))
        self.options.set_options(options)
        wanted = pointed.ref if pointed is not None else next(iter(self._chosen), None)
        named = (entry.ref for entry in found if words and entry.ref.casefold().startswith(words.casefold().strip()))
        if any(entry.ref == self._wanted for entry in found):
            wanted, self._wanted = self._wanted, None
        self._point(next(named, wanted))

    def _is_open(self, head: Entry, variants: Sequence[Entry]) -> bool:
        """Whether the variants of a preset are listed: they were asked for, or one of them is chosen or looked for."""
        named = {*self._chosen, self._wanted}
        return head.ref in self._open or any(entry.ref in named for entry in variants)

    def _point(self, ref: str | None) -> None:
        """Put the cursor on this preset, else on the first that can be chosen."""
        names = [name for name, entry in self._shown.items() if entry.ref == ref] or list(self._shown)
        if names:
            self.options.highlighted = self.options.get_option_index(names[0])

    def _line(self, entry: Entry) -> Text:
        chosen = entry.ref in self._chosen
        mark = CHOSEN if chosen else BROKEN if entry.problem else OPEN
        text = Text(f"{mark} {_name(entry)}", Style(bold=chosen), no_wrap=True)
        text.append(" " * max(2 + min(self._names, self._most_name_cells) - text.cell_len, 0) + "  ")
        text.append(one_line(entry.problem or entry.description), Style(dim=True, bold=False))
        return text

    @property
    def _most_name_cells(self) -> int:
        return _LONG_NAME if self.size.width >= _WIDE else _NAME

    def on_resize(self) -> None:
        """Align descriptions for the new width."""
        if self._most_name_cells != self._filled_for:
            self._fill()

    # -- keys

    def search(self) -> None:
        """Open the search line."""
        self.add_class("-searching")
        line = self.query_one(SearchLine)
        line.select_on_focus = self.searching = True
        line.focus()

    def on_descendant_focus(self) -> None:
        """From now on, keys reach the search line by themselves."""
        self.searching = False

    def end_search(self, *, keep: bool) -> None:
        """Go back to the list, with the matches if `keep` and there are any, else with all presets."""
        line = self.query_one(SearchLine)
        self.searching = False
        if not keep or not any(entry.matches(line.value) for entry in self._entries):
            line.value = ""
        self.set_class(bool(line.value), "-searching")
        self.options.focus()

    @on(Input.Changed)
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        self._fill()

    @on(OptionList.OptionHighlighted)
    def _pointed(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if (entry := self._shown.get(event.option.id or "")) is not None:
            self.post_message(self.Pointed(entry))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        name = event.option.id or ""
        if name.startswith(MORE):
            head = name.removeprefix(MORE)
            self._open.add(head)
            self.point(next(entry.ref for entry in self._entries if entry.ref.startswith(f"{head}-")))
        elif (entry := self._shown.get(name)) is not None:
            self.post_message(self.Chosen(entry))


def _name(entry: Entry) -> str:
    """The name in the list; a file of the user's own with its kind."""
    return printable(entry.ref) + (f" ({entry.kind})" if entry.own and entry.kind != "data" else "")


def _group(entry: Entry) -> str:
    return "own" if entry.own and entry.kind != "data" else entry.kind


class Choices(Options):
    """The list; it passes keys on to the search line even if they all arrive at once."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "select", "Choose", show=False, id="launch.choose"),
        Binding("j", "cursor_down", "Down", show=False, id="launch.list_down"),
        Binding("k", "cursor_up", "Up", show=False, id="launch.list_up"),
    ]

    def on_key(self, event: events.Key) -> None:
        """Open the search, and pass on what is typed before the search line has the focus."""
        above = self.parent
        if not isinstance(above, PresetList):  # None once the screen closes
            return
        if event.key == "slash":
            event.stop()
            above.search()
        elif above.searching and event.key == "enter":
            event.stop()
            above.end_search(keep=True)
        elif above.searching and event.is_printable and event.character:
            event.stop()
            typed_early(above.query_one(SearchLine), event.character)


class SearchLine(Input):
    """The search line: Enter and Down go to the matches, Escape shows all presets again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down,tab", "done(True)", "To the list", key_display="enter"),
        Binding("escape", "done(False)", "Show all", key_display="esc"),
    ]

    def action_done(self, keep: bool) -> None:
        """Leave the line."""
        above = self.parent
        if isinstance(above, PresetList):  # None once the screen closes
            above.end_search(keep=keep)


class WordList(Dialog[str | None]):
    """Asks for one of several words; None if the user presses Escape."""

    DEFAULT_CSS = """
    WordList OptionList {
        width: auto; min-width: 24; height: auto; max-height: 16; border: none; padding: 0;
        &:focus { border: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,left", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, words: Sequence[str], present: str) -> None:
        super().__init__()
        self._title, self._words, self._present = title, words, present

    def compose(self) -> ComposeResult:
        """The title and the list."""
        with Vertical(classes="dialog"):
            yield Static(Text(self._title))
            yield Options(*(Option(Text(printable(word))) for word in self._words), markup=False)

    def on_mount(self) -> None:
        """Start at the present word."""
        words = self.query_one(OptionList)
        words.highlighted = self._words.index(self._present) if self._present in self._words else 0
        words.focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._words[event.option_index])
