"""`crild probe`: measure signs of overfitting in finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, Runs, RunsDir, ToolDevice, Trust

if TYPE_CHECKING:
    from engine.errors import CrildError
    from engine.record.probe import Probe

SCALES = "0.05,0.1,0.2,0.3"
DRAWS, EXAMPLES = 3, 256
MOST_SCALES, MOST_DRAWS, LARGEST_SCALE = 20, 100, 10.0


def probe(
    runs: Runs,
    scales: Annotated[
        str, typer.Option("--scales", metavar="0.1,0.2", help="Scales of the noise on the weights.")
    ] = SCALES,
    draws: Annotated[int, typer.Option("--draws", metavar="N", help="Draws of noise for each scale.")] = DRAWS,
    examples: Annotated[
        int, typer.Option("--examples", metavar="N", help="Maximum number of training and of dev examples.")
    ] = EXAMPLES,
    again: Annotated[bool, typer.Option("--again", help="Measure again what was already measured.")] = False,
    device: ToolDevice = None,
    trust_remote_code: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Check for overfitting: train/dev gap, distance to the teacher, effect of noise.

    Measures metric and loss on training and dev examples, each layer's distance to
    the teacher on both, and the dev metric after Gaussian noise is added to the
    weights. The results are saved in the run's probe.json, for reports and the
    dashboard. Noise scales are relative to each tensor's root mean square. More:
    docs/probes.md

    \b
    crild probe rte-crild
    crild probe mrpc-crild-s1 mrpc-ild-uniform-s1 --json
    """
    import json

    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import check_device
    from engine.launch.foreground import error_of
    from engine.record.paths import runs_dir as folder_of
    from engine.record.probe import Probe
    from engine.record.run import find_run
    from engine.user.consent import Consent, models_of_run

    check_device(device)
    request: dict[str, Any] = {**_settings(scales, draws, examples), "device": device, "again": again}
    folder = folder_of(runs_dir)
    request["runs"] = list(dict.fromkeys(str(find_run(run, folder)) for run in runs))
    names = [models_of_run(Path(run)) for run in request["runs"]] if trust_remote_code else []
    consent = Consent(frozenset().union(*names))
    terminal.say("starting the engine; loading its libraries takes a few seconds")
    answers = _answers(run_tool("probe", [*consent.words(), json.dumps(request)]))
    errors = [error_of(answer["error"]) for answer in answers if isinstance(answer.get("error"), Mapping)]
    if as_json:
        terminal.show_json({"runs": answers})
    else:
        _show([Probe.from_dict(answer["probe"]) for answer in answers if isinstance(answer.get("probe"), Mapping)])
    _raise(errors)


def _settings(scales: str, draws: int, examples: int) -> dict[str, Any]:
    """The settings, checked. Raises UsageError for values out of range."""
    from engine.errors import UsageError

    words = [word.strip() for word in scales.split(",") if word.strip()]
    try:
        numbers = sorted({float(word) for word in words})
    except ValueError:
        numbers = []
    if not numbers or len(numbers) > MOST_SCALES or not all(0 < number <= LARGEST_SCALE for number in numbers):
        raise UsageError(
            f"--scales {scales!r}: give 1 to {MOST_SCALES} numbers above 0, at most {LARGEST_SCALE:g}, such as {SCALES}",
            kind="invalid-scales",
        )
    if not 1 <= draws <= MOST_DRAWS:
        raise UsageError(f"--draws {draws}: allowed are 1 to {MOST_DRAWS} for each scale", kind="invalid-draws")
    if not 1 <= examples < 2**31:
        raise UsageError(f"--examples {examples}: at least 1 is needed", kind="invalid-examples")
    return {"scales": numbers, "draws": draws, "examples": examples}


def _answers(result: object) -> list[dict[str, Any]]:
    from engine.errors import RunError

    rows = result.get("runs") if isinstance(result, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RunError("the engine's answer is not a list of probes", kind="invalid-engine-answer")
    return rows


def _show(probes: Sequence[Probe]) -> None:
    """Each run's tables, then the methods side by side."""
    from crild_tui.runs import probe_rows
    from crild_tui.runs.tables import probe_parts, probe_table

    ascii_only = terminal.ascii_only()
    for probe in probes:
        terminal.show_parts(probe_parts(probe, ascii_only=ascii_only))
        terminal.sentence()
    for summary in probe_rows.summaries(probes) if len(probes) > 1 else ():
        terminal.sentence(summary.title)
        terminal.show(probe_table(summary.names, summary.rows, ascii_only=ascii_only))


def _raise(errors: Sequence[CrildError]) -> None:
    """Print all errors but the first, and raise that one."""
    for error in errors[1:]:
        terminal.say(f"error: {error}")
    if errors:
        raise errors[0]
