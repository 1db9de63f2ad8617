"""The status of a run whose status.json is lost or damaged, rebuilt from its other files.

Events say how far it came and how it ended, results what it reached, the preset and the record of its sweep what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.preset.toml_file import read_plain
from engine.record.event_sample import last_events
from engine.record.events import Event, read_events
from engine.record.files import read_json
from engine.record.json_values import mapping, mappings, number, whole, word
from engine.record.paths import ENVIRONMENT, PRESET, QUEUES, RESULTS, SWEEPS, event_files
from engine.record.states import ENDED
from engine.record.status import Fault, Status

KINDS = frozenset(
    ("run_started", "stage_started", "evaluation", "checkpoint", "message", "stage_finished", "run_finished")
)
"""Events that are read whole; of the steps, which are many, only the last ones."""
MOST = 2**53
"""No count is as large."""
IDENTITY = ("created", "preset", "task", "method", "seed", "sweep", "cell")
"""Fields of a status that never change; `run_started` repeats them under `run`."""


def identity_of(status: Status) -> dict[str, Any]:
    """What `rebuilt_status` needs from the first event of an attempt."""
    return {**{name: getattr(status, name) for name in IDENTITY}, "created": str(status.created)}  # to the last digit


def rebuilt_status(run_dir: Path) -> Status | None:
    """The status of a run by its other files; None where there is nothing that an engine, or `create_run`, has left.

    A run that was in progress becomes lost for readers, because it has no owner. Never raises.
    """
    attempts = event_files(run_dir)
    if not attempts and not (run_dir / ENVIRONMENT).is_file():
        return None
    course = _Course()
    for event in (*read_events(run_dir, KINDS), *last_events(attempts[max(attempts)] if attempts else None)):
        course.add(event)
    results = mapping(read_json(run_dir / RESULTS))
    identity = _identity(run_dir, course.identity)
    queue = _record_with(run_dir, QUEUES)[0]
    metric = word(results.get("metric")) or course.metric
    return Status(
        id=run_dir.name,
        state=_state(course, results, attempted=bool(attempts), queued=queue is not None),
        attempt=max(attempts, default=0),
        queue=queue,
        metric_name=metric,
        majority=number(mapping(results.get("majority")).get(metric or "")),
        **identity,
        **course.fields(),
    )


@dataclass
class _Course:
    """What the events of a run say, added one by one in their order."""

    identity: Mapping[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ()
    started: float | None = None
    total: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    """The last step of each stage."""
    steps: dict[str, int] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    stage: str | None = None
    end: tuple[str, float | None] | None = None
    """State and time of the last attempt's end."""
    error: str | None = None
    metric: str | None = None
    last: float | None = None
    best: float | None = None
    best_stage: str = ""
    teacher: float | None = None

    def add(self, event: Event) -> None:
        """Take in one event; what is malformed is left out."""
        kind, stage, step = event["kind"], word(event.get("stage")), _count(event.get("step"))
        if kind == "run_started":
            self._start(event)
        elif kind == "run_finished" and (state := word(event.get("state"))) in ENDED:
            self.end = (str(state), number(event.get("t")))
        elif kind == "message" and event.get("level") == "error":
            self.error = word(event.get("text"))
        elif kind == "evaluation":
            self._evaluate(event)
        elif stage is not None and step is not None and kind != "message":
            self.stage = stage
            self.reached[stage] = step
            if kind == "stage_started":
                self.steps[stage] = _count(event.get("steps")) or 0
                self.roles[stage] = word(event.get("role")) or ""

    def _start(self, event: Event) -> None:
        names = event.get("stages")
        self.names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else self.names
        self.identity = mapping(event.get("run")) or self.identity
        self.started = number(event.get("t"))
        self.total = _count(event.get("total")) or self.total
        self.end = self.error = None

    def _evaluate(self, event: Event) -> None:
        figures = mapping(event.get("metrics"))
        name = next(iter(figures), None)
        if event.get("primary") is not True or name is None:
            return
        value, stage = number(figures[name]), event.get("stage")
        if event.get("model") == "teacher":
            self.metric, self.teacher = name, value
        elif event.get("loss") is not None:
            return  # the stage trains no classifier
        elif event.get("model") == "student" and self.roles.get(str(stage)) == "student":
            self.metric, self.last = name, value
            if event.get("best") is True or stage != self.best_stage:
                self.best, self.best_stage = (value if event.get("best") is True else None), str(stage)

    def fields(self) -> dict[str, Any]:
        """The fields of a status that come from events alone."""
        ended = self.end[1] if self.end else None
        failed = self.end is not None and self.end[0] == "failed" and self.error is not None
        return {
            "started": self.started,
            "ended": ended,
            "stage": self.stage,
            "stage_index": self.names.index(self.stage) + 1 if self.stage in self.names else 0,
            "stages": len(self.names),
            "step": self.reached.get(self.stage or "", 0),
            "steps": self.steps.get(self.stage or "", 0),
            "done": sum(self.reached.values()),
            "total": self.total,
            "last": self.last,
            "best": self.best,
            "teacher": self.teacher,
            "error": Fault("run", str(self.error)) if failed else None,
        }


