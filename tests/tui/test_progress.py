from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crild_tui.cli.follow.displays import draw
from crild_tui.monitor.alarms import Alarm
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.snapshots import EngineMessage, RunSnapshot
from crild_tui.runs.summary import RunSummary, StageSummary
from crild_tui.widgets.messages_pane import message_lines
from crild_tui.widgets.notice import drawn, error_lines, notice_of, waiting
from crild_tui.widgets.progress import Stage, stage_line, stage_rows, stages_of
from crild_tui.widgets.run_details import (
    facts_line,
    facts_rows,
    origin,
    pace,
    scores,
    state_words,
    title_line,
)
from crild_tui.widgets.run_header import head_lines
from crild_tui.widgets.text_view import TextLine, find_all, wrapped
from engine.record.phases import Phase
from engine.record.run import RunEntry
from engine.record.states import WRITTEN
from engine.record.status import Fault, Status
from engine.sweep.record import CellRecord, SweepRecord
from engine.sweep.slots import Slot
from tests.tui.run_entries import KEYS

STAGES = (
    Stage("teacher", "done", 100, 100),
    Stage("ild", "present", 120, 480),
    Stage("kd", "to come", 0, 160),
    Stage("baseline", "to come"),
)


def snapshot(state: str = "running", summary: RunSummary | None = None, **fields: object) -> RunSnapshot:
    status = Status("r", 0.0, state=state if state in WRITTEN else "running", preset="crild+rte", task="rte", seed=7)
    for name, value in fields.items():
        status = replace(status, **{name: value})  # type: ignore[arg-type]
    entry = RunEntry(Path("/runs/r"), status, state)
    return RunSnapshot(entry.path, entry, summary or RunSummary(state=state), Curves())


def test_stages_are_done_present_or_to_come() -> None:
    summary = RunSummary(
        names=("teacher", "ild", "kd", "baseline"),
        stages=(StageSummary("teacher", 100, 100, finished=True), StageSummary("ild", 110, 480)),
        stage="ild", step=120, steps=480, state="running",
    )  # fmt: skip
    found = stages_of(summary)
    assert [stage.where for stage in found] == ["done", "present", "to come", "to come"]
    assert found[1].count == "120/480"
    assert [stage.share for stage in found] == [1.0, 0.25, None, None]


def test_a_finished_run_has_done_all_its_stages() -> None:
    assert [s.where for s in stages_of(RunSummary(names=("a", "b"), state="finished"))] == ["done", "done"]


def test_while_a_resumed_run_loads_its_stages_show_what_was_reached() -> None:
    summary = RunSummary(names=("a", "b"), stages=(StageSummary("a", 9, 10),), stage=None, state="running")
    (first, second) = stages_of(summary)
    assert (first.where, first.count, second.count) == ("to come", "9/10", "")


def test_a_stage_that_nobody_announced_is_shown() -> None:
    assert [s.name for s in stages_of(RunSummary(stage="ild", step=3, state="running"))] == ["ild"]
    assert stages_of(RunSummary()) == ()


@pytest.mark.parametrize("width", [1, 8, 20, 30, 40, 50, 60, 80, 200])
def test_the_line_of_stages_fits(width: int) -> None:
    assert stage_line(STAGES, width).cell_length <= width
    assert all(row.cell_length <= width for row in stage_rows(STAGES, width))


def test_the_line_of_stages_at_80_columns() -> None:
    line = stage_line(STAGES, 78).plain
    assert line.startswith("✓ teacher  ▶ ild ▄")
    assert line.endswith(" 120/480  · kd  · baseline")


def test_the_line_of_stages_where_it_is_narrow() -> None:
    assert stage_line(STAGES, 40).plain.startswith("▶ 2/4 ild ▄")
    done = [replace(stage, where="done", name="a-stage-with-a-long-name") for stage in STAGES]
    assert stage_line(done, 30).plain == "✓ 4 of 4 stages"


def test_many_stages_show_those_around_the_present_one() -> None:
    stages = [Stage(f"s{n}", "done" if n < 30 else "present" if n == 30 else "to come", 1, 2) for n in range(50)]
    rows = [row.plain for row in stage_rows(stages, 40)]
    assert len(rows) == 12
    assert any(row.startswith("▶ s30") for row in rows)
    assert stage_line(stages, 80).plain.startswith("▶ 31/50 s30")


def test_hostile_stage_names_are_text() -> None:
    line = stage_line((Stage("[red]\x1b[2J", "present", 1, 2),), 80)
    assert "[red]\\x1b[2J" in line.plain


# -- facts


def test_the_title_fits_and_leaves_out_what_does_not() -> None:
    seen = snapshot(started=100.0, done=220, total=840, summary=RunSummary(state="running", eta=312.0))
    line = title_line(seen, 78, 225.0).plain
    assert line.startswith("▶ running  r ")
    assert line.endswith("26 %  ETA 5:12  elapsed 2:05")
    for width in range(60):
        assert title_line(seen, width, 225.0).cell_length <= width


