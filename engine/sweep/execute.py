"""The process of a sweep or queue: fills its slots with runs until every one had its turn."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import CrildError, RunError
from engine.launch.background import Asked, device_of, works
from engine.launch.gpu import busy_gpu
from engine.launch.signals import kill, stop
from engine.launch.start import start_engine
from engine.record.environment import light_environment
from engine.record.files import cause, write_atomic
from engine.record.lock import FileLock, RunLock, held
from engine.record.owner import Owner, start_time
from engine.record.paths import PRESET, QUEUES, TEACHER
from engine.record.run import create_run, is_run, read_run, read_status, update_status
from engine.record.states import ACTIVE, ENDED, FAULTY
from engine.record.status import Fault
from engine.sweep.order import choose
from engine.sweep.record import (
    CellRecord,
    SweepRecord,
    list_queues,
    presets_file,
    read_presets,
    read_sweep_record,
    write_sweep_record,
)
from engine.sweep.slots import Slot

POLL = 0.25
"""Seconds between two looks at the runs that work."""
HEARTBEAT = 30.0
"""Seconds between two signs of life in the record."""
GPU_POLL = 10.0
"""Seconds between two looks at a busy GPU."""
MOST_TRIES = 3
"""Starts of one run by one process: a run whose engine is killed goes on from its checkpoint, but not for ever."""


def work(file: Path, command: Sequence[str] | None = None) -> int:
    """Work through the sweep in a record; returns the exit code. `command` replaces the engine's (for tests).

    Raises RunError when another process works on this sweep, or its record can be neither read nor written.
    """
    asked = Asked().install()
    with FileLock(file.with_suffix(".lock")) as own:
        if not own.try_acquire():
            raise RunError("another process works on this sweep", file=str(file))
        worker = Worker(file, asked, command)
        worker.survey()
        worker.run_all()
        worker.end()
        own.path.unlink(missing_ok=True)
    return 143 if asked.times else 0


class Turn:
    """Lets the queues of one runs folder that want the same device work one after the other, the oldest first."""

    def __init__(self, record: SweepRecord, runs_dir: Path) -> None:
        self.record, self.runs_dir = record, runs_dir
        device = re.sub(r"[^a-z0-9]+", "-", record.slots[0].device.lower())[:32] or "auto"
        self.lock = FileLock(runs_dir / QUEUES / f"{device}.turn")
        self._has_come = False

    def reason(self) -> str | None:
        """What is waited for; None once this queue's turn has come."""
        if self._has_come:
            return None
        older = next((queue for queue in list_queues(self.runs_dir) if self._comes_first(queue)), None)
        if older is not None:
            return f"queue {older.name} to end"
        self._has_come = self.lock.try_acquire()
        return None if self._has_come else "another queue to end"

    def _comes_first(self, other: SweepRecord) -> bool:
        own = self.record
        return (other.created, other.name) < (own.created, own.name) and other.slots == own.slots and other.alive()


