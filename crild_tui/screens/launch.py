"""The Launch mode: choose presets, change their settings, start a run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.reactive import var
from textual.timer import Timer
from textual.widgets import Button, Input, Static

from crild_tui.launch_form import help_text
from crild_tui.launch_form.catalog import Entry, catalog, fingerprint, known
from crild_tui.launch_form.checks import Examined, Fault, examine, faults_of
from crild_tui.launch_form.draft import Draft, choose, command_line, request_of
from crild_tui.launch_form.fields import Field, base_text
from crild_tui.launch_form.messages import CatalogRead, DraftExamined, StartEnded
from crild_tui.messages import WatchRun
from crild_tui.runs import actions
from crild_tui.runs.browser_limits import NO_FOREIGN_CODE
from crild_tui.screens.dialogs import ask, code_question, confirm
from crild_tui.screens.mode_screen import ModeScreen
from crild_tui.screens.preset_files import PresetFiles, current_folder
from crild_tui.widgets.choice_list import PresetList, WordList
from crild_tui.widgets.field_line import FieldLine
from crild_tui.widgets.form import Form
from engine.errors import CrildError, UsageError
from engine.launch.devices import devices
from engine.preset.load import load_preset
from engine.preset.schema import Preset
from engine.preset.text import printable
from engine.record.files import cause
from engine.record.paths import runs_dir as default_runs_dir

SETTLES = 0.15
"""Seconds without a key after which a change is checked."""
EVERY = 2.0
"""Seconds between two checks for changed preset files."""
WIDE, NARROW = 140, 60
"""Columns from which all three panes are side by side, and below which only one is shown."""
LOW = 16
"""Lines below which the command and the help are short, so that the form has room."""


class LaunchScreen(ModeScreen):
    """Presets on the left, the form in the middle, the resolved preset on the right or in place of the form."""

    MODE = "launch"
    inside = var(False)
    """Whether a narrow screen shows the form or the resolved preset, not the presets."""
    over = var(False)
    """Whether the resolved preset stands in the place of the form, where the screen is not wide."""
    alone = var(False)
    """Whether a wide screen hides the resolved preset."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW, "-usual"), (WIDE, "-wide")]  # noqa: RUF012 - Textual's form
    VERTICAL_BREAKPOINTS = [(0, "-low"), (LOW, "-high")]  # noqa: RUF012 - as above
    DEFAULT_CSS = """
    LaunchScreen {
        #command-row { height: auto; max-height: 4; background: $surface; }
        #command { width: 1fr; height: auto; max-height: 4; padding: 0 1; text-style: bold; }
        #start { width: auto; min-width: 12; }
        #body { height: 1fr; }
        #presets { width: 42%; border-right: solid $primary 40%; &:focus-within { width: 55%; } }
        #form-pane { width: 1fr; padding-left: 1; }
        #form { height: 1fr; }
        #field-search { display: none; height: 1; border: none; padding: 0; background: $surface; }
        &.-finding #field-search { display: block; }
        #toml { width: 1fr; display: none; scrollbar-size: 1 1; overflow-x: auto; padding: 0 1; &:focus { background: $panel; } }
        #toml-text { width: auto; }
        #about { height: 5; border-top: solid $primary 40%; padding: 0 1; scrollbar-size-vertical: 1; }
        #about-text { height: auto; }
        &.-wide #presets { width: 40%; &:focus-within { width: 50%; } }
        &.-wide #toml { border-left: solid $primary 40%; }
        &.-wide #about { height: 8; }
        &.-narrow #presets { width: 1fr; border-right: none; &:focus-within { width: 1fr; } }
        &.-narrow #about { height: 3; }
        &.-narrow #command, &.-low #command { max-height: 1; }
        &.-low #about { height: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Find", key_display="/", tooltip="Find a preset or a setting", id="launch.search"),
        Binding("f5,ctrl+r", "start", "Start", key_display="f5", id="launch.start"),
        Binding("u", "undo", "Undo", id="launch.undo"),
        Binding("U", "undo_all", "Undo all changes", show=False, id="launch.undo_all"),
        Binding("v", "toml", "TOML", id="launch.toml"),
        Binding("e", "edit", "Editor", id="launch.editor"),
        Binding("w", "save", "Save", id="launch.save"),
        Binding("c", "copy", "Copy the command line", show=False, id="launch.copy"),
        Binding("left,escape", "back", "To the presets", show=False, id="launch.to_list"),
        Binding("right", "to_form", "To the form", show=False, id="launch.to_form"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.files = PresetFiles(self)
        self.here = current_folder()
        self.draft = Draft(main="quickstart")
        self.examined = Examined(self.draft)
        self.entries: list[Entry] = []
        self.starting = False
        # the draft that loaded last, although its files may be broken now
        self._known: tuple[tuple[str, ...], Preset | None] = ((), None)
        self._devices: tuple[str, ...] = ()
        self._fingerprint: object = None  # the files as they were when they were read
        self._timer: Timer | None = None
        self._usual: Path | None = None  # the runs folder that `crild run` uses by default
        self._lines: tuple[tuple[bool, str], ...] = ()  # of the resolved preset
        self._shown: dict[str, tuple[Text, int]] = {}  # each text that is shown, and its number of lines
        self._newest = 0  # the line that changed last
        self._about: Field | Entry | str | None = None

    def content(self) -> ComposeResult:
        """The command line, three panes, and help."""
        with Horizontal(id="command-row"):
            yield Static(id="command")
            yield Button("Start (f5)", id="start", variant="primary", compact=True)
        with Horizontal(id="body"):
            yield PresetList(id="presets")
            with Vertical(id="form-pane"):
                yield Input(placeholder="a word of a setting's name or section", compact=True, id="field-search")
                yield Form(id="form", unfold_key=self.host.keys["launch.fold_all"])
            with VerticalScroll(id="toml"):
                yield Static(id="toml-text")
        with VerticalScroll(id="about", can_focus=False):
            yield Static(id="about-text")

    def applies(self, action: str) -> bool:
        """No editor opens in a browser."""
        return not (self.host.served and action == "edit")

    @property
    def form(self) -> Form:
        """The middle."""
        return self.query_one(Form)

    @property
    def presets(self) -> PresetList:
        """The left."""
        return self.query_one(PresetList)

    def on_mount(self) -> None:
        """Focus the list; check the files for changes while this mode is shown."""
        with suppress(CrildError, OSError):
            self._usual = default_runs_dir(None)
        self.query("#presets OptionList").focus()  # a query: the application may close before the list is mounted
        self._tell()
        self.set_interval(EVERY, self._look_again)

    def on_screen_resume(self) -> None:
        """Files may have changed while another mode was shown."""
        self.look()

    # -- which panes are shown

    def on_resize(self, event: events.Resize) -> None:
        """Show the panes that this width has room for."""
        self._arrange(event.size.width)

    def watch_inside(self) -> None:
        """Show the pane that was moved to."""
        self._arrange(self.app.size.width)

    watch_over = watch_alone = watch_inside

    def _arrange(self, width: int) -> None:
        """Show and hide the panes themselves: a class on the screen would restyle every widget in it."""
        room = width >= NARROW or self.inside
        for selector, shown in (
            ("#presets", width >= NARROW or not self.inside),
            ("#form-pane", width >= WIDE or (room and not self.over)),
            ("#toml", not self.alone if width >= WIDE else room and self.over),
        ):
            self.query(selector).set(display=shown)

    @property
    def covered(self) -> bool:
        """Whether the resolved preset stands in the place of the form."""
        return self.over and not self.has_class("-wide")

    # -- reading in threads

    def _look_again(self) -> None:
        if self.is_current:
            self.look(since=self._fingerprint)

    @work(thread=True, exclusive=True, group="look")
    def look(self, since: object = None, edited: str | None = None) -> None:
        """Read the preset files again, where they are not as they were `since`, and check the draft."""
        try:
            seen = fingerprint(self.here)
            if since is not None and seen == since:
                return
            found = catalog(self.here)
        except OSError:  # the folder went away or may not be read: what comes with crild is still there
            seen, found = (), known()
        self.post_message(CatalogRead(found, seen, self._devices or ("auto", *devices())))
        self.examine(edited=edited)

    @work(thread=True, exclusive=True, group="examine")
    def examine(self, edited: str | None = None) -> None:
        """Load and check the draft."""
        draft = self.draft
        try:
            self.host.check_paths(draft.edits)
            found = examine(draft, self.here, self.host.runs_dir)
        except UsageError as error:
            found = Examined(draft, self.examined.base, faults=(Fault(error.sentence, error.key),))
        except OSError as error:
            found = Examined(draft, faults=help_text.fault_of_system(error))
        self.post_message(DraftExamined(found, edited))

    def on_catalog_read(self, message: CatalogRead) -> None:
        """Show the list."""
        self.entries, self._fingerprint, self._devices = message.entries, message.fingerprint, message.devices
        self.presets.show(self.entries, self.draft.refs)

    async def on_draft_examined(self, message: DraftExamined) -> None:
        """Show the result of checking a draft, unless it has changed since."""
        if message.examined.draft != self.draft:
            return
        self.examined = message.examined
        if self.examined.preset is not None:
            self._known = (self.draft.refs, self.examined.preset)
        await self._show_form()
        self._show_toml()
        self._tell()
        if message.edited is not None:
            self.host.tell(*help_text.after_editing(message.edited, self.examined))

    def _show_toml(self) -> None:
        """Show the resolved preset; while the changes are invalid, the last good one, marked as old."""
        examined, before = self.examined, self._lines
        self._lines = examined.lines or (before if examined.base is not None else ())
        self._put("toml-text", help_text.toml(self._lines, old=examined.now is None))
        old = {line for differs, line in before if differs}
        new = [index for index, (differs, line) in enumerate(self._lines) if differs and line not in old]
        if new:
            self._newest = new[0]
            self._to_newest()

    def _to_newest(self) -> None:
        """Scroll to the line that changed last."""
        self.query_one("#toml").scroll_to(y=max(self._newest - 5, 0), animate=False)

    # -- choosing and changing

    def change(self, draft: Draft, *, at_once: bool = True) -> None:
        """Take another draft: show its marks and its command line now, and check it soon."""
        chosen = draft.refs != self.draft.refs
        self.draft = draft
        if self._timer is not None:
            self._timer.stop()
        self._timer = None if at_once else self.set_timer(SETTLES, self.examine)
        if at_once:
            self.examine()
        if chosen:
            self.presets.show(self.entries, draft.refs)
        else:
            views = {view.field.key: view for view in self.examined.views(draft)}
            for line in self.form.lines:
                if line.field.key in views:
                    line.show(views[line.field.key])
        self._tell()

    @on(PresetList.Chosen)
    def _chosen(self, event: PresetList.Chosen) -> None:
        self.change(choose(self.draft, event.entry))

    @on(PresetList.Pointed)
    def _pointed(self, event: PresetList.Pointed) -> None:
        if self.presets.has_focus_within or self._about is None:
            self._about = event.entry
            self._tell()

    @on(PresetList.Empty)
    def _nothing_found(self) -> None:
        if self.presets.has_focus_within:
            self._about = help_text.NO_MATCH
            self._tell()

    def on_descendant_focus(self) -> None:
        """Back in the list, describe the preset under its cursor."""
        if self.presets.has_focus_within and self.presets.pointed is not None:
            self._about = self.presets.pointed
            self._tell()

    @on(Form.Pointed)
    def _field(self, event: Form.Pointed) -> None:
        self._about = event.field
        self._tell()

    @on(FieldLine.Changed)
    def _changed(self, event: FieldLine.Changed) -> None:
        draft = self.draft
        new = draft.undone(event.key) if event.text is None else draft.edited(event.key, event.text)
        self.change(new, at_once=event.text is None)

    @on(FieldLine.Words)
    def _words(self, event: FieldLine.Words) -> None:
        line, preset = event.line, self.examined.preset
        known = self._devices if line.field.key == "train.device" and self._devices else line.field.words
        base = base_text(line.field, preset) if preset is not None else ""
        words = list(dict.fromkeys(word for word in (*known, base) if word))
        dialog = WordList(f"{line.field.group}: {line.field.label}", words, line.view.text)
        ask(self.app, dialog, lambda word: self.change(self.draft.edited(line.field.key, word)))

    def action_undo(self) -> None:
        """Reset the focused field to the preset's value."""
        line = self.form.focused_line
        if line is None:
            undo, undo_all = (self.host.keys[f"launch.{action}"] for action in ("undo", "undo_all"))
            self.host.tell(f"go to a field first: {undo} resets it; {undo_all} resets all of them")
        else:
            self.change(self.draft.undone(line.field.key))

    def action_undo_all(self) -> None:
        """Reset all fields to the presets' values."""
        self.change(replace(self.draft, edits={}))

    def action_edit(self) -> None:
        """Open a preset in the user's editor: the one under the cursor of the list, else the chosen one."""
        self.files.edit()

    def action_save(self) -> None:
        """Save what is chosen and changed as a preset of the user's own."""
        self.files.save()

    # -- command line and help

    def command(self) -> str:
        """The command line that starts the same run."""
        elsewhere = None if self.host.runs_dir == self._usual else self.host.runs_dir
        refs, preset = self._known
        return command_line(self.draft, preset if refs == self.draft.refs else None, elsewhere)

    def _tell(self) -> None:
        """Show the command line above and the help below."""
        about = help_text.about(self._about, self.draft, self.examined, self.host.keys, starting=self.starting)
        self._put("command", Text(f"$ {printable(self.command())}"))
        self._put("about-text", about)

    def _put(self, name: str, text: Text) -> None:
        """Show a text if it changed; the screen is laid out again only if its number of lines changed."""
        for widget in self.query(f"#{name}").results(Static):  # none while the screen is being closed
            lines = len(text.wrap(self.app.console, max(widget.content_size.width, 1)))
            old, high = self._shown.get(name, (None, 0))
            if text != old or text.spans != old.spans:
                widget.update(text, layout=lines != high or name == "toml-text")
            self._shown[name] = (text, lines)

    def on_click(self, event: events.Click) -> None:
        """A click on the command line copies it."""
        if event.widget is not None and event.widget.id == "command":
            self.action_copy()

    def action_copy(self) -> None:
        """Copy the command line to the clipboard."""
        self.host.copy(printable(self.command()))

    # -- moving

    def action_search(self) -> None:
        """Search among the settings, if the form has the focus, else among the presets."""
        if self.form.has_focus or self.form.has_focus_within:
            self.add_class("-finding")
            line = self.query_one("#field-search", Input)
            line.select_on_focus = self.form.searching = True
            line.focus()
            return
        self.inside = False
        self.presets.search()

    @property
    def typing(self) -> Input | None:
        """The line that finds a setting, from the key that opens it until it is left."""
        return self.query_one("#field-search", Input) if self.form.searching else None

    async def _show_form(self) -> None:
        """Show the settings, of which a search leaves those that it finds."""
        words = self.query_one("#field-search", Input).value
        views = self.examined.views(self.draft)
        found = [view for view in views if view.field.matches(words)]
        nothing = "no setting has such a name" if views else help_text.no_form(self.host.keys)
        await self.form.show(found, nothing, unfolded=bool(words.strip()))

    @on(Input.Changed, "#field-search")
    async def _searched(self) -> None:
        await self._show_form()
        if (line := self.form.pointed) is not None:
            self._about = line.field
            self._tell()

    @on(Input.Submitted, "#field-search")
    def _search_done(self) -> None:
        self._end_search(keep=True)

    @on(Input.Blurred, "#field-search")
    def _search_left(self) -> None:
        self.form.searching = False

    def _end_search(self, *, keep: bool) -> None:
        """Go back to the form, with the settings that were found, or with all."""
        line = self.query_one("#field-search", Input)
        self.form.searching = False
        if not keep:
            line.value = ""
        self.set_class(bool(line.value.strip()), "-finding")
        self.form.focus()

    async def on_key(self, event: events.Key) -> None:
        """Down leaves the search for the settings that it has found, Escape shows all of them."""
        if event.key in ("down", "tab", "escape") and self.query_one("#field-search", Input).has_focus:
            event.stop()
            self._end_search(keep=event.key != "escape")

    def action_back(self) -> None:
        """Go from the resolved preset, if it covers the form, to the form; else to the presets, ending a search."""
        if self.covered and self.query_one("#toml").has_focus:
            self.action_toml()
            return
        if self.has_class("-finding") and self.form.has_focus:
            self._end_search(keep=False)
            return
        self.inside = self.over = False
        in_list = self.presets.options.has_focus
        self.presets.end_search(keep=not in_list)

    def action_to_form(self) -> None:
        """Go to the form, or to the resolved preset that covers it."""
        self.inside = True
        if self.covered:
            self.call_after_refresh(self.query_one("#toml").focus)
            self.call_after_refresh(self._to_newest)
        else:
            self.call_after_refresh(self.form.focus)

    def action_toml(self) -> None:
        """Show the resolved preset in place of the form; on a wide screen, hide or show it next to the form."""
        if self.has_class("-wide"):
            self.alone = not self.alone
            return
        self.over = not self.over
        self.action_to_form()

    # -- starting

    @on(Button.Pressed, "#start")
    def _start_pressed(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Create the runs, show the first in Live, and start their engines."""
        if self.starting:
            self.host.tell("starting already")
            return
        if self.host.refuse_readonly():
            return
        self.starting = True
        self._tell()
        self.host.act(partial(self._start, self.draft))

    def _start(self, draft: Draft, *, trust: bool = False) -> str:
        """Create run directories, open Live, then start the engine, so that Live shows it loading.

        `trust` is the user's consent to code that comes with the models; where it is needed, a question asks for it.
        """
        try:
            self.host.check_paths(draft.edits)
            base = load_preset(draft.refs, base=self.here).preset
            runs = actions.create(replace(request_of(draft, base, self.host.runs_dir), trust=trust))
        except (CrildError, OSError) as error:
            if not trust and (question := code_question(error)) is not None:
                self.post_message(StartEnded())
                if self.host.served:
                    raise UsageError(NO_FOREIGN_CODE, kind="no-consent-in-browser") from error
                self.later(lambda: confirm(self.app, question, partial(self._start_trusting, draft)))
                return "not started yet: a model comes with its own code"
            fault = error if isinstance(error, CrildError) else UsageError(cause(error), kind="run-not-created")
            self.post_message(StartEnded(fault))
            raise UsageError(f"not started: {fault.sentence}", kind="run-not-started") from error
        self.app.call_later(self.app.clear_notifications)  # why an earlier try was "not started" is over
        self.post_message(WatchRun(runs[0]))
        try:
            return actions.start(runs, trust=trust)
        finally:
            self.post_message(StartEnded())

    def _start_trusting(self, draft: Draft) -> None:
        """Start a draft with the user's consent to the code of its models."""
        self.starting = True
        self._tell()
        self.host.act(partial(self._start, draft, trust=True))

    async def on_start_ended(self, message: StartEnded) -> None:
        """Let another run be started; show what was wrong at its fields."""
        self.starting = False
        if message.error is not None:
            found = faults_of(message.error, self.examined, self.here)
            self.examined = replace(self.examined, faults=tuple(found))
            await self._show_form()
        self._tell()
