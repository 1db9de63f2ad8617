"""Columns of a report about size and speed: parameters, size on disk, latency, throughput, layers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.preset.text import listed, nearest, shown
from engine.report.closing_table import ModelRow
from engine.report.units import amount, milliseconds, rate, size


@dataclass(frozen=True)
class CostColumn:
    """A column: its name on the command line, its heading, the figure of a model, and how that is written.

    measured: whether it was timed, so that runs of one model differ; the median counts then.
    """

    name: str
    heading: str
    read: Callable[[ModelRow], float | None]
    write: Callable[[float], str]
    measured: bool = False

    def value(self, models: Iterable[ModelRow]) -> float | None:
        """The figure of models that are one model in several runs: the median."""
        values = [value for model in models if (value := self.read(model)) is not None]
        return statistics.median(values) if values else None

    def text(self, models: Sequence[ModelRow]) -> str:
        """The figure as it is read, `44.9 M to 45.1 M` where models differ in size; nothing where it is not known."""
        values = [value for model in models if (value := self.read(model)) is not None]
        if not values:
            return ""
        if self.measured:
            return self.write(statistics.median(values))
        return " to ".join(dict.fromkeys(self.write(value) for value in (min(values), max(values))))


COLUMNS: Mapping[str, CostColumn] = {
    column.name: column
    for column in (
        CostColumn("layers", "layers", lambda model: model.layers, lambda value: f"{value:.0f}"),
        CostColumn("params", "parameters", lambda model: model.parameters, amount),
        CostColumn("size", "size", lambda model: model.bytes, size),
        CostColumn("latency", "latency", lambda model: model.latency_ms, milliseconds, measured=True),
        CostColumn("speedup", "speedup", lambda model: model.speedup, lambda value: f"{value:.1f}x", measured=True),
        CostColumn("throughput", "examples/s", lambda model: model.throughput, rate, measured=True),
    )
}
NOTE = (
    "Latency (batch 1) and examples/s were measured at the end of each run, on its machine; medians over runs. Runs of other "
    "machines or times compare by the speedup over the teacher, measured in turn with it, or by `crild bench`."
)


def cost_columns(names: Iterable[str]) -> tuple[CostColumn, ...]:
    """The columns of these names, each once. Raises UsageError, with the nearest name, for an unknown one."""
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in COLUMNS:
            near = nearest(name, COLUMNS)
            hint = f"did you mean {near}?" if near else f"there are {listed(COLUMNS, 'and')}"
            raise UsageError(f"there is no column {shown(name)}; {hint}", kind="unknown-column", key="--columns")
    return tuple(COLUMNS[name] for name in wanted)
