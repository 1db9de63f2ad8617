"""The states of a run in signs, tones and sentences: one table and one wording for the command line and the dashboard.

The command line names commands and the dashboard names keys: `Hints` hold how each is called, and `describe` and
`check_possible` build their sentences with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crild_tui.runs import formatting
from engine.errors import UsageError
from engine.preset.text import plain
from engine.record.checkpoints import has_checkpoints
from engine.record.states import Action, allows
from engine.record.status import LOCAL
from engine.report.majority import at_or_below

if TYPE_CHECKING:
    from engine.record.run import RunEntry
    from engine.record.status import Status

Tone = Literal["muted", "running", "finished", "warning", "error"]
"""What the colour of a state says; each surface has a colour of its own for it."""
Level = Literal["info", "warning", "error"]
KeyNames = Mapping[str, str]
"""The name of the key of each binding, by the id of the binding."""

_LOOKS: Mapping[str, tuple[str, Tone]] = {
    "created": ("·", "muted"), "queued": ("…", "muted"), "running": ("▶", "running"), "stopping": ("◼", "warning"),
    "finished": ("✓", "finished"), "failed": ("✗", "error"), "stopped": ("◼", "warning"),
    "preempted": ("◼", "warning"), "lost": ("?", "error"), "stalled": ("!", "warning"), "unreadable": ("?", "error"),
}  # fmt: skip

WAITING, STARTING, LOADING = "waiting in the queue", "starting the engine", "loading data and models"
KILLED = 137
"""The exit code of an engine that was killed."""


def sign_of(state: str) -> str:
    """A character for a state."""
    return _LOOKS[state][0] if state in _LOOKS else "?"


def tone_of(state: str) -> Tone | None:
    """The tone of a state; None for one that a newer crild wrote."""
    return _LOOKS[state][1] if state in _LOOKS else None


def label_of(state: str) -> str:
    """Sign and word of a state, safe to show."""
    return f"{sign_of(state)} {plain(state)}"


# -- what a surface calls the actions


@dataclass(frozen=True)
class Hints:
    """How a user does something to a run, each as the beginning of a clause: "press r", "run `crild resume X`"."""

    resume: str
    stop: str
    kill: str
    watch: str = ""


def command_hints(run_dir: Path) -> Hints:
    """Commands that act on a run."""
    return Hints(
        resume=_run("resume", run_dir),
        stop=_run("stop", run_dir),
        kill=f"{_run('stop', run_dir)[:-1]} --kill`",
        watch=_run("attach", run_dir),
    )


def _run(verb: str, run_dir: Path) -> str:
    return f"run `{formatting.command(verb, run_dir)}`"


def key_hints(keys: KeyNames, mode: str, run_dir: Path | None = None) -> Hints:
    """Keys of the mode `live` or `runs`; with `run_dir` the command that resumes the run elsewhere, too."""
    command = "" if run_dir is None else f" (or {_run('resume', run_dir)})"
    return Hints(
        resume=f"press {keys[f'{mode}.resume']}{command}",
        stop=f"press {keys[f'{mode}.stop']}",
        kill=f"press {keys[f'{mode}.kill']}",
        watch=f"press {keys['runs.watch']}" if mode == "runs" else "",
    )


# -- a run's state in words


@dataclass(frozen=True)
class Description:
    """A run's state in words: the fact, the reasons for it (a line each), and what the user can do."""

    level: Level
    fact: str
    reasons: tuple[str, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        fact = f"{self.fact}: {'; '.join(self.reasons)}" if self.reasons else self.fact
        return f"{fact}; {self.advice}" if self.advice else fact


def describe(entry: RunEntry, hints: Hints, now: float, waiting: str = "") -> Description:
    """What is the case with a run at `now` (seconds since 1970), and what can be done about it.

    `waiting` says what a queued run waits for, where that is known.
    """
    status = entry.status
    if status is None or entry.state == "unreadable":
        return Description("error", "this run cannot be read", (entry.problem or "its status is missing",))
    where = position(status)
    problem = (entry.problem,) if entry.problem else ()
    match entry.state:
        case "created":
            return Description("info", STARTING)
        case "queued" if status.job is not None:
            fact = f"queued: {status.job}" if status.job.scheduler == LOCAL else f"queued in {status.job}"
            return Description("info", fact, advice=f"{hints.stop} to cancel it")
        case "queued":
            return Description("info", waiting or WAITING, advice=f"{hints.stop} to take it out of the queue")
        case "stopping":
            return Description("info", "saving a checkpoint before it stops", advice=f"{hints.kill} to end it at once")
        case "stalled":
            silent = formatting.age(now - (status.heartbeat or status.started or status.created))
            return Description(
                "warning",
                f"stalled: its engine is alive but has been silent for {silent}",
                advice=f"wait, or {hints.kill} to kill it, then {hints.resume} to continue",
            )
        case "lost" if status.state == "queued":
            return Description(
                "error", "lost: the queue that would start it is gone", advice=f"{hints.resume} to continue the queue"
            )
        case "lost" if not status.attempt:
            return Description("error", "lost: its engine never started", problem, f"{hints.resume} to start it")
        case "lost" if problem:
            return Description("error", f"lost{where}", problem, _continue(status, hints))
        case "lost":
            return Description(
                "error",
                f"lost{where}: its engine is gone (killed, out of memory, or the machine restarted)",
                advice=_continue(status, hints),
            )
        case "failed":
            reasons = str(status.error).splitlines() if status.error else ["no reason was recorded, see its log"]
            return Description("error", "failed", tuple(reasons), f"once that is fixed, {_continue(status, hints)}")
        case "stopped" if not status.attempt:
            return Description("info", "stopped before it started", advice=f"{hints.resume} to start it")
        case "stopped" if status.exit_code == KILLED:
            return Description(
                "warning",
                f"killed{where}: the steps since its last checkpoint are lost",
                advice=_continue(status, hints),
            )
        case "stopped" | "preempted" if status.stage is None:
            return Description("info", f"{entry.state} before its first step", advice=_continue(status, hints))
        case "stopped":
            return Description("info", f"stopped{where}, with a checkpoint", advice=_continue(status, hints))
        case "preempted":
            fact = f"preempted{where} to make room for another run, with a checkpoint"
            return Description("info", fact, advice=_continue(status, hints))
        case "finished":
            return Description("info", _results(status))
    return Description("info", _progress(status))


def _continue(status: Status, hints: Hints) -> str:
    started = status.stage is not None
    return f"{hints.resume} to {'continue from its last checkpoint' if started else 'start it again'}"


def position(status: Status) -> str:
    """Where a run is, as the end of a clause: ` in stage kd at step 12`; "" before its first stage."""
    return "" if status.stage is None else f" in stage {status.stage} at step {status.step:,}"


def _progress(status: Status) -> str:
    """Where a run is, and how long it will take."""
    words = []
    if status.stage is not None:
        words.append(f"stage {status.stage} ({status.stage_index} of {status.stages})")
        words.append(f"step {status.step:,} of {status.steps:,}")
    if status.rate is not None:
        words.append(f"{formatting.rate(status.rate)} examples/s")
    if status.eta is not None:
        words.append(f"{formatting.duration(status.eta)} left")
    return ", ".join(words) or LOADING


def _results(status: Status) -> str:
    """What a finished run reached."""
    figures = (("best", status.best), ("last", status.last), ("teacher", status.teacher), ("majority", status.majority))
    known = [f"{label} {formatting.metric(value)}" for label, value in figures if value is not None]
    words = f"finished: {status.metric_name or 'metric'} {', '.join(known)}" if known else "finished"
    return f"{words}; the student is at or below the majority guess" if below_majority(status) else words


def below_majority(status: Status) -> bool:
    """Whether no evaluation of the student beat the majority guess, as far as the status says."""
    figures = [value for value in (status.last, status.best) if value is not None]
    return at_or_below(max(figures, default=None), status.majority)


# -- why an action is not possible


def check_possible(entry: RunEntry, action: Action, hints: Hints) -> None:
    """Raise UsageError that says why an action is not possible in a run's state, and what is."""
    if allows(entry.state, action):
        return
    run, state = plain(entry.id), "has failed" if entry.state == "failed" else f"is {plain(entry.state)}"
    if action in ("stop", "kill") and entry.status is None:
        raise UsageError(
            f"{run} cannot be read, so it is not known what to {action}: {entry.problem}", kind="unreadable-run"
        )
    if action in ("stop", "kill"):
        more = f"; {hints.resume} to continue" if allows(entry.state, "resume") else ""
        raise UsageError(f"{run} {state}: there is nothing to {action}{more}", kind="nothing-to-stop")
    if action == "delete":
        raise UsageError(f"{run} {state}: {hints.stop} to stop it first", kind="run-is-active")
    if entry.status is None:
        preset = entry.path / "preset.toml"
        repeat = f"; run `crild run {preset}` to repeat it" if preset.is_file() else ""
        raise UsageError(f"{run} cannot be resumed: {entry.problem}{repeat}", kind="unreadable-run")
    if entry.state == "finished" and not has_checkpoints(entry.path):
        raise UsageError(
            f"{run} is finished, and its checkpoints are deleted: to train for longer, start a new run: `crild run "
            f"{entry.path / 'preset.toml'} --set stage.kd.epochs=8 --set train.keep_for_extending=true`",
            kind="run-is-finished",
        )
    if entry.state == "finished":
        raise UsageError(
            f"{run} is finished: train it for longer with `{formatting.command('resume', entry.path)} "
            f"--set stage.kd.epochs=8`, or repeat it with `crild run {entry.path / 'preset.toml'}`",
            kind="run-is-finished",
        )
    watch = f"; {hints.watch} to watch it" if hints.watch else ""
    raise UsageError(f"{run} {state}: there is nothing to resume{watch}", kind="nothing-to-resume")
