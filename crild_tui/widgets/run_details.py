"""The figures of a run around its panels: pure functions from a snapshot to lines that fit a width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from crild_tui import theme
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs import formatting
from crild_tui.runs.states import label_of, sign_of, tone_of
from engine.preset.text import plain
from engine.record.states import IN_PROGRESS
from engine.record.status import Status

GAP = "  "


@dataclass(frozen=True)
class Fact:
    """A figure: `label` stands in a column, `short` is how a line says it, of lines the last ranks are left out first."""

    label: str
    value: str
    short: str
    rank: int
    style: str = ""


def state_words(state: str, *, asked: bool = False) -> Content:
    """Sign and word of a state; `asked` if the engine was just asked to stop."""
    if asked and state in IN_PROGRESS - {"stopping"}:
        return Content.styled(f"{sign_of('stopping')} asked to stop", f"{theme.TONES['warning']} bold")
    tone = tone_of(state)
    return Content.styled(label_of(state), "bold" if tone is None else f"{theme.TONES[tone]} bold")


def title_line(snapshot: RunSnapshot, width: int, now: float, *, asked: bool = False) -> Content:
    """State and run on the left, progress on the right."""
    head = state_words(snapshot.entry.state, asked=asked)
    ends = _pieces([_share(snapshot), _left(snapshot), _elapsed(snapshot.entry.status, snapshot.entry.state, now)])
    name = plain(snapshot.run_dir.name)
    while ends and head.cell_length + len(GAP) + min(len(name), 16) + len(GAP) + len(GAP.join(ends)) > width:
        ends.pop()
    tail = GAP.join(ends)
    room = max(0, width - head.cell_length - len(GAP) - (len(tail) + len(GAP) if tail else 0))
    shown = Content.styled(name, "bold").truncate(room, ellipsis=True)
    gap = max(0, width - head.cell_length - len(GAP) - shown.cell_length - len(tail))
    return Content.assemble(head, GAP, shown, " " * gap, tail).truncate(width)


def _pieces(pieces: Iterable[str | None]) -> list[str]:
    return [piece for piece in pieces if piece]


def _share(snapshot: RunSnapshot) -> str | None:
    status = snapshot.entry.status
    if snapshot.entry.state == "finished" or status is None or not status.total:
        return None
    return formatting.percent(min(1.0, status.done / status.total))


def _left(snapshot: RunSnapshot) -> str | None:
    summary = snapshot.summary
    if snapshot.entry.state not in ("running", "stopping"):
        return None
    status = snapshot.entry.status
    if status is not None and status.total and status.done >= status.total:
        return "saving"  # all steps are made: the engine measures and writes
    if summary.eta is not None:
        return f"ETA {formatting.duration(summary.eta)}"
    return None if summary.stage_eta is None else f"stage ETA {formatting.duration(summary.stage_eta)}"


def _elapsed(status: Status | None, state: str, now: float) -> str | None:
    if status is None or status.started is None:
        return None
    if state in IN_PROGRESS:
        return f"elapsed {formatting.duration(max(0.0, now - status.started))}"
    took = formatting.took(status)
    return None if took is None else f"took {took}"


def origin(snapshot: RunSnapshot) -> list[Fact]:
    """Which preset, task and seed it is."""
    status = snapshot.entry.status
    if status is None:
        return []
    found = [
        Fact("preset", status.preset or formatting.NONE, status.preset, 0),
        Fact("task", status.task or formatting.NONE, status.task, 2),
        Fact("seed", str(status.seed), f"seed {status.seed}", 1),
    ]
    if status.device:
        found.append(Fact("device", status.device, status.device, 8))
    if status.attempt > 1:
        found.append(Fact("attempt", str(status.attempt), f"attempt {status.attempt}", 3))
    if snapshot.entry.tags:
        tags = ", ".join(snapshot.entry.tags)
        found.append(Fact("tags", tags, tags, 10))
    return [fact for fact in found if fact.short]


def scores(snapshot: RunSnapshot) -> list[Fact]:
    """The dev metric: last, best, and what it is compared with."""
    summary = snapshot.summary
    if all(value is None for value in (summary.metric, summary.teacher, summary.dev_loss)):
        return []
    name = plain(summary.metric_name or "metric")
    found = []
    if summary.dev_loss is not None:
        found.append(
            Fact("dev loss", formatting.loss(summary.dev_loss), f"dev loss {formatting.loss(summary.dev_loss)}", 1)
        )
    last = formatting.metric(summary.metric)
    if summary.metric is not None and summary.dev_loss is not None:
        found.append(
            Fact(f"{name}, last", f"{last} (head not trained yet)", f"{name} {last} (head not trained yet)", 2)
        )
    elif summary.metric is not None:
        found.append(Fact(f"{name}, last", last, f"{name} {last}", 0, "bold"))
    for label, value, rank in (
        ("best", summary.best, 2), ("teacher", summary.teacher, 3), ("self-teacher", summary.self_teacher, 7),
        ("majority", summary.majority, 8),
    ):  # fmt: skip
        if value is not None:
            found.append(Fact(label, formatting.metric(value), f"{label} {formatting.metric(value)}", rank))
    return found


def pace(snapshot: RunSnapshot) -> list[Fact]:
    """Speed, learning rate, gradient norm and memory; of a run that ended, the last ones."""
    summary = snapshot.summary
    found = []
    if summary.rate is not None:
        found.append(Fact("examples/s", formatting.rate(summary.rate), f"{formatting.rate(summary.rate)} ex/s", 4))
    if summary.learning_rate is not None:
        found.append(Fact("learning rate", f"{summary.learning_rate:.3g}", f"lr {summary.learning_rate:.3g}", 5))
    if summary.gradient_norm is not None:
        found.append(Fact("gradient norm", f"{summary.gradient_norm:.3g}", f"grad {summary.gradient_norm:.3g}", 6))
    if summary.memory is not None:
        found.append(Fact("memory", formatting.size(summary.memory), formatting.size(summary.memory), 7))
    return found


def losses(snapshot: RunSnapshot) -> list[Fact]:
    """Loss and consistency of the last step."""
    summary = snapshot.summary
    found = []
    if summary.loss is not None:
        found.append(Fact("loss", formatting.loss(summary.loss), f"loss {formatting.loss(summary.loss)}", 4))
    if summary.consistency is not None:
        weight = "" if summary.consistency_weight is None else f" (weight {summary.consistency_weight:.3g})"
        value = formatting.loss(summary.consistency)
        found.append(Fact("consistency", f"{value}{weight}", f"consistency {value}", 9))
    return found


def facts_line(facts: Sequence[Fact], width: int, gap: str = " · ") -> Content:
    """The facts in one line, in their order, without those of the highest ranks that do not fit."""
    kept = list(facts)
    while len(kept) > 1 and len(gap.join(plain(fact.short) for fact in kept)) > width:
        kept.remove(max(kept, key=lambda fact: fact.rank))
    parts: list[str | tuple[str, str]] = []
    for fact in kept:
        if parts:
            parts.append((gap, "$foreground-muted"))
        parts.append((plain(fact.short), fact.style))
    return Content.assemble(*parts).truncate(max(width, 0), ellipsis=True) if parts else Content("")


def facts_rows(facts: Sequence[Fact], width: int) -> list[Content]:
    """A row for each fact, labels and values aligned."""
    label_width = max((len(plain(fact.label)) for fact in facts), default=0)
    return [
        Content.assemble(
            (plain(fact.label).ljust(label_width) + GAP, "$foreground-muted"), (plain(fact.value), fact.style)
        ).truncate(width, ellipsis=True)
        for fact in facts
    ]