def _state(course: _Course, results: Mapping[str, Any], *, attempted: bool, queued: bool) -> str:
    """The state that the evidence speaks for; "running", which an owner would have to confirm, where it ended unseen."""
    if course.end is not None:
        return course.end[0]
    if attempted:
        return "finished" if _are_final(results, course) else "running"
    return "queued" if queued else "created"


def _are_final(results: Mapping[str, Any], course: _Course) -> bool:
    """Whether results are about all the steps that the events report: they are written after the last one."""
    stages = [stage for stage in mappings(results.get("stages")) if stage.get("cached") is not True]
    return bool(stages) and {str(stage.get("name")): stage.get("steps") for stage in stages} == course.reached


def _identity(run_dir: Path, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What the run is: as its events say, else as the record of its sweep and its preset do."""
    preset = _preset(run_dir)
    task = mapping(preset.get("task"))
    sweep, cell = _record_with(run_dir, SWEEPS)
    own = {
        "created": _created(run_dir),
        "preset": word(cell.get("refs")) or "",
        "task": word(task.get("title")) or word(task.get("name")) or "",
        "method": word(mapping(cell.get("cell")).get("method")) or "",
        "seed": _count(preset.get("seed")) or 0,
        "sweep": sweep,
        "cell": _texts(cell.get("cell")),
    }
    checked = {
        "created": _seconds(recorded.get("created")),
        **{name: word(recorded.get(name)) for name in ("preset", "task", "method", "sweep")},
        "seed": _count(recorded.get("seed")),
        "cell": _texts(recorded.get("cell")),
    }
    return {**own, **{name: value for name, value in checked.items() if value}}


def _count(value: object) -> int | None:
    count = whole(value)
    return count if count is not None and 0 <= count < MOST else None


def _seconds(value: object) -> float | None:
    try:
        return number(float(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _texts(value: object) -> dict[str, str]:
    return {key: text for key, text in mapping(value).items() if isinstance(text, str)}


def _preset(run_dir: Path) -> Mapping[str, Any]:
    try:
        return read_plain(run_dir / PRESET)
    except (OSError, ValueError):
        return {}


def _created(run_dir: Path) -> float:
    """When the run was created, by the oldest of its files."""
    return min(_times(run_dir / name for name in (PRESET, ENVIRONMENT)), default=0.0)


def _times(paths: Iterable[Path]) -> list[float]:
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return times


def _record_with(run_dir: Path, folder: str) -> tuple[str | None, Mapping[str, Any]]:
    """The sweep (or queue) whose record lists a run, and its cell there."""
    for path in sorted((run_dir.parent / folder).glob("*.json"), reverse=True):
        for cell in mappings(mapping(read_json(path)).get("cells")):
            if cell.get("run") == run_dir.name:
                return path.stem, cell
    return None, {}
