"""`crild evaluate`: measure a run's student, or any model, on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import one_of, preset_files, run_names
from crild_tui.cli.options import AsJson, RunsDir, Settings, ToolDevice, Trust


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_RUN",
            help="A run, the folder of a model, or a hub id.",
            autocompletion=run_names,
            show_default=False,
        ),
    ],
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            metavar="PRESET",
            help="For a model: a preset that names the task. Repeatable.",
            autocompletion=preset_files,
        ),
    ] = None,
    settings: Settings = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="SPLIT",
            help="One dev set, such as dev_matched. [default: all]",
            autocompletion=one_of("dev", "dev_matched", "dev_mismatched", "test"),
        ),
    ] = None,
    device: ToolDevice = None,
    trust_remote_code: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Evaluate a run's student on dev, or any model on the task of --preset.

    \b
    crild evaluate rte-crild
    crild evaluate textattack/bert-base-uncased-RTE --preset rte
    """
    import json
    import tempfile

    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import check_device
    from engine.errors import RunError, UsageError
    from engine.user.consent import Consent

    check_device(device)
    with tempfile.TemporaryDirectory(prefix="crild-") as folder:
        request = task_request(model, preset or [], settings or [], runs_dir, Path(folder))
        consent = Consent(frozenset([str(request["model"])] if trust_remote_code else []))
        terminal.say("starting the engine; loading its libraries takes a few seconds")
        result = run_tool("evaluate", [*consent.words(), json.dumps({**request, "device": device})])
    if not isinstance(result, dict) or not isinstance(result.get("splits"), dict):
        raise RunError("the engine's answer has no table of splits", kind="invalid-engine-answer")
    if split is not None:
        if split not in result["splits"]:
            sentence = f"--split {split!r} is not a dev set of this task; choose one of {', '.join(result['splits'])}"
            raise UsageError(sentence, kind="unknown-split")
        result["splits"] = {split: result["splits"][split]}
    if as_json:
        terminal.show_json(result)
    else:
        _show(result)


def task_request(
    model: str, presets: Sequence[str], settings: Sequence[str], runs_dir: str | None, folder: Path
) -> dict[str, str | bool]:
    """What the engine measures: a model, a complete preset with the task, and the run if it is one's."""
    from crild_tui.runs.create import with_method
    from crild_tui.runs.model_reference import model_reference
    from engine.errors import UsageError
    from engine.preflight.own_data import completed
    from engine.preset.load import load_preset
    from engine.preset.write import dump
    from engine.record.paths import PRESET
    from engine.record.paths import runs_dir as folder_of

    reference, own_task = model_reference(model, folder_of(runs_dir)), False
    run_dir = reference.run_dir
    if run_dir is not None:
        own_task = not presets and not settings
        presets = presets or [str(run_dir / PRESET)]
    if not presets:
        raise UsageError(
            f"there is no run {model!r}; to evaluate a model, name its task: crild evaluate {model} --preset rte; "
            "to see the runs: crild runs",
            kind="no-task",
        )
    file = folder / "preset.toml"
    if own_task:
        loaded = load_preset(presets, of_run=True)
        terminal.say(*loaded.ignored)
    else:
        loaded = completed(load_preset(with_method(presets), settings))  # the method, which a task lacks, is not used
        terminal.say(*loaded.notes)
    file.write_text(dump(loaded.preset), encoding="utf-8")
    request: dict[str, str | bool] = {"model": reference.model, "preset": str(file)}
    return request if run_dir is None else {**request, "run": str(run_dir), "own_task": own_task}


def _show(result: Mapping[str, Any]) -> None:
    """A row for each dev set."""
    from crild_tui.runs import formatting

    tables = {name: row for name, row in result["splits"].items() if isinstance(row, Mapping)}
    names = list(dict.fromkeys(name for row in tables.values() for name in row.get("metrics", {})))
    rows = [
        [
            split,
            str(row.get("examples", formatting.NONE)),
            *(formatting.metric(row.get("metrics", {}).get(n)) for n in names),
        ]
        for split, row in tables.items()
    ]
    parameters = formatting.amount(result.get("parameters"))
    terminal.sentence(f"{result.get('model')} on {result.get('task')}, {parameters} parameters")
    columns = [("set", "left"), ("examples", "right"), *((name, "right") for name in names)]
    terminal.show(terminal.table(columns, rows))
    for line in result.get("notes") or ():
        terminal.sentence(str(line))