def test_the_title_of_a_run_that_ended_says_how_long_it_took() -> None:
    seen = snapshot("finished", started=100.0, ended=160.0, done=5, total=5)
    line = title_line(seen, 60, 1e9).plain
    assert "took 1:00" in line
    assert "%" not in line
    resumed = snapshot("finished", started=100.0, ended=160.0, done=5, total=5, attempt=2)
    assert "took 1:00, attempt 2 alone" in title_line(resumed, 80, 1e9).plain


def test_a_run_with_all_its_steps_made_is_saving() -> None:
    seen = snapshot(started=100.0, done=840, total=840, summary=RunSummary(state="running", eta=0.0))
    assert title_line(seen, 78, 225.0).plain.endswith("100 %  saving  elapsed 2:05")
    almost = snapshot(started=100.0, done=8399, total=8400, summary=RunSummary(state="running", eta=2.0))
    assert "99 %  ETA 2.0 s" in title_line(almost, 78, 225.0).plain


def test_being_asked_to_stop_shows_at_once() -> None:
    assert state_words("running", asked=True).plain == "◼ asked to stop"
    assert state_words("finished", asked=True).plain == "✓ finished"
    assert state_words("of a newer crild").plain == "? of a newer crild"


def test_scores_and_pace_are_said_shortly() -> None:
    summary = RunSummary(
        metric_name="accuracy", metric=0.5, best=0.6, teacher=0.7, majority=0.5, rate=94.0, memory=4.2e9,
        learning_rate=2e-5,
    )  # fmt: skip
    seen = snapshot(summary=summary)
    said = [fact.short for fact in (*scores(seen), *pace(seen))]
    assert said == [
        "accuracy 50.00",
        "best 60.00",
        "teacher 70.00",
        "majority 50.00",
        "94 ex/s",
        "lr 2e-05",
        "4.2 GB",
    ]


def test_the_least_important_facts_are_left_out_first() -> None:
    facts = scores(snapshot(summary=RunSummary(metric_name="f1", metric=0.5, best=0.6, teacher=0.7, majority=0.5)))
    assert facts_line(facts, 200).plain == "f1 50.00 · best 60.00 · teacher 70.00 · majority 50.00"
    assert facts_line(facts, 45).plain == "f1 50.00 · best 60.00 · teacher 70.00"
    assert facts_line(facts, 12).plain == "f1 50.00"
    assert facts_line([], 10).plain == ""
    assert next(row.plain for row in facts_rows(facts, 30)) == "f1, last  50.00"


def test_a_run_without_a_status_has_no_origin() -> None:
    assert origin(replace(snapshot(), entry=RunEntry(Path("/r"), None, "unreadable", "torn"))) == []


@pytest.mark.parametrize("width", [1, 20, 38, 78, 198])
@pytest.mark.parametrize("low", [False, True])
def test_the_lines_above_the_panels_fit(width: int, low: bool) -> None:
    alarms = tuple(Alarm(f"kind {n}", "error", f"alarm {n} [bold]\x1b[2J{'x' * 300}") for n in range(9))
    seen = replace(snapshot(summary=RunSummary(names=("a", "b"), stage="a", steps=10, metric=0.5)), alarms=alarms)
    lines = head_lines(seen, width, time.time(), low=low)
    assert all(line.cell_length <= width for line in lines)
    assert len(lines) <= (3 if low else 10)
    assert not any("\x1b" in line.plain for line in lines)


# -- notices


def test_a_working_run_needs_no_notice() -> None:
    assert notice_of(snapshot(summary=RunSummary(stage="ild", state="running")), KEYS) is None
    assert notice_of(snapshot("finished"), KEYS) is None


@pytest.mark.parametrize(
    ("state", "level", "keys"),
    [
        ("created", "info", "m"), ("running", "info", "m"), ("queued", "info", "s"), ("failed", "error", "rmc"),
        ("lost", "error", "rm"), ("stalled", "warning", "Krm"), ("stopped", "warning", "r"),
        ("preempted", "warning", "r"), ("unreadable", "error", "m"),
    ],
)  # fmt: skip
def test_each_state_names_the_keys_to_press(state: str, level: str, keys: str) -> None:
    notice = notice_of(snapshot(state, attempt=1), KEYS)
    assert notice is not None
    assert notice.title
    assert (notice.level, "".join(re.findall(r"press (\w)", notice.hint))) == (level, keys)


def test_a_failure_names_its_place() -> None:
    fault = Fault("data", "no column 'a'\nnor 'b'", "/d/train.tsv", 3, "task.columns")
    assert error_lines(fault) == ("no column 'a'", "nor 'b'", "in /d/train.tsv, line 3, key task.columns")
    assert error_lines(Fault("run", "")) == ("no reason was given",)
    assert len(error_lines(Fault("run", "\n".join("x" * 100)))) == 13


