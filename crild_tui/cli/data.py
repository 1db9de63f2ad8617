"""`crild data`: look at data as the engine will."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import presets
from crild_tui.cli.options import AsJson, Settings, Unlabelled
from crild_tui.runs import formatting

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

    Lengths are in tokens if the teacher's tokenizer is on this machine, else in words. Nothing is trained.

    \b
    crild data tickets.csv
    crild data tickets.csv --set task.columns.label=team
    crild data tickets.csv --unlabelled more.csv
    crild data mine.toml
    """
    import tempfile
    from pathlib import Path

    from crild_tui.cli.follow.tools import run_tool
    from crild_tui.runs.create import unlabelled_settings, with_method
    from engine.errors import RunError
    from engine.preflight.own_data import completed
    from engine.preset.load import load_preset
    from engine.preset.write import dump

    refs = with_method(files)
    own = [*(settings or ()), *unlabelled_settings(refs, settings or (), unlabelled or ())]
    loaded = completed(load_preset(refs, own))
    terminal.say(*loaded.notes)
    with tempfile.TemporaryDirectory(prefix="crild-") as folder:
        file = Path(folder) / "preset.toml"
        file.write_text(dump(loaded.preset), encoding="utf-8")
        result = run_tool("data", [str(file)])
    if not isinstance(result, dict) or not isinstance(result.get("splits"), list):
        raise RunError("the engine's answer has no splits", kind="invalid-engine-answer")
    if as_json:
        terminal.show_json(result)
    else:
        terminal.show_parts(_parts(result))


def _parts(result: Mapping[str, Any]) -> Iterator[Any]:
    """The overview as sentences and tables."""
    splits: Sequence[Mapping[str, Any]] = result["splits"]
    unit, most = result.get("unit"), result.get("max_length")
    yield f"{result.get('task')}: {result.get('kind')}, measured by {result.get('metric')}"
    yield ""
    names = ("rows", "repeated", "median", "95 %", "longest", f"over {most}", "unknown")
    columns = [("split", "left"), *((name, "right") for name in names)]
    inputs: Sequence[Mapping[str, Any]] = result.get("unlabelled") or ()
    yield terminal.table(columns, map(_split_row, (*splits, *inputs)))
    if unit == "tokens":
        yield f"lengths in tokens of {result.get('tokenizer')}, special tokens included; longer texts are cut at {most}"
    else:
        yield f"lengths in words, as the teacher's tokenizer is not on this machine; max_length = {most} counts tokens"
    yield ""
    yield from _labels(result, splits)
    yield ""
    for example in result.get("examples") or ():
        label = "without label" if example.get("label") is None else example["label"]
        named = (", ".join(map(str, label)) or "no label") if isinstance(label, list) else label
        yield f"{named}: {_texts(example)}"
    for example in (example for entry in inputs for example in entry.get("examples") or ()):
        yield f"without label: {_texts(example)}"
    yield ""
    for note in result.get("notes") or ():
        yield str(note)
    for finding in result.get("findings") or ():
        severity = finding.get("severity")
        words = {"warning": "warning: ", "refusal": "refused: "}.get(str(severity), "")
        yield f"{words}{finding.get('sentence')}"


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
