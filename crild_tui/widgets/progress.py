"""The progress of a run, stage by stage: pure functions from a summary to lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from textual.content import Content

from crild_tui.runs import formatting
from crild_tui.runs.summary import RunSummary
from crild_tui.text import bar, fit, shorten
from engine.preset.text import plain

Where = Literal["done", "present", "to come"]
SIGNS: dict[Where, str] = {"done": "✓", "present": "▶", "to come": "·"}
SHORTEST_BAR, LONGEST_BAR = 4, 40
GAP = "  "


@dataclass(frozen=True)
class Stage:
    """One stage of a run; `steps` is None while its number of steps is unknown."""

    name: str
    where: Where
    step: int = 0
    steps: int | None = None
    seconds: float | None = None

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
    found = []
    for place, name in enumerate(names):
        stage = stages.get(name)
        here = place == present
        step, steps = (stage.step, stage.steps) if stage else (0, None)
        if here:
            step, steps = max(step, summary.step), steps or summary.steps
        done = summary.state == "finished" or (stage is not None and stage.finished)
        where: Where = "done" if done or (present is not None and place < present) else "present" if here else "to come"
        found.append(Stage(name, where, step, steps, stage.seconds if stage else None))
    return tuple(found)


def progress_bar(share: float, width: int) -> Content:
    """A bar of `width` cells in the theme's colours."""
    full, rest = bar(share, width)
    return Content.assemble((full, "$primary"), (rest, "$foreground-muted"))


def stage_line(stages: Sequence[Stage], width: int) -> Content:
    """All stages in one line, with a bar for the present one; the further ones go first where it is narrow."""
    for form in (_whole, _short, _present):
        line = form(stages, width)
        if line is not None and line.cell_length <= width:
            return line
    return _crop(_present(stages, width), width)


def stage_rows(stages: Sequence[Stage], width: int, most: int = 12) -> list[Content]:
    """A row with a bar for each stage; of very many only those around the present one."""
    stages = _around(stages, most)
    name_width = min(max((len(plain(stage.name)) for stage in stages), default=0), max(6, width // 3))
    count_width = max((len(stage.count) for stage in stages), default=0)
    rows = []
    for stage in stages:
        name = fit(plain(stage.name), name_width)
        tail = stage.count.rjust(count_width)
        room = width - name_width - count_width - 2 * len(GAP) - 2
        head = Content.assemble((f"{SIGNS[stage.where]} ", _sign_style(stage)), (name, _name_style(stage)), GAP)
        middle = progress_bar(stage.share or 0.0, room) if room >= SHORTEST_BAR else Content("")
        rows.append(_crop(Content.assemble(head, middle, GAP, (tail, _name_style(stage))), width))
    return rows


def _around(stages: Sequence[Stage], most: int) -> Sequence[Stage]:
    if len(stages) <= most:
        return stages
    present = next((place for place, stage in enumerate(stages) if stage.where == "present"), len(stages) - 1)
    first = max(0, min(present - most // 2, len(stages) - most))
    return stages[first : first + most]


def _whole(stages: Sequence[Stage], width: int) -> Content | None:
    """Every stage by its name, the present one with its bar."""
    return _line(stages, width, [plain(stage.name) for stage in stages])


def _short(stages: Sequence[Stage], width: int) -> Content | None:
    """As the whole, with short names for the stages that aren't present."""
    return _line(stages, width, [plain(s.name) if s.where == "present" else shorten(plain(s.name), 8) for s in stages])


def _line(stages: Sequence[Stage], width: int, names: Sequence[str]) -> Content | None:
    if not stages:
        return Content("")
    present = [stage for stage in stages if stage.where == "present" and stage.share is not None]
    fixed = sum(len(name) + 2 for name in names) + len(GAP) * (len(names) - 1)
    counts = sum(len(stage.count) + 1 for stage in stages if stage.where == "present")
    room = min(LONGEST_BAR, width - fixed - counts - len(present))
    if present and room < SHORTEST_BAR:
        return None
    parts: list[Content | str | tuple[str, str]] = []
    for stage, name in zip(stages, names, strict=True):
        if parts:
            parts.append(GAP)
        parts += [(f"{SIGNS[stage.where]} ", _sign_style(stage)), (name, _name_style(stage))]
        if stage.where == "present":
            if stage.share is not None:
                parts += [" ", progress_bar(stage.share, room)]
            parts.append(f" {stage.count}" if stage.count else "")
    return Content.assemble(*parts)


def _present(stages: Sequence[Stage], width: int) -> Content:
    """`▶ 2/4 ild ▄▄▁▁ 120/480`: the present stage alone, or how many are done."""
    place = next((at for at, stage in enumerate(stages) if stage.where == "present"), None)
    if place is None:
        done = sum(stage.where == "done" for stage in stages)
        return Content(f"{SIGNS['done' if done else 'to come']} {done} of {formatting.plural(len(stages), 'stage')}")
    stage = stages[place]
    head = f" {place + 1}/{len(stages)} {plain(stage.name)} "
    room = min(LONGEST_BAR, width - len(head) - len(stage.count) - 2)
    middle = progress_bar(stage.share, room) if stage.share is not None and room >= SHORTEST_BAR else Content("")
    return Content.assemble((SIGNS["present"], _sign_style(stage)), (head, "bold"), middle, f" {stage.count}")


def _crop(line: Content, width: int) -> Content:
    return line if line.cell_length <= width else line.truncate(width, ellipsis=True)


def _sign_style(stage: Stage) -> str:
    return {"done": "$success", "present": "$primary bold", "to come": "$foreground-muted"}[stage.where]


def _name_style(stage: Stage) -> str:
    return {"done": "", "present": "bold", "to come": "$foreground-muted"}[stage.where]
