"""`crild predict RUN --glue-submission FOLDER`: the files that the GLUE site takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crild_tui.cli import terminal


def submit(
    model: str,
    folder: str,
    *,
    device: str | None,
    batch_size: int | None,
    trust_remote_code: bool,
    quiet: bool,
    runs_dir: str | None,
) -> None:
    """Write the predictions of a run's student for the test sets of its GLUE task, and the archive of all in the folder.

    Raises UsageError for what is no run of a GLUE task, and for a folder that cannot be one.
    """
    import json

    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import check_device
    from engine.errors import RunError
    from engine.user.consent import Consent

    check_device(device)
    run_dir, student = _run(model, runs_dir)
    target = _target(folder)
    request = {"run": str(run_dir), "folder": str(target), "device": device, "batch_size": batch_size}
    consent = Consent(frozenset([student] if trust_remote_code else []))
    terminal.say("starting the engine; loading its libraries takes a few seconds", quiet=quiet)
    result = run_tool("submission", [*consent.words(), json.dumps(request)], quiet=quiet)
    if not isinstance(result, dict) or not isinstance(result.get("sets"), list):
        raise RunError("the engine's answer has no test sets", kind="invalid-engine-answer")
    _show(result)


def _run(model: str, runs_dir: str | None) -> tuple[Path, str]:
    """A run of a GLUE task, and its student. Raises UsageError for anything else."""
    from crild_tui.runs.model_reference import model_reference
    from engine.errors import UsageError
    from engine.preset.load import load_run_preset
    from engine.preset.names import GLUE_TASKS
    from engine.record.paths import runs_dir as folder_of

    reference = model_reference(model, folder_of(runs_dir))
    if reference.run_dir is None:
        sentence = f"--glue-submission needs a run, whose preset names the task; {model!r} is none"
        raise UsageError(sentence, kind="submission-needs-run", key="--glue-submission")
    task = load_run_preset(reference.run_dir).preset.task.name
    if task not in GLUE_TASKS:
        sentence = (
            f"--glue-submission: {reference.run_dir.name} was trained on {task}, which has no test set at the GLUE site"
        )
        raise UsageError(sentence, kind="no-glue-task", key="--glue-submission")
    return reference.run_dir, reference.model


def _target(name: str) -> Path:
    """The folder for the files, made if it is missing. Raises UsageError where it cannot be one, or is crild's own."""
    from engine.errors import UsageError
    from engine.record.files import cause
    from engine.record.own_paths import refuse_own_path
    from engine.record.paths import user_path

    key = "--glue-submission"
    folder = user_path(name, "a folder")
    refuse_own_path(folder / "CoLA.tsv", key=key)
    if not folder.parent.is_dir():
        raise UsageError(f"there is no folder {folder.parent}: create it first", kind="no-such-folder", key=key)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else cause(error)
        raise UsageError(f"{folder} cannot be the folder: {reason}", kind="unwritable-folder", key=key) from None
    return folder


def _show(result: Mapping[str, Any]) -> None:
    """A row for each test set, then what the archive has and lacks."""
    from engine.preset.text import listed

    rows = [
        (str(each["file"]), f"{each['rows']:,}", _shares(each.get("labels") or {}, each["rows"]))
        for each in result["sets"]
    ]
    terminal.show(terminal.table([("file", "left"), ("rows", "right"), ("predicted", "left")], rows))
    terminal.sentence()
    files = result["files"]
    terminal.sentence(f"{result['archive']}: {listed(files, 'and')}")
    if missing := result["missing"]:
        terminal.sentence(
            f"the GLUE site wants {len(files) + len(missing)} files; still missing: {listed(missing, 'and')}"
        )
    terminal.say(*result["notes"])


def _shares(labels: Mapping[str, int], rows: int) -> str:
    return ", ".join(f"{label} {100 * count / rows:.1f} %" for label, count in labels.items())
