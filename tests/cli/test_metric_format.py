"""One run through everything that shows metrics: each shows 93.50, none 0.935, and what programs read has shares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.launch.foreground
from crild_tui.charts.drawing import draw
from crild_tui.charts.figure import Figure
from crild_tui.charts.legend import value_text
from crild_tui.charts.logged import logged
from crild_tui.charts.run_figures import Look, Source, TraceCache, figures
from crild_tui.cli import sweep_follow
from crild_tui.cli.compare import metrics_table as numbered_table
from crild_tui.cli.follow import event_messages
from crild_tui.cli.result_tables import plain_text
from crild_tui.cli.seeds_table import seeds_table
from crild_tui.cli.sweep_table import matrix_table
from crild_tui.monitor.alarms import overfitting
from crild_tui.monitor.curves import Curves, Table
from crild_tui.runs import comparison, details, formatting, listing, probe_rows, states, sweeps
from crild_tui.runs.summary import RunSummary, apply_events
from crild_tui.widgets.run_details import scores
from crild_tui.widgets.standing import standing_line
from engine.record.run import read_run
from engine.report.closing_table import closing_table
from engine.report.final_metrics import metrics_table, read_final_metrics
from engine.report.result_table import ResultDocument
from engine.report.writers import comma_separated, latex, markdown
from engine.sweep.matrix import Matrix, MatrixCell
from engine.user.notification import facts_of
from tests.cli.conftest import Call
from tests.cli.samples import RESULTS, make_run
from tests.record.probe_samples import sample
from tests.tui import curves_samples
from tests.tui.run_entries import KEYS, NOW

STUDENT, TEACHER, MAJORITY, BASELINE = 0.935, 0.9512, 0.5271, 0.8649
SHARE = re.compile(r"(?<![\d.])0?\.(935|951|527|865|864|016)")
"""One of these, or the distance to the teacher, as a share."""
STATUS: dict[str, Any] = {"last": STUDENT, "best": STUDENT, "teacher": TEACHER, "majority": MAJORITY}
SUMMARY = RunSummary(metric_name="accuracy", metric=STUDENT, best=STUDENT, teacher=TEACHER, majority=MAJORITY)


def check(text: str, *figures: str) -> None:
    """A text has these figures, 93.50 if none are named, and no share."""
    for figure in figures or ("93.50",):
        assert figure in text, text
    assert not SHARE.search(text), text


def finished(runs_dir: Path, name: str = "rte-crild", **fields: Any) -> Path:
    models = {
        "student": {"metrics": {"accuracy": STUDENT}}, "teacher": {"metrics": {"accuracy": TEACHER}},
        "baseline": {"metrics": {"accuracy": BASELINE}}, "majority": {"accuracy": MAJORITY},
        "last": {"stage": "kd", "step": 400, "metrics": {"accuracy": STUDENT}},
        "best": {"stage": "kd", "step": 320, "metrics": {"accuracy": STUDENT}},
    }  # fmt: skip
    return make_run(runs_dir, name, results=models, **{**STATUS, **fields})


# -- commands


@pytest.mark.parametrize("words", [("runs",), ("show", "rte-crild"), ("compare", "rte-crild", "rte-kd"), ("report",)])
def test_commands(crild: Call, runs_dir: Path, words: tuple[str, ...]) -> None:
    finished(runs_dir)
    finished(runs_dir, "rte-kd", method="kd")
    said = crild(*words)
    assert said.code == 0
    check(said.out)


def test_evaluate(crild: Call, runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(runs_dir)
    splits = {"dev": {"metrics": {"accuracy": STUDENT}, "examples": 277}}
    answer = {"model": "x", "task": "rte", "splits": splits, "parameters": 1, "notes": []}
    monkeypatch.setattr(engine.launch.foreground, "run_tool", lambda *_, **__: answer)
    check(crild("evaluate", "rte-crild").out)
    assert crild("evaluate", "rte-crild", "--json").json["splits"] == splits


def test_lines_of_a_run_in_the_terminal() -> None:
    evaluation = {
        "kind": "evaluation", "stage": "kd", "step": 10, "model": "student", "split": "dev", "primary": True,
        "metrics": {"accuracy": STUDENT, "f1": TEACHER},
    }  # fmt: skip
    started = {"kind": "stage_started", "stage": "kd", "step": 0, "steps": 40}
    summary = apply_events(RunSummary(), [started, evaluation])
    check(" ".join(text for _, text in event_messages.describe(evaluation, summary)), "93.50", "95.12")
    check(event_messages.stage_sentence(summary.stages[0], "accuracy"))
    check(event_messages.progress(SUMMARY), "93.50", "95.12")
    check(" ".join(event_messages.metrics(SUMMARY)), "93.50", "95.12", "52.71")


def test_tables_of_several_runs(runs_dir: Path) -> None:
    finals = [read_final_metrics(finished(runs_dir, name, seed=seed)) for seed, name in ((1, "a"), (2, "b"))]
    for table in (metrics_table(finals), seeds_table(finals), numbered_table(finals)):
        for write in (markdown, latex, plain_text):
            check(write(ResultDocument((table,))), "93.50", "95.12")
    lines = comparison.metrics_lines(metrics_table(finals), finals, [0, 1], dark=True)
    check("\n".join(line.text.plain for line in lines), "93.50", "86.49")


def test_a_sweep(runs_dir: Path) -> None:
    cell = MatrixCell({"finished": 2}, (STUDENT, STUDENT), 1.0, "accuracy")
    check(sweeps.mean_of(cell), "93.50 ± 0.00")
    check(sweeps.range_text((STUDENT, TEACHER)), "93.50 to 95.12")
    found = Matrix("s", ("kd",), ("rte",), {("kd", "rte"): cell}, {"finished": 2}, 1.0, None, alive=False)
    check(plain_text(ResultDocument((matrix_table(found),))))
    running = read_run(make_run(runs_dir, state="stopped", **STATUS))
    check(sweep_follow.run_line(running))


def test_a_probe() -> None:
    probe = replace(sample(train=TEACHER, dev=STUDENT), noise=(replace(sample().noise[0], metric=STUDENT),))
    text = "\n".join(" ".join(row) for row in (*probe_rows.fit_rows(probe), *probe_rows.noise_rows(probe)))
    check(text, "95.12 93.50 -1.62", "0.6500")
    check(" ".join(probe_rows.summaries([probe])[0].rows[0]), "95.12 93.50 -1.62", "0.0800")


# -- the dashboard


def test_the_list_of_runs_and_what_it_says_of_one(runs_dir: Path) -> None:
    run_dir = finished(runs_dir)
    entry = read_run(run_dir)
    row = {column.name: column.text(entry, NOW) for column in listing.COLUMNS}
    assert [row[name] for name in ("last", "best", "teacher", "to-teacher")] == ["93.50", "93.50", "95.12", "-1.62"]
    check(" ".join(value for _, value in details.status_lines(entry, KEYS, NOW)), "93.50", "95.12", "52.71")
    check(details.panel(entry, details.read_about(run_dir), KEYS, NOW, 60).plain, "93.50", "95.12", "86.49", "52.71")
    check(str(states.describe(entry, states.command_hints(run_dir), NOW)), "93.50", "95.12", "52.71")


def test_the_closing_table_says_it_in_sentences_too() -> None:
    low = {**RESULTS, "student": {"metrics": {"accuracy": MAJORITY}}, "majority": {"accuracy": MAJORITY}}
    check(" ".join(closing_table(low).statements), "52.71")


def test_live() -> None:
    line = standing_line(SUMMARY, 200)
    assert line is not None
    check(line.plain, "93.50", "95.12", "52.71")
    seen = replace(curves_samples.snapshot(), summary=SUMMARY)
    check(" ".join(fact.short for fact in scores(seen)), "93.50", "95.12", "52.71")


def curve(*values: float) -> Table:
    steps = 10.0 * np.arange(1, len(values) + 1)
    return curves_samples.table(steps, accuracy=np.array(values))


def test_an_alarm() -> None:
    steps = curves_samples.table(np.arange(1.0, 81.0), loss=1 / np.arange(1.0, 81.0))
    check(overfitting(steps, curve(0.9, 0.9512, 0.94, 0.938, 0.935), "accuracy") or "", "93.50", "95.12")


def dev_charts() -> Iterator[tuple[str, Figure]]:
    """The dev panel, and the charts of dev and of the gap to training in the grid, of a student that ends at 93.50."""
    steps = curves_samples.table(np.arange(1.0, 51.0), loss=np.linspace(2, 1, 50))
    models = {"student": curve(0.91, 0.92, 0.93, 0.93, STUDENT), "student (train)": curve(0.97, 0.98, 0.98, 0.99, 0.99)}
    seen = curves_samples.snapshot(Curves(steps, models), teacher=TEACHER, majority=0.9, stage="kd")
    source = Source(replace(seen, read=True), "a", 0)
    yield "panel", figures([source], Look(), TraceCache())[2]
    for chart in logged([source], Look(), TraceCache()):
        if "accuracy" in chart.name:
            yield chart.name, chart.figure


def test_curves_with_their_scales_legends_and_levels() -> None:
    charts = dict(dev_charts())
    assert set(charts) == {"panel", "dev/accuracy", "gap/accuracy, train - dev"}
    for name, figure in charts.items():
        for width in (70, 120):
            drawn = ["".join(piece for piece, _ in row) for row in draw(figure, width, 14).canvas.spans()]
            ticks = [float(match[1]) for line in drawn if (match := re.match(r" *([\d.]+)┤", line))]
            assert len(ticks) > 1
            if "gap" in name:
                assert 5 <= max(ticks) <= 7
                check("\n".join(drawn), "5.50")
            else:
                assert min(ticks) >= 90
                check("\n".join(drawn), "93.50", "95.12")
        assert value_text(replace(figure, cursor=20.0), figure.lines[0]) == ("6.00" if "gap" in name else "92.00")


def test_losses_stay_as_they_are() -> None:
    seen = curves_samples.snapshot(curves_samples.ordinary())
    loss, consistency, _ = figures([Source(seen, "a", 0)], Look(), TraceCache())
    assert (loss.unit, consistency.unit) == (1, 1)
    assert value_text(loss, loss.lines[0]) == formatting.loss(loss.lines[0].last)


# -- what programs read


def test_records_and_exports_hold_shares(crild: Call, runs_dir: Path) -> None:
    run_dir = finished(runs_dir)
    texts = {
        "runs": crild("runs", "--json").out,
        "show": crild("show", "rte-crild", "--json").out,
        "compare": crild("compare", "rte-crild", "rte-crild", "--json").out,
        "report": crild("report", "--format", "json").out,
        "report as csv": crild("report", "--format", "csv").out,
        "csv": comma_separated(ResultDocument((metrics_table([read_final_metrics(run_dir)]),))),
        "status": (run_dir / "status.json").read_text(),
        "notification": json.dumps(facts_of(run_dir)),
    }
    for name, text in texts.items():
        assert re.search(r"\b0\.935", text), name
        assert "93.5" not in text, name
