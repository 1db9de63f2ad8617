"""`crild predict`: label rows with a run's student, or with any classifier."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import columns, endings, one_of, run_names
from crild_tui.cli.options import Quiet, RunsDir, ToolDevice, Trust
from engine.preset.text import listed

if TYPE_CHECKING:
    from engine.record.prediction import PredictionRequest, PredictionSummary

FORMAT_NAMES = ("csv", "tsv", "jsonl", "parquet", "text", "conll")
FORMATS = listed(FORMAT_NAMES)


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_RUN",
            help="A run, the folder of a model, or a hub id.",
            autocompletion=run_names,
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="Files to read; - or none: standard input, a text on each line.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to FILE. [default: stdout]",
            autocompletion=endings(".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".conll"),
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{FORMATS}. [default: by --output's ending, else the input's]",
            autocompletion=one_of(*FORMAT_NAMES),
        ),
    ] = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            metavar="FORMAT",
            help=f"{FORMATS}. [default: by the ending; of standard input, text]",
            autocompletion=one_of(*FORMAT_NAMES),
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="COLUMN",
            help="Column of the text. [default: the run's, or a usual name]",
            autocompletion=columns,
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option("--pair", metavar="COLUMN", help="Column of a pair's second text.", autocompletion=columns),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            metavar="TOKENS",
            min=1,
            help="Cut longer inputs. [default: the run's, or the model's limit]",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="ROWS", min=1, help="Maximum rows of a batch. [default: by length]"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="PRECISION",
            help="fp32, bf16, or auto: bf16 where the device is fast at it.",
            autocompletion=one_of("fp32", "bf16", "auto"),
        ),
    ] = "fp32",
    glue_submission: Annotated[
        str | None,
        typer.Option(
            "--glue-submission",
            metavar="FOLDER",
            help="Of a run on a GLUE task: predict its test sets, as files and an archive for the GLUE site.",
        ),
    ] = None,
    device: ToolDevice = None,
    trust_remote_code: Trust = False,
    quiet: Quiet = False,
    runs_dir: RunsDir = None,
) -> None:
    """Predict rows: the input's columns, with label and probabilities added.

    Reads and writes CSV, TSV, JSON lines, Parquet, plain text and CoNLL, of any size, also
    as .gz or .zst. A file given with -o appears whole or not at all. More: docs/predict.md

    \b
    crild predict tickets new.csv -o labelled.csv
    crild predict tickets new.jsonl --text subject > labelled.jsonl
    echo "the printer is on fire" | crild predict tickets
    crild predict rte-crild --glue-submission glue
    """
    if glue_submission is not None:
        from crild_tui.cli.glue_submission import submit

        _check_alone(
            inputs=inputs,
            output=output,
            format=form,
            input_format=input_format,
            text=text,
            pair=pair,
            max_length=max_length,
            precision=precision if precision != "fp32" else None,
        )
        submit(
            model, glue_submission, device=device, batch_size=batch_size, trust_remote_code=trust_remote_code,
            quiet=quiet, runs_dir=runs_dir,
        )  # fmt: skip
        return
    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import check_device
    from crild_tui.runs.model_reference import model_reference
    from crild_tui.runs.prediction import check_options, task_of
    from crild_tui.runs.table_file import named_file
    from engine.preflight.prediction import check_prediction, row_formats
    from engine.record.paths import runs_dir as folder_of
    from engine.record.prediction import PredictionRequest, PredictionSummary
    from engine.user.consent import Consent

    check_device(device)
    check_options(text, pair, precision)
    reference = model_reference(model, folder_of(runs_dir))
    files = _files(inputs or [])
    target = None if output in (None, "-") else named_file(str(output))
    formats = row_formats(files, target, form=form, input_form=input_format)
    request = PredictionRequest(
        model=reference.model,
        run=None if reference.run_dir is None else str(reference.run_dir),
        inputs=tuple(map(str, files)),
        input_format=formats.inputs,
        output=None if target is None else str(target),
        output_format=formats.output,
        text=text,
        pair=pair,
        max_length=max_length,
        batch_size=batch_size,
        precision=precision,
        device=device,
    )
    check_prediction(request, task_of(reference.run_dir))
    _check_terminal(request)
    descriptors = []
    if target is None:  # the engine's own stdout carries its answer
        sys.stdout.flush()
        descriptors.append(os.dup(1))
        request = replace(request, descriptor=descriptors[0])
    consent = Consent(frozenset([request.model] if trust_remote_code else []))
    terminal.say("starting the engine; loading its libraries takes a few seconds", quiet=quiet)
    try:
        answer = run_tool(
            "predict",
            [*consent.words(), request.to_json()],
            quiet=quiet or any(map(os.isatty, descriptors)),  # progress and predictions would overwrite each other
            stdin=not files,
            descriptors=descriptors,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    summary = PredictionSummary.from_answer(answer)
    if summary.reader_gone:
        raise BrokenPipeError
    _report(summary, target, quiet=quiet)


def _files(inputs: Sequence[str]) -> list[Path]:
    """The files to read, absolute; none for standard input."""
    from engine.errors import UsageError
    from engine.record.paths import user_path

    files = [user_path(name, "an input") for name in inputs if name != "-"]
    if files and len(files) < len(inputs):
        raise UsageError("standard input (-) cannot be combined with files", kind="stdin-with-files")
    return files


def _check_alone(**others: object) -> None:
    """Raise UsageError for what has no meaning with --glue-submission."""
    from engine.errors import UsageError

    for name, value in others.items():
        if value:
            what = "files to read" if name == "inputs" else f"--{name.replace('_', '-')}"
            sentence = f"--glue-submission takes the test sets of the run's task, and no {what}"
            raise UsageError(sentence, kind="option-without-effect", key="--glue-submission")


def _check_terminal(request: PredictionRequest) -> None:
    """Raise UsageError where a terminal would have to type the input, or show Parquet."""
    from engine.errors import UsageError

    if not request.inputs and sys.stdin.isatty():
        sentence = "there is nothing to read: name a file, or pipe texts into crild predict"
        raise UsageError(sentence, kind="nothing-to-predict")
    if request.output is None and request.output_format == "parquet" and sys.stdout.isatty():
        sentence = "Parquet is not for a terminal: name a file with -o, or choose another --format"
        raise UsageError(sentence, kind="parquet-on-terminal")


def _report(summary: PredictionSummary, output: Path | None, *, quiet: bool) -> None:
    """Notes and throughput."""
    from crild_tui.runs import formatting

    terminal.say(*summary.notes)
    rate = formatting.rate(summary.rows / summary.seconds) if summary.seconds > 0 else formatting.NONE
    written = "" if output is None else f"; written: {output}"
    seconds = formatting.duration(summary.seconds)
    terminal.say(f"{formatting.plural(summary.rows, 'row')} in {seconds} ({rate} rows/s){written}", quiet=quiet)
