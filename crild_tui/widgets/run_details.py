"""The figures of a run around its panels: pure functions from a snapshot to lines that fit a width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.content import Content

from crild_tui import theme
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs import formatting
from crild_tui.runs.states import label_of, sign_of, tone_of
from crild_tui.runs.summary import ProcessUse
from crild_tui.text import shorten_name
from engine.preset.text import plain
from engine.record.states import IN_PROGRESS

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
    ends = list(filter(None, (_share(snapshot), _left(snapshot), _elapsed(snapshot, now))))
    name = plain(snapshot.run_dir.name)
    while ends and head.cell_length + len(GAP) + min(len(name), 16) + len(GAP) + len(GAP.join(ends)) > width:
        ends.pop()
    tail = GAP.join(ends)
    room = max(0, width - head.cell_length - len(GAP) - (len(tail) + len(GAP) if tail else 0))
    shown = Content.styled(shorten_name(name, room), "bold")
    gap = max(0, width - head.cell_length - len(GAP) - shown.cell_length - len(tail))
    return Content.assemble(head, GAP, shown, " " * gap, tail).truncate(width)


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
        return "saving"  # all steps are done: the engine measures and writes
    if summary.eta is not None:
        return f"ETA {formatting.duration(summary.eta)}"
    return None if summary.stage_eta is None else f"stage ETA {formatting.duration(summary.stage_eta)}"


def _elapsed(snapshot: RunSnapshot, now: float) -> str | None:
    status = snapshot.entry.status
    if status is None or status.started is None:
        return None
    if snapshot.entry.state in IN_PROGRESS:
        return f"elapsed {formatting.duration(max(0.0, now - status.started))}"
    took = formatting.took(status)
    return None if took is None else f"took {took}"


def origin(snapshot: RunSnapshot) -> list[Fact]:
    """Which preset, task and seed it is."""
    status = snapshot.entry.status
    if status is None:
        return []
    tags = ", ".join(snapshot.entry.tags)
    facts = [
        Fact("preset", status.preset or formatting.NONE, status.preset, 0),
        Fact("task", status.task or formatting.NONE, status.task, 2),
        Fact("seed", str(status.seed), f"seed {status.seed}", 1),
        Fact("device", status.device or "", status.device or "", 8),
        Fact("attempt", str(status.attempt), f"attempt {status.attempt}" if status.attempt > 1 else "", 3),
        Fact("tags", tags, tags, 10),
    ]
    return [fact for fact in facts if fact.short]


def scores(snapshot: RunSnapshot) -> list[Fact]:
    """The dev metric: last, best, and what it is compared with; of a stage that trains no classifier its dev loss."""
    summary = snapshot.summary
    if summary.metric is None and summary.teacher is None and summary.dev_loss is None:
        return []
    name, metric = plain(summary.metric_name or "metric"), formatting.metric
    student = () if summary.dev_loss is not None else (
        *_fact(f"{name}, last", f"{name} {{}}", summary.metric, metric, 0, "bold"),
        *_fact("best", "best {}", summary.best, metric, 2),
    )  # fmt: skip
    return [
        *_fact("dev loss", "dev loss {}", summary.dev_loss, formatting.loss, 1, "bold"),
        *student,
        *_fact("teacher", "teacher {}", summary.teacher, metric, 3),
        *_fact("self-teacher", "self-teacher {}", summary.self_teacher, metric, 7),
        *_fact("majority", "majority {}", summary.majority, metric, 8),
    ]


def pace(snapshot: RunSnapshot) -> list[Fact]:
    """Speed, learning rate, gradient norm and memory, also of each process; of a run that ended, the last ones."""
    summary = snapshot.summary
    return [
        *_fact("examples/s", "{} ex/s", summary.rate, formatting.rate, 4),
        *_fact("learning rate", "lr {}", summary.learning_rate, formatting.number, 5),
        *_fact("gradient norm", "grad {}", summary.gradient_norm, formatting.number, 6),
        *_fact("memory", "{}", summary.memory, formatting.size, 7),
        *_processes(summary.processes),
    ]


def _processes(processes: Sequence[ProcessUse]) -> list[Fact]:
    """A fact for each process; a line has their number alone."""
    facts = []
    for rank, use in enumerate(processes):
        parts = [f"{formatting.rate(use.rate)} ex/s", formatting.size(use.memory)]
        parts += [] if use.busy is None else [f"busy {formatting.percent(use.busy)}"]
        facts.append(Fact(f"process {rank}", ", ".join(parts), "" if rank else f"{len(processes)} processes", 9))
    return facts


def losses(snapshot: RunSnapshot) -> list[Fact]:
    """Loss and consistency of the last step, before smoothing."""
    summary = snapshot.summary
    facts = _fact("loss, raw", "loss {}", summary.loss, formatting.loss, 4)
    if summary.consistency is not None:
        weight = (
            "" if summary.consistency_weight is None else f" (weight {formatting.number(summary.consistency_weight)})"
        )
        value = formatting.loss(summary.consistency)
        facts.append(Fact("consistency, raw", f"{value}{weight}", f"consistency {value}", 9))
    return facts


def _fact(
    label: str, short: str, value: float | None, text_of: Callable[[float], str], rank: int, style: str = ""
) -> list[Fact]:
    """The fact of a figure, with its text in the `{}` of `short`; none if there is no figure."""
    return [] if value is None else [Fact(label, text_of(value), short.replace("{}", text_of(value)), rank, style)]


def facts_line(facts: Sequence[Fact], width: int, gap: str = " · ") -> Content:
    """The facts in one line, in their order, without those of the highest ranks that do not fit."""
    fitting = [fact for fact in facts if fact.short]
    while len(fitting) > 1 and len(gap.join(plain(fact.short) for fact in fitting)) > width:
        fitting.remove(max(fitting, key=lambda fact: fact.rank))
    pieces = [Content.styled(plain(fact.short), fact.style) for fact in fitting]
    return Content.styled(gap, "$foreground-muted").join(pieces).truncate(max(width, 0), ellipsis=True)


def facts_rows(facts: Sequence[Fact], width: int) -> list[Content]:
    """A row for each fact, labels and values aligned."""
    label_width = max((len(plain(fact.label)) for fact in facts), default=0)
    return [
        Content.assemble(
            (plain(fact.label).ljust(label_width) + GAP, "$foreground-muted"), (plain(fact.value), fact.style)
        ).truncate(width, ellipsis=True)
        for fact in facts
    ]
