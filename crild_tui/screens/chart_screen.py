"""A mode with the three panels and, one key away, everything that was logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Input

from crild_tui.screens.dialogs import ask
from crild_tui.screens.run_watch import WatchScreen
from crild_tui.widgets.choice_list import WordList
from crild_tui.widgets.logged_view import LoggedView
from crild_tui.widgets.panels import Panels, Source
from engine.preset.text import one_line

USUAL = "none: the three usual panels"


class ChartScreen(WatchScreen):
    """A mode that shows runs in `Panels`, or all their charts in `LoggedView`; subclasses yield both in `content`."""

    OPENING = frozenset({"pattern"})
    DEFAULT_CSS = """
    ChartScreen { LoggedView { display: none; } &.-logged LoggedView { display: block; } }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "logged", "All charts", tooltip="Everything that was logged", id="panel.logged"),
    ]

    @property
    def typing(self) -> Input | None:
        """The line of the charts' pattern, from the key that opens it until it is left."""
        view = self.query_one(LoggedView)
        return view.line if view.typing else None

    def show_sources(self, sources: Sequence[Source]) -> None:
        """Show these runs in the panels and among all charts."""
        self.query_one(Panels).show(sources)
        self.query_one(LoggedView).show(sources)

    def action_logged(self) -> None:
        """Show everything that was logged, or the panels again."""
        if self.has_class("-logged"):
            self.close_logged()
        elif not self.query_one(Panels).sources:
            self.host.tell("there is no run here", "warning")
        else:
            self.add_class("-logged")
            self.query_one(LoggedView).open()
            self.logged_changed()

    def logged_changed(self) -> None:
        """All charts are shown now, or no longer are."""

    @on(LoggedView.Closed)
    def close_logged(self) -> None:
        """Show the panels again."""
        if self.has_class("-logged"):
            self.remove_class("-logged")
            self.query_one(LoggedView).close()
            self.query_one(Panels).chosen.focus()
            self.logged_changed()

    @on(LoggedView.ToPanel)
    def _to_panel(self, message: LoggedView.ToPanel) -> None:
        panels = self.query_one(Panels)
        names = [chart.figure.title for chart in panels.charts]
        numbered = {f"{number} {one_line(name)}": number - 1 for number, name in enumerate(names, 1)}

        def put(word: str) -> None:
            panels.put(numbered.get(word), message.name)
            self.close_logged()

        ask(self.app, WordList(f"{one_line(message.name)}: in place of which panel?", [*numbered, USUAL], ""), put)
