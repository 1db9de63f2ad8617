"""`crild doctor`: what the machine offers and what is missing, as a list of findings with advice."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, RunsDir
from crild_tui.runs import formatting

HUB = "https://huggingface.co"
HUB_TIMEOUT = 3.0
LITTLE_DISK = 5e9
LITTLE_MEMORY = 4e9
EXTRAS = {
    "images": "crild curves --image",
    "mlflow": "runs in MLflow",
    "onnx": "crild export",
    "ray": "crild sweep --ray",
    "search": "crild search",
    "slurm": "--slurm",
    "tensorboard": "runs in TensorBoard",
    "trackio": "runs in trackio",
    "wandb": "runs in W&B",
    "web": "crild serve",
    "xlsx": "reports as .xlsx",
}
"""What each extra of pyproject.toml is for."""


def doctor(as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Check what this machine offers and what is missing.

    Suggests a fix for each problem. The exit code is 1 if something is missing that every run needs.
    """
    from engine.record.paths import runs_dir as folder_of

    terminal.say("asking the engine; loading its libraries takes a few seconds")
    facts, findings = _engine()
    findings += [*extras(), *settings(), *disk(folder_of(runs_dir)), *screen(), *hub()]
    if as_json:
        terminal.show_json({"findings": [asdict(finding) for finding in findings], "engine": facts})
    else:
        rows = [(finding.what, finding.state, finding.found) for finding in findings]
        terminal.show(terminal.table([("what", "left"), ("state", "left"), ("found", "left")], rows))
        for finding in findings:
            if finding.advice:
                terminal.sentence(f"{finding.what}: {finding.advice}")
    raise typer.Exit(1 if any(finding.state == "missing" for finding in findings) else 0)


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, its state, and what to do if that is not "good".

    No run can do without what is "missing"; a "note" is worth knowing.
    """

    what: str
    state: Literal["good", "note", "missing"]
    found: str
    advice: str = ""


def _engine() -> tuple[dict[str, Any], list[Finding]]:
    """What the engine process reports about itself; an engine that cannot start is itself a finding."""
    from engine.errors import CrildError
    from engine.launch.foreground import run_tool

    try:
        facts = run_tool("doctor")
    except CrildError as error:
        advice = "the engine's libraries do not load: install crild again, as in pip install --force-reinstall crild"
        return {}, [Finding("engine", "missing", error.sentence, advice)]
    return facts, list(engine_findings(facts)) if isinstance(facts, dict) else []


def engine_findings(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Torch, devices, precision and memory, from the engine's answer."""
    cuda = facts.get("cuda")
    built = f" (CUDA {cuda})" if cuda else " (without CUDA)"
    yield Finding("torch", "good", f"{facts.get('torch')}{built}, Python {facts.get('python')}")
    devices = [device for device in facts.get("devices") or () if isinstance(device, Mapping)]
    for device in devices:
        yield _device(device)
    if all(device.get("device") == "cpu" for device in devices):
        advice = "torch is built for CUDA but sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"
        yield Finding("GPU", "note", "none; runs use the CPU", "" if cuda is None else advice)
    total, free = facts.get("memory_bytes"), facts.get("memory_free_bytes")
    little = isinstance(total, int) and total < LITTLE_MEMORY
    advice = "little for BERT-base: raise train.accumulate, or choose a smaller teacher" if little else ""
    yield Finding(
        "memory", "note" if little else "good", f"{formatting.size(free)} free of {formatting.size(total)}", advice
    )
    yield Finding("threads", "good", str(facts.get("threads", formatting.NONE)))
    packages = facts.get("packages")
    if isinstance(packages, Mapping):
        lacking = [name for name, version in packages.items() if version is None]
        advice = f"install {' '.join(lacking)}" if lacking else ""
        yield Finding(
            "packages",
            "missing" if lacking else "good",
            ", ".join(f"{name} {version or 'missing'}" for name, version in packages.items()),
            advice,
        )


def _device(device: Mapping[str, Any]) -> Finding:
    name, bf16 = str(device.get("device")), device.get("bf16")
    parts = [str(device["name"])] if device.get("name") else []
    if device.get("memory_bytes"):
        parts.append(
            f"{formatting.size(device.get('memory_free_bytes'))} free of {formatting.size(device['memory_bytes'])}"
        )
    parts.append("bf16 in hardware" if bf16 else "no bf16 in hardware, so runs use fp32")
    return Finding(name, "good" if bf16 else "note", ", ".join(parts))


