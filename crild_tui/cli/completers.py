"""What the shell offers for each kind of argument: runs, presets, settings, devices, names, files.

Each reads little and answers at once; `completion.answer` catches whatever is wrong with what they read, and lets
nothing through that a shell would evaluate. A meaning beside a word is crild's own text, never a file's.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer

Word = str | tuple[str, str]
"""A candidate, with or without its meaning."""
Completer = Callable[[typer.Context, str], list[Word]]

PRESET_ENDINGS = (".toml", ".csv", ".tsv", ".jsonl", ".json", ".parquet", ".gz", ".zst")
"""Of the files that `crild run` takes."""
MOST_FILES = 30
"""Presets that one answer reads, at most; those that they extend count."""
LARGEST = 200_000
"""Bytes of the largest preset that is read for an answer."""
MOST_TAGGED = 300
"""Runs whose tags are read, the newest."""
SAMPLE = 65_536
"""Bytes of a data file that are read for the names of its columns."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


# -- words


def one_of(*words: str) -> Completer:
    """Offers these words."""

    def complete(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
        return list(words)

    return complete


def some_of(*words: str) -> Completer:
    """Offers these words for a list with commas, each once."""

    def complete(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
        return _listed(words, incomplete)

    return complete


def endings(*known: str) -> Completer:
    """Offers endings for a file that is to be written: nothing until its name has a point."""

    def complete(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
        stem, point, _ = incomplete.rpartition(".")
        return [stem + ending for ending in known] if point and not incomplete.endswith("..") else []

    return complete


def _listed(words: Iterable[str], incomplete: str) -> list[Word]:
    before, comma, _ = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{word}" for word in words if word not in taken]


def devices(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Devices, with the GPUs that the driver lists; after a comma, further GPUs."""
    return _listed(_gpus(), incomplete) if "," in incomplete else [*device_words()]


def device_words() -> tuple[str, ...]:
    """The words that name a device."""
    return ("auto", "cpu", "mps", "cuda", *_gpus())


def _gpus() -> list[str]:
    """The GPUs that the driver lists, without starting anything: that would take longer than a shell may wait."""
    try:
        return [f"cuda:{index}" for index in range(len(os.listdir("/proc/driver/nvidia/gpus")))]  # noqa: PTH208
    except OSError:
        return []


def states(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """States of runs."""
    from engine.record.states import STATES

    return list(STATES)


def event_kinds(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Kinds of events, in a list with commas."""
    from engine.record.event_kinds import KINDS

    return _listed(("all", *KINDS), incomplete)


def metrics(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Metrics of reports."""
    from engine.preset.schema_source import keys_of

    return ["primary", "all", *keys_of("Task")["metrics"].items]


def cost_columns(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Columns of a report about size and speed, in a list with commas."""
    from engine.report.cost_columns import COLUMNS

    return _listed(COLUMNS, incomplete)


def sort_keys(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Keys that the list of runs is sorted by; after a minus, descending."""
    from crild_tui.runs.listing import SORT_KEYS

    return [*SORT_KEYS, *(f"-{key}" for key in SORT_KEYS)]


def filters(context: typer.Context, incomplete: str) -> list[Word]:
    """Keys of the filter of runs, and values of those that have a list."""
    from crild_tui.runs.filter import KEYS, MARKS
    from engine.record.states import STATES

    start = max(incomplete.rfind(" "), incomplete.rfind("!")) + 1
    above, term = incomplete[:start], incomplete[start:]
    key, colon, _ = term.partition(":")
    if not colon:
        return [f"{above}{name}:" for name in KEYS]
    values: Iterable[str] = ()
    if key in ("state", "is"):
        values = (*STATES, *(MARKS if key == "is" else ()))
    elif key in ("task", "method", "preset"):
        wanted = {"task": ("task", "run"), "method": ("method",), "preset": ("method", "task", "variant", "run")}[key]
        values = (name for name, kind, _ in _shipped() if kind in wanted)
    elif key == "sweep":
        values = _sweeps(context)
    return [f"{above}{key}:{value}" for value in values]


def cache_kinds(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Folders of the cache."""
    from engine.record.paths import cache_dir

    with os.scandir(cache_dir()) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


# -- runs, sweeps, tags


def run_names(context: typer.Context, incomplete: str) -> list[Word]:
    """Ids of runs, and `latest`. Only names that crild itself gives: a runs folder may be a stranger's."""
    return [*sorted(_runs(context, incomplete)), "latest"]


def runs_and_sweeps(context: typer.Context, incomplete: str) -> list[Word]:
    """Ids of runs and names of sweeps."""
    return [*run_names(context, incomplete), *_sweeps(context)]


def sweep_names(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Names of sweeps, and of the queues of several seeds."""
    return list(_sweeps(context))


def tags(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Tags of the run with --remove; else those of the newest runs."""
    from engine.record.annotations import read_annotations

    folder = _folder(context)
    if context.params.get("remove"):
        run_dir = run_dir_of(context)
        return list(read_annotations(run_dir).tags) if run_dir else []
    with os.scandir(folder) as entries:
        changed = [(entry.stat().st_mtime, entry.path) for entry in entries if entry.is_dir()]
    newest = heapq.nlargest(MOST_TAGGED, changed)
    return sorted({tag for _, path in newest for tag in read_annotations(Path(path)).tags})


def _folder(context: typer.Context) -> Path:
    from engine.record.paths import runs_dir

    return runs_dir(context.params.get("runs_dir"))


def _runs(context: typer.Context, beginning: str) -> list[str]:
    folder = _folder(context)
    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.name.startswith(beginning) and each.is_dir()]
    except OSError:
        return []
    return [name for name in names if _PLAIN.fullmatch(name) and _is_run(folder, name)]


def _is_run(folder: Path, name: str) -> bool:
    return any(os.path.isfile(f"{folder}/{name}/{record}") for record in ("status.json", "preset.toml"))  # noqa: PTH113


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def run_dir_of(context: typer.Context) -> Path | None:
    """The run that the line names by its id, the beginning of one id alone, a path, or `latest`."""
    ref, folder = str(context.params.get("run") or ""), _folder(context)
    if "/" in ref:
        return Path(ref).expanduser()
    if ref == "latest":
        return max((folder / name for name in _runs(context, "")), key=_changed, default=None)
    if ref and _is_run(folder, ref):
        return folder / ref
    names = _runs(context, ref) if ref else []
    return folder / names[0] if len(names) == 1 else None


def _sweeps(context: typer.Context) -> list[str]:
    from engine.record.paths import QUEUES, SWEEPS

    folder = _folder(context)
    files = (path for name in (SWEEPS, QUEUES) for path in sorted((folder / name).glob("*.json")))
    return [path.stem for path in files if _PLAIN.fullmatch(path.stem)]


# -- presets and files


def presets(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Presets that come with crild, preset files and data files."""
    return [*((name, meaning) for name, _, meaning in _shipped()), *_files(incomplete, PRESET_ENDINGS)]


def preset_files(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Presets that come with crild, and preset files."""
    return [*((name, meaning) for name, _, meaning in _shipped()), *_files(incomplete, (".toml",))]


def methods(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Methods that come with crild."""
    return [(name, meaning) for name, kind, meaning in _shipped() if kind == "method"]


def data_files(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Data files and folders."""
    return _files(incomplete, PRESET_ENDINGS[1:])


def toml_files(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """TOML files and folders."""
    return _files(incomplete, (".toml",))


def columns(context: typer.Context, incomplete: str) -> list[Word]:  # noqa: ARG001
    """Columns of the first data file on the line, as far as its beginning names them."""
    inputs = context.params.get("inputs") or ()
    return [name for file in inputs[:1] for name in _column_names(Path(file).expanduser())]


def _shipped() -> list[tuple[str, str, str]]:
    """Name, kind and description of each shipped preset."""
    from engine.preset.shipped import shipped

    return [(preset.name, preset.kind, preset.description) for preset in shipped()]


def _files(incomplete: str, known: Sequence[str]) -> list[Word]:
    """Files with these endings and folders, in the folder that the word begins with."""
    above, slash, beginning = incomplete.rpartition("/")
    folder = Path(f"{above}{slash}" or ".").expanduser()
    found: list[Word] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(beginning) or entry.name.startswith((".", "-")):
                    continue
                if entry.is_dir():
                    found.append(f"{above}{slash}{entry.name}/")
                elif entry.name.lower().endswith(tuple(known)):
                    found.append(f"{above}{slash}{entry.name}")
    except OSError:
        pass
    return sorted(found, key=str)


def _column_names(file: Path) -> list[str]:
    import csv
    import gzip
    import json

    from engine.preset.regular_file import open_regular

    with open_regular(file) as raw, gzip.open(raw) if file.suffix == ".gz" else raw as content:
        text = content.read(SAMPLE).decode("utf-8-sig", "replace")
    line = text.split("\n", 1)[0].rstrip("\r")
    kind = Path(file.name.removesuffix(".gz")).suffix.lower()
    if kind in (".csv", ".tsv"):
        return next(csv.reader([line], delimiter="," if kind == ".csv" else "\t"), [])
    return [str(key) for key in json.loads(line)] if kind == ".jsonl" else []
