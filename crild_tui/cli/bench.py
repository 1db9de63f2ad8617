"""`crild bench`: measure and compare the latency of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import run_names
from crild_tui.cli.options import AsJson, RunsDir, ToolDevice, Trust

if TYPE_CHECKING:
    from engine.record.latency import Latency, LatencyCase

BATCHES = "1,8,32"
MOST_VALUES, LARGEST_BATCH, LONGEST, MOST_THREADS, MOST_TARGETS = 8, 4096, 8192, 1024, 16


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_MODEL...",
            help="Runs (each with its teacher), folders of models, or hub ids. The first is the reference.",
            autocompletion=run_names,
            show_default=False,
        ),
    ],
    batch: Annotated[str, typer.Option("--batch", metavar="1,8,32", help="Batch sizes.")] = BATCHES,
    length: Annotated[
        str | None,
        typer.Option("--length", metavar="N,N", help="Tokens of each input. [default: the run's median, else 128]"),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="CPU threads.")] = 1,
    device: ToolDevice = None,
    trust_remote_code: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Measure latency and throughput, and how they compare.

    All models are measured in turn, in fp32, on inputs of one length, so that the
    ratios hold on a busy machine too. With one CPU thread, times are processor
    time. Takes 5 to 15 s for each batch size and length. More: docs/latency.md

    \b
    crild bench rte-crild
    crild bench rte-crild mrpc-kd --batch 1 --length 32,128
    crild bench prajjwal1/bert-mini ./student --threads 2
    """
    import json

    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import check_device
    from engine.errors import RunError
    from engine.record.latency import Latency
    from engine.record.paths import runs_dir as folder_of
    from engine.user.consent import Consent

    check_device(device)
    targets = _targets(models, folder_of(runs_dir))
    request = {
        "batches": _numbers(batch, "--batch", LARGEST_BATCH),
        "lengths": [] if length is None else _numbers(length, "--length", LONGEST),
        "threads": _threads(threads),
        "device": device,
        "targets": targets,
    }
    consent = Consent(_trusted(targets) if trust_remote_code else frozenset())
    terminal.say("starting the engine; loading its libraries takes a few seconds")
    result = run_tool("bench", [*consent.words(), json.dumps(request)])
    try:
        latency = Latency.from_dict(result["latency"])
        notes = [str(note) for note in result["notes"]]
    except (KeyError, TypeError, RunError):
        raise RunError("the engine's answer has no latency", kind="invalid-engine-answer") from None
    if as_json:
        terminal.show_json(result)
    else:
        _show(latency)
        for note in notes:
            terminal.sentence(note)


def _numbers(words: str, option: str, largest: int) -> list[int]:
    """Whole numbers separated by commas. Raises UsageError for anything else."""
    from engine.errors import UsageError

    parts = [part.strip() for part in words.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 10]
    if len(numbers) != len(parts) or len(numbers) > MOST_VALUES or not all(0 < each <= largest for each in numbers):
        sentence = f"{option} {words!r}: give 1 to {MOST_VALUES} numbers from 1 to {largest}, separated by commas"
        raise UsageError(sentence, kind="invalid-numbers", key=option)
    return list(dict.fromkeys(numbers))


def _threads(count: int) -> int:
    from engine.errors import UsageError

    if not 1 <= count <= MOST_THREADS:
        sentence = f"--threads {count}: allowed are 1 to {MOST_THREADS}"
        raise UsageError(sentence, kind="invalid-threads", key="--threads")
    return count


def _targets(refs: Sequence[str], runs_dir: Path) -> list[dict[str, str]]:
    """What each word means: a run, a folder, or a model on the hub."""
    from engine.errors import UsageError

    distinct = list(dict.fromkeys(refs))
    if len(distinct) > MOST_TARGETS:
        sentence = f"{len(distinct)} models are too many to measure side by side: name at most {MOST_TARGETS}"
        raise UsageError(sentence, kind="too-many-models")
    targets = [_target(ref, runs_dir) for ref in distinct]
    names = [target["name"] for target in targets]
    for ref, target in zip(distinct, targets, strict=True):
        if names.count(target["name"]) > 1:  # runs of one name in several folders
            target["name"] = ref
    return targets


def _target(ref: str, runs_dir: Path) -> dict[str, str]:
    from crild_tui.runs.model_reference import model_reference
    from engine.preset.source_names import cached_repository, is_path

    reference = model_reference(ref, runs_dir)
    if reference.run_dir is not None:
        return {"name": reference.run_dir.name, "run": str(reference.run_dir)}
    if not is_path(reference.model) and not cached_repository(ref).is_dir():
        terminal.say(f"{ref} is no run and no folder here; looking for it on the Hugging Face hub")
    return {"name": ref, "model": reference.model}


def _trusted(targets: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """The models whose own code may run: those named, and those of runs named."""
    from engine.user.consent import models_of_run

    own = frozenset(target["model"] for target in targets if "model" in target)
    return own.union(*(models_of_run(Path(target["run"])) for target in targets if "run" in target))


def _show(latency: Latency) -> None:
    """A table for each batch size and length, then how it was measured."""
    from crild_tui.runs.tables import latency_rows
    from engine.record.latency import cautions, conditions

    columns = [("", "left"), ("ms", "right"), ("quartiles", "right"), ("examples/s", "right"),
               ("ratio", "right"), ("quartiles", "right")]  # fmt: skip
    for case in latency.cases:
        terminal.show(terminal.table(columns, latency_rows(case), title=_title(case)))
        terminal.sentence()
    if any(len(case.models) > 1 for case in latency.cases):
        terminal.sentence(f"ratio: how many times as fast as {latency.cases[0].models[0].name}")
    for line in (conditions(latency), *cautions(latency)):
        terminal.sentence(line)


def _title(case: LatencyCase) -> str:
    return f"batch {case.batch}, {case.length} tokens"