def extras() -> Iterator[Finding]:
    """Which extras are installed, and what the others would be for."""
    lacking = [name for name in EXTRAS if not _installed(name)]
    parts = [f"{name} ({use}) {'not installed' if name in lacking else 'installed'}" for name, use in EXTRAS.items()]
    advice = f"if you need one: pip install 'crild[{lacking[0]}]'" if lacking else ""
    yield Finding("extras", "good", ", ".join(parts), advice)


def _installed(extra: str) -> bool:
    """Whether all packages of an extra are there; False for one that the installation does not know, as it is older."""
    import re
    from importlib.metadata import PackageNotFoundError, requires, version

    marked = re.compile(rf"""extra == ["']{extra}["']""")
    try:
        needed = [requirement for requirement in requires("crild") or () if marked.search(requirement)]
        return bool([version(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in needed])
    except PackageNotFoundError:
        return False


def settings() -> Iterator[Finding]:
    """Where the user's settings are, and what is wrong with them."""
    from engine.user.settings import settings_files, settings_problems

    files = settings_files()
    if files.settings is None:
        advice = "set HOME, or name a file with CRILD_CONFIG"
        yield Finding("settings", "note", "there is no folder for them", advice)
        return
    for file in (files.settings, files.old):
        if file is not None and (file == files.settings or file.exists()):
            yield Finding(
                "settings", "good", f"{file}{'' if file.exists() else ' (does not exist, so the defaults apply)'}"
            )
    for problem in settings_problems():
        yield Finding("settings", "note", "invalid", str(problem))


def disk(runs_dir: Path) -> Iterator[Finding]:
    """Free space and write permission for the runs folder and the cache."""
    from engine.record.paths import cache_dir

    for what, folder in (("runs", runs_dir), ("cache", cache_dir())):
        existing = next((p for p in (folder, *folder.parents) if p.is_dir()), Path("/"))
        if not os.access(existing, os.W_OK):
            option = "--runs-dir or CRILD_RUNS_DIR" if what == "runs" else "CRILD_CACHE_DIR"
            yield Finding(what, "missing", f"{folder} cannot be written", f"choose another folder with {option}")
        else:
            free = shutil.disk_usage(existing).free
            advice = "little room: crild prune, crild cache clear" if free < LITTLE_DISK else ""
            yield Finding(what, "note" if advice else "good", f"{folder}, {formatting.size(free)} free", advice)


def screen() -> Iterator[Finding]:
    """What the terminal can show."""
    size = shutil.get_terminal_size()
    parts = [f"{size.columns} x {size.lines}", f"TERM={os.environ.get('TERM') or '(not set)'}"]
    if os.environ.get("TMUX"):
        parts.append("in tmux")
    parts.append("ASCII" if terminal.ascii_only() else "UTF-8")
    if os.environ.get("NO_COLOR"):
        parts.append("NO_COLOR")
    elif os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        parts.append("true colour")
    advice = ""
    if not sys.stdout.isatty():
        parts.append("output is not a terminal")
    elif not terminal.is_screen(sys.stdout):
        advice = "this terminal cannot move its cursor, so progress comes as plain lines; set TERM if it can"
    elif size.columns < 80:
        advice = "tables need 80 columns"
    elif terminal.ascii_only():
        advice = "for lines and symbols set a UTF-8 locale, as LANG=C.UTF-8"
    yield Finding("terminal", "note" if advice else "good", ", ".join(parts), advice)


def hub() -> Iterator[Finding]:
    """Whether the hub of models and data answers, through the proxy that is set."""
    import urllib.error
    import urllib.request

    from engine.record.secrets import without_secrets

    address = os.environ.get("HF_ENDPOINT") or HUB
    shown = without_secrets(address)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield Finding("hub", "note", "HF_HUB_OFFLINE is set: only what is on this disk is used")
        return
    advice = (
        "models and data on this disk still work: name folders in the preset, as in `crild presets show local-teacher`; "
        "a mirror goes into HF_ENDPOINT, a proxy into HTTPS_PROXY"
    )
    if not address.startswith(("http://", "https://")):
        yield Finding("hub", "note", f"HF_ENDPOINT is not an address: {shown}", "write it as https://...")
        return
    try:
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "crild"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT):  # noqa: S310 - the scheme was checked
            yield Finding("hub", "good", f"{shown} answers")
    except urllib.error.HTTPError as error:
        if error.code < 500:  # it answers, if not to a HEAD request for its front page
            yield Finding("hub", "good", f"{shown} answers")
        else:
            yield Finding("hub", "note", f"{shown} answers with error {error.code}", advice)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        yield Finding("hub", "note", f"{shown} cannot be reached: {without_secrets(str(reason))}", advice)
