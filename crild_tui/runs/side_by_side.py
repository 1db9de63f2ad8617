"""Runs side by side: their metrics, what they read, and how their presets differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crild_tui.runs import formatting
from engine.errors import UsageError
from engine.preset.toml_text import inline
from engine.report.compare import ABSENT, Difference, differences, read_preset
from engine.report.final_metrics import FinalMetrics, metrics_table, read_final_metrics
from engine.report.inputs import input_rows
from engine.report.result_table import ResultTable


@dataclass(frozen=True)
class SideBySide:
    """What was read of the runs, in their order."""

    finals: tuple[FinalMetrics, ...]
    different: tuple[Difference, ...]
    """The keys on which their presets differ."""

    @property
    def names(self) -> list[str]:
        """The runs' ids."""
        return [final.name for final in self.finals]

    @property
    def metrics(self) -> ResultTable:
        """The runs with their metrics, means over seeds, and the models to compare them with."""
        return metrics_table(self.finals)

    @property
    def differences(self) -> list[list[str]]:
        """Inputs, then settings, in which the runs differ: a heading, and the text of each run."""
        read = [[name, *texts] for name, texts in input_rows([final.inputs for final in self.finals])]
        settings = (
            [d.key, *(formatting.NONE if value is ABSENT else inline(value) for value in d.values)]
            for d in self.different
        )
        return [*read, *settings]


def side_by_side(run_dirs: Sequence[Path]) -> SideBySide:
    """Read two runs or more. Raises RunError for one whose preset cannot be read."""
    different = differences([read_preset(run_dir) for run_dir in run_dirs])
    return SideBySide(tuple(map(read_final_metrics, run_dirs)), different)


def check_number(runs: Sequence[object]) -> None:
    """Raise UsageError unless there are at least two runs to compare."""
    if len(runs) < 2:
        raise UsageError("compare takes two runs or more", kind="too-few-runs")
