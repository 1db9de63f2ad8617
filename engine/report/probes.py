"""Average the probes (probe.json) of a group's runs: dev under noise on the weights, distances to the teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.probe import Probe, Sharpness, Sides, read_probe
from engine.report.compare import Spread, spread
from engine.report.settings import Group


@dataclass(frozen=True)
class GroupProbe:
    """The probes of a group.

    `noise` is the dev metric by scale of the noise; `distances` by kind, then (student layer, "train" or "dev");
    `figures` is what a table says: "loss, train" and the like; `metrics` names those of them that are metrics.
    """

    runs: int
    noise: Mapping[float, Spread]
    distances: Mapping[str, Mapping[tuple[int, str], Spread]]
    figures: Mapping[str, Spread]
    metrics: frozenset[str]


def group_probe(group: Group) -> GroupProbe | None:
    """The probes of a group's runs; None where no run has one that can be read.

    A probe of other data or another teacher than the run's own does not count.
    """
    probes = [probe for run in group.runs if (probe := _readable(run.run_dir)) is not None]
    if not probes:
        return None
    noise: dict[float, list[float]] = {}
    distances: dict[str, dict[tuple[int, str], list[float]]] = {}
    figures: dict[str, list[float]] = {}
    for probe in probes:
        for row in probe.noise:
            if row.metric is not None:
                noise.setdefault(row.scale, []).append(row.metric)
        for layer in probe.layers:
            for kind, sides in layer.distances.items():
                for side, value in _known(sides):
                    distances.setdefault(kind, {}).setdefault((layer.layer, side), []).append(value)
        for name, value in _figures(probe):
            figures.setdefault(name, []).append(value)
    return GroupProbe(
        len(probes),
        _spreads(dict(sorted(noise.items()))),
        {kind: _spreads(dict(sorted(cells.items()))) for kind, cells in distances.items()},
        _spreads(figures),
        frozenset(f"{probe.metric}, {side}" for probe in probes for side in ("train", "dev")),
    )


def _readable(run_dir: Path) -> Probe | None:
    try:
        found = read_probe(run_dir)
    except RunError:
        return None
    return None if found is None or found.changed else found


def _known(sides: Sides | Sharpness) -> Iterator[tuple[str, float]]:
    return ((side, value) for side, value in (("train", sides.train), ("dev", sides.dev)) if value is not None)


def _figures(probe: Probe) -> Iterator[tuple[str, float]]:
    """The figures of a probe about the student as a whole, by name."""
    parts = ((probe.metric, probe.fit), ("loss", probe.loss), ("rise of loss under noise", probe.sharpness))
    for name, sides in parts:
        for side, value in _known(sides):
            yield f"{name}, {side}", value
    last = probe.layers[-1].distances if probe.layers else {}
    for kind in ("attention", "hidden", "cka"):
        if kind in last and (ratio := last[kind].ratio) is not None:
            yield f"{kind} of the last layer, dev / train", ratio


def _spreads(values: Mapping[Any, Sequence[float]]) -> dict[Any, Spread]:
    return {key: found for key, several in values.items() if (found := spread(several)) is not None}
