"""The process of a sweep, queue or search: starts runs in its slots until none is left."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from engine.errors import CrildError, RunError, UsageError
from engine.launch.background import StopSignals, device_of
from engine.launch.slurm_submit import JobRequest
from engine.launch.start import new_launcher
from engine.record.environment import light_environment
from engine.record.fields import read_fields
from engine.record.files import cause, write_atomic
from engine.record.lock import FileLock, RunLock, held
from engine.record.owner import Owner
from engine.record.paths import PRESET, QUEUES
from engine.record.removal import OpenFolder, remove_file
from engine.record.run import create_run, is_run, read_run, read_status, update_status
from engine.record.states import ACTIVE, ENDED, FAULTY
from engine.record.teacher_folder import has_teacher
from engine.sweep.engines import Engines, LocalEngines
from engine.sweep.order import choose
from engine.sweep.record import (
    CellRecord,
    SweepRecord,
    list_queues,
    presets_file,
    read_presets,
    read_sweep_record,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from engine.user.consent import NONE, Consent

POLL = 0.25
"""Seconds between two checks of the runs in progress."""
HEARTBEAT = 30.0
"""Seconds between two heartbeats in the record."""
MOST_TRIES = 3
"""How often one process starts a run: a run whose engine is killed resumes from its checkpoint, but not forever."""


class Supply(Protocol):
    """Decides, while its worker is busy, which runs are made: a search has one, a sweep or queue has all of its runs."""

    def open(self) -> None:
        """Get ready, before the worker looks at the runs that exist. Raises RunError."""

    def is_wanted(self, cell: CellRecord) -> bool:
        """Whether a run is to be started or resumed if it has not ended."""

    def advance(self) -> bool:
        """Look at the runs, and add and drop some (`Worker.add`, `Worker.drop`); whether more may come. Raises RunError."""


def work(
    file: Path,
    command: Sequence[str] | None = None,
    consent: Consent = NONE,
    supply: Callable[[Worker], Supply] | None = None,
) -> int:
    """Execute the sweep or queue in a record; returns the exit code. `command` replaces the engine's (for tests).

    Its engines get the `consent`. `supply` makes what adds runs while others are in progress.

    Raises RunError when another process executes it, or its record cannot be read or written.
    """
    stop_signals = StopSignals().install()
    with FileLock(file.with_suffix(".lock")) as own:
        if not _acquired(own):
            raise RunError("another process is executing this sweep", kind="sweep-in-progress", file=str(file))
        worker = Worker(file, stop_signals, command, consent)
        if supply is not None:
            worker.supply = supply(worker)
        if worker.open():
            worker.survey()
            worker.run_all()
        worker.end()
        remove_file(own.path, missing_ok=True)
    return 143 if stop_signals.count else 0


def _acquired(lock: FileLock) -> bool:
    """Take a lock if it is free. Raises RunError when its file cannot be opened."""
    try:
        return lock.try_acquire()
    except OSError as error:
        sentence = f"cannot be locked: {cause(error)}"
        raise RunError(sentence, kind="cannot-lock-sweep", file=str(lock.path)) from error


def _engines_of(record: SweepRecord, runs_dir: Path, command: Sequence[str] | None, consent: Consent) -> Engines:
    if record.slurm is not None:
        from engine.sweep.slurm_engines import SlurmEngines

        return SlurmEngines(read_fields(JobRequest, record.slurm), consent)
    if record.ray is None:
        forks = command is None and not _is_queue(record)  # a queue's start one by one
        return LocalEngines(command, consent, runs_dir=runs_dir, launcher=new_launcher() if forks else None)
    from engine.sweep.ray_engines import RayEngines

    return RayEngines(record.ray, record.name, runs_dir, command, consent)


def _is_queue(record: SweepRecord) -> bool:
    """Whether the runs of a record exist from the start."""
    return record.search is None and all(cell.preset is None for cell in record.cells)


def _with_values(axes: Mapping[str, tuple[str, ...]], cells: Sequence[CellRecord]) -> dict[str, tuple[str, ...]]:
    """The values of each axis, with those of further runs."""
    return {
        name: tuple(dict.fromkeys((*values, *(cell.cell[name] for cell in cells if name in cell.cell))))
        for name, values in axes.items()
    }


class Turn:
    """Serializes the queues of a runs folder that use the same device, the oldest first."""

    def __init__(self, record: SweepRecord, runs_dir: Path) -> None:
        self.record, self.runs_dir = record, runs_dir
        device = re.sub(r"[^a-z0-9]+", "-", record.slots[0].device.lower())[:32] or "auto"
        self.lock = FileLock(runs_dir / QUEUES / f"{device}.turn")
        self._has_come = False

    def reason(self) -> str | None:
        """What this queue waits for; None once its turn has come."""
        if self._has_come:
            return None
        older = next((queue for queue in list_queues(self.runs_dir) if self._comes_first(queue)), None)
        if older is not None:
            return f"queue {older.name} to end"
        self._has_come = _acquired(self.lock)
        return None if self._has_come else "another queue to end"

    def _comes_first(self, other: SweepRecord) -> bool:
        own = self.record
        return (other.created, other.name) < (own.created, own.name) and other.slots == own.slots and other.alive()


class Worker:
    """Executes one record and updates it; the outcomes of runs are in their own statuses."""

    def __init__(
        self, file: Path, stop_signals: StopSignals, command: Sequence[str] | None, consent: Consent = NONE,
        engines: Engines | None = None,
    ) -> None:  # fmt: skip
        self.file = file
        self.runs_dir = file.parent.parent
        self.stop_signals = stop_signals
        self.record = read_sweep_record(file)
        self.engines = engines or _engines_of(self.record, self.runs_dir, command, consent)
        prepared = _is_queue(self.record)
        self.supply: Supply | None = None
        self.presets = [] if prepared else read_presets(presets_file(file))
        self.turn = Turn(self.record, self.runs_dir) if prepared else None
        self.todo: list[CellRecord] = []
        self.busy: dict[int, CellRecord] = {}
        """The run in each slot. Engines that an earlier process left behind may be in slots beyond the last."""
        self.ready_teachers: set[str] = set()
        """Teachers that are in the cache."""
        self.resume_when_stopped: set[str] = set()
        """Runs that an earlier process asked to stop: this one resumes them once they have."""
        self.abort_reason: str | None = None
        """Why no more runs are started."""
        self._interrupted = ("lost",) if self.record.slurm is None else ("lost", "preempted")
        """States in which runs are resumed: SLURM may preempt a job, and not start it again."""
        self._dropped: set[str] = set()
        """Runs that were stopped because they are not wanted any more."""
        self._tries: Counter[str] = Counter()
        self._signals_sent: dict[str, int] = {}
        self._update(owner=Owner.current(), state="active", waiting=None, failed=())

    def open(self) -> bool:
        """Get ready to start engines; False where that fails, which ends the sweep."""
        try:
            if self.supply is not None:
                self.supply.open()
            self.engines.open()
        except RunError as error:
            print(error, file=sys.stderr, flush=True)
            self.abort_reason = str(error)
        self.stop_signals.install()  # a library may have taken the signals
        return self.abort_reason is None

    def survey(self) -> None:
        """Find which runs are in progress, can be resumed, or are still to be started."""
        resumable, fresh = [], []
        for cell in self.record.cells:
            run_dir = self.runs_dir / cell.run
            if cell.preset is None and not self._is_waiting(cell):
                continue
            wanted = self.supply is None or self.supply.is_wanted(cell)
            if not is_run(run_dir):
                fresh += [cell] if wanted else []
                continue
            self._check_teacher(cell)
            has_engine = self.engines.has_engine(run_dir)
            state = read_run(run_dir).state
            if has_engine:
                self.busy[self._slot_for(device_of(run_dir))] = cell
                if not wanted:
                    self.drop(cell)
                elif state == "stopping" and cell.preset is not None:
                    self.resume_when_stopped.add(cell.run)
            elif not wanted:
                continue
            elif state == "unreadable":
                self._report_failure(cell, "cannot read its status: repair or delete the run")
            elif state == "queued" and (cell.preset is None or self.record.slurm is not None):
                fresh.append(cell)  # a kill may have come before its job was submitted
            elif state not in ("finished", "queued", *ACTIVE) and (state != "failed" or self.record.retry):
                resumable.append(cell)
        self.todo = resumable + fresh

    def _is_waiting(self, cell: CellRecord) -> bool:
        """Whether a run of a queue still waits for its turn: not if it was stopped, deleted or queued elsewhere."""
        status = read_run(self.runs_dir / cell.run).status
        return status is not None and status.queue == self.record.name and status.state not in ENDED

    def _slot_for(self, device: str) -> int:
        free = [number for number in range(len(self.record.slots)) if number not in self.busy]
        same_device = [number for number in free if self.record.slots[number].device == device]
        return (same_device or free or [max(self.busy, default=-1) + 1])[0]

    def run_all(self) -> None:
        """Fill the slots until no run is left, or until this process is asked to stop and its engines have ended."""
        while True:
            self._check_runs()
            more = False
            if self.stop_signals.count or self.abort_reason is not None:
                self._stop_runs()
            else:
                more = self._ask_supply()
                self._fill()
            over = self.stop_signals.count or self.abort_reason is not None or not (self.todo or more)
            if over and not self.busy:
                return
            self._beat()
            time.sleep(POLL)

    def end(self) -> None:
        """Record how it ended."""
        self.engines.close()
        self._update(
            state="stopped" if self.todo or self.abort_reason or self.stop_signals.count else "ended",
            waiting=self.abort_reason,
        )
        if self.turn is not None:
            self.turn.lock.release()

    # -- runs that come and go

    def _ask_supply(self) -> bool:
        """Let the supply add and drop runs; whether more may come."""
        try:
            return self.supply is not None and self.supply.advance()
        except CrildError as error:  # such as a full disk
            print(error, file=sys.stderr, flush=True)
            self.abort_reason = str(error)
            return False

    def add(self, cells: Sequence[tuple[CellRecord, Mapping[str, Any]]]) -> None:
        """Add runs, each with its preset as plain data, to those that are still to be started. Raises RunError."""
        start = len(self.presets)
        self.presets += [dict(document) for _, document in cells]
        write_presets(presets_file(self.file), self.presets)
        new = [replace(cell, preset=start + number) for number, (cell, _) in enumerate(cells)]
        self._update(cells=(*self.record.cells, *new), axes=_with_values(self.record.axes, new))
        self.todo += new

    def drop(self, cell: CellRecord) -> None:
        """Stop a run, as when the user stops it, and do not start it again."""
        self._dropped.add(cell.run)
        self.todo = [other for other in self.todo if other.run != cell.run]
        if any(other.run == cell.run for other in self.busy.values()):
            with contextlib.suppress(RunError):  # it has just ended
                self.engines.stop(self.runs_dir / cell.run)

    def is_pending(self, cell: CellRecord) -> bool:
        """Whether a run waits for a slot or has one."""
        return any(other.run == cell.run for other in (*self.todo, *self.busy.values()))

    # -- slots

    def _check_runs(self) -> None:
        """Free the slots of runs that have ended, and queue those to resume."""
        for slot, cell in list(self.busy.items()):
            self._check_teacher(cell)
            try:
                if self.engines.is_busy(self.runs_dir / cell.run, alone=self._is_alone(slot)):
                    continue
            except RunError as error:
                del self.busy[slot]
                self._report_failure(cell, str(error))
                continue
            del self.busy[slot]
            entry = read_run(self.runs_dir / cell.run)
            if entry.state in ("stopped", "preempted") and cell.run in self.resume_when_stopped:
                self.resume_when_stopped.remove(cell.run)
                self.todo.insert(0, cell)
            elif cell.run in self._dropped:
                continue
            elif entry.state in self._interrupted and self._tries[cell.run] < MOST_TRIES and self._resumes(cell):
                self._log(
                    cell,
                    f"its engine was {'killed' if entry.state == 'lost' else entry.state}: it will resume from its checkpoint",
                )
                self.todo.insert(len(self.todo) if cell.preset is not None else 0, cell)
            elif entry.state in FAULTY:
                fault = entry.status.error if entry.status else None
                self._log(
                    cell, str(fault) if fault else entry.problem or f"{entry.state} after {self._tries[cell.run]} tries"
                )
                self._stop_if_fail_fast(cell)

    def _resumes(self, cell: CellRecord) -> bool:
        """Whether a run whose engine was killed is resumed: of a sweep all, of a queue those that another one starts from."""
        return cell.preset is not None or any(other.after == cell.run for other in self.record.cells)

    def _is_alone(self, slot: int) -> bool:
        """Whether no other slot uses the device of this one; False for slots that an earlier process had."""
        return slot < len(self.record.slots) and self._alone(self.record.slots[slot])

    def _check_teacher(self, cell: CellRecord) -> None:
        if cell.teacher is None or cell.teacher in self.ready_teachers:
            return
        if has_teacher(self.runs_dir / cell.run):
            self.ready_teachers.add(cell.teacher)

    def _fill(self) -> None:
        waiting = None
        while self.todo and self.todo[0].preset is None and not self._is_waiting(self.todo[0]):
            self.todo.pop(0)
        for number, slot in enumerate(self.record.slots):
            if number in self.busy or not self.todo or self.stop_signals.count or self.abort_reason is not None:
                continue
            if len(self.busy) >= len(self.record.slots):
                break  # engines that an earlier process left behind fill all slots
            cell = choose(self.todo, list(self.busy.values()), self.ready_teachers)
            if cell is None:
                waiting = "for a teacher that another run trains"
                break
            if self.turn is not None and (reason := self.turn.reason()) is not None:
                waiting = f"for {reason}"
                break
            try:
                reason = self._reason_to_wait(cell, slot)
            except RunError as error:
                self.abort_reason = str(error)
                break
            if reason is not None:
                waiting = reason
                continue
            self.todo.remove(cell)
            self.busy[number] = cell
            if not self._start(cell, slot):
                del self.busy[number]
        if waiting != self.record.waiting:
            self._update(waiting=waiting)

    def _reason_to_wait(self, cell: CellRecord, slot: Slot) -> str | None:
        if cell.preset is None:
            return self.engines.reason_to_wait(slot, device_of(self.runs_dir / cell.run), alone=True)
        return self.engines.reason_to_wait(slot, slot.device, alone=self._alone(slot))

    def _alone(self, slot: Slot) -> bool:
        """Whether this is the only slot on a device that is not the CPU."""
        return slot.device != "cpu" and sum(one.device == slot.device for one in self.record.slots) == 1

    # -- one run

    def _start(self, cell: CellRecord, slot: Slot) -> bool:
        run_dir = self.runs_dir / cell.run
        try:
            if cell.preset is None:
                if held(run_dir):
                    return True  # the user has started it: wait for it to end
                if not self._claim(cell, run_dir):
                    return False
            elif is_run(run_dir):
                self._move(run_dir, slot)
            else:
                self._create(cell, slot)
        except CrildError as error:  # such as a full disk: the next run would fail as well
            self._report_failure(cell, str(error))
            self.abort_reason = f"{cell.run}: {error}"
            return False
        try:
            self.engines.start(run_dir, slot)
        except UsageError as error:  # such as SLURM's limit on jobs: the engines say how long to wait
            self._log(cell, str(error))
            self.todo.insert(0, cell)
            return False
        except RunError as error:
            self._report_failure(cell, str(error))
            return False
        self._tries[cell.run] += 1
        return True

    def _claim(self, cell: CellRecord, run_dir: Path) -> bool:
        """Take a queued run off the queue to start it; False when it was stopped first."""
        try:
            state = read_status(run_dir).state
            if state == "queued":
                update_status(run_dir, expect=("queued",), state="created", heartbeat=time.time())
            return state not in ENDED
        except RunError as error:
            self._log(cell, str(error))
            return False

    def _create(self, cell: CellRecord, slot: Slot) -> None:
        from engine.preset.retired_keys import without_retired_keys
        from engine.preset.schema import Preset  # slow to import, and queues create no runs
        from engine.preset.write import dump

        try:
            # None for the run of a queue, which should exist already
            document = {} if cell.preset is None else without_retired_keys(self.presets[cell.preset])
            preset = Preset.model_validate(document)
        except (IndexError, ValueError) as error:  # pydantic's errors are ValueErrors
            sentence = f"the sweep has no preset for it that can be used: {error}"
            raise RunError(sentence, kind="unusable-sweep-preset") from error
        own = {"device": slot.device, "threads": preset.train.threads or slot.threads or None}
        with contextlib.suppress(OSError), OpenFolder.at(self.runs_dir) as runs:
            runs.remove_empty(cell.run)  # reserved by a process of this sweep that was killed before it wrote the run
        preset = preset.model_copy(update={"seed": cell.seed, "train": preset.train.model_copy(update=own)})
        create_run(
            self.runs_dir,
            dump(preset),
            name=cell.run.removesuffix(f"-s{cell.seed}"),
            tags=preset.tags,
            environment=light_environment(["crild", self.record.command, self.record.file]),
            seed=cell.seed,
            task=preset.task.display_name,
            method=cell.cell.get("method", ""),
            preset=cell.refs,
            sweep=self.record.name,
            cell=dict(cell.cell),
        )

    def _move(self, run_dir: Path, slot: Slot) -> None:
        """Move a run to the device of the slot that resumes it."""
        if device_of(run_dir) == slot.device:
            return
        from engine.preset.load import load_run_preset
        from engine.preset.write import dump

        with RunLock(run_dir) as lock:
            lock.take(wait=1.0)
            loaded = load_run_preset(run_dir, [f'train.device="{slot.device}"'])
            try:
                write_atomic(run_dir / PRESET, dump(loaded.preset))
            except OSError as error:
                sentence = f"cannot change the run's preset: {cause(error)}"
                raise RunError(sentence, kind="cannot-write-preset", file=str(run_dir / PRESET)) from error

    def _report_failure(self, cell: CellRecord, sentence: str) -> None:
        """Record that a run could not be created or started."""
        self._log(cell, sentence)
        self._update(failed=(*self.record.failed, f"{cell.run}: {sentence}"))
        self._stop_if_fail_fast(cell)

    def _stop_if_fail_fast(self, cell: CellRecord) -> None:
        if self.record.fail_fast and self.abort_reason is None:
            self.abort_reason = f"{cell.run} failed, and this sweep stops at the first failure"

    def _stop_runs(self) -> None:
        """Ask every engine to stop with a checkpoint; kill them when this process is asked to stop a second time."""
        for cell in list(self.busy.values()):
            count = min(max(self.stop_signals.count, 1), 2)
            if self._signals_sent.get(cell.run, 0) >= count:
                continue
            self._signals_sent[cell.run] = count
            with contextlib.suppress(RunError):  # it has just ended
                (self.engines.stop if count == 1 else self.engines.kill)(self.runs_dir / cell.run)

    # -- the record

    def _log(self, cell: CellRecord, sentence: str) -> None:
        print(f"{cell.run}: {sentence}", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        if time.time() - (self.record.heartbeat or 0.0) > HEARTBEAT:
            try:
                self._update()
            except RunError as error:  # such as a full disk: the engines report it, and it may still be fixed
                print(error, file=sys.stderr, flush=True)

    def _update(self, **changes: Any) -> None:
        self.record = replace(self.record, heartbeat=time.time(), **changes)
        write_sweep_record(self.file, self.record)
