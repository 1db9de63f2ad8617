"""Write result tables, and the report behind them, as one HTML page without external files."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.preset.names import LABELS, task_title
from engine.preset.text import plain, shown
from engine.record.files import read_json
from engine.record.paths import ENVIRONMENT
from engine.record.secrets import without_secrets
from engine.report.collect import FinishedRun
from engine.report.compare import ABSENT, Spread, differences
from engine.report.error_tables import error_notes, error_tables
from engine.report.group_errors import group_errors
from engine.report.probes import group_probe
from engine.report.report_document import ReportDocument
from engine.report.result_table import Cell, ResultDocument, ResultTable, Row
from engine.report.settings import Group, setting_text
from engine.report.table import Report
from engine.report.units import metric

STYLE = Path(__file__).with_name("page.css")
MOST_RUNS = 1000
"""Runs whose settings are listed; the JSON format has them all."""
_ENVIRONMENT = ("crild", "python", "platform", "host", "device", "device_name", "precision", "threads")


def page(document: ResultDocument, *, now: float | None = None) -> str:
    """The page; `now` is the time it gives as its own, in seconds since 1970."""
    style = STYLE.read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is fetched, nothing is run
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    report = document.report if isinstance(document, ReportDocument) else None
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>crild report</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_text(policy)}">',
        f"<style>{style}</style></head><body>",
        f"<header><h1>crild report</h1><p class=quiet>{'' if report is None else _counts(report)}Made {made}.</p></header>",
        "<main>",
    ]
    for table in document.tables:
        parts += _table(table)
    if document.notes:
        parts.append(_list(document.notes))
    if report is not None:
        parts += _charts(report)
        parts += _probes(report)
        parts += _mistakes(report)
        parts += _settings(report)
        parts += _environments(report.runs)
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _counts(report: Report) -> str:
    methods = len({group.method for group in report.groups})
    tasks = list(dict.fromkeys(group.task for group in report.groups))
    counts = (_count(len(report.runs), "run"), _count(methods, "method"), _count(len(tasks), "task"))
    return f"{', '.join(counts)}: {_text(', '.join(map(task_title, tasks)))}. "


def _text(value: str) -> str:
    """Outside text, with markup and control characters escaped."""
    return html.escape(plain(value), quote=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _list(lines: Iterable[str]) -> str:
    return "<ul class=notes>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


# -- tables


def _table(table: ResultTable) -> Iterator[str]:
    yield f"<section><h2>{_text(table.name)}</h2>" if table.name else "<section>"
    if table.title:
        yield f"<p class=quiet>{_text(table.title)}.</p>"
    detailed = any(cell.detail for row in table.rows for cell in row.cells)
    for section in table.sections:
        columns = table.filled(section)
        figures = [n for n in columns if any(row.cells[n].value is not None for row in section.rows)]
        if section.heading:
            yield f"<h3>{_text(section.heading)}</h3>"
        heads = "".join(
            f"<th scope=col{_side(table, n)}>{_text(table.columns[n].heading)}"
            f"{'<span class=mark></span>' if n in figures else ''}</th>"
            for n in columns
        )
        rows = "".join(
            _row(
                table, row, columns, detailed=detailed, first=before is not None and row.kind == "other" != before.kind
            )
            for before, row in zip((None, *section.rows), section.rows, strict=False)
        )
        head = f"<thead><tr><th scope=col>{_text(table.row_heading)}</th>{heads}</tr></thead>"
        yield _wide(f"{head}<tbody>{rows}</tbody>", section.heading or table.title or table.name)
    if table.notes:
        yield _list(table.notes)
    yield "</section>"


def _wide(inside: str, label: str) -> str:
    """A table that scrolls on its own in a narrow window, reachable by keyboard."""
    return f'<div class=wide role=region tabindex=0 aria-label="{_text(label)}"><table>{inside}</table></div>'


def _row(table: ResultTable, row: Row, columns: Sequence[int], *, detailed: bool, first: bool) -> str:
    kinds = [*(["other"] if row.kind == "other" else []), *(["first"] if first else [])]
    setting = f"<span class=setting>{_text(row.setting)}</span>" if row.setting else ""
    cells = "".join(
        f"<td{_side(table, n)}>{_cell(row.cells[n], table.reference, detailed=detailed)}</td>" for n in columns
    )
    return f'<tr class="{" ".join(kinds)}"><th scope=row>{_text(row.name)}{setting}</th>{cells}</tr>'


def _side(table: ResultTable, column: int) -> str:
    return " class=text" if table.columns[column].wraps else ""


def _cell(cell: Cell, reference: str, *, detailed: bool) -> str:
    if cell.value is None:
        return _text(cell.text)
    figure, sign, deviation = cell.text.partition(" ± ")
    text = figure + (f" <span class=sd>± {deviation}</span>" if sign else "")
    text += f"<span class=gap>{cell.detail}</span>" if detailed else ""
    meaning = {
        "best": "significantly better than all others", "tied": f"not significantly different from {reference}",
        "above": f"significantly above {reference}", "below": f"significantly below {reference}",
        "highest": "the highest, not tested", "": "",
    }[cell.mark]  # fmt: skip
    look = "plain" if detailed else {"": "plain", "highest": "best"}.get(cell.mark, cell.mark)
    meaning = "; ".join(part for part in (meaning, "at or below the majority guess" * cell.below_majority) if part)
    mark = f'<span class=mark title="{_text(meaning)}">{"&nbsp;" * bool(cell.sign)}{cell.sign}</span>'
    return f'<span class="{look}" title="{_text(cell.hint)}">{text}</span>{mark}'


# -- charts


def _charts(report: Report) -> Iterator[str]:
    from engine.report.figures import inline_svg, report_charts  # matplotlib

    yield "<section><h2>Pictures</h2>"
    for number, chart in enumerate(report_charts(report)):
        svg = inline_svg(chart, number)
        yield f'<figure>{svg}<figcaption id="cap{number}">{_text(chart.caption)}</figcaption></figure>'
    yield "</section>"


def _probes(report: Report) -> Iterator[str]:
    rows = [(group, found) for group in report.groups if (found := group_probe(group)) is not None]
    names = list(dict.fromkeys(name for _, found in rows for name in found.figures))
    if not names:
        return
    yield "<section><h2>Probes</h2>"
    head = "".join(f"<th scope=col>{_text(name)}</th>" for name in ("method", "task", "runs", *names))
    body = "".join(
        f"<tr><th scope=row>{_group(group)}</th><td>{_text(task_title(group.task))}</td><td>{found.runs}</td>"
        + "".join(f"<td>{_spread(found.figures.get(name), name in found.metrics)}</td>" for name in names)
        + "</tr>"
        for group, found in rows
    )
    yield _wide(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", "what probes found") + "</section>"


def _mistakes(report: Report) -> Iterator[str]:
    """Classes, confusions and calibration of each group's best run, folded."""
    several = list(group_errors(report.groups))
    if not several:
        return
    yield "<section><h2>What the students get wrong</h2>"
    yield "<p class=quiet>Of the best seed of each method, on dev.</p>"
    for one in several:
        yield f"<details><summary>{_group(one.group)} {_text(one.group.task)}: <code>{_text(one.run.name)}</code></summary>"
        for table in error_tables(one.errors):
            yield from _table(replace(table, name=""))
        yield _list(error_notes(one.errors)) + "</details>"
    yield "</section>"