class Worker:
    """Works through one record, and writes down where it stands; what became of the runs stands in their statuses."""

    def __init__(self, file: Path, asked: Asked, command: Sequence[str] | None) -> None:
        self.file = file
        self.runs_dir = file.parent.parent
        self.asked = asked
        self.command = command
        self.record = read_sweep_record(file)
        prepared = all(cell.preset is None for cell in self.record.cells)
        self.presets = [] if prepared else read_presets(presets_file(file))
        self.turn = Turn(self.record, self.runs_dir) if prepared else None
        self.todo: list[CellRecord] = []
        self.busy: dict[int, CellRecord] = {}
        """Who works in which slot; an engine that an earlier process left may have one beyond the last."""
        self.ready: set[str] = set()
        """Teachers that are in the cache."""
        self.again: set[str] = set()
        """Runs that an earlier process asked to stop, and that this one goes on with once they have."""
        self.broken: str | None = None
        """Why no further run is started."""
        self._pids: dict[str, int] = {}
        self._tries: Counter[str] = Counter()
        self._told: dict[str, int] = {}
        self._looked: dict[str, tuple[float, str | None]] = {}
        self._note(owner=Owner.current(), state="active", waiting=None, failed=())

    def survey(self) -> None:
        """See what there is of earlier processes: who still works, what was begun, what is left."""
        begun, fresh = [], []
        for cell in self.record.cells:
            run_dir = self.runs_dir / cell.run
            if cell.preset is None and not self._waits(cell):
                continue
            if not is_run(run_dir):
                fresh.append(cell)
                continue
            self._see_teacher(cell)
            state = read_run(run_dir).state
            if works(run_dir) and (state in ACTIVE or state == "finished"):
                self.busy[self._place_for(device_of(run_dir))] = cell
                if state == "stopping" and cell.preset is not None:
                    self.again.add(cell.run)
            elif state == "unreadable":
                self._fail(cell, "its status cannot be read: delete the run, or mend it")
            elif cell.preset is None and state == "queued":
                fresh.append(cell)
            elif state not in ("finished", "queued", *ACTIVE) and (state != "failed" or self.record.retry):
                begun.append(cell)
        self.todo = begun + fresh

    def _waits(self, cell: CellRecord) -> bool:
        """Whether a run of a queue still waits for its turn: it was not stopped, deleted or put into another queue."""
        status = read_run(self.runs_dir / cell.run).status
        return status is not None and status.queue == self.record.name and status.state not in ENDED

    def _place_for(self, device: str) -> int:
        free = [n for n in range(len(self.record.slots)) if n not in self.busy]
        alike = [n for n in free if self.record.slots[n].device == device]
        return (alike or free or [max(self.busy, default=-1) + 1])[0]

    def run_all(self) -> None:
        """Fill the slots until nothing is left, or this process is asked to end and its engines have."""
        while True:
            self._look()
            if self.asked.times or self.broken is not None:
                self._pass_on()
            else:
                self._fill()
            over = self.asked.times or self.broken is not None or not self.todo
            if over and not self.busy:
                return
            self._beat()
            time.sleep(POLL)

    def end(self) -> None:
        """Write down how it ended."""
        self._note(state="stopped" if self.todo or self.broken or self.asked.times else "ended", waiting=self.broken)
        if self.turn is not None:
            self.turn.lock.release()

    # -- slots

    def _look(self) -> None:
        """See who has ended."""
        for slot, cell in list(self.busy.items()):
            self._see_teacher(cell)
            if self._works(slot, cell.run):
                continue
            del self.busy[slot]
            entry = read_run(self.runs_dir / cell.run)
            if entry.state in ("stopped", "preempted") and cell.run in self.again:
                self.again.remove(cell.run)
                self.todo.insert(0, cell)
            elif entry.state == "lost" and self._tries[cell.run] < MOST_TRIES and cell.preset is not None:
                self._say(cell, "its engine was killed: it goes on from its checkpoint in its turn")
                self.todo.append(cell)
            elif entry.state in FAULTY:
                fault = entry.status.error if entry.status else None
                self._say(
                    cell, str(fault) if fault else entry.problem or f"{entry.state} after {self._tries[cell.run]} tries"
                )
                self._failed(cell)

    def _works(self, slot: int, run: str) -> bool:
        run_dir = self.runs_dir / run
        state = read_run(run_dir).state
        if state in ACTIVE or held(run_dir):
            return True
        if state in ENDED:  # what an engine does after its last word needs no core; another may need the GPU's memory
            return slot < len(self.record.slots) and self._alone(self.record.slots[slot]) and works(run_dir)
        pid = self._pids.get(run)
        return works(run_dir) or (pid is not None and start_time(pid) is not None)

    def _see_teacher(self, cell: CellRecord) -> None:
        if cell.teacher is None or cell.teacher in self.ready:
            return
        if (self.runs_dir / cell.run / TEACHER / "pointer.json").is_file():
            self.ready.add(cell.teacher)

    def _fill(self) -> None:
        waiting = None
        while self.todo and self.todo[0].preset is None and not self._waits(self.todo[0]):
            self.todo.pop(0)
        for number, slot in enumerate(self.record.slots):
            if number in self.busy or not self.todo or self.asked.times or self.broken is not None:
                continue
            if len(self.busy) >= len(self.record.slots):
                break  # engines that an earlier process left take more places than there are now
            cell = choose(self.todo, list(self.busy.values()), self.ready)
            if cell is None:
                waiting = "for a teacher that another run trains"
                break
            if self.turn is not None and (reason := self.turn.reason()) is not None:
                waiting = f"for {reason}"
                break
            if (reason := self._gpu(cell, slot)) is not None:
                waiting = f"for the GPU: {reason}"
                continue
            self.todo.remove(cell)
            self.busy[number] = cell
            if not self._start(cell, slot):
                del self.busy[number]
        if waiting != self.record.waiting:
            self._note(waiting=waiting)

    def _gpu(self, cell: CellRecord, slot: Slot) -> str | None:
        """Why a GPU that has one slot cannot be used yet: several slots on one are there to share it."""
        if cell.preset is not None and not self._alone(slot):
            return None
        device = slot.device if cell.preset is not None else device_of(self.runs_dir / cell.run)
        looked, reason = self._looked.get(device, (-GPU_POLL, None))
        if time.monotonic() - looked >= GPU_POLL or reason is None:
            reason = busy_gpu(device, self.runs_dir)
            self._looked[device] = (time.monotonic(), reason)
        return reason

    def _alone(self, slot: Slot) -> bool:
        """Whether this is the only slot on a device that is not the CPU."""
        return slot.device != "cpu" and sum(one.device == slot.device for one in self.record.slots) == 1

    # -- one run

    def _start(self, cell: CellRecord, slot: Slot) -> bool:
        run_dir = self.runs_dir / cell.run
        try:
            if cell.preset is None:
                if held(run_dir):
                    return True  # it was started by hand: its turn lasts until it ends
                if not self._claim(cell, run_dir):
                    return False
            elif is_run(run_dir):
                self._move(run_dir, slot)
            else:
                self._make(cell, slot)
        except CrildError as error:  # a full disk, say: the next run would fare no better
            self._fail(cell, str(error))
            self.broken = f"{cell.run}: {error}"
            return False
        self._tries[cell.run] += 1
        try:
            self._pids[cell.run] = start_engine(run_dir, resume=True, command=self.command)
        except RunError as error:
            with contextlib.suppress(RunError):  # so that it does not look as if it were about to start
                update_status(
                    run_dir,
                    expect=("created",),
                    state="failed",
                    ended=time.time(),
                    exit_code=error.exit_code,
                    error=Fault.from_error(error),
                )
            self._fail(cell, str(error))
            return False
        return True

    def _claim(self, cell: CellRecord, run_dir: Path) -> bool:
        """Give a queued run its turn; False when it was stopped in this moment: of the two, exactly one gets it."""
        try:
            state = read_status(run_dir).state
            if state == "queued":
                update_status(run_dir, expect=("queued",), state="created", heartbeat=time.time())
            return state not in ENDED
        except RunError as error:
            self._say(cell, str(error))
            return False

    def _make(self, cell: CellRecord, slot: Slot) -> None:
        from engine.preset.schema import Preset  # slow to load, and a queue makes no runs
        from engine.preset.write import dump

        assert cell.preset is not None, "the runs of a queue were made beforehand"
        preset = Preset.model_validate(self.presets[cell.preset])
        given = {"device": slot.device, "threads": preset.train.threads or slot.threads}
        preset = preset.model_copy(update={"seed": cell.seed, "train": preset.train.model_copy(update=given)})
        create_run(
            self.runs_dir,
            dump(preset),
            name=cell.run.removesuffix(f"-s{cell.seed}"),
            tags=preset.tags,
            environment=light_environment(["crild", "sweep", self.record.file]),
            seed=cell.seed,
            task=preset.task.name,
            method=cell.cell["method"],
            preset=cell.refs,
            sweep=self.record.name,
            cell=dict(cell.cell),
        )

    def _move(self, run_dir: Path, slot: Slot) -> None:
        """Let a run that was begun go on where there is a place now."""
        if device_of(run_dir) == slot.device:
            return
        from engine.preset.load import load_preset
        from engine.preset.write import dump

        with RunLock(run_dir) as lock:
            lock.take(wait=1.0)
            loaded = load_preset([str(run_dir / PRESET)], [f'train.device="{slot.device}"'])
            try:
                write_atomic(run_dir / PRESET, dump(loaded.preset))
            except OSError as error:
                raise RunError(
                    f"the run's preset cannot be changed: {cause(error)}", file=str(run_dir / PRESET)
                ) from error

    def _fail(self, cell: CellRecord, sentence: str) -> None:
        """A run that could not be made or started."""
        self._say(cell, sentence)
        self._note(failed=(*self.record.failed, f"{cell.run}: {sentence}"))
        self._failed(cell)

    def _failed(self, cell: CellRecord) -> None:
        if self.record.fail_fast and self.broken is None:
            self.broken = f"{cell.run} failed, and the sweep was told to stop then"

    def _pass_on(self) -> None:
        """Ask every engine to stop with a checkpoint; end them when this process is asked a second time."""
        for cell in list(self.busy.values()):
            wanted = min(max(self.asked.times, 1), 2)
            if self._told.get(cell.run, 0) >= wanted:
                continue
            self._told[cell.run] = wanted
            with contextlib.suppress(RunError):  # it has ended by itself
                (stop if wanted == 1 else kill)(self.runs_dir / cell.run)

    # -- the record

    def _say(self, cell: CellRecord, sentence: str) -> None:
        print(f"{cell.run}: {sentence}", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        if time.time() - (self.record.heartbeat or 0.0) > HEARTBEAT:
            try:
                self._note()
            except RunError as error:  # a full disk: the engines say so themselves, and may be helped meanwhile
                print(error, file=sys.stderr, flush=True)

    def _note(self, **changes: Any) -> None:
        self.record = replace(self.record, heartbeat=time.time(), **changes)
        write_sweep_record(self.file, self.record)
