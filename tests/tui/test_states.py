"""Every sentence about the state of a run, on the command line and in the dashboard: the table of exact words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crild_tui.runs.states import (
    Hints,
    check_possible,
    command_hints,
    describe,
    key_hints,
    label_of,
    tone_of,
)
from engine.errors import UsageError
from engine.record.run import RunEntry
from engine.record.states import ACTIVE, ENDED, FAULTY, IN_PROGRESS, STARTED, STATES, WRITTEN, Action
from engine.record.status import Fault
from tests.tui.run_entries import KEYS, NOW, entry

RESUME = "run `crild resume /runs/a`"
STAGE = {"stage": "kd", "stage_index": 2, "stages": 2, "step": 1200, "steps": 9000, "attempt": 1}

TABLE = (
    # state, group, sign and word, tone, actions
    ("created", "waiting", "· created", "muted", "delete kill stop"),
    ("queued", "waiting", "… queued", "muted", "kill stop"),
    ("running", "working", "▶ running", "running", "kill stop"),
    ("stopping", "working", "◼ stopping", "warning", "kill stop"),
    ("finished", "ended", "✓ finished", "finished", "delete extend"),
    ("failed", "ended", "✗ failed", "error", "delete extend resume"),
    ("stopped", "ended", "◼ stopped", "warning", "delete extend resume"),
    ("preempted", "ended", "◼ preempted", "warning", "delete extend resume"),
    ("lost", "problem", "? lost", "error", "delete extend resume"),
    ("stalled", "working", "! stalled", "warning", "kill stop"),
    ("unreadable", "problem", "? unreadable", "error", "delete"),
)

SENTENCES = (
    # run, level, fact with its reasons, advice with "{resume}", "{stop}" and "{kill}" as each surface calls them
    (entry("a", "created"), "info", "starting the engine", ""),
    (entry("a", "queued"), "info", "waiting in the queue", "{stop} to take it out of the queue"),
    (entry("a", "running"), "info", "loading data and models", ""),
    (entry("a", "running", eta=60.0, rate=50.0, **STAGE), "info",
     "stage kd (2 of 2), step 1,200 of 9,000, 50 examples/s, 1:00 left", ""),
    (entry("a", "stopping", **STAGE), "info", "saving a checkpoint before it stops", "{kill} to end it at once"),
    (entry("a", "finished", majority=0.5), "info",
     "finished: accuracy best 68.00, last 67.00, teacher 69.00, majority 50.00", ""),
    (entry("a", "finished", best=None, last=None, teacher=None), "info", "finished", ""),
    (entry("a", "failed", error=Fault("run", "no space\nin /x")), "error",
     "failed: no space; in /x", "once that is fixed, {resume} to start it again"),
    (entry("a", "failed", error=Fault("data", "no column", "d.tsv", 3), **STAGE), "error",
     "failed: d.tsv:3: no column", "once that is fixed, {resume} to continue from its last checkpoint"),
    (entry("a", "failed"), "error", "failed: no reason was recorded, see its log",
     "once that is fixed, {resume} to start it again"),
    (entry("a", "stopped", **STAGE), "info", "stopped in stage kd at step 1,200, with a checkpoint",
     "{resume} to continue from its last checkpoint"),
    (entry("a", "stopped", exit_code=137, **STAGE), "warning",
     "killed in stage kd at step 1,200: the steps since its last checkpoint are lost",
     "{resume} to continue from its last checkpoint"),
    (entry("a", "stopped"), "info", "stopped before it started", "{resume} to start it"),
    (entry("a", "stopped", attempt=1), "info", "stopped before its first step", "{resume} to start it again"),
    (entry("a", "preempted", attempt=1), "info", "preempted before its first step", "{resume} to start it again"),
    (entry("a", "preempted", **STAGE), "info",
     "preempted in stage kd at step 1,200 to make room for another run, with a checkpoint",
     "{resume} to continue from its last checkpoint"),
    (entry("a", "lost", **STAGE), "error",
     "lost in stage kd at step 1,200: its engine is gone (killed, out of memory, or the machine restarted)",
     "{resume} to continue from its last checkpoint"),
    (entry("a", "lost"), "error", "lost: its engine never started", "{resume} to start it"),
    (replace(entry("a", "queued"), state="lost"), "error", "lost: the queue that would start it is gone",
     "{resume} to continue the queue"),
    (entry("a", "stalled", heartbeat=NOW - 90, **STAGE), "warning",
     "stalled: its engine is alive but has been silent for 1m",
     "wait, or {kill} to kill it, then {resume} to continue"),
    (entry("a", "unreadable"), "error", "this run cannot be read: status.json is not complete JSON", ""),
)  # fmt: skip

REFUSALS: tuple[tuple[str, Action, str, str], ...] = (
    # state, action, kind, sentence
    ("finished", "stop", "nothing-to-stop", "a is finished: there is nothing to stop"),
    ("failed", "stop", "nothing-to-stop", "a has failed: there is nothing to stop; {resume} to continue"),
    ("lost", "kill", "nothing-to-stop", "a is lost: there is nothing to kill; {resume} to continue"),
    ("unreadable", "kill", "unreadable-run",
     "a cannot be read, so it is not known what to kill: status.json is not complete JSON"),
    ("queued", "resume", "nothing-to-resume", "a is queued: there is nothing to resume{watch}"),
    ("created", "resume", "nothing-to-resume", "a is created: there is nothing to resume{watch}"),
    ("stalled", "resume", "nothing-to-resume", "a is stalled: there is nothing to resume{watch}"),
    ("running", "extend", "nothing-to-resume", "a is running: there is nothing to resume{watch}"),
    ("finished", "resume", "run-is-finished",
     "a is finished, and its checkpoints are deleted: to train for longer, start a new run: "
     "`crild run /runs/a/preset.toml --set stage.kd.epochs=8 --set train.keep_for_extending=true`"),
    ("unreadable", "resume", "unreadable-run", "a cannot be resumed: status.json is not complete JSON"),
    ("running", "delete", "run-is-active", "a is running: {stop} to stop it first"),
    ("queued", "delete", "run-is-active", "a is queued: {stop} to stop it first"),
)  # fmt: skip


def called(text: str, hints: Hints) -> str:
    watch = f"; {hints.watch} to watch it" if hints.watch else ""
    return text.format(resume=hints.resume, stop=hints.stop, kill=hints.kill, watch=watch)


def surfaces() -> tuple[Hints, ...]:
    run_dir = Path("/runs/a")
    return command_hints(run_dir), key_hints(KEYS, "runs", run_dir), key_hints(KEYS, "live")


def test_each_surface_calls_the_actions_by_its_own_names() -> None:
    assert surfaces() == (
        Hints(RESUME, "run `crild stop /runs/a`", "run `crild stop /runs/a --kill`", "run `crild attach /runs/a`"),
        Hints(f"press r (or {RESUME})", "press s", "press K", "press enter"),
        Hints("press r", "press s", "press K"),
    )


@pytest.mark.parametrize(("state", "group", "label", "tone", "actions"), TABLE)
def test_a_state_has_its_group_looks_and_actions(state: str, group: str, label: str, tone: str, actions: str) -> None:
    assert (STATES[state].group, label_of(state), tone_of(state)) == (group, label, tone)
    assert " ".join(sorted(STATES[state].actions)) == actions


def test_the_table_has_every_state_and_the_sets_are_its_rows() -> None:
    assert tuple(state for state, *_ in TABLE) == tuple(STATES)
    assert set(STATES) - set(WRITTEN) == {"lost", "stalled", "unreadable"}
    assert {"running", "stopping", "stalled"} == ACTIVE
    assert ACTIVE | {"created"} == STARTED
    assert STARTED | {"queued"} == IN_PROGRESS
    assert {"finished", "failed", "stopped", "preempted"} == ENDED
    assert {"failed", "lost", "unreadable"} == FAULTY


def test_a_state_of_a_newer_crild_is_shown_as_text() -> None:
    assert (label_of("paused\x1b[2J"), tone_of("paused")) == ("? paused\\x1b[2J", None)


@pytest.mark.parametrize(("run", "level", "fact", "advice"), SENTENCES)
def test_a_state_is_described_alike_on_every_surface(run: RunEntry, level: str, fact: str, advice: str) -> None:
    for hints in surfaces():
        state = describe(run, hints, NOW)
        assert state.level == level
        assert str(state) == (f"{fact}; {called(advice, hints)}" if advice else fact)


def test_every_state_is_described_in_the_table() -> None:
    assert {run.state for run, *_ in SENTENCES} == set(STATES)


def test_a_queued_run_says_what_it_waits_for() -> None:
    waiting = "waiting in the queue: it is next"
    assert describe(entry("a", "queued"), key_hints(KEYS, "live"), NOW, waiting).fact == waiting


@pytest.mark.parametrize(("state", "action", "kind", "sentence"), REFUSALS)
def test_an_action_that_is_not_possible_is_explained(state: str, action: Action, kind: str, sentence: str) -> None:
    for hints in surfaces():
        with pytest.raises(UsageError) as caught:
            check_possible(entry("a", state), action, hints)
        assert (caught.value.kind, caught.value.sentence) == (kind, called(sentence, hints))


def test_a_finished_run_that_can_be_extended_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crild_tui.runs.states.has_checkpoints", lambda _: True)
    for hints in surfaces():
        with pytest.raises(UsageError) as caught:
            check_possible(entry("a", "finished"), "resume", hints)
        assert "crild resume /runs/a --set stage.kd.epochs=8" in caught.value.sentence


@pytest.mark.parametrize("state", STATES)
def test_actions_are_possible_exactly_in_the_states_that_allow_them(state: str) -> None:
    actions: tuple[Action, ...] = ("stop", "kill", "resume", "extend", "delete")
    for action in actions:
        if action in STATES[state].actions:
            check_possible(entry("a", state), action, key_hints(KEYS, "live"))
        else:
            with pytest.raises(UsageError):
                check_possible(entry("a", state), action, key_hints(KEYS, "live"))
