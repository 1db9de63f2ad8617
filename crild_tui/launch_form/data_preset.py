"""`crild presets new --from-data`: a new, commented preset for the user's own data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crild_tui.launch_form.copy_preset import free_target, write_new
from crild_tui.launch_form.editor_schema import provide, with_schema
from crild_tui.runs.create import names_answers
from engine.errors import UsageError
from engine.preset.kinds import KINDS, RANKINGS, Kind
from engine.preset.load import Loaded
from engine.preset.paths import normal
from engine.preset.schema import Columns, Preset, Task
from engine.preset.shipped import path_of
from engine.preset.source_names import is_table
from engine.preset.text import listed, plain, shown
from engine.preset.toml_text import inline

_KIND_COMMENTS: dict[Kind, str] = {
    "classification": 'each text has one class; or "multilabel", "regression"',
    "multilabel": 'a text can have several labels, or none; or "classification"',
    "regression": 'each text has a score; or "classification"',
    "token-classification": "each word has a label",
}
_COMMENTS_FROM = 36
"""The column at which comments begin, if the line is short enough."""


def new_data_preset(
    name: str, files: Sequence[str], method: str | None = None, settings: Sequence[str] = ()
) -> tuple[Path, tuple[str, ...]]:
    """Write a preset that runs a method on data files, crild or, with answers, the preset for them, unless one is named;
    returns the new file, and what was recognised in the data.

    The settings are those of `--set`: what the files leave open about the task, and any others, which the new preset sets,
    too. Raises UsageError when the file exists or cannot be written; what loading and recognising raise.
    """
    from engine.preflight.own_data import completed
    from engine.preset.load import load_preset

    target = free_target(name)
    method = method or ("answers" if names_answers(settings) else "crild")
    others = [file for file in files if not is_table(file)]
    if others:
        sentence = f"--from-data takes CSV, TSV, JSON lines and Parquet files, not {listed(map(shown, others), 'and')}"
        raise UsageError(sentence, kind="not-a-data-file")
    loaded = completed(load_preset([method, *files], settings))
    write_new(target, with_schema(_text(loaded, method, target, settings), target).encode())
    provide(target)
    return target, loaded.notes


def _text(loaded: Loaded, method: str, target: Path, settings: Sequence[str]) -> str:
    task = loaded.preset.task
    others = _others(loaded, settings, target.parent)
    top = {key: value for key, value in others.items() if not isinstance(value, dict)}
    offers = _offers(loaded.preset)
    top = {"description": f"{task.display_name}, by {Path(method).stem}", **top}
    base = method if path_of(method) is not None else str(normal(Path(method).expanduser()))
    lines = [
        f"# {plain(task.display_name)}: your own data. Change what you like, then",
        f"#     crild run {plain(target.name)}",
        "schema = 1",
        _line("extends", base, "the method; `crild presets list` shows others"),
        *(_line(key, value) for key, value in top.items()),
        "",
        "[task]",
        'name = "custom"',
        *_task_lines(task, target.parent),
        *_tables(others, offers),
        *_offered({table: lines for table, lines in offers.items() if table not in others}),
    ]
    return "\n".join(lines) + "\n"


def _offers(preset: Preset) -> dict[str, dict[str, str]]:
    """What people change first, by table and key, as commented lines; without what this preset cannot have."""
    offers = {
        "teacher": {"model": '# model = "bert-base-uncased"   # a hub id, or a folder'},
        "student": {"layers": "# layers = 6                    # half of the teacher's when left out"},
        "train": {
            "epochs": "# "
            + _line("epochs", _whole(preset.train.epochs), "passes over the rows, for stages without their own"),
            "batch_size": "# " + _line("batch_size", preset.train.batch_size),
        },
        "baseline": {
            "enabled": "# enabled = true                # also train the same student on labels alone, to compare"
        },
    }
    if preset.teacher.answers is not None:  # a model would take its place, and the student has its own
        del offers["teacher"], offers["student"]
    if preset.task.class_names is not None:
        del offers["baseline"]  # it learns from labels
    return offers


def _offered(offers: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """The lines of whole tables that are offered."""
    if offers:
        yield ""
        yield "# What else people change first (crild presets show prints everything):"
    for table, lines in offers.items():
        yield from ("#", f"# [{table}]", *lines.values())


def _others(loaded: Loaded, settings: Sequence[str], folder: Path) -> dict[str, Any]:
    """What the settings say outside of [task], as nested tables, stages by name: values as the merged preset has them,
    false for a key that was taken back. Of what a stage's key holds, all: a file replaces it as a whole."""
    stages = {stage["name"]: stage for stage in loaded.document["stage"]}
    document = {**loaded.document, "stage": stages, "stages": list(stages)}
    found: dict[str, Any] = {}
    for setting in settings:
        path = setting.partition("=")[0].strip().split(".")
        if path[0] in ("task", "schema"):  # they are written in any case
            continue
        path = path[:3] if path[0] == "stage" else path
        value: Any = document
        for key in path:
            value = value.get(key, False) if isinstance(value, dict) else False
        table = found
        for key in path[:-1]:
            table = table.setdefault(key, {})
        table[path[-1]] = _written(value, folder)
    return found


