"""The reference that is made from code: every page finds its part, and every part says all there is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from crild_tui.cli.app import NAMES
from docs import conf, from_code
from engine.preset import schema
from engine.preset.field_types import Record
from engine.preset.names import LAYER_OBJECTIVES
from engine.record.event_kinds import KINDS
from engine.record.status import Status
from tests import documents


def test_each_part_has_one_page() -> None:
    asked = [name for page in documents.pages() for name in from_code.marks(page.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(from_code.PARTS)


def test_a_mark_without_a_part_is_an_error() -> None:
    assert from_code.filled("before\n\n<!-- from code: event-kinds -->\n").startswith(
        "before\n\n| field of every event"
    )
    with pytest.raises(KeyError):
        from_code.filled("<!-- from code: frob -->")


def test_every_key_of_a_preset_is_listed_with_its_help() -> None:
    text = from_code.preset_keys()
    records = [value for value in vars(schema).values() if isinstance(value, type) and issubclass(value, Record)]
    for record in records:
        for name, info in record.model_fields.items():
            if record is not schema.Preset or name in ("schema_", "description", "seed", "tags"):
                assert f"\n| `{info.alias or name}` | " in text
    assert "\n| `extends` | " in text
    assert "\n| `learning_rate` | a number above 0 | `3e-05` | Peak learning rate, after the warm-up. |" in text
    assert "\n## `[[stage]]`\n" in text
    assert "\n### `[stage.data]` with `corpus`\n" in text


def test_every_command_is_listed_with_its_options() -> None:
    text = from_code.commands()
    for name in NAMES:
        assert f"\n### crild {name}\n" in text
    assert "\n#### crild presets new\n\n```text\ncrild presets new [OPTIONS] NAME\n```\n" in text
    assert "\n| `--from PRESET` | The preset to copy: " in text
    assert "\b" not in text


def test_every_field_of_a_record_has_a_meaning() -> None:
    text = from_code.status_fields()
    for item in fields(Status):
        assert item.name in from_code.field_docstrings(Status), item.name
        assert f"\n| `{item.name}` | " in text
    assert all(f"\n## `{kind}`\n" in from_code.event_kinds() for kind in KINDS)


def test_objectives_are_tried_with_options() -> None:
    lines = dict(line.strip("| ").split(" | ", 1) for line in from_code.objectives().splitlines()[2:])
    assert lines["`attention`"].startswith("products of query and key | token | ")
    with_map = {name.strip("`") for name, line in lines.items() if "`layer_map`" in line}
    assert with_map == LAYER_OBJECTIVES
    assert {name for name, line in lines.items() if "`mse`" in line} == {"`attention`", "`logits`"}
    assert {name for name, line in lines.items() if "`anneal`" in line} == {"`logits`"}
    assert "`data = { corpus = ... }`" not in lines["`labels`"]


def test_markdown_of_plain_text() -> None:
    assert from_code.PARTS["result-fields"]().count("([latency](../latency.md))") == 2
    page = from_code.event_kinds()
    assert "`tokenising the training rows`" in page


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/x.js">',
        '<link rel="stylesheet" href="//example/x.css">',
        '<img src="http://a/b">',
    ],
)
def test_pages_that_load_something_from_elsewhere_are_refused(tag: str, tmp_path: Path) -> None:
    site = SimpleNamespace(outdir=tmp_path)
    (tmp_path / "page.html").write_text('<script src="_static/x.js"></script><a href="https://example">there</a>')
    conf.check_offline(site, None)
    (tmp_path / "page.html").write_text(tag)
    with pytest.raises(ValueError, match=r"page\.html loads"):
        conf.check_offline(site, None)