def test_a_notice_is_drawn_as_text_and_its_sign_moves() -> None:
    notice = notice_of(replace(snapshot("created"), messages=(EngineMessage(0.0, "info", "[bold]\x1b[2J"),)), KEYS)
    assert notice is not None
    assert drawn(notice, 0).plain != drawn(notice, 1).plain
    assert "[bold]\\x1b[2J" in drawn(notice).plain


def test_the_place_in_a_queue_is_counted() -> None:
    cells = tuple(CellRecord(run, {}, 0, None) for run in "abc")
    record = SweepRecord("q", "", 0.0, {}, cells, (Slot("auto", 0),), waiting="for a free GPU")
    states = {"a": "running", "b": "queued", "c": "queued"}
    sentence = waiting(record, "b", states)
    assert all(fact in sentence for fact in ("1 run is ahead", "a is running", "for a free GPU"))
    assert "2 runs are ahead" in waiting(record, "c", states)
    assert "next" in waiting(replace(record, waiting=None), "b", {**states, "a": "finished"})
    assert "running" not in waiting(record, "c", {**states, "a": "stopped"})
    assert waiting(record, "strange", states) == ""


# -- lines


@pytest.mark.parametrize("text", ["", "short", "word " * 50, "x" * 100, "日本語" * 40, "a\u0301" * 30, " " * 30])
@pytest.mark.parametrize("width", [1, 2, 10, 79])
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    from rich.cells import cell_len

    rows = wrapped(text, width)
    assert "".join(text[start:end] for start, end in rows) == text
    assert all(cell_len(text[start:end].rstrip()) <= max(width, 2) for start, end in rows)


def test_lines_break_at_spaces() -> None:
    text = "one two three"
    assert [text[a:b] for a, b in wrapped(text, 8)] == ["one two ", "three"]


def test_searching_minds_capitals_only_when_they_are_typed() -> None:
    lines = [TextLine("Error: an error"), TextLine("ERROR", mark="12:00 ")]
    assert [(m.line, m.start) for m in find_all(lines, "error")] == [(0, 0), (0, 10), (1, 6)]
    assert [(m.line, m.start) for m in find_all(lines, "Error")] == [(0, 0)]
    assert find_all(lines, "") == []
    assert len(find_all([TextLine("a" * 50_000)], "a")) == 10_000
    assert find_all([TextLine("İ x")], "x")[0].start == 2


def test_messages_have_their_time_and_are_text() -> None:
    now = 1_700_000_000.0
    said = (
        EngineMessage(now, "warning", "[b]x\x1b\ny"),
        EngineMessage(now - 90_000, "info", "old"),
        EngineMessage(1e300, "error", "strange"),
    )
    lines = message_lines(said, now)
    assert [line.text for line in lines] == ["! [b]x\\x1b y", "old", "✗ strange"]
    assert [len(line.mark) for line in lines] == [9, 12, 12]


EVALUATING = Phase("evaluating the student on dev", 64, 256, "rows", 8.0)


@pytest.mark.parametrize(("width", "wide", "low"), [(80, False, False), (80, False, True), (198, True, False)])
def test_what_takes_long_has_a_line_above_the_panels(width: int, wide: bool, low: bool) -> None:
    summary = RunSummary(names=("kd",), stage="kd", step=120, steps=480, state="running", phase=EVALUATING)
    lines = [line.plain for line in head_lines(snapshot(summary=summary), width, time.time(), wide=wide, low=low)]
    (line,) = [line for line in lines if line.startswith("evaluating the student on dev")]
    assert "64 of 256 rows  25 %  ETA 24 s" in line
    assert len(line) <= width
    without = head_lines(snapshot(summary=replace(summary, phase=None)), width, time.time(), wide=wide, low=low)
    assert len(lines) - len(without) == (0 if low else 1)


def test_a_run_that_loads_says_what_takes_long() -> None:
    summary = RunSummary(state="running", names=("kd",), phase=replace(EVALUATING, name="reading [b]train.csv"))
    notice = notice_of(snapshot(summary=summary), KEYS)
    assert notice is not None
    assert "reading [b]train.csv  64 of 256 rows" in drawn(notice).plain


def test_the_seconds_of_a_phase_go_on_between_two_reports() -> None:
    phase = Phase("importing the libraries", 0, None, "", 2.1, at=1000.0)
    summary = RunSummary(state="running", names=("kd",), phase=phase)
    assert "importing the libraries  12 s" in draw(summary, 80, 0.0, ascii_only=False, now=1010.0)[-1].plain
    notice = notice_of(snapshot(summary=summary), KEYS, now=1010.0)
    assert notice is not None
    assert "importing the libraries  12 s" in drawn(notice).plain
    assert any(
        line.plain == "importing the libraries  12 s" for line in head_lines(snapshot(summary=summary), 80, 1010.0)
    )


def test_a_phase_of_unknown_length_tells_how_long_it_takes() -> None:
    summary = RunSummary(
        names=("kd",), stage="kd", state="running", phase=Phase("loading the teacher", 0, None, "", 75.0)
    )
    assert any(line.plain == "loading the teacher  1:15" for line in head_lines(snapshot(summary=summary), 80, 0.0))
