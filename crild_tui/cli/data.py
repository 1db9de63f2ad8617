"""`crild data`: look at data as the engine will."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import presets
from crild_tui.cli.options import AsJson, Settings, Unlabelled
from crild_tui.runs import formatting
from engine.preset.text import listed

_MOST_CLASSES = 20
_LONGEST_TEXT = 200


def data(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="A data file, or one each for train and dev by their names; also presets that name a task.",
            autocompletion=presets,
            show_default=False,
        ),
    ],
    settings: Settings = None,
    unlabelled: Unlabelled = None,
    as_json: AsJson = False,
) -> None:
    """Show data as a run would read it: rows, classes, lengths, repeated rows, what looks wrong, examples.

    Lengths are in tokens if the teacher's tokenizer is on this machine, else in words. Nothing is trained. Of rows without
    labels, it shows the texts, and says what a run on them needs.

    \b
    crild data tickets.csv
    crild data tickets.csv --set task.columns.label=team
    crild data tickets.csv --unlabelled more.csv
    crild data mine.toml
    crild data texts.csv --set teacher.answers=answers.csv
    """
    import tempfile
    from pathlib import Path

    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import unlabelled_settings
    from engine.errors import DataError, ModelError, RunError
    from engine.preflight.data import answer_problems
    from engine.preflight.own_data import completed, texts_alone
    from engine.preset.load import load_preset
    from engine.preset.write import dump

    refs, own = _with_method(files, settings or ())
    own = [*own, *unlabelled_settings(refs, own, unlabelled or ())]
    loaded = load_preset(refs, own)
    missing: tuple[str, ...] = ()
    options: list[str] = []
    try:
        loaded = completed(loaded)
        if loaded.preset.task.class_names is not None:
            missing = tuple(map(str, answer_problems(loaded)))
    except (DataError, ModelError) as error:
        if (texts := texts_alone(loaded, error)) is None:
            raise
        loaded, missing, options = texts.loaded, texts.missing, ["texts"]
    terminal.say(*loaded.notes)
    with tempfile.TemporaryDirectory(prefix="crild-") as folder:
        file = Path(folder) / "preset.toml"
        file.write_text(dump(loaded.preset), encoding="utf-8")
        result = run_tool("data", [str(file), *options])
    if not isinstance(result, dict) or not isinstance(result.get("splits"), list):
        raise RunError("the engine's answer has no splits", kind="invalid-engine-answer")
    result["missing"] = list(missing)
    result["commands"] = list(_commands(files, settings or (), unlabelled or ())) if missing else []
    if as_json:
        terminal.show_json(result)
    else:
        terminal.show_parts(_parts(result))


def _with_method(files: Sequence[str], settings: Sequence[str]) -> tuple[list[str], list[str]]:
    """The presets with a method that goes with the settings where none is named, which decides nothing of what is shown."""
    from crild_tui.runs.create import names_answers, with_method

    refs, keys = with_method(files), {setting.partition("=")[0].strip() for setting in settings}
    if refs == list(files):
        return refs, list(settings)
    if names_answers(settings):
        return ["answers", *files], list(settings)
    untrained = ["teacher.finetune=false"] if "task.class_names" in keys else []
    return refs, [*untrained, *settings]


def _commands(files: Sequence[str], settings: Sequence[str], unlabelled: Sequence[str]) -> Iterator[str]:
    """The commands that train on these files with these settings, once what lacks is added to them."""
    import shlex

    from crild_tui.runs.create import data_alone, names_answers

    items = [word for setting in settings for word in ("--set", setting)]
    items += [word for file in unlabelled for word in ("--unlabelled", file)]
    named = ["answers"] if names_answers(settings) else ["kd", "answers"]
    if any(setting.partition("=")[0].strip() == "teacher.model" for setting in settings):
        named = ["kd"]
    for method in named if data_alone(files) else [""]:
        yield shlex.join(["crild", "run", *([method] if method else []), *files, *items])


def _parts(result: Mapping[str, Any]) -> Iterator[Any]:
    """The overview as sentences and tables."""
    splits: Sequence[Mapping[str, Any]] = result["splits"]
    unit, most = result.get("unit"), result.get("max_length")
    missing: Sequence[str] = result.get("missing") or ()
    has_classes = result.get("kind") is not None
    what = "texts without labels" if not has_classes else f"{result.get('kind')}, measured by {result.get('metric')}"
    yield f"{result.get('task')}: {what}"
    yield ""
    names = ("rows", "repeated", "median", "95 %", "longest", f"over {most}", "unknown")
    columns = [("split", "left"), *((name, "right") for name in names)]
    inputs: Sequence[Mapping[str, Any]] = result.get("unlabelled") or ()
    yield terminal.table(columns, map(_split_row, (*splits, *inputs)))
    if unit == "tokens":
        yield f"lengths in tokens of {result.get('tokenizer')}, special tokens included; longer texts are cut at {most}"
    else:
        yield f"lengths in words, as the tokenizer is not on this machine; max_length = {most} counts tokens"
    yield ""
    if has_classes:
        yield from _labels(result, splits)
        yield ""
    for example in result.get("examples") or ():
        label = "without label" if example.get("label") is None else example["label"]
        named = (", ".join(map(str, label)) or "no label") if isinstance(label, list) else label
        yield f"{named}: {_texts(example)}"
    for example in (example for entry in inputs for example in entry.get("examples") or ()):
        yield f"without label: {_texts(example)}"
    yield ""
    notes, findings = (result.get(key) or () for key in ("notes", "findings"))
    for note in notes:
        yield str(note)
    for finding in findings:
        severity = finding.get("severity")
        words = {"warning": "warning: ", "refusal": "refused: "}.get(str(severity), "")
        yield f"{words}{finding.get('sentence')}"
    if missing:
        if notes or findings:
            yield ""
        yield "To train on these rows, give them labels in a column of their own, or add:"
        yield from (f"- {sentence}" for sentence in missing)
        yield f"to the command {listed(result['commands'], 'or')}"


def _split_row(split: Mapping[str, Any]) -> list[str]:
    lengths = split["lengths"]
    counts = (split["rows"], split["repeated"], *(lengths[name] for name in ("median", "p95", "longest", "longer")))
    unknown = formatting.NONE if split.get("unknown") is None else _percent(split["unknown"])
    return [split["split"], *(f"{count:,}" for count in counts), unknown]


def _labels(result: Mapping[str, Any], splits: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """Rows (of labels by word: words) of each class or label in each split, and their share of the first that has labels; the range of scores."""
    classes: Sequence[str] = result.get("classes") or ()
    if not classes:
        columns = [("scores", "left"), *((name, "right") for name in ("lowest", "mean", "highest"))]
        yield terminal.table(
            columns, ([s["split"], *(f"{s['labels'][c]:.4g}" for c, _ in columns[1:])] for s in splits)
        )
        return
    if not splits[0]["labels"]:
        yield "the training rows have no labels"
        splits = splits[1:]
    order = sorted(classes, key=lambda name: -splits[0]["labels"][name])
    kind, first = result.get("kind"), splits[0]
    what = "class" if kind == "classification" else "label"
    by_word = kind == "token-classification"
    total = sum(first["labels"].values()) if by_word else first["rows"]
    share = "share of words" if by_word else f"share of {first['split']}"
    columns = [(what, "left"), *((split["split"], "right") for split in splits), (share, "right")]
    rows = [
        [
            name,
            *(f"{split['labels'][name]:,}" for split in splits),
            _percent(first["labels"][name] / max(total, 1)),
        ]
        for name in order[:_MOST_CLASSES]
    ]
    yield terminal.table(columns, rows)
    if len(order) > _MOST_CLASSES:
        yield f"and {len(order) - _MOST_CLASSES:,} smaller classes"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _texts(example: Mapping[str, Any]) -> str:
    return " | ".join(_short(str(text)) for text in (example.get("text"), example.get("pair")) if text is not None)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
