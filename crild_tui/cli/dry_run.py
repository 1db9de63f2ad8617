"""`crild run --dry-run`: show what would happen, planned by an engine process that trains nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild_tui.cli import terminal
from crild_tui.runs import formatting
from crild_tui.runs.create import RunRequest, consent_of, method_of
from engine.preset.text import listed

if TYPE_CHECKING:
    from engine.preset.load import Loaded
    from engine.user.consent import Consent


def show_plans(chain: Sequence[RunRequest], loaded: Sequence[Sequence[Loaded]], *, as_json: bool) -> int:
    """Print what the runs of each request would do, and create none. Returns the exit code: 3 when something is missing, else 0."""
    plans = [plan_of(ones[0], consent_of(request, ones)) for request, ones in zip(chain, loaded, strict=True)]
    plans = [plans[0], *(_after(plans[0], plan) for plan in plans[1:])]
    seeds = [[one.preset.seed for one in ones] for ones in loaded]
    if as_json:
        documents = [
            {**plan, "seeds": own, "runs_dir": str(request.runs_dir)}
            for plan, own, request in zip(plans, seeds, chain, strict=True)
        ]
        terminal.show_json(documents[0] if len(chain) == 1 else documents)
    else:
        for number, (plan, own, request, ones) in enumerate(zip(plans, seeds, chain, loaded, strict=True), 1):
            heading = f"{number} of {len(chain)}: " if len(chain) > 1 else ""
            task, method = ones[0].preset.task.display_name, method_of(request.presets) or "labels"
            terminal.sentence(f"{heading}{task} by {method}: {_runs(own)} in {request.runs_dir}")
            if number > 1:
                terminal.sentence("its student starts as that of the run before; planned with one of the same shape")
            terminal.sentence()
            _show_plan(plan, request.runs_dir, own)
            if number < len(chain):
                terminal.sentence()
        terminal.sentence("nothing was started (--dry-run)")
    return 3 if any(_items(plan.get("missing")) for plan in plans) else 0


def _after(first: Mapping[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """The plan of a later run of a chain, whose student reads the tokens of the first one's; its teacher may have to as well."""
    theirs, ours = first.get("vocabulary"), plan.get("vocabulary")
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping) or ours.get("shared") is None:
        return plan
    if theirs.get("student") == ours.get("teacher"):
        return plan
    model = plan["teacher"]["model"]
    learnt = (
        ', which learns its tokens from the rows of its own task ("scratch"),' if model == "scratch" else f" ({model})"
    )
    sentence = f"the teacher{learnt} has another vocabulary than the student of the first run: {ours['shared']}"
    return {**plan, "missing": [*_items(plan.get("missing")), sentence]}


def _show_plan(plan: Mapping[str, Any], runs_dir: Path, seeds: Sequence[int]) -> None:
    """Print the stages of a plan, and what it says about models, device, disk and data."""
    rows = [_row(stage) for stage in _items(plan.get("stages")) if isinstance(stage, Mapping)]
    columns = [("stage", "left"), *((name, "right") for name in ("examples", "epochs", "steps", "time"))]
    if rows:
        terminal.show(terminal.table(columns, [*rows, *_total(plan)]))
        terminal.sentence()
    for line in _facts(plan):
        terminal.sentence(line)
    for line in disk_lines(plan, runs_dir, len(seeds)):
        terminal.sentence(line)
    for line in _items(plan.get("notes")):
        terminal.sentence(str(line))
    for severity, line in _findings(plan):
        terminal.sentence(f"warning: {line}" if severity == "warning" else line)
    for line in _items(plan.get("missing")):
        terminal.sentence(f"missing: {line}")


def disk_lines(plan: Mapping[str, Any], runs_dir: Path, runs: int) -> list[str]:
    """The disk that the runs need, and a warning where the runs folder's has less; of several runs one trains at a time."""
    need = plan.get("disk")
    if not isinstance(need, Mapping):
        return []
    checkpoints, student, teacher = (int(need.get(name) or 0) for name in ("checkpoints", "student", "teacher"))
    stay = need.get("checkpoints_stay") is True
    fate = "which stay" if stay else "deleted when it finishes"
    leaves = [f"{formatting.size(student)} for the student"]
    if teacher:
        leaves.append(f"{formatting.size(teacher)} for the teacher, once")
    each = "each run: " if runs > 1 else ""
    lines = [
        f"disk:    {each}up to {formatting.size(checkpoints)} of checkpoints while it trains, {fate}; "
        f"then {listed(leaves, 'and')}"
    ]
    total = checkpoints * (runs if stay else 1) + student * runs + teacher
    free = _free(runs_dir)
    if free is not None and free < total:
        lines.append(
            f"warning: {formatting.size(free)} are free in {runs_dir}, and this takes up to {formatting.size(total)}"
        )
    return lines


