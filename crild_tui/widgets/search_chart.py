"""The chart of a search: its trials in turn, or its front."""

from __future__ import annotations

from crild_tui.charts.search_figures import search_figure
from crild_tui.widgets.chart import Chart
from engine.search.trials import Trials


class SearchChart(Chart, can_focus=False):
    """Draws the trials of a search; it takes no keys."""

    BUTTON = False

    def show_trials(self, trials: Trials) -> None:
        """Draw these trials."""
        self.show(search_figure(trials))
