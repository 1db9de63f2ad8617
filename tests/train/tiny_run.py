"""A run so small that it takes seconds: random models, a task of a few words, two stages and a baseline."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.latency import PROCESSOR, Latency
from engine.record.run import create_run
from engine.record.session import RunSession
from engine.record.stop_request import Stopped
from engine.train.experiment import run
from tests.models.tiny_models import saved, tiny, words

GOOD, BAD = [f"w{n}" for n in range(20)], [f"w{n}" for n in range(20, 40)]
PRESET = """
schema = 1
seed = 7
[task]
name = "custom"
files = {{ train = "{folder}/train.csv", dev = "{folder}/dev.csv" }}
kind = "classification"
max_length = 24
[teacher]
model = "{folder}/teacher"
[teacher.finetune]
epochs = 8
batch_size = 16
learning_rate = 5e-3
keep_best = false
[student]
layers = 2
[train]
device = "cpu"
precision = "fp32"
threads = 1
log_every = 1
learning_rate = 4e-3
checkpoint_every = 2
[[stage]]
name = "ild"
epochs = 2
batch_size = 16
objectives = {{ attention = 1.0, hidden = 1.0, value = 0.5 }}
mixup = {{ alpha = 1.0 }}
consistency = {{ weight = 0.3 }}
[[stage]]
name = "kd"
epochs = 2
batch_size = 16
objectives = {{ logits = 1.0, labels = 0.5 }}
temperature = 2.0
keep_best = true
[baseline]
enabled = true
"""


def write_task(folder: Path, rows: int = 56, dev: int = 24) -> None:
    """Sentences of good or bad words, as CSV."""
    draw = random.Random(0)
    for name, count in (("train", rows), ("dev", dev)):
        lines = ["text,label"]
        for number in range(count):
            kind = number % 2
            sentence = draw.choices((BAD, GOOD)[kind], k=draw.randint(3, 18))
            lines.append(f"{' '.join(sentence)},{('bad', 'good')[kind]}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def materials(folder: Path, **model: Any) -> str:
    """A task and a random teacher in `folder`; returns the preset that uses them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_task(folder)
    family = model.pop("family", "bert")
    settings = {"layers": 4, "initializer_range": 0.05, **model}
    saved(folder / "teacher", tiny(family, **settings), words(family))
    return PRESET.format(folder=folder)


def file_of(folder: Path, text: str, name: str = "preset") -> Path:
    """A file with a preset."""
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def make(folder: Path, text: str, *overrides: str, name: str = "tiny") -> Path:
    """A run directory for a preset."""
    loaded = load_preset([str(file_of(folder, text, name))], overrides)
    return create_run(folder / "runs", dump(loaded.preset), name=name, seed=loaded.preset.seed)


def unmeasured(*_: object, **__: object) -> Latency:
    """In place of `measure`, which takes longer than all the rest of a tiny run."""
    return Latency("cpu", "none", 1, PROCESSOR)


def work(run_dir: Path, *, stop_after: tuple[str, int] | None = None, kind: str = "step") -> dict[str, Any] | None:
    """Be the engine of a run, in this process; asked to stop after a step of a stage (or an event of another kind), it
    does, and gives None."""
    preset = load_preset([str(run_dir / "preset.toml")]).preset
    with RunSession(run_dir, signals=False) as session:
        if stop_after is not None:
            _stop_at(session, stop_after, kind)
        try:
            results = run(run_dir, preset, session)
        except Stopped:
            session.finish("stopped", 143)
            return None
        session.finish("finished", 0)
        return results


def _stop_at(session: RunSession, place: tuple[str, int], wanted: str) -> None:
    """Ask to stop as a signal would, just before the step is written down."""
    write = session.events.write

    def watch(kind: str, **fields: Any) -> None:
        write(kind, **fields)
        if kind == wanted and (fields["stage"], fields["step"]) == place:
            session.request.signal = 15

    session.events.write = watch  # type: ignore[method-assign]
