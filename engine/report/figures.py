"""The charts of a report, drawn by matplotlib: curves, final figures, probes. Load it only where charts are made."""

from __future__ import annotations

import io
import logging
import re
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from engine.errors import UsageError
from engine.preset.names import task_title
from engine.preset.text import cut, plain
from engine.record.files import cause
from engine.record.own_paths import refuse_own_path
from engine.report.curves import Band, curves
from engine.report.final_metrics import MAJORITY, TEACHER
from engine.report.inputs import Setting
from engine.report.probes import GroupProbe, group_probe
from engine.report.settings import Group, own_names, setting_text
from engine.report.table import PRIMARY, Report

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#777777")
"""Of Okabe and Ito (2008), less black and yellow, and two more; distinct for all common kinds of colour vision."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES = ("-", "--", ":", "-.")
INK, FAINT = "#1b1f24", "#8b949e"
"""Text and axes, and what lies behind the data."""
ON_TRAIN: Any = {"linestyle": (0, (1.2, 1.2)), "linewidth": 1.1, "marker": "", "alpha": 0.75}
"""How a method's curve on training examples differs from that on dev."""
PANELS = ("loss", "consistency", "metric", "label loss")
"""What curves are drawn of; on training examples in fine dots."""
LONGEST = 44
"""Characters of a name in a chart."""
_SETTINGS: Any = {
    "font.family": ["sans-serif"], "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.fontsize": 9,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "axes.titlecolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT,
    "grid.alpha": 0.25, "grid.linewidth": 0.6, "lines.linewidth": 1.6, "lines.markersize": 5, "legend.frameon": False,
    "text.parse_math": False, "text.usetex": False, "svg.fonttype": "none", "svg.hashsalt": "crild", "savefig.transparent": False,
}  # fmt: skip


@dataclass(frozen=True)
class ReportChart:
    """A figure with a name for its file and a sentence that says what it shows."""

    name: str
    caption: str
    figure: Figure


Style = dict[str, Any]
Row = tuple[str, Setting]
"""A method under its own setting."""


def report_charts(report: Report) -> Iterator[ReportChart]:
    """Every chart that the runs of a report give, one at a time."""
    table = next((table for table in report.tables if table.choice == PRIMARY), report.tables[0])
    styles = _styles(report.groups)
    for number, common in enumerate(dict.fromkeys(group.common for group in report.groups)):
        tail = f"-{number + 1}" if number else ""
        heading = f" ({setting_text(common)})" if common else ""
        groups = [group for group in report.groups if group.common == common and group.task in table.metrics]
        tasks = [task for task in table.tasks if any(group.task == task for group in groups)]
        with drawing():
            yield ReportChart(
                f"final{tail}",
                f"Dev metric of each seed, their mean and standard deviation{heading}. Dashed: the teacher; dotted: the "
                "majority guess; each where it is near.",
                _finals(groups, tasks, table.metrics, styles),
            )
        for task in tasks:
            own = [group for group in groups if group.task == task]
            yield from _of_task(own, task, table.metrics[task], styles, tail, heading)


def _of_task(
    groups: Sequence[Group], task: str, metric: str, styles: Mapping[Row, Style], tail: str, heading: str
) -> Iterator[ReportChart]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", task)[:60]
    lines = {group: curves(group, metric) for group in groups}
    shown = [panel for panel in PANELS if any(panel in found for found in lines.values())]
    if shown:
        train = "; fine dots: on training examples" if any("metric, train" in found for found in lines.values()) else ""
        with drawing():
            yield ReportChart(
                f"curves-{name}{tail}",
                f"{task_title(task)}: training curves over the student's stages{heading}; line: mean over seeds, band: standard "
                f"deviation{train}.",
                _curves(lines, shown, metric, styles),
            )
    probes = {group: found for group in groups if (found := group_probe(group)) is not None}
    if any(found.noise for found in probes.values()):
        with drawing():
            yield ReportChart(
                f"noise-{name}{tail}",
                f"{task_title(task)}: dev {metric} under Gaussian noise on the student's weights{heading}; mean and deviation over runs.",
                _noise(probes, metric, styles),
            )
    if any(found.distances for found in probes.values()):
        with drawing():
            yield ReportChart(
                f"distance-{name}{tail}",
                f"{task_title(task)}: distance to the teacher by student layer{heading}; full: dev, dashed: training examples.",
                _distances(probes, styles),
            )


