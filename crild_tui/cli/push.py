"""`crild push`: upload a student, or an exported one, to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import run_names
from crild_tui.cli.options import AsJson, RunsDir, Yes

if TYPE_CHECKING:
    from pathlib import Path

    from engine.preflight.push import PushPlan


def push(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_FOLDER",
            help="A finished run, or a folder that crild export wrote.",
            autocompletion=run_names,
            show_default=False,
        ),
    ],
    repository: Annotated[
        str,
        typer.Argument(metavar="REPO", help="OWNER/NAME on the hub, or NAME for your own account.", show_default=False),
    ],
    public: Annotated[bool, typer.Option("--public", help="Everybody may read it. [default: only you]")] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="BRANCH", help="Push to a branch. [default: main]")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="Message of the commit.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go. Needs no network, no token.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Upload a student to the Hugging Face hub: model, tokenizer, names of the classes, model card.

    Shows each file first, and asks. Nothing else in the folder goes. The
    repository is private unless --public; all files arrive in one commit or
    none does. The token is that of `hf auth login`, or HF_TOKEN.

    \b
    crild push tickets me/tickets-classifier --dry-run
    crild push tickets me/tickets-classifier
    crild push ./tickets-s42-onnx me/tickets-onnx --public

    \b
    Exit codes: 0 done; 1 the hub refused, or the connection broke; 2 wrong usage,
    or a token that cannot write; 3 the folder holds no whole model.
    """
    import json

    from crild_tui.cli.follow.tools import run_tool
    from engine.errors import RunError
    from engine.preflight.push import push_plan
    from engine.record.paths import runs_dir as folder_of

    _check_words(revision, message)
    plan = push_plan(_folder(model, folder_of(runs_dir)), repository)
    document = _document(plan, public=public, revision=revision)
    if not as_json:
        _show(plan, document)
    if dry_run:
        if as_json:
            terminal.show_json(document)
        return
    if not terminal.confirm(f"Upload to {plan.repository} ({document['visibility']})?", yes=yes, before="uploading"):
        terminal.say("nothing was uploaded")
        return
    request = {
        "folder": str(plan.folder),
        "files": list(plan.files),
        "repository": plan.repository,
        "public": public,
        "revision": revision,
        "message": message,
    }
    result = run_tool("push", [json.dumps(request)])
    if not isinstance(result, dict) or not isinstance(result.get("url"), str):
        raise RunError("the engine's answer has no address", kind="invalid-engine-answer")
    if as_json:
        terminal.show_json({**document, **result})
    else:
        _show_result(result, public=public)


def _check_words(revision: str | None, message: str | None) -> None:
    """Raise UsageError for an empty branch or message."""
    from engine.errors import UsageError

    for option, word in (("--revision", revision), ("--message", message)):
        if word is not None and not word.strip():
            raise UsageError(f"{option} is empty", kind="empty-option", key=option)


def _folder(model: str, runs_dir: Path) -> Path:
    """The folder of the model. Raises UsageError for a hub id, and for a student that is not the one of its card."""
    from pathlib import Path

    from crild_tui.runs.model_reference import model_reference
    from engine.errors import ModelError, UsageError
    from engine.preset.source_names import is_path
    from engine.record.student import REPLACED, student_replaced

    reference = model_reference(model, runs_dir)
    if reference.run_dir is None and not is_path(reference.model):
        sentence = f"{model!r} is neither a run nor a folder; `crild runs` lists the runs"
        raise UsageError(sentence, kind="no-such-model")
    if reference.run_dir is not None and student_replaced(reference.run_dir):
        sentence = (
            f"{REPLACED}, so its card would be wrong: put the student back, or push its folder after editing the card"
        )
        raise ModelError(sentence, kind="student-replaced", file=reference.model)
    return Path(reference.model)


def _document(plan: PushPlan, *, public: bool, revision: str | None) -> dict[str, Any]:
    """The plan as JSON."""
    from dataclasses import asdict

    return {
        "repository": plan.repository,
        "hub": plan.hub,
        "visibility": "public" if public else "private",
        "revision": revision or "main",
        "folder": str(plan.folder),
        "files": plan.files,
        "bytes": sum(plan.files.values()),
        "left_out": list(plan.left_out),
        "figures": [asdict(figure) for figure in plan.figures],
    }


def _show(plan: PushPlan, document: Mapping[str, Any]) -> None:
    """The files with their sizes, then where they go and what stays."""
    from crild_tui.runs import formatting
    from engine.preset.text import listed

    rows = [(name, formatting.size(size)) for name, size in plan.files.items()]
    rows.append(("all", formatting.size(document["bytes"])))
    terminal.show(terminal.table([("file", "left"), ("size", "right")], rows))
    terminal.sentence()
    branch = "" if document["revision"] == "main" else f", branch {document['revision']}"
    terminal.sentence(f"repository: {plan.repository} at {document['hub']}{branch}, {document['visibility']}")
    for figure in plan.figures:
        value = formatting.metric(figure.value) if isinstance(figure.value, float) else figure.value
        split = "" if figure.split is None else f" ({figure.split})"
        terminal.sentence(f"the card says: {figure.metric} {value} on {figure.dataset}{split}")
    if not plan.has_card:
        terminal.sentence("there is no model card (README.md)")
    if plan.left_out:
        terminal.sentence(f"stays here: {listed(plan.left_out, 'and', 10)}")


def _show_result(result: Mapping[str, Any], *, public: bool) -> None:
    """Where it is, and what was not as the user might think."""
    from engine.preset.text import listed

    visibility = "private" if result["private"] else "public"
    terminal.sentence(f"uploaded: {result['url']} ({visibility}), commit {str(result['commit'])[:8]}")
    if public and result["private"]:
        terminal.sentence("the repository is private as before: --public counts only for a new one")
    if result["kept"]:
        terminal.sentence(f"already there, and unchanged: {listed(result['kept'], 'and', 6)}")
