"""inputs.json: what a run read, by content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record.inputs import (
    INPUTS,
    InputModel,
    InputRows,
    RunInputs,
    changed_inputs,
    known_inputs,
    read_inputs,
    write_inputs,
)
from tests.record.input_samples import inputs

FULL = replace(
    inputs(),
    dev={"dev": InputRows("/data/dev.csv", 32, "d" * 64), "dev_mismatched": InputRows("/data/other.csv", 1, "e" * 64)},
    student=InputModel("/models/small", "f" * 64, "0" * 64),
    stages={"ild": InputRows("/data/corpus.txt", 40_000, "9" * 64)},
)


def test_every_field_survives_the_file(tmp_path: Path) -> None:
    for record in (FULL, inputs()):
        write_inputs(tmp_path, record)
        assert read_inputs(tmp_path) == record
        assert list((read_inputs(tmp_path) or record).dev) == list(record.dev), "the primary dev set comes first"


def test_a_run_without_a_record_has_none(tmp_path: Path) -> None:
    assert read_inputs(tmp_path) is None
    assert known_inputs(tmp_path) is None


def test_every_flipped_digit_of_the_record_is_noticed(tmp_path: Path) -> None:
    write_inputs(tmp_path, FULL)
    path = tmp_path / INPUTS
    whole = path.read_text()
    for place, character in enumerate(whole):
        if character not in "0123456789abcdef":
            continue
        path.write_text(f"{whole[:place]}{'8' if character != '8' else '3'}{whole[place + 1 :]}")
        assert known_inputs(tmp_path) is None, whole[max(0, place - 30) : place + 10]
    path.write_text(whole[:-20])
    with pytest.raises(RunError) as caught:
        read_inputs(tmp_path)
    assert (caught.value.kind, caught.value.file) == ("incomplete-json", str(path))


@pytest.mark.parametrize(("change", "kind"), [({"schema": 2}, "newer-record"), ({"train": None}, "damaged-inputs")])
def test_what_cannot_be_believed_is_an_error(tmp_path: Path, change: dict[str, object], kind: str) -> None:
    (tmp_path / INPUTS).write_text(json.dumps({**FULL.to_dict(), **change}))
    with pytest.raises(RunError) as caught:
        read_inputs(tmp_path)
    assert caught.value.kind == kind
    assert known_inputs(tmp_path) is None


def _other(record: RunInputs, name: str) -> RunInputs:
    rows = InputRows("/elsewhere", 31, "7" * 64)
    match name:
        case "train":
            return replace(record, train=rows)
        case "dev" | "dev_mismatched":
            return replace(record, dev={**record.dev, name: rows})
        case "stage.ild.data":
            return replace(record, stages={"ild": rows})
        case "teacher":
            return replace(record, teacher=replace(_teacher(record), weights="7" * 64))
        case "teacher tokenizer":
            return replace(record, teacher=replace(_teacher(record), tokenizer="7" * 64))
        case "student.init":
            return replace(record, student=replace(FULL.student or _teacher(FULL), weights="7" * 64))
        case _:
            return replace(record, student=replace(FULL.student or _teacher(FULL), tokenizer="7" * 64))


def _teacher(record: RunInputs) -> InputModel:
    assert record.teacher is not None
    return record.teacher


@pytest.mark.parametrize("name", [item.name for item in FULL.all])
def test_each_input_that_changed_is_named(name: str) -> None:
    (change,) = changed_inputs(FULL, _other(FULL, name))
    assert change.name == name
    assert change.before is not None
    assert change.now is not None
    assert "7" * 8 in str(change)
    assert change.before.text in str(change)
    if "rows" in change.before.text:
        assert "31 rows" in str(change)


def test_another_path_is_no_change() -> None:
    moved = replace(FULL, train=replace(FULL.train, source="/moved/train.csv"))
    assert changed_inputs(FULL, moved) == ()


def test_an_input_that_is_gone_or_new_has_changed() -> None:
    less = replace(FULL, dev={"dev": FULL.dev["dev"]}, student=None)
    assert [change.name for change in changed_inputs(FULL, less)] == [
        "dev_mismatched", "student.init", "student.init tokenizer",
    ]  # fmt: skip
    assert len(changed_inputs(less, FULL)) == 3


def test_the_short_text_counts_rows() -> None:
    assert [item.text for item in FULL.data] == ["96 rows, cccccccc", "32 rows, dddddddd", "1 row, eeeeeeee"]


def test_a_file_of_answers_stands_for_the_teacher(tmp_path: Path) -> None:
    given = InputRows("/data/answers.csv", 9, "5" * 64)
    record = replace(FULL, teacher=None, answers=given)
    write_inputs(tmp_path, record)
    assert read_inputs(tmp_path) == record
    (change,) = changed_inputs(record, replace(record, answers=replace(given, content="7" * 64)))
    assert (change.name, change.source) == ("teacher.answers", "/data/answers.csv")
    assert "9 answers" in str(change)
    older = {key: value for key, value in FULL.to_dict().items() if key not in ("answers", "digest")}
    assert RunInputs.from_dict({**older, "digest": _digest(older)}) == FULL, "what earlier versions wrote"


def _digest(data: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