def _written(value: object, folder: Path) -> object:
    """A value as a preset in a folder has it: files in this folder or below by their relative names."""
    if isinstance(value, dict):
        return {key: _written(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item, folder) for item in value]
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    name = relative(Path(value), folder)
    return value if name == value else f"./{name}"


def _tables(others: Mapping[str, Any], offers: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """The lines of the tables, each with a header, and what is offered in them and not set."""
    tables = [(f"[{name}]", table) for name, table in others.items() if isinstance(table, dict) and name != "stage"]
    stages = [("[[stage]]", {"name": name, **keys}) for name, keys in others.get("stage", {}).items()]
    for header, table in (*tables, *stages):
        yield ""
        yield header
        yield from (_line(key, value) for key, value in table.items())
        yield from (line for key, line in offers.get(header.strip("[]"), {}).items() if key not in table)


def _task_lines(task: Task, folder: Path) -> list[str]:
    """The lines of [task] below its name."""
    assert task.files is not None
    columns = task.columns or Columns()
    roles = {role: name for role in Columns.model_fields if (name := getattr(columns, role)) is not None}
    if columns.labels is not None:
        del roles["label"]
    files = {split: relative(Path(file), folder) for split, file in task.files.splits().items()}
    lines = [
        _line("title", task.display_name, "what lists, reports and model cards call it"),
        _line("files", files, "relative to this file"),
        _line("columns", roles),
        _line("kind", task.kind, _KIND_COMMENTS[task.kind or "classification"]),
    ]
    if task.class_names is not None:
        lines.append(_line("class_names", task.class_names, "the training rows are read without labels"))
    if task.dev_share is not None:
        lines.append(_line("dev_share", task.dev_share, "this share of the rows is the dev set; or name a file: dev"))
        lines.append(_line("data_seed", task.data_seed, "draws the dev set"))
    elif task.data_seed != Task.model_fields["data_seed"].default:
        lines.append(_line("data_seed", task.data_seed))
    lines.append(_line("max_length", task.max_length, "in tokens; longer texts are cut"))
    metrics = KINDS[task.kind or "classification"].metrics if columns.group is None else RANKINGS
    metric, *others = metrics
    if task.metrics:
        lines.append(_line("metrics", task.metrics, "the first picks the best checkpoint"))
    else:
        second = "f1_macro" if "f1_macro" in others else others[0]
        lines.append("# " + _line("metrics", [metric, second], "the first picks the best checkpoint"))
    return lines


def _whole(number: float) -> float:
    """10 for 10.0."""
    return int(number) if number.is_integer() else number


def _line(key: str, value: object, comment: str = "") -> str:
    line = f"{key} = {inline(value)}"
    return f"{line:{_COMMENTS_FROM - 1}} # {comment}" if comment else line


def relative(file: Path, folder: Path) -> str:
    """A file as a preset in a folder names it: relative if it is in this folder or below."""
    path = os.path.relpath(file, folder.absolute())
    return str(file) if path.startswith("..") else path
