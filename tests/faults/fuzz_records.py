"""Targets of `fuzz`: the files of run directories and sweeps, read by commands and by the dashboard's watchers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random

from crild_tui.monitor.run import RunWatcher
from crild_tui.monitor.sweep import SweepWatcher
from crild_tui.runs.details import panel, read_about
from crild_tui.runs.reader import RunsReader
from engine.launch.background import device_of, is_engine_alive
from engine.record.event_sample import sample_events
from engine.record.events import read_events
from engine.record.paths import queue_file
from engine.record.probe import write_probe
from engine.record.run import read_run
from engine.sweep.record import (
    CellRecord,
    SweepRecord,
    create_folder,
    list_queues,
    presets_file,
    read_presets,
    sweep_file,
    write_presets,
    write_sweep_record,
)
from engine.sweep.slots import Slot
from tests.cli.samples import make_run
from tests.faults.fuzz import Target, command, each
from tests.faults.fuzz_mutations import mutated_json, mutated_lines, mutated_toml
from tests.record.probe_samples import sample

KEYS: defaultdict[str, str] = defaultdict(lambda: "x")
"""A name for the key of every action."""


class RunFile(Target):
    """One file of a run, beside a good run."""

    def __init__(self, name: str, mutate: Callable[[Random, bytes], bytes]) -> None:
        self.name, self.mutate = name, mutate

    def prepare(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.run = make_run(self.runs, "bad")
        good = make_run(self.runs, "good")
        for run in (self.run, good):
            write_probe(run, sample(run.name))
        self.file = self.run / self.name
        if not self.file.exists():
            command("note", "bad-s1", "a note")
            command("tag", "bad-s1", "a", "b")
        self.content = self.file.read_bytes()

    def damage(self, rng: Random, folder: Path) -> None:
        self.file.write_bytes(self.mutate(rng, self.content))
        self.reading = rng.randrange(4)

    def read(self, folder: Path) -> None:
        run = self.run
        entry = read_run(run)
        commands = (
            (("runs",), ("show", "bad-s1")),
            (("runs", "--json"), ("compare", "bad-s1", "good-s1")),
            (("report",), ("compare", "bad-s1", "good-s1", "--json")),
            (("report", "--format", "json"), ("show", "bad-s1", "--json"), ("runs", "--filter", "metric:>0.5")),
        )
        for words in commands[self.reading]:
            command(*words)
        each(
            (
                lambda: list(read_events(run)), lambda: list(sample_events(run)), lambda: RunsReader(self.runs).read(),
                lambda: device_of(run), lambda: is_engine_alive(run),
                lambda: panel(entry, read_about(run), KEYS, time.time(), 80),
            )
        )  # fmt: skip
        watcher = RunWatcher(run, lambda _: None)
        watcher.look(None)


class SweepFile(Target):
    """The record of a sweep or queue, or its presets."""

    def __init__(self, *, queue: bool) -> None:
        self.queue = queue

    def prepare(self, folder: Path) -> None:
        self.runs = folder / "runs"
        run = make_run(self.runs, "one", sweep="study", cell={"method": "kd", "task": "rte", "seed": "1"})
        cells = tuple(
            CellRecord(
                name,
                {} if self.queue else {"method": "kd", "task": "rte", "seed": str(seed)},
                seed,
                None if self.queue else 0,
            )
            for seed, name in enumerate((run.name, "two-s2"), 1)
        )
        axes = {"method": ("kd",), "task": ("rte",), "seed": ("1", "2")}
        record = SweepRecord("study", str(folder / "study.toml"), time.time(), axes, cells, (Slot("cpu", 1),))
        self.file = queue_file(self.runs, "study") if self.queue else sweep_file(self.runs, "study")
        create_folder(self.file.parent)
        write_sweep_record(self.file, record)
        write_presets(presets_file(self.file), [{"task": {"name": "rte"}}])
        self.contents = {path: path.read_bytes() for path in (self.file, presets_file(self.file))}

    def damage(self, rng: Random, folder: Path) -> None:
        chosen = self.file if rng.random() < 0.8 else presets_file(self.file)
        for path, content in self.contents.items():
            path.write_bytes(mutated_json(rng, content) if path == chosen else content)

    def read(self, folder: Path) -> None:
        watcher = SweepWatcher(self.runs, "study", lambda _: None)
        readers = (
            lambda: read_presets(presets_file(self.file)),
            lambda: list_queues(self.runs),
            lambda: watcher.look(None),
        )
        each(readers)
        command("report", "--sweep", "study")
        command("runs", "--sweep", "study")
        command("runs")


def targets() -> dict[str, Target]:
    """The targets of this module by name."""
    return {
        "status": RunFile("status.json", mutated_json),
        "events": RunFile("events.1.jsonl", mutated_lines),
        "results": RunFile("results.json", mutated_json),
        "probes": RunFile("probe.json", mutated_json),
        "annotations": RunFile("annotations.json", mutated_json),
        "run-presets": RunFile("preset.toml", mutated_toml),
        "sweeps": SweepFile(queue=False),
        "queues": SweepFile(queue=True),
    }
