"""The progress of a run, stage by stage: pure functions from a summary to lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from textual.content import Content

from crild_tui.runs import formatting
from crild_tui.runs.summary import RunSummary, StageSummary
from crild_tui.text import bar, cells, fit_name, shorten_name
from engine.preset.text import plain
from engine.record.phases import Phase

Where = Literal["done", "present", "to come"]
SIGNS: dict[Where, str] = {"done": "✓", "present": "▶", "to come": "·"}
SHORTEST_BAR, LONGEST_BAR = 4, 40
GAP = "  "
SIGN_STYLES: dict[Where, str] = {"done": "$success", "present": "$primary bold", "to come": "$foreground-muted"}
NAME_STYLES: dict[Where, str] = {"done": "", "present": "bold", "to come": "$foreground-muted"}


@dataclass(frozen=True)
class Stage:
    """One stage of a run; `steps` is None while its number of steps is unknown."""

    name: str
    where: Where
    step: int = 0
    steps: int | None = None

    @property
    def share(self) -> float | None:
        """The share that is done, from 0 to 1; None if unknown."""
        if self.where == "done":
            return 1.0
        return min(1.0, self.step / self.steps) if self.steps else None

    @property
    def count(self) -> str:
        """`120/480`, or as much of that as is known."""
        if self.steps:
            return f"{min(self.step, self.steps)}/{self.steps}"
        return f"step {self.step}" if self.step else ""


def stages_of(summary: RunSummary) -> tuple[Stage, ...]:
    """The stages in their order: those that the run names, else those that it has reached."""
    stages = {stage.name: stage for stage in summary.stages}
    names = list(summary.names) or list(stages)
    if summary.stage is not None and summary.stage not in names:
        names.append(summary.stage)
    present = names.index(summary.stage) if summary.stage in names else None
    listed = []
    for index, name in enumerate(names):
        stage = stages.get(name, StageSummary(name))
        step, steps = stage.step, stage.steps
        if index == present:
            step, steps = max(step, summary.step), steps or summary.steps
        done = summary.state == "finished" or stage.finished or (present is not None and index < present)
        listed.append(Stage(name, "done" if done else "present" if index == present else "to come", step, steps))
    return tuple(listed)


def progress_bar(share: float, width: int, *, running: bool = True) -> Content:
    """A bar of `width` cells in the theme's colours; a muted one where nothing is running."""
    full, rest = bar(share, width)
    return Content.assemble((full, "$primary" if running else "$foreground-muted"), (rest, "$foreground-muted"))


def stage_line(stages: Sequence[Stage], width: int, *, running: bool = True) -> Content:
    """All stages in one line, with a bar for the present one; on a narrow line with short names, or that one alone.

    `running`: whether an engine runs the present stage.
    """
    names = [plain(stage.name) for stage in stages]
    short = [
        name if stage.where == "present" else shorten_name(name, 8) for stage, name in zip(stages, names, strict=True)
    ]
    for line in (_line(stages, width, names, running), _line(stages, width, short, running)):
        if line is not None and line.cell_length <= width:
            return line
    return _present(stages, width, running).truncate(width, ellipsis=True)


def phase_row(phase: Phase, width: int, now: float) -> Content:
    """What takes long besides steps in one line, with a bar where its total is known and there is room."""
    head = plain(phase.name)
    facts = GAP + plain(formatting.phase_facts(phase, width - cells(head) - len(GAP), now))
    room = min(LONGEST_BAR, width - cells(head) - cells(facts) - len(GAP))
    has_bar = phase.share is not None and room >= SHORTEST_BAR
    middle = Content.assemble(GAP, progress_bar(phase.share or 0.0, room)) if has_bar else ""
    return Content.assemble((head, "bold"), middle, facts).truncate(max(1, width), ellipsis=True)


def stage_rows(stages: Sequence[Stage], width: int, *, running: bool = True, most: int = 12) -> list[Content]:
    """A row for each stage, with a bar for the present one; of very many only those around it."""
    stages = _around(stages, most)
    name_width = min(max((len(plain(stage.name)) for stage in stages), default=0), max(6, width // 3))
    count_width = max((len(stage.count) for stage in stages), default=0)
    room = width - name_width - count_width - 2 * len(GAP) - 2
    rows = []
    for stage in stages:
        sign, name = (f"{SIGNS[stage.where]} ", SIGN_STYLES[stage.where]), fit_name(plain(stage.name), name_width)
        present = stage.where == "present" and room >= SHORTEST_BAR
        middle = progress_bar(stage.share or 0.0, room, running=running) if present else " " * max(room, 0)
        style = NAME_STYLES[stage.where]
        row = Content.assemble(sign, (name, style), GAP, middle, GAP, (stage.count.rjust(count_width), style))
        rows.append(row.truncate(width, ellipsis=True))
    return rows


def _around(stages: Sequence[Stage], most: int) -> Sequence[Stage]:
    present = next((index for index, stage in enumerate(stages) if stage.where == "present"), len(stages) - 1)
    first = max(0, min(present - most // 2, len(stages) - most))
    return stages[first : first + most]


def _line(stages: Sequence[Stage], width: int, names: Sequence[str], running: bool) -> Content | None:
    """Every stage, the present one with its bar; None if there is no room for the bar."""
    present = [stage for stage in stages if stage.where == "present" and stage.share is not None]
    fixed = sum(len(name) + 2 for name in names) + len(GAP) * (len(names) - 1)
    counts = sum(len(stage.count) + 1 for stage in stages if stage.where == "present")
    room = min(LONGEST_BAR, width - fixed - counts - len(present))
    if present and room < SHORTEST_BAR:
        return None
    parts: list[Content | str | tuple[str, str]] = []
    for stage, name in zip(stages, names, strict=True):
        parts += [
            GAP if parts else "", (f"{SIGNS[stage.where]} ", SIGN_STYLES[stage.where]), (name, NAME_STYLES[stage.where])
        ]  # fmt: skip
        if stage.where == "present":
            parts += [] if stage.share is None else [" ", progress_bar(stage.share, room, running=running)]
            parts.append(f" {stage.count}" if stage.count else "")
    return Content.assemble(*parts)


def _present(stages: Sequence[Stage], width: int, running: bool) -> Content:
    """`▶ 2/4 ild ▄▄▁▁ 120/480`: the present stage alone, or how many are done."""
    index = next((index for index, stage in enumerate(stages) if stage.where == "present"), None)
    if index is None:
        done = sum(stage.where == "done" for stage in stages)
        return Content(f"{SIGNS['done' if done else 'to come']} {done} of {formatting.plural(len(stages), 'stage')}")
    stage = stages[index]
    head = f" {index + 1}/{len(stages)} {plain(stage.name)} "
    room = min(LONGEST_BAR, width - len(head) - len(stage.count) - 2)
    has_bar = stage.share is not None and room >= SHORTEST_BAR
    middle = progress_bar(stage.share or 0.0, room, running=running) if has_bar else ""
    return Content.assemble((SIGNS["present"], SIGN_STYLES["present"]), (head, "bold"), middle, f" {stage.count}")