@contextmanager
def drawing() -> Iterator[None]:
    """Our settings alone, whatever the user's matplotlibrc says; fonts that lack a character are not complained about."""
    settings: Any = {key: value for key, value in mpl.rcParamsDefault.items() if "backend" not in key}
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context({**settings, **_SETTINGS}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _styles(groups: Sequence[Group]) -> dict[Row, Style]:
    """Colour, marker and dash of each method under its setting, the same in every chart; and how its label reads."""
    styles: dict[Row, Style] = {}
    names: list[str] = []
    for index, ((method, own), setting) in enumerate(own_names(groups).items()):
        name = _shown(f"{method} ({setting})" if setting else method)
        twins = names.count(name)  # cut to the same
        names.append(name)
        styles[method, own] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
            "label": f"{name} #{twins + 1}" if twins else name,
        }
    return styles


def _row(group: Group) -> Row:
    return group.method, group.own


def _shown(text: str) -> str:
    return cut(plain(text), LONGEST)


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for so many axes, each of so many inches."""
    across = _across(count)
    down = -(-count // across)
    figure = Figure(figsize=(max(width * across, 5.0), height * down + 0.3), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def _across(count: int) -> int:
    return 2 if count == 4 else min(3, max(1, count))


def _legend(figure: Figure, rows: Sequence[Row], styles: Mapping[Row, Style]) -> None:
    handles = [Line2D([], [], **styles[row]) for row in rows]
    labels = [styles[row]["label"] for row in rows]
    columns = max(1, min(5, len(rows), 110 // (8 + max(map(len, labels)))))
    figure.set_figheight(figure.get_figheight() + 0.19 * (-(-len(rows) // columns)))
    figure.legend(
        handles, [f" {label}" if label.startswith("_") else label for label in labels],  # else it would be left out
        loc="outside lower center", ncols=columns,
    )  # fmt: skip


# -- the charts


def _finals(
    groups: Sequence[Group], tasks: Sequence[str], metrics: Mapping[str, str], styles: Mapping[Row, Style]
) -> Figure:
    rows = list(dict.fromkeys(map(_row, groups)))
    figure, axes = _grid(len(tasks), 4.2, 0.9 + 0.32 * len(rows))
    for index, (task, ax) in enumerate(zip(tasks, axes, strict=True)):
        own = [group for group in groups if group.task == task]
        for group in own:
            values = [100 * run.metrics[metrics[task]] for run in group.runs if metrics[task] in run.metrics]
            if values:
                _final(ax, rows.index(_row(group)), values, styles[_row(group)])
        for model, dash in ((TEACHER, "--"), (MAJORITY, ":")):
            known = [v for g in own for r in g.runs if (v := r.models.get(model, {}).get(metrics[task])) is not None]
            low, high = ax.get_xlim()
            if known and low - 2 * (high - low) < 100 * known[0] < high + 2 * (high - low):
                ax.axvline(100 * known[0], color=FAINT, linestyle=dash, linewidth=1.2, zorder=0)
        ax.set_title(_shown(task_title(task)))
        ax.set_xlabel(f"{_shown(metrics[task])}, %")
        ax.set_ylim(len(rows) - 0.4, -0.6)
        first = index % _across(len(tasks)) == 0
        ax.set_yticks(range(len(rows)), [styles[row]["label"] if first else "" for row in rows])
        ax.grid(visible=False, axis="y")
    return figure


def _final(ax: Axes, row: int, values: Sequence[float], style: Style) -> None:
    ax.plot(values, [row + 0.17] * len(values), "o", color=style["color"], markersize=3.5, alpha=0.55)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    ax.errorbar(
        statistics.fmean(values), row - 0.08, xerr=deviation or None, color=style["color"], marker=style["marker"],
        markersize=6, capsize=3, linewidth=1.4,
    )  # fmt: skip


def _curves(
    lines: Mapping[Group, Mapping[str, Sequence[Band]]],
    shown: Sequence[str],
    metric: str,
    styles: Mapping[Row, Style],
) -> Figure:
    figure, axes = _grid(len(shown), 4.0, 3.4)
    alpha = 0.16 if len(lines) <= 6 else 0.05
    dev = "" if any("metric, train" in found for found in lines.values()) else "dev "
    for panel, ax in zip(shown, axes, strict=True):
        lowest = min(p[1] for found in lines.values() for band in found.get(panel, ()) for p in band.points)
        scale = 100 if panel == "metric" else 1
        for group, found in lines.items():
            for band in found.get(panel, ()):
                _band(ax, band, styles[_row(group)], scale, alpha)
            for band in found.get(f"{panel}, train", ()):
                _band(ax, band, {**styles[_row(group)], **ON_TRAIN}, scale, 0.0)
        ax.set_xlabel("optimiser step")
        names = {"loss": "training loss", "metric": f"{dev}{_shown(metric)}, %", "label loss": f"loss on {dev}labels"}
        ax.set_ylabel(names.get(panel, panel))
        if panel == "loss" and lowest > 0:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.set_ylim(bottom=lowest / 2)  # a wide band would take the axis down with it
            ax.yaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # mathtext is off
    _legend(figure, [_row(group) for group, found in lines.items() if found], styles)
    return figure


def _band(ax: Axes, band: Band, style: Style, scale: float, alpha: float) -> None:
    x = [point[0] for point in band.points]
    y = [scale * point[1] for point in band.points]
    spreads = [scale * (point[2] or 0.0) for point in band.points]
    ax.plot(x, y, **style, markevery=max(1, len(x) // 5), markersize=4)
    if any(spreads) and alpha:
        low = [value - by for value, by in zip(y, spreads, strict=True)]
        if ax.get_ylabel() == "" and min(low) <= 0 < min(y):  # a log scale has no room below nothing
            low = [max(value, 0.2 * mean) for value, mean in zip(low, y, strict=True)]
        high = [value + by for value, by in zip(y, spreads, strict=True)]
        ax.fill_between(x, low, high, color=style["color"], alpha=alpha, linewidth=0)


def _noise(probes: Mapping[Group, GroupProbe], metric: str, styles: Mapping[Row, Style]) -> Figure:
    figure, (ax,) = _grid(1, 6.0, 3.6)
    for group, found in probes.items():
        if found.noise:
            spreads = list(found.noise.values())
            errors = [100 * (spread.deviation or 0.0) for spread in spreads]
            ax.errorbar(list(found.noise), [100 * s.mean for s in spreads], errors, **styles[_row(group)], capsize=3)
    ax.set_xlabel("noise, × root mean square of each weight tensor")
    ax.set_ylabel(f"dev {_shown(metric)}, %")
    _legend(figure, [_row(group) for group, found in probes.items() if found.noise], styles)
    return figure


def _distances(probes: Mapping[Group, GroupProbe], styles: Mapping[Row, Style]) -> Figure:
    kinds = list(dict.fromkeys(kind for found in probes.values() for kind in found.distances))
    figure, axes = _grid(len(kinds), 3.6, 2.9)
    for kind, ax in zip(kinds, axes, strict=True):
        layers = set()
        for group, found in probes.items():
            cells = found.distances.get(kind, {})
            for side, dash in (("dev", "-"), ("train", "--")):
                points = [(layer, spread.mean) for (layer, where), spread in cells.items() if where == side]
                layers |= {layer for layer, _ in points}
                style = {**styles[_row(group)], "linestyle": dash}
                ax.plot([x for x, _ in points], [y for _, y in points], **style, alpha=1.0 if side == "dev" else 0.6)
        ax.set_title("1 − CKA" if kind == "cka" else _shown(kind))
        ax.set_xlabel("student layer")
        ax.set_xticks(sorted(layers)[:: max(1, len(layers) // 8)])
    axes[0].set_ylabel("distance to the teacher")
    _legend(figure, [_row(group) for group in probes], styles)
    return figure


# -- files, and SVG inside a page


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Write every chart as SVG and PNG (200 dots an inch). Raises UsageError with the cause where that cannot be done."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for chart in report_charts(report):
            for ending, canvas in (("svg", FigureCanvasSVG), ("png", FigureCanvasAgg)):
                path = folder / f"{chart.name}.{ending}"
                refuse_own_path(path, key="--figures")
                with drawing():
                    date: dict[str, Any] = {"Date": None} if ending == "svg" else {}
                    canvas(chart.figure).print_figure(path, format=ending, dpi=200, metadata=date)
                written.append(path)
    except OSError as error:
        sentence = f"cannot be written: {cause(error)}"
        raise UsageError(sentence, kind="unwritable-file", file=str(folder), key="--figures") from error
    return written


def inline_svg(chart: ReportChart, number: int) -> str:
    """A chart as an SVG element for a page: colours are the page's, ids are its own, nothing refers outside."""
    out = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with drawing():
        for ax in chart.figure.axes:
            ax.patch.set_visible(False)  # the page's own ground shows through
        FigureCanvasSVG(chart.figure).print_figure(out, format="svg", facecolor="none", metadata=nothing)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    svg = re.sub(r'(\bid="|"url\(#|: url\(#|="#|url\(#)', lambda match: f"{match[1]}p{number}-", svg)
    names = {"ink": INK, "faint": FAINT, **{f"c{index}": colour for index, colour in enumerate(COLOURS)}}
    for name, colour in names.items():
        svg = re.sub(re.escape(colour), f"var(--{name})", svg, flags=re.IGNORECASE)
    svg = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', _opening(chart, number), svg)
    return svg.strip()


def _opening(chart: ReportChart, number: int) -> str:
    """The first tag, as the replacement of a pattern: letters of one size in all charts, where there is room."""
    width = chart.figure.get_figwidth() * 5.6
    return rf'<svg viewBox="\1" role="img" aria-labelledby="cap{number}" style="max-width: {width:.1f}rem">'
