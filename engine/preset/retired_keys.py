"""Keys by which a preset of crild 0.2 could execute something. No preset can do that any more.

In a preset they are refused. In the preset.toml of a run, or in a sweep's record, they are ignored, so that old runs
still resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import CrildError
from engine.preset.tree import Node

_TRUST = "teacher.trust_remote_code"
IGNORED_COMMAND = (
    "notify.command in this run's preset is ignored: set it in the section [notify] of your settings.toml "
    "(crild doctor shows where that is)"
)
IGNORED_TRUST = (
    "teacher.trust_remote_code in this run's preset is ignored: a model's own code runs only with your consent, given "
    "with --trust-remote-code or in your settings.toml"
)


def without_retired(root: Node, *, of_run: bool) -> tuple[Node, list[CrildError], list[str]]:
    """A merged preset without these keys; for each that would have executed something, a problem or a sentence.

    Problems are for presets and `--set`, sentences for keys in the preset.toml of a run (`of_run`).
    `teacher.trust_remote_code = false` stays: it executes nothing.
    """
    found: list[tuple[CrildError, str]] = []
    entries = dict(root.entries)
    notify = entries.pop("notify", None)
    if notify is not None and _is_set(notify):
        sentence = (
            "a preset cannot run a command: remove this key, and set the command in the section [notify] of your own "
            "settings.toml (crild doctor shows where that is)"
        )
        node = notify.get("command") or notify
        found.append((node.problem(sentence, kind="command-in-preset", key="notify.command"), IGNORED_COMMAND))
    trust = root.get(*_TRUST.split("."))
    if trust is not None and trust.value is not False:
        sentence = (
            "a preset cannot let a model's own code run: remove this key. If you trust the model's author, add "
            "--trust-remote-code to the command, or enter the model in the section [consent] of your settings.toml"
        )
        found.append((trust.problem(sentence, kind="trust-in-preset", key=_TRUST), IGNORED_TRUST))
        teacher = entries["teacher"]
        rest = {key: node for key, node in teacher.entries.items() if key != "trust_remote_code"}
        entries["teacher"] = replace(teacher, value=rest)
    problems = [problem for problem, _ in found if not of_run or (problem.file or "").startswith("--set ")]
    ignored = [sentence for problem, sentence in found if problem not in problems]
    return replace(root, value=entries), problems, ignored


def _is_set(notify: Node) -> bool:
    """Whether a [notify] table does more than take back an inherited command."""
    if not notify.is_table:
        return notify.value is not False
    return any(node.value is not False for node in notify.entries.values())


def without_retired_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """The preset of a run, as plain data, without these keys."""
    rest = {key: value for key, value in document.items() if key != "notify"}
    teacher = rest.get("teacher")
    if isinstance(teacher, Mapping) and teacher.get("trust_remote_code", False) is not False:
        rest["teacher"] = {key: value for key, value in teacher.items() if key != "trust_remote_code"}
    return rest


def is_retired(key: str, value: object) -> bool:
    """Whether a key with this value is one of them, so that a run's preset may have lost it since."""
    return key == "notify.command" or (key == _TRUST and value is True)