def _free(runs_dir: Path) -> int | None:
    """Free bytes of the disk that a folder is on, or will be; None where the system doesn't say."""
    folder = next((each for each in (runs_dir, *runs_dir.parents) if each.is_dir()), None)
    try:
        return None if folder is None else shutil.disk_usage(folder).free
    except OSError:
        return None


def plan_of(loaded: Loaded, consent: Consent) -> dict[str, Any]:
    """What the engine says about a preset that would run with this consent.

    Raises the engine's error, or RunError for an invalid answer.
    """
    terminal.say("asking the engine: it loads its libraries, then times a few steps of each stage")
    return asked("plan", loaded, consent)


def asked(tool: str, loaded: Loaded, consent: Consent, *, quiet: bool = False) -> dict[str, Any]:
    """A tool's answer about a preset. Raises the engine's error, or RunError for an invalid answer."""
    from crild_tui.cli.follow.tools import run_tool
    from engine.errors import RunError
    from engine.preset.write import dump

    with tempfile.TemporaryDirectory(prefix="crild-") as folder:
        file = Path(folder) / "preset.toml"
        file.write_text(dump(loaded.preset), encoding="utf-8")
        answer = run_tool(tool, [*consent.words(), str(file)], quiet=quiet)
    if not isinstance(answer, dict):
        raise RunError(f"the engine's {tool} is not a JSON object", kind="invalid-engine-answer")
    return answer


def _findings(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Severity and sentence of each finding about data and models."""
    findings = [item for item in _items(plan.get("findings")) if isinstance(item, Mapping)]
    return [(str(finding.get("severity")), str(finding.get("sentence"))) for finding in findings]


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _runs(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"1 run, seed {seeds[0]},"
    return f"{len(seeds)} runs one after the other, seeds {', '.join(map(str, seeds))},"


def _row(stage: Mapping[str, Any]) -> list[str]:
    return [
        str(stage.get("name", "?")),
        _count(stage.get("examples")),
        formatting.NONE if stage.get("epochs") is None else f"{stage['epochs']:g}",
        _count(stage.get("steps")),
        formatting.duration(stage.get("seconds")),
    ]


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else formatting.NONE


def _total(plan: Mapping[str, Any]) -> list[list[str]]:
    stages = [stage for stage in _items(plan.get("stages")) if isinstance(stage, Mapping)]
    if len(stages) < 2:
        return []
    steps, seconds = [s.get("steps") for s in stages], [s.get("seconds") for s in stages]
    return [
        [
            "all",
            "",
            "",
            _count(None if None in steps else sum(s for s in steps if s is not None)),
            formatting.duration(None if None in seconds else sum(s for s in seconds if s is not None)),
        ]
    ]


def _facts(plan: Mapping[str, Any]) -> list[str]:
    """Models, device and memory in sentences, as far as the plan knows them."""
    lines = []
    if isinstance(teacher := plan.get("teacher"), Mapping):
        cached = "; fine-tuned already, in the cache" if teacher.get("cached") else ""
        to_tune = "; to be fine-tuned first" if teacher.get("finetune") and not cached else ""
        answers, others = teacher.get("answers"), _items(teacher.get("others"))
        also = "".join(f"; and {other}" for other in others)
        lines.append(
            f"teacher: the answers in {answers}"
            if answers is not None
            else f"teacher: {teacher.get('model')}, {formatting.amount(teacher.get('parameters'))} parameters{cached}{to_tune}{also}"
        )
    if isinstance(student := plan.get("student"), Mapping):
        layers = formatting.plural(int(student.get("layers") or 0), "layer")
        lines.append(f"student: {layers}, {formatting.amount(student.get('parameters'))} parameters")
    if plan.get("device"):
        threads = f", {formatting.plural(plan['threads'], 'thread')}" if isinstance(plan.get("threads"), int) else ""
        lines.append(f"device:  {plan['device']}, {plan.get('precision')}{threads}")
    if plan.get("memory_bytes"):
        more = "; the driver takes some hundred MB more" if str(plan.get("device")).startswith("cuda") else ""
        most = formatting.size(plan["memory_bytes"])
        lines.append(f"memory:  about {most}; like the times, measured on a few steps of each stage{more}")
    return lines
