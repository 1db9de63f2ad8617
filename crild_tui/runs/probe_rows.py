"""The results of a probe as rows of text for the command line and the dashboard, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from crild_tui.runs import formatting
from crild_tui.text import bar
from engine.record.inputs import short
from engine.record.probe import DISTANCES, Probe, Sides

Row = list[str]
Words = Callable[[float | None], str]
"""Writes a figure that may be unknown."""
FIT = ("", "train", "dev", "dev − train")
LAYERS = ("layer", "distance", "train", "dev", "dev/train")
NOISE = ("noise", "metric", "sd", "loss", "")
SUMMARY = ("method", "n", "train", "dev", "gap", "KL train", "KL dev", "sharp")
TITLES = {"cka": "1 - CKA"}
"""Headings of distances that are not their names."""
BAR = 28
"""Cells of the longest bar."""


def heading(probe: Probe) -> str:
    """The run, its task and method, and what the probe cost."""
    examples = f"{probe.examples['train']:,} training and {probe.examples['dev']:,} dev examples"
    cost = formatting.duration(probe.seconds)
    if probe.run_seconds:
        cost += f", {formatting.percent(probe.seconds / probe.run_seconds)} of training it"
    return f"{probe.run}: {probe.task}, {probe.method or 'no method'}; {examples}; {probe.device}, {cost}"


def fit_rows(probe: Probe) -> list[Row]:
    """The final student, and its teacher, on training examples and on dev."""
    rows = []
    for who, metrics, loss in (
        ("student", probe.metrics, probe.loss),
        ("teacher", probe.teacher_metrics, probe.teacher_loss),
    ):
        rows += [
            _sides(f"{who} {name}", sides, formatting.metric, formatting.difference) for name, sides in metrics.items()
        ]
        rows.append(_sides(f"{who} loss on labels", loss))
    return [*rows, _sides("distance of the answers", probe.output)]


def layer_rows(probe: Probe) -> list[Row]:
    """Every distance of every layer; a layer is named at its first."""
    rows = []
    for layer in probe.layers:
        name = f"{layer.layer} to teacher's {layer.teacher_layer}"
        for distance, found in layer.distances.items():
            ratio = "-" if found.ratio is None else f"{found.ratio:.2f}"
            rows.append(
                [name, TITLES.get(distance, distance), formatting.loss(found.train), formatting.loss(found.dev), ratio]
            )
            name = ""
    return rows


def noise_rows(probe: Probe, *, ascii_only: bool = False) -> list[Row]:
    """The metric and loss on dev for each scale of noise, with a bar of the metric from 0."""
    most = max((point.metric for point in probe.noise if point.metric is not None), default=0.0)
    return [
        [
            f"{point.scale:g}",
            formatting.metric(point.metric),
            formatting.metric(point.deviation),
            formatting.loss(point.loss),
            bar((point.metric or 0.0) / most if most > 0 else 0.0, BAR, ascii_only=ascii_only)[0],
        ]
        for point in probe.noise
    ]


def statements(probe: Probe) -> list[str]:
    """Sharpness, what was not measured, and notes, as sentences."""
    sharp = probe.sharpness
    lines = [
        f"sharpness: noise of {sharp.scale:g} of each tensor's root mean square raises the loss on labels by "
        f"{formatting.loss(sharp.train)} on train, {formatting.loss(sharp.dev)} on dev "
        f"({formatting.plural(sharp.draws, 'draw')})"
    ]
    reasons: dict[str, list[str]] = {}
    for name, why in probe.unavailable.items():
        reasons.setdefault(why, []).append(name)
    lines += [f"not measured: {' and '.join(names)}, since {why}" for why, names in reasons.items()]
    return [*lines, *probe.notes]


@dataclass(frozen=True)
class Summary:
    """A table over methods, with a line for each."""

    title: str
    names: tuple[str, ...]
    rows: list[Row]


def summaries(probes: Sequence[Probe]) -> list[Summary]:
    """The methods of each task side by side: fit, last layer, noise; means over a method's runs (seeds).

    Probes on other data have tables of their own, those of another teacher rows of their own.
    """
    tables = []
    for task, several in _by_data(probes).items():
        methods = _by_method(several)
        metric = " or ".join(dict.fromkeys(probe.metric for found in methods.values() for probe in found))
        scales = sorted({point.scale for found in methods.values() for probe in found for point in probe.noise})
        tables += [
            Summary(
                f"{task}: {metric}, distance of the answers (KL), sharpness",
                SUMMARY,
                [[method, *_fit_of(found)] for method, found in methods.items()],
            ),
            Summary(
                f"{task}: distances of the last layer, dev/train",
                ("method", *(TITLES.get(name, name) for name in DISTANCES)),
                [[method, *_last_layer_of(found)] for method, found in methods.items()],
            ),
            Summary(
                f"{task}: {metric} on dev under noise of",
                ("method", *(f"{scale:g}" for scale in scales)),
                [[method, *(_under(found, scale) for scale in scales)] for method, found in methods.items()],
            ),
        ]
    return tables


def _by_data(probes: Sequence[Probe]) -> dict[str, list[Probe]]:
    """The probes of each task, and of each data that it was measured on where there are several."""
    groups: dict[tuple[str, str, str], list[Probe]] = {}
    for probe in sorted(probes, key=lambda probe: probe.task):
        key = (probe.task, probe.inputs.get("train", ""), probe.inputs.get("dev", ""))
        groups.setdefault(key, []).append(probe)
    tasks = [task for task, _, _ in groups]
    return {
        task if tasks.count(task) == 1 else f"{task} (train {short(train) or '-'}, dev {short(dev) or '-'})": several
        for (task, train, dev), several in groups.items()
    }


def _by_method(probes: Sequence[Probe]) -> dict[str, list[Probe]]:
    """The probes of each method, and of each teacher where a method had several."""
    groups: dict[tuple[str, str], list[Probe]] = {}
    for probe in probes:
        groups.setdefault((probe.method or "-", probe.inputs.get("teacher", "")), []).append(probe)
    methods = [method for method, _ in groups]
    return {
        method if methods.count(method) == 1 else f"{method}, teacher {short(teacher) or '-'}": several
        for (method, teacher), several in sorted(groups.items())
    }


def _fit_of(probes: Sequence[Probe]) -> Row:
    texts = (formatting.metric, formatting.metric, formatting.difference, *[formatting.loss] * 3)
    figures = zip(
        *((p.fit.train, p.fit.dev, p.fit.gap, p.output.train, p.output.dev, p.sharpness.dev) for p in probes),
        strict=True,
    )
    return [str(len(probes)), *(text(_mean(values)) for text, values in zip(texts, figures, strict=True))]


def _last_layer_of(probes: Sequence[Probe]) -> Row:
    """The ratio for each distance, a mean over runs."""
    cells = []
    for name in DISTANCES:
        sides = [probe.layers[-1].distances.get(name) if probe.layers else None for probe in probes]
        ratio = _mean([None if side is None else side.ratio for side in sides])
        cells.append(formatting.NONE if ratio is None else f"{ratio:.2f}")
    return cells


def _under(probes: Sequence[Probe], scale: float) -> str:
    """The metric under noise of one scale, a mean over runs."""
    points = [next((p.metric for p in probe.noise if p.scale == scale), None) for probe in probes]
    return formatting.metric(_mean(points))


def _loss_gap(gap: float | None) -> str:
    return formatting.NONE if gap is None else f"{gap:+.4f}"


def _sides(name: str, sides: Sides, text: Words = formatting.loss, gap: Words = _loss_gap) -> Row:
    """Train, dev and the gap between them, written by `text` and `gap`."""
    return [name, text(sides.train), text(sides.dev), gap(sides.gap)]


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean over all runs; None where one lacks the figure."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