def _spread(found: Spread | None, is_metric: bool) -> str:
    if found is None:
        return ""
    mean, spread = (metric, metric) if is_metric else ("{:.4g}".format, "{:.3g}".format)
    deviation = "" if found.deviation is None else f" <span class=sd>± {spread(found.deviation)}</span>"
    return f"{mean(found.mean)}{deviation}"


def _group(group: Group) -> str:
    setting = setting_text((*group.common, *group.own), most=99)
    return _text(group.method) + (f"<span class=setting>{_text(setting)}</span>" if setting else "")


# -- settings and environments


def _settings(report: Report) -> Iterator[str]:
    what = "The runs of each method, and every key of their presets in which methods of one task differ."
    yield f"<section><h2>Runs</h2><p class=quiet>{what}</p>"
    for task in dict.fromkeys(group.task for group in report.groups):
        groups = [group for group in report.groups if group.task == task]
        rows = differences([group.runs[0].preset for group in groups])
        yield f"<h3>{_text(task_title(task))}</h3>"
        for index, group in enumerate(groups):
            values = [(row.key, row.values[index]) for row in rows if row.key not in ("seed", *LABELS)]
            own = [(key, value) for key, value in values if value is not ABSENT]
            yield f"<details><summary>{_group(group)} {_count(len(group.runs), 'run')}</summary>"
            runs = ", ".join(f"<code>{_text(run.name)}</code> (seed {run.seed})" for run in group.runs[:MOST_RUNS])
            yield f"<p>{runs}</p>"
            if own:
                body = "".join(
                    f"<tr><th scope=row>{_text(k)}</th><td class=text><code>{_value(v)}</code></td></tr>"
                    for k, v in own
                )
                yield _wide(f"<tbody>{body}</tbody>", f"settings of {group.method}")
            yield "</details>"
    yield "</section>"


def _value(value: Any) -> str:
    return _text(without_secrets(value if isinstance(value, str) else shown(value, 300)))


def _environments(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """The environments of the runs, each once."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        data = read_json(run.run_dir / ENVIRONMENT) or {}
        facts = [(name, data.get(name)) for name in _ENVIRONMENT]
        versions, git = data.get("versions"), data.get("git")
        if isinstance(git, Mapping):
            facts.append(("git", f"{git.get('commit')}{', with changes' if git.get('changed') else ''}"))
        if isinstance(versions, Mapping):
            facts += list(versions.items())
        known = tuple((str(name), str(value)) for name, value in facts if value is not None)
        found.setdefault(known, []).append(run.name)
    yield "<section><h2>Environment</h2>"
    for known, names in found.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"<details><summary>{_count(len(names), 'run')}: {_text(', '.join(names[:3]))}{more}</summary>"
        body = "".join(
            f"<tr><th scope=row>{_text(k)}</th><td class=text>{_text(without_secrets(v))}</td></tr>" for k, v in known
        )
        yield _wide(f"<tbody>{body}</tbody>", "environment") + "</details>"
    yield "</section>"
