"""Follow a search: report how its trials end, and show the best so far at the bottom of the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.cli.follow.displays import Display, View, shorten
from crild_tui.cli.sweep_follow import Follower, run_line
from crild_tui.runs import searches
from engine.preset.text import plain
from engine.search.trials import SKIPPED, TrialRecord, Trials, read_if_possible
from engine.sweep.record import sweep_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.text import Text

    from engine.record.run import RunEntry


class SearchFollower(Follower):
    """Follows one search until its process has ended or the user stops it."""

    _trials: Trials | None = None
    _told: set[int] | None = None

    def view(self) -> View[Any]:
        """One line for the search, then one for each run that is running."""

        def draw(moment: tuple[str, list[RunEntry]], console: Console, _waited: float) -> list[Text]:
            from rich.text import Text

            line, started = moment
            room = max(1, console.height - 3)
            lines = [Text(line, style="bold"), *(Text(plain(run_line(entry))) for entry in started[:room])]
            return shorten(lines, console.width, ascii_only=terminal.ascii_only(sys.stderr))

        return View(
            line=lambda moment: moment[0],
            line_every=30.0,
            title=lambda moment: f"crild {moment[0][:60]}",
            draw=draw,
        )

    def moment(self, entries: Mapping[str, RunEntry], started: list[RunEntry]) -> Any:  # noqa: ARG002
        """Trials, best so far, time left."""
        return searches.progress(self.record, self._trials), started

    def report_changes(self, shown: Display[Any], entries: Mapping[str, RunEntry]) -> None:  # noqa: ARG002
        """Say which trials have ended, and how."""
        self._trials = read_if_possible(sweep_file(self.runs_dir, self.record.name)) or self._trials
        if self._trials is None:
            return
        ended = [trial for trial in self._trials.trials if trial.state != "running"]
        if self._told is None:
            self._told = {trial.number for trial in ended}
        for trial in ended:
            if trial.number not in self._told:
                self._told.add(trial.number)
                shown.message("warning" if trial.state == "failed" else "info", trial_line(self._trials, trial))


def trial_line(trials: Trials, trial: TrialRecord) -> str:
    """How a trial ended, in one line."""
    state = searches.state_text(trial)
    if trial.state == "complete":
        best = ", the best so far" if trial.number == trials.best else ""
        return f"trial {trial.number}: {searches.results_text(trials, trial)}{best} ({searches.values_text(trial)})"
    why = f": {trial.why}" if trial.why else ""
    values = f" ({searches.values_text(trial)})" if trial.state not in SKIPPED or not trial.why else ""
    return f"trial {trial.number} {state}{why}{values}"
