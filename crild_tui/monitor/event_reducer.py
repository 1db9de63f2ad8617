"""The events of a run gathered into curves, a picture and what was said, many events at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crild_tui.monitor.curves import Curves
from crild_tui.monitor.number_columns import MOST_COLUMNS, Columns, column, number, rising
from crild_tui.monitor.snapshots import Said
from crild_tui.monitor.timeline import LATEST, MOST_STEPS, Timeline
from crild_tui.runs.summary import BASELINE, Picture, consistency_of, fold

Event = Mapping[str, Any]
Numbers = NDArray[np.float64]

SAID = 1000
"""Messages that are kept, the newest."""
MOST_MODELS = 16
"""Kinds of evaluated models; what would be one more was not written by crild."""
_LONGEST = 10_000
"""Characters of a message."""
_KEEP = 4
"""Steps at the end of each slice that the picture is folded from; the others change nothing that it shows."""
_TURNS = frozenset({"run_started", "stage_started", "stage_finished"})
"""Kinds after which steps mean something else."""
_FIGURES = {
    "loss": "loss",
    "learning rate": "learning_rate",
    "gradient norm": "gradient_norm",
    "examples/s": "examples_per_second",
    "memory": "memory",
}


class Gatherer:
    """What is known of one run from its events; they are added in the order in which an `EventTail` gives them."""

    def __init__(self) -> None:
        self.picture = Picture()
        self.count = 0
        """Events that were added."""
        self.strange = 0
        """Events that could not be understood."""
        self._timeline = Timeline()
        self._steps = Columns()
        self._evaluations: dict[str, Columns] = {}
        self._measured: set[str] = set()
        self._said: deque[Said] = deque(maxlen=SAID)
        self._told: tuple[Said, ...] = ()

    def add(self, events: Sequence[Event]) -> None:
        """Take in some more events; all have a kind."""
        self.count += len(events)
        kinds = [event["kind"] for event in events]
        begin = 0
        if not _TURNS.isdisjoint(kinds):
            for place, kind in enumerate(kinds):
                if kind in _TURNS:
                    self._stretch(events[begin:place], kinds[begin:place])
                    self._turn(events[place])
                    begin = place + 1
        self._stretch(events[begin:], kinds[begin:])

    def curves(self, *, complete: bool) -> Curves:
        """The curves so far; they stay as they are whatever is added later."""
        evaluations = {name: columns.table() for name, columns in self._evaluations.items() if len(columns)}
        return Curves(self._steps.table(), evaluations, self._timeline.borders, complete)

    @property
    def said(self) -> tuple[Said, ...]:
        """The newest messages of the engine, in order."""
        if len(self._told) != len(self._said) or (self._said and self._told[-1] is not self._said[-1]):
            self._told = tuple(self._said)
        return self._told

    # -- what turns the story

    def _turn(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "run_started":
            self._start(event)
            self._fold([event])
        elif self._timeline.knows(event.get("stage")):
            self._timeline.tick([event.get("t")])
            if kind == "stage_started":
                self._timeline.begin(event, fresh=event["stage"] not in self._steps.stages)
            else:
                self._timeline.finish(event)
            self._fold([event])

    def _start(self, event: Event) -> None:
        """A new attempt: what it will do again is taken back."""
        head = self._timeline.start(event, self._used())
        if head is not None:
            stage, step = head
            self._cut(stage, self._timeline.after(stage), step, keep_step=True)
            self._timeline.forget_after(stage, step)
        tables = (self._steps, *self._evaluations.values())
        self._timeline.resume(event.get("t"), max(table.last[2] for table in tables))

    def _cut(self, stage: str, later: Sequence[str], step: float, *, keep_step: bool) -> None:
        for name, table in (("", self._steps), *self._evaluations.items()):
            if table.cut(stage, later, self._timeline.offset(stage)[0] + step, keep_step=keep_step):
                self._measured.discard(name)

    def _used(self) -> list[str]:
        """The stages that have rows somewhere, in order."""
        return list(
            dict.fromkeys(stage for table in (self._steps, *self._evaluations.values()) for stage in table.stages)
        )

    # -- what happens between two turns

    def _stretch(self, events: Sequence[Event], kinds: Sequence[str]) -> None:
        times = self._timeline.tick(
            [None if kind == "message" else event.get("t") for event, kind in zip(events, kinds, strict=True)]
        )
        steps = [place for place, kind in enumerate(kinds) if kind == "step"]
        evaluations: list[int] = []
        others: list[int] = []
        for place in [place for place, kind in enumerate(kinds) if kind != "step"]:
            if kinds[place] == "evaluation":
                evaluations.append(place)
            elif kinds[place] == "message":
                self._say(events[place])
            else:
                others.append(place)
        shown: list[int] = []
        for stage, places in _by_stage(events, steps):
            if isinstance(stage, str) and self._timeline.knows(stage):
                rows = self._add_steps(stage, [events[place] for place in places], times[places])
                sound = places if rows.all() else [place for place, row in zip(places, rows, strict=True) if row]
                shown += sound if len(sound) <= _KEEP else [sound[0], *sound[-_KEEP:]]
        for stage, places in _by_stage(events, evaluations):
            if stage is None or self._timeline.knows(stage):
                self._add_evaluations(stage, [events[place] for place in places], times[places])
                shown += places
        shown += [place for place in others if self._timeline.knows(events[place].get("stage"))]
        self._fold([events[place] for place in sorted(shown)])

    def _add_steps(self, stage: str, events: list[Event], times: Numbers) -> NDArray[np.bool_]:
        """Add rows of one stage; returns which events were sound."""
        local = _places(events)
        sound = ~np.isnan(local)
        keep = rising(local)
        if not keep.all():
            events = [event for event, kept in zip(events, keep, strict=True) if kept]
            local, times = local[keep], times[keep]
        if events:
            self._timeline.pace(stage, events[-1].get("step"), events[-1].get("epoch"))
            self._put(self._steps, stage, local, times, _figures(events))
            self._timeline.reach(stage, float(local[-1]), float(times[0]))
        return sound

    def _put(self, table: Columns, stage: str, local: Numbers, times: Numbers, values: Mapping[str, Numbers]) -> None:
        """Add rows; an older row of the same place, or a later one, gives way."""
        offset, _ = self._timeline.offset(stage)
        later, first = self._timeline.after(stage), offset + float(local[0])
        goes_on = table.stages[-1:] == [stage] and first > table.last[0]
        if not goes_on and table.cut(stage, later, first, keep_step=False):
            self._timeline.lay_again(stage)
        # no row lies before its neighbour on any axis, though stages may be told in no order at all
        last_step, last_epoch, last_time = table.last
        keep = offset + local > last_step
        if not keep.all():
            local, times, values = local[keep], times[keep], {name: column_[keep] for name, column_ in values.items()}
        if len(local):
            epochs = np.maximum(self._timeline.epochs(stage, local), last_epoch)
            table.append(stage, (offset + local, epochs, np.maximum(times, last_time)), values)

    def _add_evaluations(self, stage: str | None, events: list[Event], times: Numbers) -> None:
        named = [self._name(event, stage) for event in events]
        for name in dict.fromkeys(named):
            if name not in self._evaluations and len(self._evaluations) >= MOST_MODELS:
                continue
            rows = [row for row, other in enumerate(named) if other == name]
            if stage is None and name in self._measured:  # each attempt measures the teacher again
                continue
            self._add_rows(name, stage, [events[row] for row in rows], times[rows])

    def _add_rows(self, name: str, stage: str | None, events: list[Event], times: Numbers) -> None:
        if stage is None:
            here = self._timeline.here
            if here is None:
                return
            self._measured.add(name)
            stage, events, times, local = here[0], events[-1:], times[-1:], np.array([here[1]])
        else:
            local = _places(events)
            keep = rising(local)
            events = [event for event, kept in zip(events, keep, strict=True) if kept]
            local, times = local[keep], times[keep]
        if events:
            self._put(self._evaluations.setdefault(name, Columns()), stage, local, times, _metrics(events))

    def _name(self, event: Event, stage: str | None) -> str:
        """What the evaluated model is called among the curves."""
        model = event.get("model")
        name = model if isinstance(model, str) and model else "student"
        if name == "student" and stage is not None and self._timeline.role(stage) == BASELINE:
            name = BASELINE
        if event.get("primary") is not False or name == "self-teacher":
            return name
        split = event.get("split")
        return f"{name} ({split.removeprefix('dev_') if isinstance(split, str) and split else 'second'})"

    def _say(self, event: Event) -> None:
        level, text, at = event.get("level"), event.get("text"), number(event.get("t"))
        if not isinstance(text, str):
            self.strange += 1
            return
        known = level if isinstance(level, str) and level in ("info", "warning", "error") else "info"
        self._said.append(Said(at if 0 <= at < LATEST else 0.0, known, text[:_LONGEST]))

    def _fold(self, events: Sequence[Event]) -> None:
        """The picture after some more events, without those that it cannot take."""
        try:
            self.picture = fold(self.picture, events)
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
            if len(events) == 1:
                self.strange += 1
                return
            for event in events:
                self._fold([event])


def _by_stage(events: Sequence[Event], places: list[int]) -> Iterator[tuple[Any, list[int]]]:
    """Places of events, those of one stage together as far as they stand together."""
    if not places:
        return
    stages = [events[place].get("stage") for place in places]
    if stages.count(stages[0]) == len(stages):
        yield stages[0], places
        return
    for stage, group in groupby(zip(stages, places, strict=True), lambda pair: pair[0]):
        yield stage, [place for _, place in group]


def _places(events: Sequence[Event]) -> Numbers:
    """The steps of events within their stage; NaN for what can be none."""
    found = column([event.get("step") for event in events])
    found[~((found >= 0) & (found < MOST_STEPS))] = np.nan
    return found


def _figures(events: Sequence[Event]) -> dict[str, Numbers]:
    """The columns of steps; `loss` always, others where at least one figure is known."""
    columns = {name: column([event.get(key) for event in events]) for name, key in _FIGURES.items()}
    terms = [event.get("consistency") for event in events]
    if dict in set(map(type, terms)):
        pairs = [consistency_of(event) for event in events]
        terms, weights = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    else:
        weights = [event.get("consistency_weight") for event in events]
    columns["consistency"], columns["weight"] = column(terms), column(weights)
    columns |= {f"term: {name}": values for name, values in _parts(events, "terms").items()}
    return {name: values for name, values in columns.items() if name == "loss" or not np.isnan(values).all()}


def _metrics(events: Sequence[Event]) -> dict[str, Numbers]:
    """The columns of evaluations."""
    loss = column([event.get("loss") for event in events])
    found = _parts(events, "metrics")
    return found if np.isnan(loss).all() else {**found, "loss": loss}


def _parts(events: Sequence[Event], key: str) -> dict[str, Numbers]:
    """A column for each name in the tables that events hold under `key`."""
    tables = [table if type(table := event.get(key)) is dict else {} for event in events]
    names = [*tables[0], *sorted(set().union(*tables) - tables[0].keys())]
    return {name: column([table.get(name) for table in tables]) for name in names[:MOST_COLUMNS]}
