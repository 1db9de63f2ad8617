"""`crild export`: write a student, or any classifier, as ONNX, and check what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import one_of, preset_files, run_names, some_of
from crild_tui.cli.options import AsJson, RunsDir, Settings, Trust

if TYPE_CHECKING:
    from crild_tui.runs.model_reference import ModelReference

REFUSED = 3
"""Exit code where a form was not written, because its metric fell too far."""


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="A run, the folder of a model, or a hub id.",
            autocompletion=run_names,
            show_default=False,
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="onnx.", autocompletion=one_of("onnx"))] = "onnx",
    quantize: Annotated[
        str | None,
        typer.Option(
            "--quantize",
            metavar="FORM,FORM",
            help="Also smaller: int8 (dynamic), int8-static (calibrated), fp16.",
            autocompletion=some_of("int8", "int8-static", "fp16"),
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="[default: NAME-onnx in this folder]")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", metavar="POINTS", min=0, help="Points of the dev metric that a form may lose."),
    ] = 1.0,
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
    trust_remote_code: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write a student as ONNX, checked on dev: metric, largest difference of a logit, size, latency.

    Each form gets a folder with tokenizer and config, which `crild predict` and
    `crild bench` take as they take a model's. A form that loses more than
    --tolerance on dev is not written. Needs crild[onnx].

    \b
    crild export tickets
    crild export tickets --quantize int8,fp16 -o service/model
    crild export ./my-model --preset rte

    \b
    Exit codes: 0 done; 2 wrong usage; 3 a form was not written, or the model
    cannot be exported.
    """
    import json
    import tempfile

    from crild_tui.cli.evaluate import task_request
    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.model_reference import model_reference
    from engine.errors import RunError
    from engine.record.export import check_installed
    from engine.record.paths import runs_dir as folder_of
    from engine.user.consent import Consent

    _check_format(to)
    forms = ("onnx", *_forms(quantize))
    reference = model_reference(model, folder_of(runs_dir))
    folders = _folders(reference, model, forms, output)
    check_installed()
    with tempfile.TemporaryDirectory(prefix="crild-") as work:
        request: dict[str, Any] = {"model": reference.model, "name": _name(reference, model)}
        if reference.run_dir is not None or preset or settings:
            request |= task_request(model, preset or [], settings or [], runs_dir, Path(work))
        request |= {"folders": {form: str(folder) for form, folder in folders.items()}, "tolerance": tolerance}
        consent = Consent(frozenset([reference.model] if trust_remote_code else []))
        terminal.say("starting the engine; loading its libraries takes a few seconds")
        result = run_tool("export", [*consent.words(), json.dumps(request)])
    if not isinstance(result, dict) or not isinstance(result.get("rows"), list):
        raise RunError("the engine's answer has no rows", kind="invalid-engine-answer")
    if as_json:
        terminal.show_json(result)
    else:
        _show(result)
    if any(row.get("refused") for row in result["rows"]):
        raise typer.Exit(REFUSED)


def _check_format(to: str) -> None:
    from engine.errors import UsageError

    if to != "onnx":
        raise UsageError(f"--to {to!r}: onnx is the only format", kind="unknown-format", key="--to")


def _forms(words: str | None) -> list[str]:
    """The smaller forms. Raises UsageError for an unknown one."""
    from engine.errors import UsageError
    from engine.preset.text import listed
    from engine.record.export import FORMS

    forms = [] if words is None else list(dict.fromkeys(word.strip() for word in words.split(",")))
    for form in forms:
        if form not in FORMS[1:]:
            raise UsageError(
                f"--quantize {form!r}: known are {listed(FORMS[1:], 'and')}", kind="unknown-form", key="--quantize"
            )
    return forms


def _name(reference: ModelReference, word: str) -> str:
    return Path(word).name if reference.run_dir is None else reference.run_dir.name


def _folders(reference: ModelReference, word: str, forms: Sequence[str], output: str | None) -> dict[str, Path]:
    """The folder of each form: what the user named, with the form's name behind it for all but the first.

    Raises UsageError for a folder that exists and is no earlier export.
    """
    from engine.errors import UsageError
    from engine.record.export import EXPORT
    from engine.record.paths import user_path

    whole = user_path(output, "a folder") if output is not None else Path(f"{_name(reference, word)}-onnx")
    whole = whole.absolute()
    folders = {form: whole if form == "onnx" else whole.with_name(f"{whole.name}-{form}") for form in forms}
    for folder in folders.values():
        if (folder.exists() or folder.is_symlink()) and not (folder / EXPORT).is_file():
            sentence = f"{folder} exists and is no earlier export: name another folder with -o"
            raise UsageError(sentence, kind="folder-exists", key="--output")
        if not folder.parent.is_dir():
            raise UsageError(f"there is no folder {folder.parent}", kind="no-such-folder", key="--output")
    return folders


def _show(result: Mapping[str, Any]) -> None:
    """A row for each model, then how latency was measured, and what was written or refused."""
    from crild_tui.runs import formatting
    from engine.record.latency import Latency, cautions, conditions

    latency = Latency.from_dict(result["latency"])
    case = latency.cases[0]
    timed = {model.name: model for model in case.models}
    teacher = [{"name": "teacher"}] if "teacher" in timed else []
    metric = [] if result["metric"] is None else [(str(result["metric"]), "right")]
    rows = [
        [
            str(row["name"]),
            *([formatting.metric(row.get("value"))] if metric else []),
            formatting.size(row.get("bytes")),
            formatting.NONE if row.get("differ") is None else f"{row['differ']:.2g}",
            formatting.NONE if row["name"] not in timed else f"{timed[row['name']].milliseconds.median:.3g} ms",
            formatting.NONE if row["name"] not in timed else f"{timed[row['name']].ratio.median:.2f}",
        ]
        for row in (*teacher, *result["rows"])
    ]
    columns = [
        ("", "left"),
        *metric,
        ("size", "right"),
        ("largest difference", "right"),
        ("latency", "right"),
        ("ratio", "right"),
    ]
    terminal.show(terminal.table(columns, rows))
    terminal.sentence()
    first = next(iter(timed))
    terminal.sentence(f"ratio: how many times as fast as {first}, at batch {case.batch} and {case.length} tokens")
    for line in (conditions(latency), *cautions(latency)):
        terminal.sentence(line)
    terminal.sentence("the forms are computed by ONNX Runtime, int8 and fp16 in their own precision")
    for row in result["rows"]:
        if row.get("folder"):
            terminal.sentence(f"{row['name']}: {row['folder']}")
        if row.get("refused"):
            terminal.sentence(f"{row['name']} was not written: {row['refused']}")
    for note in result["notes"]:
        terminal.sentence(str(note))
