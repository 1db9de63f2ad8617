"""Average the probes (probe.json) of a group's runs: dev under noise on the weights, distances to the teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.record.files import read_json
from engine.record.json_values import mapping, mappings, number
from engine.record.probe import PROBE
from engine.report.compare import Spread, spread
from engine.report.settings import Group

SCHEMA = 1


@dataclass(frozen=True)
class GroupProbe:
    """The probes of a group.

    `noise` is the dev metric by scale of the noise; `distances` by kind, then (student layer, "train" or "dev");
    `figures` is what a table says: "loss, train" and the like.
    """

    runs: int
    noise: Mapping[float, Spread]
    distances: Mapping[str, Mapping[tuple[int, str], Spread]]
    figures: Mapping[str, Spread]


def group_probe(group: Group) -> GroupProbe | None:
    """The probes of a group's runs; None where no run has one that can be read. Parts that aren't understood are left out."""
    found = [data for run in group.runs if (data := read_json(run.run_dir / PROBE)) and data.get("schema") == SCHEMA]
    if not found:
        return None
    noise: dict[float, list[float]] = {}
    distances: dict[str, dict[tuple[int, str], list[float]]] = {}
    figures: dict[str, list[float]] = {}
    for data in found:
        for row in mappings(data.get("noise")):
            scale, value = number(row.get("scale")), number(row.get("metric"))
            if scale is not None and value is not None:
                noise.setdefault(scale, []).append(value)
        for row in mappings(data.get("layers")):
            layer = row.get("layer")
            for kind, sides in mapping(row.get("distances")).items():
                for side in ("train", "dev"):
                    value = number(mapping(sides).get(side))
                    if type(layer) is int and value is not None:
                        distances.setdefault(str(kind), {}).setdefault((layer, side), []).append(value)
        for name, value in _figures(data):
            figures.setdefault(name, []).append(value)
    return GroupProbe(
        len(found),
        _spreads(dict(sorted(noise.items()))),
        {kind: _spreads(dict(sorted(cells.items()))) for kind, cells in distances.items()},
        _spreads(figures),
    )


def _figures(data: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """The figures of a probe about the student as a whole, by name."""
    metric = data.get("metric")
    parts = [("loss", data.get("loss")), ("rise of loss under noise", data.get("sharpness"))]
    if isinstance(metric, str):
        parts.insert(0, (metric, mapping(data.get("metrics")).get(metric)))
    for name, sides in parts:
        for side in ("train", "dev"):
            value = number(mapping(sides).get(side))
            if value is not None:
                yield f"{name}, {side}", value
    layers = mappings(data.get("layers"))
    last = mapping(layers[-1].get("distances")) if layers else {}
    for kind in ("attention", "hidden", "cka"):
        sides = mapping(last.get(kind))
        train, dev = number(sides.get("train")), number(sides.get("dev"))
        if train and dev is not None:
            yield f"{kind} of the last layer, dev / train", dev / train


def _spreads(values: Mapping[Any, Sequence[float]]) -> dict[Any, Spread]:
    return {key: found for key, several in values.items() if (found := spread(several)) is not None}
