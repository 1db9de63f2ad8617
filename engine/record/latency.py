"""Latency as recorded in results.json and printed by `crild bench`: measured values, and sentences about them.

The protocol is in docs/latency.md; engine/evaluate/timing.py measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import RunError
from engine.record.fields import read_fields
from engine.record.json_values import mapping

PROCESSOR, WALL = "processor", "wall"
"""The clocks: time that the processor worked for the pass, and time on the wall."""
BUSY_SHARE = 0.10
"""Share of the time spent waiting for a processor, from which a machine counts as busy."""
BUSY_SPREAD = 0.25
"""Distance between the quartiles of a latency, as a share of its median, from which a machine counts as busy."""
UNSTEADY = 0.10
"""Distance between the quartiles of a ratio, as a share of its median, from which it should be measured again."""


@dataclass(frozen=True)
class Quartiles:
    """The median of several values, and the quartiles below and above it."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Distance between the quartiles as a share of the median."""
        return (self.high - self.low) / self.median if self.median > 0 else 0.0


@dataclass(frozen=True)
class ModelLatency:
    """One model in one case. `ratio` is the reference's latency divided by this model's: 2 means twice as fast."""

    name: str
    milliseconds: Quartiles
    """Of one forward pass."""
    passes: int
    ratio: Quartiles
    """Over rounds; 1 for the reference."""
    wall_ms: float | None = None
    """Median time on the clock of a pass, interruptions included."""


@dataclass(frozen=True)
class LatencyCase:
    """All models at one batch size and length (tokens of each input, without padding)."""

    batch: int
    length: int
    rounds: int
    models: tuple[ModelLatency, ...]
    """The reference first."""
    waited: float | None = None
    """Share of the time that the passes waited for a processor; None if unknown."""

    def of(self, name: str) -> ModelLatency | None:
        """A model by its name; None if it was not measured."""
        return next((model for model in self.models if model.name == name), None)

    def throughput(self, name: str) -> float | None:
        """Examples per second of a model."""
        model = self.of(name)
        if model is None or model.milliseconds.median <= 0:
            return None
        return 1000 * self.batch / model.milliseconds.median

    @property
    def busy(self) -> bool:
        """Whether other programs took much of the machine's time while this was measured."""
        spread = max((model.milliseconds.spread for model in self.models), default=0.0)
        return (self.waited or 0.0) > BUSY_SHARE or spread > BUSY_SPREAD

    @property
    def unsteady(self) -> bool:
        """Whether the ratios vary too much between rounds to be quoted."""
        return any(model.ratio.spread > UNSTEADY for model in self.models)


@dataclass(frozen=True)
class Latency:
    """What was measured in one go: several models side by side, in fp32, on one device with a fixed number of threads."""

    device: str
    """As torch calls it."""
    processor: str
    """Its model, such as "AMD EPYC" or "NVIDIA H100"."""
    threads: int
    """Threads that torch used."""
    clock: str
    """"processor" or "wall"."""
    cases: tuple[LatencyCase, ...] = ()
    """One for each batch size and length."""

    def case(self, batch: int) -> LatencyCase | None:
        """The first case with this batch size."""
        return next((case for case in self.cases if case.batch == batch), None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        cases = [
            {**_rounded(asdict(case)), "busy": case.busy, "unsteady": case.unsteady} for case in self.cases
        ]  # the last two for readers other than crild
        return {**asdict(self), "precision": "fp32", "cases": cases}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Latency:
        """Read what `to_dict` gives. Raises RunError, with the field, for anything else."""
        return read_fields(cls, data)


def latency_of(results: Mapping[str, Any]) -> Latency | None:
    """The latency in a run's results.json; None where an earlier version, or another program, wrote them."""
    try:
        return Latency.from_dict(mapping(results.get("latency")))
    except RunError:
        return None


def conditions(latency: Latency) -> str:
    """How it was measured, as a sentence."""
    lengths = " and ".join(dict.fromkeys(str(case.length) for case in latency.cases))
    threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
    rounds = min((case.rounds for case in latency.cases), default=0)
    clock = "processor time" if latency.clock == PROCESSOR else "time on the clock"
    return (
        f"latency: median {clock} of a forward pass in fp32 on {latency.device} ({latency.processor}), {threads}, "
        f"inputs of {lengths} tokens, models in turn over {rounds} round{'' if rounds == 1 else 's'}"
    )


def speedup(latency: Latency, name: str, reference: str) -> str | None:
    """How many times as fast as the reference a model is at each batch size, as a sentence; None if it wasn't measured.

    `name` and `reference` are what the sentence calls them.
    """
    parts = [
        f"{times(model.ratio.median)} times{{}} at batch {case.batch} "
        f"(quartiles {times(model.ratio.low)} to {times(model.ratio.high)})"
        for case in latency.cases
        if (model := case.of(name)) is not None and model is not case.models[0]
    ]
    if not parts:
        return None
    first, *rest = parts
    return ", ".join([f"the {name} is {first.format(f' as fast as its {reference}')}", *(p.format("") for p in rest)])


def cautions(latency: Latency) -> list[str]:
    """Sentences about a machine that was busy, and about ratios that vary."""
    sentences = []
    busy = [case for case in latency.cases if case.busy]
    if busy:
        waited = max((case.waited or 0.0 for case in busy), default=0.0)
        if waited > BUSY_SHARE:
            sentences.append(
                f"the machine was busy: the models waited {100 * waited:.0f} % of the time for a processor; these times "
                "leave the waiting out"
            )
        else:
            spread = max(model.milliseconds.spread for case in busy for model in case.models)
            sentences.append(
                f"the machine was busy: the quartiles of a latency are {100 * spread:.0f} % apart; compare ratios, not times"
            )
    if unsteady := [case for case in latency.cases if case.unsteady]:
        sentences.append(
            f"the ratio at batch {_numbers(case.batch for case in unsteady)} varies by more than {100 * UNSTEADY:.0f} % "
            "between rounds: measure again when the machine is quieter"
        )
    return sentences


def times(ratio: float) -> str:
    """A ratio with three digits: 0.985, 2.02, 12.3."""
    return f"{ratio:.{3 if ratio < 1 else 2 if ratio < 10 else 1}f}"


def _numbers(values: Iterable[int]) -> str:
    return " and ".join(dict.fromkeys(map(str, values)))


def _rounded(value: Any) -> Any:
    """Floats with six significant digits, at any depth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
